"""`ampsim graph`: every shipped config in every format, and what it says when it can't."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from pygraphviz import AGraph

from ampsim.config.catalogue import shipped
from ampsim.config.load import load
from ampsim.data.cache import CACHE_VARIABLE, DATA_VARIABLE

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def _neither_data_nor_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "no-cache"))


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError(f"a process is started: {arguments}")

    monkeypatch.setattr(subprocess, "Popen", refuse)


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize("name", shipped("configs"))
def test_every_shipped_config_is_drawn_in_every_format(command: Any, tmp_path: Path, name: str) -> None:
    for file in ("g.svg", "g.png", "g.dot", "g.gv", "g.mmd", "g.mermaid"):
        done = command("graph", name, "--output", file)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    nodes = set(load(name).graph.nodes)
    shown = {"".join(e.itertext()) for e in ElementTree.parse(tmp_path / "g.svg").iter() if e.tag.endswith("text")}
    assert nodes <= shown
    png = (tmp_path / "g.png").read_bytes()
    assert png.startswith(PNG)
    assert len(png) > 10_000
    assert nodes <= set(AGraph(string=(tmp_path / "g.dot").read_text()).nodes())
    assert (tmp_path / "g.dot").read_bytes() == (tmp_path / "g.gv").read_bytes()
    assert (tmp_path / "g.mmd").read_bytes() == (tmp_path / "g.mermaid").read_bytes()
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".dot", ".gv", ".mermaid", ".mmd", ".png", ".svg"]


def test_standard_output_gets_mermaid_unless_told_otherwise(command: Any) -> None:
    done = command("graph", "mnist-mlp")
    assert (done.returncode, done.stderr) == (0, "")
    assert "flowchart TB" in done.stdout
    for chosen, begin in (("mermaid", "---\ntitle"), ("dot", "digraph"), ("svg", "<?xml")):
        done = command("graph", "mnist-mlp", "--format", chosen)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(begin)


def test_a_png_can_be_piped_and_libraries_in_c_add_nothing_to_the_output(ampsim: Any) -> None:
    done = ampsim("graph", "mnist-mlp", "--format", "png", text=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(PNG)


def test_a_png_is_not_written_to_a_terminal(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    done = command("graph", "mnist-mlp", "--format", "png")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--output" in done.stderr


def test_the_format_asked_for_goes_before_the_ending(command: Any, tmp_path: Path) -> None:
    assert command("graph", "mnist-mlp", "--output", "g.txt", "--format", "dot").returncode == 0
    assert (tmp_path / "g.txt").read_text().startswith("digraph")


def test_the_placement_is_that_of_the_overrides(command: Any) -> None:
    done = command("graph", "mnist-mlp", "--set", "cluster.devices={count: 1, kind: cpu-core}")
    assert "==>" not in done.stdout.split("legend")[0]
    assert done.stdout.count("cpu-core") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--format", "sgv"], "no format 'sgv' (did you mean 'svg'?"),
        (["--output", "g.pdf"], ".svg, .png, .dot, .gv, .mmd or .mermaid"),
        (["--output", "g"], "add --format"),
        (["--output", ""], "add --format"),
        (["--output", "nowhere/g.dot"], "cannot write nowhere/g.dot: No such file or directory"),
        (["--output", ".", "--format", "svg"], "cannot write .: Is a directory"),
        (["--set", "seed=x"], "seed"),
    ],
)
def test_bad_input_is_told_in_one_line(command: Any, tmp_path: Path, arguments: list[str], told: str) -> None:
    done = command("graph", "mnist-mlp", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_the_cure_is_told_and_texts_are_written_all_the_same(
    command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    done = command("graph", "mnist-mlp", "--output", "g.svg")
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'ampsim[graph]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    for chosen in ("dot", "mermaid"):
        assert command("graph", "mnist-mlp", "--format", chosen).returncode == 0


def test_a_library_that_the_system_lacks_is_named(
    command: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pygraphviz.py").write_text("raise ImportError('libX.so.1: cannot open shared object file')")
    monkeypatch.delitem(sys.modules, "pygraphviz", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    done = command("graph", "mnist-mlp", "--format", "png")
    assert done.returncode == 2
    assert "libX.so.1" in done.stderr
    assert "apt-get install graphviz" in done.stderr
