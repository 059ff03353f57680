from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ampsim.bench.case import Case, Comparison, Contender

Make = Callable[..., Contender]


def contender(name: str, script: str, **options: object) -> Contender:
    """A contender that runs a few lines of Python."""
    return Contender(name, [sys.executable, "-c", script], **options)  # type: ignore[arg-type]


CASE = """
from ampsim.bench.case import Case, Comparison, Contender

def case(quick):
    figure = 'import json; print("starting"); print(json.dumps({"rate": RATE}))'
    return Case(
        title="a case of the tests" if quick else "a case of the tests, at full size",
        figure="rate", unit="things/s", rounds=2,
        contenders=[
            Contender("slow", ["{python}", "-c", figure.replace("RATE", "10")]),
            Contender("fast", ["{python}", "-c", figure.replace("RATE", "30")]),
        ],
        comparisons=[
            Comparison("fast to slow", "fast", "slow", at_least=2),
            Comparison("slow to fast", "slow", "fast", at_least=2),
        ],
    )
"""


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of cases with one, `tiny`, which is found in place of the shipped ones."""
    root = tmp_path / "benchmarks"
    (root / "tiny").mkdir(parents=True)
    (root / "tiny" / "case.py").write_text(CASE)
    monkeypatch.setattr("ampsim.bench.cases.find_root", lambda: root)
    return root


@pytest.fixture
def make() -> Make:
    """`make(name, script)`: a contender that runs a few lines of Python."""
    return contender


@pytest.fixture
def a_case() -> Callable[..., Case]:
    """`a_case(*contenders, comparisons=...)`: their case; the figure is `rate`."""

    def build(*contenders: Contender, comparisons: tuple[Comparison, ...] = (), **options: object) -> Case:
        return Case("of the tests", "rate", "things/s", contenders, comparisons, **options)  # type: ignore[arg-type]

    return build
