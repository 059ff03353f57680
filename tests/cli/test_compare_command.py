"""`ampsim compare` as a user would type it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

QUICK = ("--set=data.limit=200", "--set=training.epochs=1", "--set=model.hidden=[16, 16, 16]", "--in-process")


@pytest.fixture
def two_runs(command: Any, tmp_path: Path) -> Path:
    """Two short runs in this process, `a` and `b`, with different seeds."""
    for name, seed in (("a", 0), ("b", 1)):
        assert command("run", "mnist-mlp", *QUICK, f"--set=seed={seed}", f"--out={name}").returncode == 0
    return tmp_path


def test_runs_that_differ_are_shown_side_by_side(command: Any, two_runs: Path) -> None:
    done = command("compare", "a", "b")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["seed", "0", "1"] in lines
    assert ["status", "finished", "finished"] in lines
    assert any(line[:1] == ["linear1.weight"] and 0 < float(line[1]) < 2 for line in lines)
    assert ["d0", "(cpu-core)", "right"] in [line[:3] for line in lines]


def test_a_run_beside_itself_has_the_same_bits(command: Any, two_runs: Path) -> None:
    done = command("compare", "a", two_runs / "a")
    assert (done.returncode, done.stderr) == (0, "")
    assert "parameters: the same bits" in done.stdout
    assert "config: the same" in done.stdout


def test_json_has_all_of_it(command: Any, two_runs: Path) -> None:
    done = command("compare", "a", "b", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["config"] == {"seed": [0, 1]}
    summary = json.loads((two_runs / "b" / "summary.json").read_text())
    assert found["sha256"][1] == summary["parameters_sha256"]
    assert found["parameters_equal"] is False
    assert {entry["name"] for entry in found["parameters"]} == {
        f"linear{number}.{kind}" for number in (1, 2, 3, 4) for kind in ("weight", "bias")
    }
    assert found["devices"]["d0"]["updates"][1] == summary["devices"]["d0"]["updates"]
    assert found["arithmetic"] == {}


def cut(run: Path) -> None:
    parameters = run / "parameters.safetensors"
    parameters.write_bytes(parameters.read_bytes()[:100])


def lose_config(run: Path) -> None:
    (run / "config.yaml").unlink()


def go_on(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(summary | {"status": "running"}))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (cut, "b/parameters.safetensors: cannot be read"),
        (lose_config, "b/config.yaml: there is no such file"),
        (go_on, "b: the run is still going"),
    ],
)
def test_what_cannot_be_compared_is_bad_input(command: Any, two_runs: Path, damage: Any, told: str) -> None:
    damage(two_runs / "b")
    done = command("compare", "a", "b")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(told)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [("a", "nowhere"), ("nowhere", "a"), ("a",), ("a", "b", "c")])
def test_two_runs_have_to_be_given(command: Any, two_runs: Path, arguments: tuple[str, ...]) -> None:
    (two_runs / "c").mkdir()
    done = command("compare", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "nowhere: no such directory" in done.stderr or "argument" in done.stderr
