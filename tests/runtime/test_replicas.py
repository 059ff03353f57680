"""Replicas of a node: they start as equals, update on their own, and are averaged at the end of an epoch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from safetensors.numpy import load_file

from ampsim.config.load import load
from ampsim.data.dataset import DataSpec, Instance, Messages, Split
from ampsim.ir.batch import Batch, Direction
from ampsim.ir.builder import GraphBuilder
from ampsim.ir.graph import Graph
from ampsim.ir.node import TrainingSetup
from ampsim.ir.replicas import replicated
from ampsim.ir.structure import StructureTable
from ampsim.ops.optimizers import sgd
from ampsim.ops.table import ArraySpec
from ampsim.runtime.controller_core import ControllerCore, Plan
from ampsim.runtime.controller_events import (
    AssignParameters,
    CollectReplicas,
    DeviceEndedEpoch,
    EndEpochOnDevices,
    Home,
    PassEnded,
    ReplicasCollected,
)
from ampsim.runtime.device_core import DeviceCore
from ampsim.runtime.device_events import Deliver, EndEpoch, EpochEnded, HandedOut, HandOut, Report, Send, Turn
from ampsim.runtime.queues import Entry, message_queues
from ampsim.runtime.run import Observer, run

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


def test_instances_take_turns_at_the_copies_of_a_graph_wave_by_wave(clock: Any) -> None:
    copies = replicated(graph(1), 2, share=False)
    placement = {"linear_0": "d0", "loss_0": "d0", "linear_1": "d1", "loss_1": "d1"}
    core = ControllerCore(Plan(1, 7, inject_at_once=2), copies, placement, images(clock, 7))
    sent = [action for action in core.next_pass() if isinstance(action, Send)]
    assert {(send.device, send.target.node) for send in sent} == {
        (f"d{copy}", f"{node}_{copy}") for copy in range(2) for node in ("linear", "loss")
    }
    of = {
        device: [send.batch.states[:, 0].tolist() for send in sent if send.target.node == f"linear_{device[1]}"]
        for device in ("d0", "d1")
    }
    assert of == {"d0": [[0, 1], [4, 5]], "d1": [[2, 3], [6]]}


def test_one_by_one_they_take_turns_too(clock: Any) -> None:
    copies = replicated(graph(1), 3, share=False)
    placement = {name: name[-1] for name in copies.nodes}
    core = ControllerCore(Plan(1, 5), copies, placement, images(clock, 5))
    sent = [action for action in core.next_pass() if isinstance(action, Send) and "linear" in action.target.node]
    assert [send.batch.states[:, 0].tolist() for send in sent] == [[0, 3], [1, 4], [2]]


def test_a_copy_that_is_done_sooner_is_given_more(clock: Any) -> None:
    copies = replicated(graph(1), 2, share=False)
    core = ControllerCore(Plan(1, 2), copies, dict.fromkeys(copies.nodes, "d0"), images(clock, 6))
    core.next_pass()

    def keys_after(key: int) -> list[int]:
        """The instances in flight once this one has come home, with its image, its label and its loss."""
        came = Batch(np.array([[key], [key]]), np.ones(2, int), ())
        assert core.handle(Report(Batch(np.array([[key]]), np.array([1]), (np.ones((1, 3)),)))) == []
        core.handle(Home(came))
        return core.keys_in_flight()

    assert core.keys_in_flight() == [0, 1]
    # Copy 1 has the odd ones. Two of copy 0's come home before its first does.
    assert keys_after(0) == [1, 2]
    assert keys_after(2) == [1, 4]
    assert keys_after(1) == [4, 3]


def images(clock: Any, count: int) -> Any:
    instance = Instance(
        {"x": Messages((np.ones((1, 2), np.float32),)), "y": Messages((np.ones((1, 3), np.float32),))}, size=1
    )
    return clock.InMemory(NoTraining.spec, train=[instance] * count, validation=[instance])


def test_a_device_hands_out_replicas_once_all_gradients_of_the_others_have_come() -> None:
    shared = replicated(graph(1), 2, share=True)
    placement = {name: f"d{name[-1]}" for name in shared.nodes}
    device = DeviceCore("d1", shared, placement, TrainingSetup(0, sgd(learning_rate=0.1)))
    (ended,) = device.handle(EndEpoch())
    assert ended == EpochEnded([], {"linear_1": 0})
    assert device.handle(HandOut(["linear_1"], {"linear_1": 2})) == []
    gradient = Batch(np.array([[3]]), np.array([1]), (np.ones((1, 9), np.float32),))
    for expected in (0, 1):
        device.handle(Deliver(shared.target("linear_0", Direction.UPDATE, 0), gradient, "d0"))
        actions = device.handle(Turn())
        handed = [action for action in actions if isinstance(action, HandedOut)]
        assert len(handed) == expected
    (handed,) = handed
    assert set(handed.values) == {"linear_1.weight", "linear_1.bias"}
    np.testing.assert_allclose(handed.values["linear_1.bias"], np.full(3, -0.2), rtol=1e-6)
    counts = device.take_counts()
    assert (counts.updates, counts.batches, counts.forward_messages, counts.backward_messages) == (2, 2, 0, 0)


def test_what_replicas_have_learnt_goes_before_all_else() -> None:
    shared = replicated(graph(1), 2, share=True)
    update, forward = shared.target("linear_0", Direction.UPDATE, 0), shared.target("linear_1", Direction.FORWARD, 0)
    batch = Batch(np.array([[9]]), np.array([1]), ())
    for queues in (
        message_queues(shared.ranks, 1),
        message_queues(shared.ranks, 8, 4),
        message_queues(shared.ranks, 8),
    ):
        queues.put(forward, Batch(np.array([[1]]), np.array([1]), ()), Entry("d0", 0))
        queues.put(update, batch, Entry("d0", 0))
        taken = [queues.take(), queues.take()]
        assert [one.target.direction for one in taken if one] == [Direction.UPDATE, Direction.FORWARD]


def trained(monkeypatch: pytest.MonkeyPatch, folder: Path, *settings: str) -> dict[str, Any]:
    """The parameters that the replicas of a short run in process hand out at the end of the epoch."""
    handed: list[dict[str, Any]] = []
    told = ControllerCore.handle

    def handle(self: ControllerCore, event: Any) -> Any:
        if isinstance(event, ReplicasCollected):
            handed.append(dict(event.values))
        return told(self, event)

    monkeypatch.setattr(ControllerCore, "handle", handle)
    chosen = [*(text.removeprefix("--set=") for text in SMALL), "training.epochs=1", *settings]
    experiment = load("list-reduction-rnn-2-replicas", chosen)
    run(experiment, Mock(spec=Observer), folder / "run", in_process=True)
    return {name: value for values in handed for name, value in values.items()}


@pytest.mark.parametrize("clock", ["wall", "simulated"])
def test_replicas_that_share_every_gradient_hardly_differ_when_they_are_averaged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clock: str
) -> None:
    settings = ["training.optimizer={name: sgd, learning_rate: 0.002}", f"cluster.clock={clock}", "data.train=4000"]

    def apart(share: str) -> float:
        (tmp_path / share).mkdir()
        values = trained(monkeypatch, tmp_path / share, *settings, f"training.share_gradients={share}")
        return max(
            float(np.abs(values[f"{node}_0.{name}"] - values[f"{node}_1.{name}"]).max())
            for node, name in (("cell1", "table"), ("cell1", "weight"), ("linear2", "weight"))
        )

    # Sums of the same gradients in another order; but for the last list of each, whose update nobody is sent.
    assert apart("true") < 0.2 * apart("false")
