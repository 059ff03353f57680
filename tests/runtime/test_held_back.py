"""What a device has for the controller, and has learnt for replicas, leaves together where the way back goes on."""

from __future__ import annotations

import numpy as np
import pytest

from ampsim.ir.batch import Batch, Direction
from ampsim.ir.builder import GraphBuilder
from ampsim.ir.graph import CONTROLLER, Target
from ampsim.ir.node import TrainingSetup
from ampsim.ir.replicas import replicated
from ampsim.ops import OPTIMIZERS, ArraySpec
from ampsim.runtime.device_core import DeviceCore
from ampsim.runtime.device_events import Deliver, Report, Send, Turn

FORWARD, BACKWARD, INFERENCE, UPDATE = Direction


def two_inputs():
    """Layers over two inputs, joined: on the way back each has a gradient of its own for the controller."""
    builder = GraphBuilder({"a": ArraySpec((2,)), "b": ArraySpec((2,)), "y": ArraySpec((4,))})
    layers = [builder.transform(f"layer_{name}", "linear", builder.input(name), units=2) for name in "ab"]
    builder.loss("loss", "squared_error", builder.concat("side", *layers), builder.input("y"))
    return builder.graph()


def device(graph, **options):
    setup = TrainingSetup(0, OPTIMIZERS["sgd"](learning_rate=0.1))
    placement = {node: "d2" if node.endswith("_1") else "d1" for node in graph.nodes}
    return DeviceCore("d1", graph, placement, setup, **options)


def deliver(core, graph, port, key, width=2, direction=FORWARD):
    batch = Batch(np.array([[key]]), np.array([1]), (np.ones((1, width), np.float32),))
    core.handle(Deliver(graph.target(CONTROLLER, direction, port), batch, CONTROLLER))


def inject(core, graph, *keys, direction=FORWARD):
    for key in keys:
        for port, width in enumerate((2, 2, 4)):
            deliver(core, graph, port, key, width, direction)


def turn(core):
    """What a turn has for others: of reports `report`, of the rest the direction, the port and the instances."""
    _, *actions = core.handle(Turn())
    told = []
    for action in actions:
        if isinstance(action, Report):
            told.append("report")
        else:
            assert isinstance(action, Send)
            told.append((action.target.direction, action.target.port, action.batch.states[:, 0].tolist()))
    return told


def turns(core):
    """What leaves in each turn, until there is nothing to do."""
    while core.has_work:
        yield turn(core)


def test_losses_and_what_comes_home_leave_when_the_way_back_has_ended():
    graph = two_inputs()
    core = device(graph)
    inject(core, graph, 3)
    *before, last = turns(core)
    assert all(not told for told in before), "the loss, the label's answer and one layer's wait for the other's"
    assert last[0] == "report"
    assert sorted(last[1:]) == [(BACKWARD, port, [3]) for port in range(3)]


def test_another_instance_does_not_hold_them_up():
    graph = two_inputs()
    core = device(graph)
    inject(core, graph, 3, 4)
    told = [what for what in turns(core) if what]
    assert [[entry if entry == "report" else entry[2] for entry in one] for one in told] == [
        ["report", [3], [3], [3]],
        ["report", [4], [4], [4]],
    ]


def test_messages_to_one_input_go_home_together():
    graph = two_inputs()
    core = device(graph, max_batch=8, wave=2)
    inject(core, graph, 4, 5)
    *before, last = turns(core)
    assert all(not told for told in before)
    assert last == ["report", *[(BACKWARD, port, [4, 5]) for port in (2, 1, 0)]]


def test_without_a_way_back_a_loss_is_told_at_once():
    graph = two_inputs()
    core = device(graph)
    inject(core, graph, 3, 4, direction=INFERENCE)
    assert [what for what in turns(core) if what] == [["report"], ["report"]]


def test_what_was_learnt_leaves_with_them():
    graph = replicated(two_inputs(), 2, share=True)
    core = device(graph, max_batch=8)
    inject(core, graph, 0)
    *before, last = turns(core)
    assert all(not told for told in before)
    # The two layers' gradients, each to the node that stands for the same.
    assert last == ["report", (UPDATE, 0, [0]), (UPDATE, 0, [0]), *[(BACKWARD, port, [0]) for port in (2, 1, 0)]]


@pytest.mark.parametrize("max_batch", [1, 8])
def test_what_a_replica_has_learnt_in_between_does_not_send_them_off(max_batch):
    graph = replicated(two_inputs(), 2, share=True)
    core = device(graph, max_batch=max_batch)
    inject(core, graph, 0)
    from_replica = Batch(np.array([[1]]), np.array([1]), (np.ones((1, 6), np.float32),))
    told = []
    while core.has_work:
        told.append(turn(core))
        if not told[-1]:
            core.handle(Deliver(Target("layer_a_0", 0, UPDATE), from_replica, "d2"))
            told.append(turn(core))  # it is taken first
    *before, last = told
    assert all(not what for what in before)
    assert [entry if entry == "report" else entry[0] for entry in last] == ["report", *[UPDATE] * 2, *[BACKWARD] * 3]
