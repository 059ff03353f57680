"""Replicas of a node: they start as equals, update on their own, and are averaged at the end of an epoch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from ampsim.data.dataset import DataSpec, Instance, Messages, Split
from ampsim.ir.builder import GraphBuilder
from ampsim.ir.graph import Graph
from ampsim.ir.node import TrainingSetup
from ampsim.ir.structure import StructureTable
from ampsim.ops.optimizers import sgd
from ampsim.ops.table import ArraySpec
from ampsim.runtime.controller_core import ControllerCore, Plan
from ampsim.runtime.controller_events import (
    AssignParameters,
    CollectReplicas,
    DeviceEndedEpoch,
    EndEpochOnDevices,
    PassEnded,
    ReplicasCollected,
)

NODES = ("linear_choose", "linear_0", "linear_1", "linear_2", "linear_join", "loss")
PLACEMENT = dict(zip(NODES, ("d0", "d1", "d2", "d1", "d0", "d0"), strict=True))
SMALL = [f"--set=data.{setting}" for setting in ("train=400", "validation=100", "test=100", "batch=10")]


class NoTraining:
    """A data set without training instances: an epoch begins with its end."""

    spec = DataSpec({"x": ArraySpec((2,)), "y": ArraySpec((3,))})
    splits = {"train": Split(0, 0), "validation": Split(1, 1), "test": Split(1, 1)}

    def instances(self, split: str, epoch: int) -> Any:
        if split != "train":
            x, y = np.zeros((1, 2), np.float32), np.zeros((1, 3), np.float32)
            yield Instance({"x": Messages((x,)), "y": Messages((y,))}, size=1)


def graph(replicas: int = 3) -> Graph:
    builder = GraphBuilder(NoTraining.spec.inputs)
    wire = builder.replicated("linear", replicas, "linear", builder.input("x"), units=3)
    builder.loss("loss", "squared_error", wire, builder.input("y"))
    return builder.graph()


def test_one_replica_is_the_plain_node() -> None:
    assert list(graph(1).nodes) == ["linear", "loss"]
    assert graph(1).replicas == ()


def test_replicas_start_as_equals_and_as_the_plain_node_would() -> None:
    setup = TrainingSetup(0, sgd(learning_rate=0.1))
    plain = graph(1).nodes["linear"].build(setup, StructureTable()).parameters
    assert plain is not None
    for name in ("linear_0", "linear_1", "linear_2"):
        parameters = graph().nodes[name].build(setup, StructureTable()).parameters
        assert parameters is not None
        np.testing.assert_array_equal(parameters.values["weight"], plain.values["weight"])


def test_at_the_end_of_an_epoch_each_host_is_asked_and_gets_the_average_before_validation_begins() -> None:
    core = ControllerCore(Plan(1, 1), graph(), PLACEMENT, NoTraining())
    assert any(isinstance(action, EndEpochOnDevices) for action in core.next_pass())
    asked = [action for device in ("d0", "d1", "d2") for action in core.handle(DeviceEndedEpoch(device))]
    assert asked == [CollectReplicas("d1", ["linear_0", "linear_2"]), CollectReplicas("d2", ["linear_1"])]

    def values(number: float) -> np.ndarray[Any, Any]:
        return np.full(2, number, np.float32)

    of_d1 = ReplicasCollected("d1", {"linear_0.weight": values(1), "linear_2.weight": values(6)})
    assert core.handle(of_d1) == []
    assigned = core.handle(ReplicasCollected("d2", {"linear_1.weight": values(2)}))
    assert [type(action) for action in assigned] == [AssignParameters, AssignParameters]
    given = {
        (action.device, name): value.tolist()
        for action in assigned
        if isinstance(action, AssignParameters)
        for name, value in action.values.items()
    }
    assert given == {
        ("d1", "linear_0.weight"): [3, 3],
        ("d1", "linear_2.weight"): [3, 3],
        ("d2", "linear_1.weight"): [3, 3],
    }
    assert core.handle(DeviceEndedEpoch("d1")) == []
    (ended,) = core.handle(DeviceEndedEpoch("d2"))
    assert isinstance(ended, PassEnded)
    assert (ended.split, ended.instances) == ("train", 0)


@pytest.mark.parametrize("how", [(), ("--in-process",)])
def test_replicas_learn_apart_and_end_an_epoch_as_equals(ampsim: Any, tmp_path: Path, how: tuple[str, ...]) -> None:
    settings = [*SMALL, "--set=training.epochs=2", "--set=training.min_update_frequency=1"]
    done = ampsim("run", "list-reduction-rnn-4-replicas", *settings, "--out", "run", "--quiet", *how)
    assert (done.returncode, done.stderr) == (0, "")
    parameters = load_file(tmp_path / "run" / "parameters.safetensors")
    replicas = [parameters[f"linear1_{number}.weight"] for number in range(4)]
    for replica in replicas[1:]:
        np.testing.assert_array_equal(replica, replicas[0])
    nodes = json.loads((tmp_path / "run" / "summary.json").read_text())["nodes"]
    updates = [nodes[f"linear1_{number}"]["updates"] for number in range(4)]
    assert min(updates) > 0
    assert len(set(updates)) > 1, "each counts its own"


def test_with_one_instance_in_flight_replicas_learn_the_same_in_processes_and_in_process(
    ampsim: Any, tmp_path: Path
) -> None:
    shas = set()
    for out, *how in (["processes"], ["reference", "--in-process"]):
        settings = [*SMALL, "--set=training.epochs=1", "--set=training.max_active_keys=1"]
        done = ampsim("run", "list-reduction-rnn-4-replicas", *settings, "--out", out, "--quiet", *how)
        assert (done.returncode, done.stderr) == (0, "")
        shas.add(json.loads((tmp_path / out / "summary.json").read_text())["parameters_sha256"])
    assert len(shas) == 1
