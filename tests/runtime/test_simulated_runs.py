"""Runs on the simulated clock: every bit is a function of the config, in whatever way it is run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DATA = {
    "mnist-mlp": ("data.limit=600", "data.validation=200", "training.max_active_keys=4"),
    "list-reduction-rnn": ("data.train=200", "data.validation=50", "data.test=50", "data.batch=10"),
    "list-reduction-rnn-4-replicas": ("data.train=200", "data.validation=50", "data.test=50", "data.batch=10"),
    "list-reduction-rnn-2-replicas": ("data.train=300", "data.validation=50", "data.test=50", "data.batch=10"),
    "sst-tree-lstm": ("data.limit=12", "training.max_active_keys=8", "training.min_update_frequency=20"),
    "babi15-ggsnn": ("data.limit=40", "training.max_active_keys=8", "training.min_update_frequency=20"),
    "qm9-ggsnn": ("data.limit=20", "data.validation=10", "data.test=10", "training.min_update_frequency=20"),
    "sst-tree-lstm-2-replicas": (
        "data.limit=30",
        "training.inject_at_once=5",
        "training.instances_per_update=2",
        "training.min_update_frequency=20",
    ),
}


@pytest.fixture
def simulate(ampsim: Any, tmp_path: Path, sample: Path) -> Any:
    """Run a shipped config on the simulated clock for two epochs on few data, and return its run directory."""

    def run(name: str, out: str, *arguments: str) -> Path:
        settings = (*DATA[name], "training.epochs=2", "cluster.clock=simulated", "cluster.log_interval=200 us")
        done = ampsim("run", name, *(f"--set={text}" for text in settings), *arguments, "--out", out, "--quiet")
        assert (done.returncode, done.stderr) == (0, "")
        return tmp_path / out

    return run


@pytest.fixture
def busy_machine() -> Iterator[None]:
    """Other work on every core."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    yield
    for loop in loops:
        loop.kill()
        loop.wait()


def summary(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return found


def clock_side(run: Path) -> dict[str, Any]:
    """All that the clock tells: the passes' times and bounds, the devices' logs and spans."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    times = [{key: line[key] for key in ("epoch", "split", "time_s", "duration_s", "bound")} for line in lines]
    files = {path.name: path.read_bytes() for folder in ("devices", "spans") for path in (run / folder).iterdir()}
    return {"passes": times, "links": summary(run)["links"], **files}


def metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, but for the host's time."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "wall_s"} for line in lines]


@pytest.mark.parametrize("name", DATA)
def test_processes_the_reference_and_the_clock_alone_agree_to_the_bit(simulate: Any, name: str) -> None:
    processes, reference = simulate(name, "processes"), simulate(name, "reference", "--in-process")
    alone = simulate(name, "alone", "--set=cluster.numerics=off", "--set=training.stop_at={}")
    assert summary(processes)["parameters_sha256"] == summary(reference)["parameters_sha256"]
    assert metrics(processes) == metrics(reference)
    assert clock_side(processes) == clock_side(reference)
    if len(metrics(alone)) == len(metrics(processes)):  # or the others stopped at their target
        assert clock_side(alone) == clock_side(processes)
    assert "parameters_sha256" not in summary(alone)
    assert len({device["pid"] for device in summary(processes)["devices"].values()}) > 1


def test_a_busy_machine_and_a_single_core_change_nothing(simulate: Any, busy_machine: None) -> None:
    free = simulate("babi15-ggsnn", "free")
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # the run inherits it
    try:
        pinned = simulate("babi15-ggsnn", "pinned")
    finally:
        os.sched_setaffinity(0, cores)
    assert summary(pinned)["parameters_sha256"] == summary(free)["parameters_sha256"]
    assert (metrics(pinned), clock_side(pinned)) == (metrics(free), clock_side(free))


def test_gradients_are_stale_on_the_simulated_clock_too(simulate: Any) -> None:
    run = summary(simulate("mnist-mlp", "run"))
    assert 0 < run["staleness"]["mean"] <= run["staleness"]["max"] <= 3
    alone = summary(simulate("mnist-mlp", "one", "--set=training.max_active_keys=1"))
    assert alone["staleness"] == {"mean": 0.0, "max": 0}
    assert alone["bound"]["fraction"] == pytest.approx(1.0, rel=1e-12)
