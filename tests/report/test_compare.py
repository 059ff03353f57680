"""Two made-up runs side by side."""

from __future__ import annotations

import json
from copy import deepcopy
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import save_file

from ampsim.errors import BadInput
from ampsim.report.compare import Run, compare
from ampsim.report.compare_tables import MOST_PARAMETERS, comparison

CONFIG = """\
name: mnist-mlp
seed: 0
training: {max_active_keys: 4, optimizer: {name: sgd, learning_rate: 0.1}, stop_at: {}}
cluster:
  clock: wall
  devices:
    d0: {kind: cpu-core, nodes: [linear1, relu1]}
"""
DEVICE = {
    "kind": "cpu-core",
    "pid": 8,
    "utilization": 0.25,
    "busy_s": 1.5,
    "forward_messages": 5000,
    "backward_messages": 4000,
    "updates": 2000,
    "staleness_mean": 1.75,
    "staleness_max": 3,
    "bytes_sent": 784_000_000,
    "bytes_received": 0,
    "peak_memory_bytes": 7_000_000,
}
SUMMARY = {
    "name": "mnist-mlp",
    "status": "finished",
    "pid": 7,
    "clock": "wall",
    "epochs": 1,
    "time_s": 4.0,
    "validation_time_s": 1.0,
    "wall_s": 5.5,
    "train": {"loss": 0.5, "accuracy": 0.75, "instances": 100, "instances_per_second": 25.0},
    "test": {"loss": 0.25, "accuracy": 0.875, "instances": 10},
    "parameters_sha256": "a" * 64,
    "devices": {"d0": DEVICE},
    "arithmetic": {
        "numerics": "native",
        "numpy": "2.4.6",
        "blas": [{"library": "openblas", "version": "0.3.31", "kernel": "SkylakeX", "threads": 1}],
        "simd": ["X86_V2", "X86_V4"],
        "libc": "glibc 2.36",
        "libc_features": ["FMA", "AVX2"],
        "cpu": "AMD EPYC",
    },
}
PASSES = [
    {"epoch": 1, "split": "train", "loss": 0.5, "accuracy": 0.75, "instances": 100, "time_s": 4.0, "wall_s": 5.0},
    {"epoch": 1, "split": "test", "loss": 0.25, "accuracy": 0.875, "instances": 10, "time_s": 4.0, "wall_s": 5.5},
]
PARAMETERS = {"linear1.bias": np.array([3, 4], np.float32), "linear1.weight": np.ones((2, 2), np.float32)}


class Made:
    """A run directory that is written part by part."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.path, self.config, self.summary = path, CONFIG, deepcopy(SUMMARY)
        self.passes, self.parameters = deepcopy(PASSES), dict(PARAMETERS)

    def read(self) -> Run:
        (self.path / "config.yaml").write_text(self.config)
        (self.path / "summary.json").write_text(json.dumps(self.summary))
        (self.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in self.passes))
        if self.parameters is not None:
            save_file(self.parameters, self.path / "parameters.safetensors")
        return Run.read(self.path)


@pytest.fixture
def left(tmp_path):
    return Made(tmp_path / "left")


@pytest.fixture
def right(tmp_path):
    return Made(tmp_path / "right")


def printed(found) -> str:
    file = StringIO()
    for part in comparison(found):
        Console(file=file, width=120).print(part, markup=False, highlight=False, soft_wrap=True)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def test_a_run_beside_itself_differs_in_nothing(left):
    found = compare(left.read(), left.read())
    assert (found["config"], found["arithmetic"], found["notes"], found["parameters"]) == ({}, {}, [], [])
    assert found["parameters_equal"] is True
    assert "parameters: the same bits (sha256 " + "a" * 64 in printed(found)
    assert "config: the same" in printed(found)


def test_the_config_is_compared_key_by_key(left, right):
    right.config = CONFIG.replace("0.1", "0.2").replace("linear1, relu1", "linear1").replace("seed: 0\n", "")
    found = compare(left.read(), right.read())
    assert found["config"] == {
        "training.optimizer.learning_rate": (0.1, 0.2),
        "cluster.devices.d0.nodes": (["linear1", "relu1"], ["linear1"]),
        "seed": (0, None),
    }
    lines = printed(found).splitlines()
    assert any(line.split() == ["training.optimizer.learning_rate", "0.1", "0.2"] for line in lines)
    assert any(line.split() == ["seed", "0", "-"] for line in lines)


def test_the_outcome_and_each_pass_are_paired(left, right):
    right.summary.update(status="stopped", time_s=8.0, train={"loss": 0.125, "mae": 2.0, "instances_per_second": 50.0})
    right.passes = [PASSES[0] | {"loss": 0.125}, PASSES[0] | {"epoch": 2}]
    found = compare(left.read(), right.read())
    outcome = found["outcome"]
    assert outcome["status"] == ("finished", "stopped")
    assert outcome["time_s"] == (4.0, 8.0)
    assert outcome["train.instances_per_second"] == (25.0, 50.0)
    assert outcome["train.loss"] == (0.5, 0.125)
    assert outcome["train.mae"] == (None, 2.0)
    assert outcome["test.accuracy"] == (0.875, 0.875)
    assert [(line["epoch"], line["split"], line["loss"]) for line in found["passes"]] == [
        (1, "train", (0.5, 0.125)),
        (1, "test", (0.25, None)),
        (2, "train", (None, 0.5)),
    ]
    assert ["2", "train", "-", "0.5"] in [line.split()[:4] for line in printed(found).splitlines()]


def test_devices_are_paired_by_name(left, right):
    right.summary["devices"] = {"d0": DEVICE | {"utilization": 0.5}, "d1": DEVICE | {"bytes_sent": 5}}
    found = compare(left.read(), right.read())
    assert found["devices"]["d0"]["utilization"] == (0.25, 0.5)
    assert found["devices"]["d0"]["staleness_mean"] == (1.75, 1.75)
    assert found["devices"]["d1"]["bytes_sent"] == (None, 5)
    lines = [line.split() for line in printed(found).splitlines() if line.startswith(("d0", "d1"))]
    assert lines[0][:4] == ["d0", "(cpu-core)", "left", "25.0%"]
    assert lines[1][:4] == ["d0", "(cpu-core)", "right", "50.0%"]
    assert lines[2] == ["d1", "left", *"-" * 8]
    assert lines[3][-4:] == ["5", "B", "0", "B"]


def test_parameters_that_differ_are_told_one_by_one(left, right):
    right.summary["parameters_sha256"] = "b" * 64
    right.parameters["linear1.bias"] = np.array([3, 0], np.float32)
    found = compare(left.read(), right.read())
    assert found["parameters_equal"] is False
    assert found["parameters"] == [{"name": "linear1.bias", "relative": 0.8, "largest": 4.0}]
    assert any(line.split() == ["linear1.bias", "0.8", "4"] for line in printed(found).splitlines())


def test_of_many_parameters_the_table_shows_the_farthest(left, right):
    names = [f"n{number:02}.w" for number in range(MOST_PARAMETERS + 3)]
    right.summary["parameters_sha256"] = "b" * 64
    left.parameters = {name: np.array([1], np.float32) for name in names}
    right.parameters = {name: np.array([2 + number], np.float32) for number, name in enumerate(names)}
    found = compare(left.read(), right.read())
    assert len(found["parameters"]) == MOST_PARAMETERS + 3
    text = printed(found)
    assert "... and 3 more" in text
    assert (names[-1] in text, names[0] in text) == (True, False)


def other_arithmetic(run):
    run.summary["arithmetic"]["blas"][0]["kernel"] = "Haswell"
    run.summary["arithmetic"]["simd"] = ["X86_V2"]


def test_another_arithmetic_is_named_as_a_cause_of_other_weights(left, right):
    other_arithmetic(right)
    right.summary["parameters_sha256"] = "b" * 64
    found = compare(left.read(), right.read())
    assert found["arithmetic"] == {
        "blas": (["openblas 0.3.31 SkylakeX"], ["openblas 0.3.31 Haswell"]),
        "simd": (["X86_V2", "X86_V4"], ["X86_V2"]),
    }
    told = "because of the arithmetic alone: the BLAS or its kernel and the CPU features that NumPy uses differ."
    assert told in found["notes"][-1]
    assert told in printed(found)


def test_the_same_weights_by_another_arithmetic_are_told_as_such(left, right):
    other_arithmetic(right)
    (note,) = compare(left.read(), right.read())["notes"]
    assert note.startswith("The arithmetic is not the same")
    assert note.endswith("and yet the weights are.")


def test_another_cpu_is_no_cause_by_itself_and_neither_is_what_an_old_run_did_not_record(left, right):
    right.summary["arithmetic"]["cpu"] = "another"
    del right.summary["arithmetic"]["libc"]
    found = compare(left.read(), right.read())
    assert found["arithmetic"] == {"libc": ("glibc 2.36", None), "cpu": ("AMD EPYC", "another")}
    assert found["notes"] == []
    right.summary["arithmetic"] = None
    assert compare(left.read(), right.read())["notes"] == []


def test_the_wall_clock_is_named_as_a_cause_where_several_instances_were_in_flight(left, right):
    right.summary["parameters_sha256"] = "b" * 64
    (note,) = compare(left.read(), right.read())["notes"]
    assert "because of the wall clock alone" in note
    for run in (left, right):
        run.config = CONFIG.replace("max_active_keys: 4", "max_active_keys: 1")
    assert compare(left.read(), right.read())["notes"] == []


def test_devices_in_the_controllers_process_take_turns_and_do_not_race(left, right):
    right.summary["parameters_sha256"] = "b" * 64
    for run in (left, right):
        run.summary["pid"] = DEVICE["pid"]
    assert compare(left.read(), right.read())["notes"] == []


def test_a_failed_run_without_parameters_is_compared_as_far_as_it_went(left, right):
    del right.summary["parameters_sha256"]
    right.summary["status"], right.parameters = "failed", None
    found = compare(left.read(), right.read())
    assert (found["parameters_equal"], found["parameters"]) == (None, [])
    (note,) = found["notes"]
    assert note.endswith("right: has no final parameters; its status is 'failed'.")
    assert "parameters: not compared" in printed(found)


@pytest.mark.parametrize("both", [True, False])
def test_runs_of_the_clock_alone_have_no_weights_that_could_be_the_same(left, right, both):
    for run in (left, right) if both else (right,):
        run.parameters = {}
    found = compare(left.read(), right.read())
    assert (found["parameters_equal"], found["parameters"]) == (None, [])
    assert len(found["notes"]) == 1 + both
    assert found["notes"][-1].endswith("right: has no parameters: it ran the clock alone (cluster.numerics: off).")
    assert "parameters: not compared" in printed(found)


def test_parameters_whose_file_is_gone_are_told(left, right):
    right.summary["parameters_sha256"], right.parameters = "b" * 64, None
    found = compare(left.read(), right.read())
    assert (found["parameters_equal"], found["parameters"]) == (False, [])
    assert "right: parameters.safetensors is gone" in found["notes"][0]


def test_a_run_that_is_still_going_is_refused(left):
    left.summary.update(status="running", host="another-machine")
    with pytest.raises(BadInput, match=r"left: the run is still going: compare it once it has ended"):
        left.read()


@pytest.mark.parametrize("config", ["", "[1]", "name: {", "a: 1\na: 2\n"])
def test_a_config_that_cannot_be_read_is_told_by_its_path(left, config):
    left.config = config
    with pytest.raises(BadInput, match=r"left/config\.yaml"):
        left.read()
