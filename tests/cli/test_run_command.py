"""`ampsim run` as a user would type it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ampsim.config.catalogue import shipped

TINY = ("--set", "data.limit=200", "--set", "training.epochs=1", "--set", "model.hidden=[16,16,16]")
QUICK = (*TINY, "--in-process")
"""Without device processes: for what does not depend on them."""
SMALL = {
    "list-reduction-rnn": ("train=300", "validation=50", "test=50"),
    "list-reduction-rnn-2-replicas": ("train=300", "validation=50", "test=50"),
    "list-reduction-rnn-4-replicas": ("train=300", "validation=50", "test=50"),
    "sst-tree-lstm": ("limit=10",),
    "sst-tree-lstm-2-replicas": ("limit=10",),
    "babi15-ggsnn": ("limit=30",),
    "babi15-ggsnn-2-replicas": ("limit=30",),
    "qm9-ggsnn": ("validation=10", "test=10"),
    "qm9-ggsnn-2-replicas": ("validation=10", "test=10"),
    "qm9-ggsnn-16-devices": ("validation=10", "test=10"),
}
"""Options that make the data of a shipped config few."""

OWN_MODULE = """\
import numpy as np
from ampsim import GraphBuilder, elementwise

softsign = elementwise("softsign", lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2)

def build(data, *, units: int = 16):
    graph = GraphBuilder(data.inputs)
    wire = graph.transform("first", "linear", graph.input("image"), units=units)
    wire = graph.transform("squash", softsign, wire)
    wire = graph.transform("last", "linear", wire, units=data.classes)
    graph.loss("loss", "softmax_cross_entropy", wire, graph.input("label"))
    return graph.graph()
"""

OWN_CONFIG = """\
name: own
model: {name: "my_module:build", units: 24}
data: {name: mnist, batch: 50, limit: 1000}
training: {optimizer: {name: momentum, learning_rate: 0.1}, epochs: 2}
cluster: {devices: {count: 2, kind: cpu-core}}
"""


def summary(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return content


@pytest.mark.parametrize("name", shipped("configs"))
def test_every_shipped_config_checks_and_trains_from_any_folder(
    ampsim: Any, tmp_path: Path, sample: Path, name: str
) -> None:
    settings = [f"--set=data.{setting}" for setting in SMALL.get(name, ("limit=200",))]
    done = ampsim("run", name, *settings, "--set", "training.epochs=1")
    assert (done.returncode, done.stderr) == (0, "")
    run = tmp_path / "runs" / f"{name}-1"
    assert f"run directory: runs/{name}-1" in done.stdout
    assert summary(run)["status"] == "finished"
    checked = ampsim("check", str(run / "config.yaml"))
    assert (checked.returncode, checked.stderr) == (0, "")
    assert f"{name}: ok" in checked.stdout


def test_a_model_of_ones_own_trains_from_a_folder_outside_the_repository(ampsim: Any, tmp_path: Path) -> None:
    folder = tmp_path / "my project"
    folder.mkdir()
    (folder / "my_module.py").write_text(OWN_MODULE)
    (folder / "own.yaml").write_text(OWN_CONFIG)
    done = ampsim("run", "my project/own.yaml", "--out", "trained")
    assert (done.returncode, done.stderr) == (0, "")
    result = summary(tmp_path / "trained")
    assert result["test"]["accuracy"] > 0.5
    assert set(result["nodes"]) == {"first", "last"}
    assert "units: 24" in (tmp_path / "trained" / "config.yaml").read_text()


def test_runs_of_one_name_are_numbered_also_when_they_start_at_once(ampsim: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ampsim", "run", "mnist-mlp", *QUICK, "--quiet"]
    both = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = sorted(run.communicate(timeout=60)[0].splitlines()[-1] for run in both)
    assert told == ["run directory: runs/mnist-mlp-1", "run directory: runs/mnist-mlp-2"]
    assert [run.returncode for run in both] == [0, 0]


def test_quiet_prints_the_result_and_where_it_is(command: Any, tmp_path: Path) -> None:
    done = command("run", "mnist-mlp", *QUICK, "--quiet", "--out", "here")
    assert (done.returncode, done.stderr) == (0, "")
    result, bound, where = done.stdout.splitlines()
    assert bound.startswith("bound: ")
    assert result.startswith("mnist-mlp: finished; 1 epoch; validation loss ")
    assert f"accuracy {summary(tmp_path / 'here')['test']['accuracy']:.4f}" in result
    assert where == "run directory: here"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("mnist-mpl",), "mnist-mlp"),
        (("mnist-mlp", "--set", "training.epoch=1"), "did you mean 'epochs'"),
        (("mnist-mlp", "--set", "cluster.devices.d0.kind=gpu"), "no device kind 'gpu'"),
        (("mnist-mlp", "--set", "cluster.log_interval=1 us"), "log_interval"),
        (("mnist-mlp", "--set", "model.name=nowhere:build"), "nowhere"),
        (("mnist-mlp", "--set", "nonsense"), "nonsense"),
        (("mnist-mlp", "--frobnicate"), "--frobnicate"),
        ((), "CONFIG"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_told_on_stderr_and_starts_nothing(
    command: Any, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    done = command("run", *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_holds_a_run_is_refused_and_stays_as_it_is(command: Any, tmp_path: Path) -> None:
    assert command("run", "mnist-mlp", *QUICK, "--out", "here").returncode == 0
    before = (tmp_path / "here" / "summary.json").read_bytes()
    again = command("run", "mnist-mlp", *QUICK, "--out", "here")
    assert again.returncode == 2
    assert "here: holds a run already" in again.stderr
    assert (tmp_path / "here" / "summary.json").read_bytes() == before


@pytest.mark.parametrize("out", ["file", "file/below", "/proc/self", "/proc/self/new", ""])
def test_a_directory_that_cannot_be_written_is_bad_input(command: Any, tmp_path: Path, out: str) -> None:
    (tmp_path / "file").touch()
    done = command("run", "mnist-mlp", *QUICK, "--out", out)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert out in done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody can write")
def test_a_current_folder_that_cannot_be_written_is_bad_input(ampsim: Any) -> None:
    done = ampsim("run", "mnist-mlp", *QUICK, cwd="/proc")
    assert done.returncode == 2
    assert done.stderr.startswith("runs: cannot make a run directory there")


def test_a_full_disk_ends_the_run_and_is_told(ampsim: Any, tmp_path: Path) -> None:
    # 16 blocks of 1,024 bytes for each file; the parameters need more.
    line = f"ulimit -f 16; exec {sys.executable} -m ampsim run mnist-mlp {' '.join(TINY)} --out here"
    shell = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert shell.returncode == 1
    assert "File too large" in shell.stderr
    assert "Traceback" not in shell.stderr
    assert summary(tmp_path / "here")["status"] == "failed"
    assert ampsim("report", "here").returncode == 0


def test_a_reader_that_leaves_does_not_disturb_the_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ampsim", "run", "mnist-mlp", *TINY, "--out", "here"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout
        assert run.stderr
        assert run.stdout.readline() == b"run directory: here\n"
        run.stdout.close()
        assert b"Traceback" not in run.stderr.read()
    assert run.returncode in (0, 1)
    assert summary(tmp_path / "here")["status"] == "finished"


def test_a_run_needs_no_standard_streams(tmp_path: Path) -> None:
    line = f"exec {sys.executable} -m ampsim run mnist-mlp {' '.join(TINY)} --out here <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", line], cwd=tmp_path, timeout=60).returncode == 0
    assert summary(tmp_path / "here")["status"] == "finished"


@pytest.mark.parametrize(
    "environment",
    [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONIOENCODING": "latin-1"}],
    ids=["C", "latin-1"],
)
def test_a_locale_without_unicode_does_no_harm(ampsim: Any, tmp_path: Path, environment: dict[str, str]) -> None:
    done = ampsim("run", "mnist-mlp", *QUICK, "--out", "here", environment=environment, encoding="latin-1")
    assert (done.returncode, done.stderr) == (0, "")
    report = ampsim("report", "here", environment=environment, encoding="latin-1")
    assert (report.returncode, report.stderr) == (0, "")
    assert "d0 (cpu-core)" in report.stdout


@pytest.mark.parametrize("temporary", ["missing", "long"])
def test_any_temporary_folder_and_no_home_will_do(ampsim: Any, tmp_path: Path, temporary: str) -> None:
    folder = tmp_path / (temporary * 20)
    if temporary == "long":
        folder.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "HOME"} | {"TMPDIR": str(folder)}
    line = [sys.executable, "-m", "ampsim", "run", "mnist-mlp", *TINY, "--quiet", "--out", "here"]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_loss_that_is_not_finite_is_told_and_kept_as_json(ampsim: Any, tmp_path: Path) -> None:
    done = ampsim("run", "mnist-mlp", *QUICK, "--set", "training.optimizer.learning_rate=1e30", "--out", "here")
    assert done.returncode == 0

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads((tmp_path / "here" / "summary.json").read_text(), parse_constant=refuse)
    for line in (tmp_path / "here" / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refuse)
    assert "nan" in ampsim("report", "here").stdout
