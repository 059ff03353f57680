"""`ampsim sweep`: its rows, what it refuses, and how it goes on after it was stopped."""

from __future__ import annotations

import csv
import fcntl
import importlib.util
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import AMPSIM, BUSY_MACHINE_S, fail_on, living, wait_until

TINY = ("--set", "data.limit=200", "--set", "training.epochs=1")
KEYS = "training.max_active_keys"
BANDWIDTH = "cluster.network.bandwidth"
HUNDRED = ",".join(map(str, range(1, 101)))
SLOW = ("--set=data.limit=500", "--set=training.epochs=2", "--vary=training.max_active_keys=1,2,3,4,5,6")


def rows(folder: Path) -> list[dict[str, str]]:
    """The rows of a sweep, every line of which is whole."""
    text = (folder / "rows.csv").read_text()
    assert text.endswith("\n")
    with (folder / "rows.csv").open(newline="") as file:
        found = list(csv.DictReader(file, strict=True))
    assert all(None not in row and None not in row.values() for row in found)
    return found


def summary(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return content


class Sweep:
    """`ampsim sweep`, started as a process of its own."""

    def __init__(self, *arguments: str, cwd: Path) -> None:
        self.rows = cwd / "swept" / "rows.csv"
        self.process = subprocess.Popen(
            [*AMPSIM, "sweep", *arguments, "--out", "swept"], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.begun: list[psutil.Process] = []

    def wait_for_rows(self, count: int) -> None:
        """Until so many runs have ended and others are under way."""

        def are_there() -> bool:
            assert self.process.poll() is None, self.process.communicate()
            return self.rows.exists() and self.rows.read_text().count("\n") > count

        wait_until(are_there, f"{count} rows")
        self.begun = psutil.Process(self.process.pid).children(recursive=True)
        assert self.begun

    def wait_until_gone(self) -> float:
        """Until the process and all that it started have ended; the seconds it took."""
        return wait_until(
            lambda: self.process.poll() is not None and not living(self.begun),
            "the sweep is gone",
            1.0 + BUSY_MACHINE_S,
        )


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Sweep]]:
    """Start a sweep; whatever happens, it is gone at the end."""
    started: list[Sweep] = []

    def _start(*arguments: str) -> Sweep:
        started.append(Sweep(*arguments, cwd=tmp_path))
        return started[-1]

    yield _start
    for sweep in started:
        sweep.process.kill()
        sweep.process.communicate()
        fail_on(living(sweep.begun))


def test_each_combination_is_a_row_in_the_order_of_the_grid_with_the_figures_of_its_run(
    command: Any, tmp_path: Path
) -> None:
    varied = ("--vary", f"{KEYS}=4,1", "--vary", f"{BANDWIDTH}=1 Gbit/s,10 Gbit/s")
    done = command("sweep", "mnist-mlp", *TINY, *varied)
    assert (done.returncode, done.stderr) == (0, "")
    folder = tmp_path / "sweeps" / "mnist-mlp-1"
    assert sorted(os.listdir(folder)) == ["plot.svg", "rows.csv", "sweep.json"]
    found = rows(folder)
    expected = [("4", "1 Gbit/s"), ("4", "10 Gbit/s"), ("1", "1 Gbit/s"), ("1", "10 Gbit/s")]
    assert [(row[KEYS], row[BANDWIDTH]) for row in found] == expected
    assert {row["status"] for row in found} == {"finished"}
    assert {row["staleness_max"] for row in found[2:]} == {"0"}
    assert "rows: sweeps/mnist-mlp-1/rows.csv" in done.stdout
    assert len(re.findall(r"^\[\d/4\] ", done.stdout, re.MULTILINE)) == 4

    clock = ("--set", "cluster.clock=simulated", "--set", "cluster.numerics=off")
    alone = command("run", "mnist-mlp", *TINY, *clock, "--set", f"{KEYS}=4", "--set", f"{BANDWIDTH}=1 Gbit/s")
    assert alone.returncode == 0
    run, row = summary(tmp_path / "runs" / "mnist-mlp-1"), found[0]
    assert float(row["time_s"]) == run["time_s"]
    assert int(row["instances"]) == 200
    assert float(row["instances_per_second"]) == run["train"]["instances_per_second"]
    assert float(row["staleness_mean"]) == run["staleness"]["mean"]
    assert (float(row["bound_s"]), float(row["bound_fraction"])) == (run["bound"]["bound_s"], run["bound"]["fraction"])
    devices = run["devices"].values()
    assert float(row["utilization_max"]) == max(device["utilization"] for device in devices)
    assert run["devices"][row["busiest_device"]]["utilization"] == float(row["utilization_max"])
    assert int(row["bytes"]) == sum(device["bytes_sent"] for device in devices)
    assert int(row["messages"]) == sum(device["forward_messages"] + device["backward_messages"] for device in devices)
    if importlib.util.find_spec("pandas"):
        import pandas  # type: ignore[import-not-found,import-untyped,unused-ignore]  # may be missing

        frame = pandas.read_csv(folder / "rows.csv")
        assert frame.groupby(KEYS)["instances_per_second"].max()[4] == float(found[1]["instances_per_second"])


def test_with_numerics_the_rows_have_the_losses_also_where_the_arithmetic_differs(ampsim: Any, tmp_path: Path) -> None:
    settings = ("--set", "data.limit=100", "--set", "training.epochs=1")
    done = ampsim("sweep", "mnist-mlp-2-devices", *settings, "--vary", "cluster.numerics=native,portable", "--out", "a")
    assert (done.returncode, done.stderr) == (0, "")
    native, portable = rows(tmp_path / "a")
    assert native["time_s"] == portable["time_s"]
    for row in (native, portable):
        assert 0 < float(row["train.loss"]) < 10
        assert 0 <= float(row["test.accuracy"]) <= 1
    assert float(portable["train.loss"]) == pytest.approx(float(native["train.loss"]), rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((f"--vary={KEYS[:-1]}=1,2",), "did you mean 'max_active_keys'"),
        (("--vary", "seed=1,1"), "the value 1 stands there twice"),
        (("--vary", "seed=1", "--vary", "seed=2"), "varied twice"),
        (("--vary", "seed=1", "--set", "seed=2"), "--set gives it a value as well"),
        (("--vary", "seed="), "expected at least one value"),
        ((), "--vary: expected at least one key"),
        ((f"--vary=seed={HUNDRED}", f"--vary=training.epochs={HUNDRED},0"), "10,100 combinations"),
        (("--vary", "seed=1", "--out", "/proc/no/such"), "cannot make a directory there"),
        (("--vary", "seed=1", "--out", ""), "--out: expected a folder"),
        (("--vary", "seed=1", "--workers", "0"), "--workers"),
        (("--vary", "cluster.numerics=native", "--numerics", "off"), "leave one of the two out"),
        (("--vary", "cluster.clock=wall,simulated", "--numerics", "off"), "(with cluster.clock=wall)"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_bad_input_is_told_before_anything_is_made(
    command: Any, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    done = command("sweep", "mnist-mlp", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_faults_of_all_combinations_are_told_once_each_with_where_they_are(command: Any) -> None:
    devices = "cluster.devices={count: 1, kind: cpu-core},{count: 4, kind: cpu-core}"
    topology = "cluster.network.topology=ring,torus,mesh"
    varied = ("--vary", devices, "--vary", topology, "--vary", "training.epochs=1,0,-1")
    done = command("sweep", "mnist-mlp", *varied, "--set", "cluster.network.shape=[2, 2]", "--set", "training.epoch=1")
    assert done.returncode == 2
    told = done.stderr.splitlines()
    assert sum("training.epochs=0" in line for line in told) == 1
    assert sum("training.epochs=-1" in line for line in told) == 1
    assert sum("unknown key 'epoch'" in line and "(with" not in line for line in told) == 1
    (ring,) = (line for line in told if "(with cluster.network.topology=ring)" in line)
    assert "shape" in ring
    assert any(
        '(with cluster.devices={"count": 1, "kind": "cpu-core"}, cluster.network.topology=torus' in x for x in told
    )


def test_a_sweep_that_was_interrupted_or_killed_keeps_its_rows_and_is_taken_up_where_it_was(
    start: Any, command: Any, tmp_path: Path
) -> None:
    sweep = start("mnist-mlp", *SLOW)
    sweep.wait_for_rows(1)
    sweep.process.send_signal(signal.SIGINT)
    sweep.wait_until_gone()
    _, errors = sweep.process.communicate()
    assert sweep.process.returncode == 130
    kept = rows(tmp_path / "swept")
    assert 1 <= len(kept) < 6
    assert f"interrupted by SIGINT: {len(kept)} of 6 runs have a row in swept/rows.csv" in errors.decode()
    assert not (tmp_path / "swept" / "working").exists()

    sweep = start("mnist-mlp", *SLOW)
    sweep.wait_for_rows(len(kept) + 1)
    sweep.process.kill()
    sweep.wait_until_gone()
    more = rows(tmp_path / "swept")
    assert more[: len(kept)] == kept
    with sweep.rows.open("a") as file:
        file.write("6,finished,0.1")  # as a full disk leaves it

    done = command("sweep", "mnist-mlp", *SLOW[:-1], f"{SLOW[-1]},7", "--out", "swept")  # and one value more
    assert (done.returncode, done.stderr) == (0, "")
    assert f"(7 runs, {len(more)} of them are there)" in done.stdout
    found = rows(tmp_path / "swept")
    assert [row[KEYS] for row in found] == list("1234567")
    assert all(row in found for row in more)  # to the digit of wall_s: they were not made again
    assert not (tmp_path / "swept" / "working").exists()

    refused = command("sweep", "mnist-mlp", *SLOW, "--set", "seed=1", "--out", "swept")
    assert refused.returncode == 2
    assert "swept: holds a sweep of another config or other overrides (set was data.limit=500" in refused.stderr
    refused = command("sweep", "mnist-mlp", *SLOW, "--out", "swept")
    assert refused.returncode == 2
    assert "rows.csv:8: the row of training.max_active_keys=7 is not among --vary now" in refused.stderr
    assert rows(tmp_path / "swept") == found


MODEL = """
import os, signal, sys
from ampsim import DataSpec, Graph, GraphBuilder

def build(data: DataSpec, mood: str = "fine") -> Graph:
    if sys.modules["__main__"].__spec__.name == "ampsim.sweep.worker" and not os.path.exists("cured"):
        print("what a model prints")
        if mood == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if mood == "fails":
            raise RuntimeError("no more,\\nplease")
    graph = GraphBuilder(data.inputs)
    wire = graph.transform("linear", "linear", graph.input("image"), units=data.classes)
    graph.loss("loss", "softmax_cross_entropy", wire, graph.input("label"))
    return graph.graph()
"""
CONFIG = """
name: moods
model: {name: "moods:build"}
data: {name: mnist, limit: 100}
training: {optimizer: {name: sgd, learning_rate: 0.1}, epochs: 1}
cluster: {devices: {count: 1, kind: cpu-core}}
"""


def test_a_worker_that_dies_is_a_failed_row_and_the_others_go_on(ampsim: Any, tmp_path: Path) -> None:
    (tmp_path / "moods.py").write_text(MODEL)
    (tmp_path / "moods.yaml").write_text(CONFIG)
    sweep = ("sweep", "moods.yaml", "--vary", "model.mood=dies,fails,fine,better", "--workers", "1", "--out", "swept")
    done = ampsim(*sweep)
    assert done.returncode == 1
    assert "error: 2 of 4 runs failed: the column error of swept/rows.csv says why" in done.stderr
    dies, fails, fine, better = rows(tmp_path / "swept")
    assert [row["status"] for row in (dies, fails, fine, better)] == ["failed", "failed", "finished", "finished"]
    assert "was killed by SIGKILL" in dies["error"]
    assert "no more, please" in fails["error"]
    assert (dies["time_s"], fine["error"]) == ("", "")

    (tmp_path / "cured").touch()
    again = ampsim(*sweep, "--quiet")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.splitlines() == ["rows: swept/rows.csv", "plot: swept/plot.svg"]
    assert [row["status"] for row in rows(tmp_path / "swept")] == ["finished"] * 4
    assert rows(tmp_path / "swept")[2:] == [fine, better]

    (tmp_path / "moods.yaml").write_text(CONFIG.replace("limit: 100", "limit: 200"))
    changed = ampsim(*sweep)
    assert changed.returncode == 2
    assert "rows.csv:2: the row of model.mood=dies was made with another config" in changed.stderr


def test_a_directory_of_something_else_or_in_use_is_refused(command: Any, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    done = command("sweep", "mnist-mlp", *TINY, "--vary", "seed=1", "--out", ".")
    assert done.returncode == 2
    assert "is not a row of a sweep" in done.stderr
    (tmp_path / "rows.csv").unlink()
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    done = command("sweep", "mnist-mlp", *TINY, "--vary", "seed=1", "--out", ".")
    os.close(descriptor)
    assert done.returncode == 2
    assert "another sweep is writing there" in done.stderr
    assert list(tmp_path.iterdir()) == []
