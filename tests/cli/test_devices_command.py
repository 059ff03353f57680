"""`ampsim devices`: the list at several widths, and a kind with the sources of its figures."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import ampsim
from ampsim.cli.listing import kinds_listing
from ampsim.config.catalogue import device_profiles, read_device, shipped

DOCS = Path(ampsim.__file__).parent.parent / "docs" / "devices.md"


def listed(width: int) -> list[str]:
    """The lines of the list on a console of so many columns."""
    console = Console(file=io.StringIO(), width=width)
    console.print(kinds_listing(device_profiles(), console), highlight=False)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_every_kind_keeps_to_a_line_whatever_the_width(width: int) -> None:
    lines = listed(width)
    assert max(map(len, lines)) <= width
    for kind, profile in device_profiles().items():
        mine = [line for line in lines if line.split()[:1] == [kind]]
        assert len(mine) == (1 if width >= 120 else 2)
        assert mine[-1].endswith(profile.summary)
        assert "FLOP/s" in mine[0]


def test_the_fastest_kind_comes_first() -> None:
    profiles = device_profiles()
    first_words = [line.split(" ")[0] for line in listed(120)]
    order = [profiles[word].compute for word in first_words if word in profiles]
    assert order == sorted((profile.compute for profile in profiles.values()), reverse=True)


@pytest.mark.parametrize("kind", shipped("devices"))
def test_a_kind_is_shown_with_its_file_and_what_follows_from_it(command: Any, tmp_path: Path, kind: str) -> None:
    shown = command("devices", kind)
    assert (shown.returncode, shown.stderr) == (0, "")
    file = shipped("devices")[kind]
    assert shown.stdout.startswith(file.read_text())
    assert max(map(len, shown.stdout.splitlines())) <= 80
    profile = read_device(file)
    balance = re.search(r"# Balance: compute / memory_bandwidth = (\S+) FLOP per byte\.", shown.stdout)
    assert balance
    assert float(balance[1]) == pytest.approx(profile.compute / profile.memory_bandwidth, rel=0.005)
    # What is printed is a device file again: the begin of one's own.
    (tmp_path / f"{kind}.yaml").write_text(shown.stdout)
    assert read_device(tmp_path / f"{kind}.yaml") == profile


def test_what_follows_from_the_figures_of_the_papers_device(command: Any) -> None:
    derived = " ".join(command("devices", "fpga-1tflops").stdout.rpartition("\n\n")[2].replace("# ", "").split())
    assert "= 2.08 FLOP per byte." in derived
    assert "it is limited by memory below about 4.17 rows." in derived  # r / 2 = 1000 / 480
    assert "The overhead is worth 1 MFLOP:" in derived  # 1 us at 1 TFLOP/s


def test_a_device_file_of_ones_own_is_shown_by_its_path(command: Any, tmp_path: Path) -> None:
    text = shipped("devices")["fpga-1tflops"].read_text().replace("kind: fpga-1tflops", "kind: mine")
    (tmp_path / "mine.yaml").write_text(text)
    shown = command("devices", "./mine.yaml")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith(text)


def test_absurd_figures_are_shown_too(command: Any, tmp_path: Path) -> None:
    figures = "compute: 1e300 FLOP/s\nmemory_bandwidth: 1e-300 B/s\nmemory: 1 B\noverhead: 1e300 s\nsummary: x\n"
    (tmp_path / "absurd.yaml").write_text(f"kind: absurd\n{figures}")
    shown = command("devices", "absurd.yaml")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "= inf FLOP per byte" in shown.stdout


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("rtx-4900", "no device kind 'rtx-4900' (did you mean 'rtx-4090'?"),
        ("./mine.yaml", "there is no device file './mine.yaml'"),
        ("faulty.yaml", "faulty.yaml:3: memory_bandwidth: expected a bandwidth such as"),
    ],
)
def test_a_kind_that_is_not_there_or_faulty_is_bad_input(command: Any, tmp_path: Path, kind: str, told: str) -> None:
    figures = "compute: 1 TFLOP/s\nmemory_bandwidth: 0 GB/s\nmemory: 4 GB\noverhead: 1 us\nsummary: x\n"
    (tmp_path / "faulty.yaml").write_text(f"kind: faulty\n{figures}")
    done = command("devices", kind)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(told)


def test_the_table_of_the_docs_is_that_of_the_catalogue() -> None:
    rows = [line for line in DOCS.read_text().splitlines() if line.startswith("| `") and line.count("|") == 7]
    cells = [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in rows]
    expected = [tuple(re.split(r"\s{3,}", line)) for line in listed(200) if line.split()[:1] and "FLOP/s" in line]
    assert [(kind.strip("`"), *rest) for kind, *rest in cells] == expected
