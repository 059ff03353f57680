"""What one turn of a device does: a batch off the queue, and all that comes of it for light nodes of the device."""

from __future__ import annotations

import numpy as np
import pytest

from ampsim.ir.batch import Batch, Direction
from ampsim.ir.builder import GraphBuilder
from ampsim.ir.graph import CONTROLLER, Target
from ampsim.ir.node import TrainingSetup
from ampsim.ir.structure import stack
from ampsim.ops import OPTIMIZERS, ArraySpec
from ampsim.runtime.device_core import MOST_AT_ONCE, DeviceCore, NodeFailed
from ampsim.runtime.device_events import Deliver, DeliverStructures, Handled, Report, Send, Turn

FORWARD, BACKWARD, INFERENCE, *_ = Direction


def begun():
    return GraphBuilder({"x": ArraySpec((2,)), "y": ArraySpec((2,))}, {"t": 9})


def finished(builder, wire, max_batch=1, elsewhere=(), **options):
    """A graph that ends in a layer and a loss, and the device that has all of it but some nodes."""
    last = builder.transform("last", "linear", wire, units=2)
    builder.loss("loss", "squared_error", last, builder.input("y"))
    graph = builder.graph()
    placement = {node: "d2" if node in elsewhere else "d1" for node in graph.nodes}
    setup = TrainingSetup(0, OPTIMIZERS["sgd"](learning_rate=0.1))
    return graph, DeviceCore("d1", graph, placement, setup, max_batch, **options)


def message(*keys, rows=1):
    states = np.array([[key, 0] for key in keys])
    return Batch(states, np.full(len(keys), rows), (np.ones((len(keys) * rows, 2), np.float32),))


def deliver(graph, device, batch, direction=INFERENCE, port=0):
    device.handle(Deliver(graph.target(CONTROLLER, direction, port), batch, CONTROLLER))


def turns(device):
    """The actions of every turn, until there is nothing to do."""
    found = []
    while device.has_work:
        found.append(device.handle(Turn()))
    return found


def nodes(actions):
    assert isinstance(actions[0], Handled)
    return [work.target.node for work in actions[0].batches]


def fork(**options):
    """A layer, a copy of which goes through a ReLU and is joined with the other."""
    builder = begun()
    one, other = builder.bcast("both", builder.transform("first", "linear", builder.input("x"), units=2), 2)
    return finished(builder, builder.concat("side", builder.transform("bend", "relu", one), other), **options)


def test_what_comes_of_a_batch_for_light_nodes_is_handled_in_the_order_in_which_it_was_made():
    times = iter(range(100))
    graph, device = fork(clock=lambda: next(times))
    deliver(graph, device, message(3))
    (first, *_), (second, *_), (third, *_) = turns(device)
    assert nodes([first]) == ["first", "both", "bend", "side", "side"]
    assert [(work.target.port, work.parts, work.rows) for work in first.batches] == [
        (0, 1, 1),  # it alone was in the queue
        (0, 0, 0),
        (0, 0, 1),
        (1, 0, 0),  # it waits for the other
        (0, 0, 1),
    ]
    assert first.began == [0, 1, 2, 3], "of each batch but the first"
    assert [entry.number for entry in first.made] == [0], "what goes to `last`"
    assert (nodes([second]), nodes([third])) == (["last"], ["loss"])
    assert device.take_counts().batches == 7


def test_on_the_way_back_it_is_the_same():
    graph, device = fork()
    for port in (0, 1):
        deliver(graph, device, message(3), FORWARD, port)
    found = turns(device)
    assert [nodes(one) for one in found] == [
        ["first", "both", "bend", "side", "side"],
        ["loss"],
        ["last"],
        ["loss"],
        ["last", "side", "bend", "both", "both"],
        ["first"],
    ]
    counts = device.take_counts()
    assert (counts.forward_messages, counts.backward_messages) == (8, 6)
    assert device.held() == {}
    assert [type(action) for one in found for action in one[1:]] == [Report, Send, Send]


def test_what_goes_to_another_device_leaves_with_the_turn():
    graph, device = fork(elsewhere=("side",))
    deliver(graph, device, message(3))
    (actions,) = turns(device)
    assert nodes(actions) == ["first", "both", "bend"]
    assert [(send.device, send.target) for send in actions[1:]] == [
        ("d2", Target("side", 1, INFERENCE)),
        ("d2", Target("side", 0, INFERENCE)),
    ]


def test_a_batch_that_may_not_be_handled_as_one_goes_into_the_queue_and_is_split():
    builder = begun()
    wire = builder.transform("first", "linear", builder.input("x"), units=2)
    rows = builder.ungroup("rows", wire, lambda states, places: states + places[:, None] * np.array([0, 1]))
    for max_batch, expected in (
        (1, [["first", "rows"], ["bend"], ["last"], ["bend"], ["last"], ["bend"], ["last"]]),
        (2, [["first", "rows"], ["bend"], ["bend"], ["last"], ["last"]]),
        (3, [["first", "rows", "bend"], ["last"]]),
    ):
        builder = begun()
        wire = builder.transform("first", "linear", builder.input("x"), units=2)
        rows = builder.ungroup("rows", wire, lambda states, places: states + places[:, None] * np.array([0, 1]))
        graph, device = finished(
            builder, builder.transform("bend", "relu", rows), max_batch=max_batch, elsewhere=("loss",)
        )
        deliver(graph, device, message(0, rows=3))
        found = turns(device)
        assert sorted(map(nodes, found)) == sorted(expected)
        assert sum(work.messages for one in found for work in one[0].batches if work.target.node == "last") == 3


def test_a_loop_of_light_nodes_does_not_keep_the_device_in_its_turn():
    builder = begun()
    loop = builder.phi("loop", builder.transform("first", "linear", builder.input("x"), units=2), loops=1)
    again, out = builder.cond("leave", builder.isu("step", loop, lambda s: s, lambda s: s), 2, lambda s, _: s[:, 1])
    builder.back(loop, again)
    graph, device = finished(builder, out)
    deliver(graph, device, message(0))
    for number in range(5):
        (handled,) = device.handle(Turn())
        assert len(handled.batches) == MOST_AT_ONCE
        assert handled.parts[0][0].source == (device.name if number else CONTROLLER)
        assert len(handled.made) == 1


def test_a_loop_that_leaves_its_field_fails_the_node_that_counts():
    builder = begun()
    loop = builder.phi("loop", builder.transform("first", "linear", builder.input("x"), units=2), loops=1)
    again, out = builder.cond("leave", builder.count_up("step", loop, "t"), 2, lambda s, _: np.zeros(len(s), int))
    builder.back(loop, again)
    graph, device = finished(builder, out)
    deliver(graph, device, message(4))
    with pytest.raises(NodeFailed, match=r"node step raised ValueError in its inference pass \(instance 4, t 511\)"):
        turns(device)


def chosen(**options):
    """A layer, and after it a node that asks for structures."""
    builder = begun()
    wire = builder.transform("first", "linear", builder.input("x"), units=2)
    ways = builder.cond("choose", wire, 2, lambda states, at: at.at("side", states[:, 1]), True)
    return finished(builder, builder.phi("either", *ways), **options)


@pytest.mark.parametrize("elsewhere", [(), ("choose",)])
def test_what_would_reach_in_the_same_turn_a_node_that_asks_for_structures_waits_for_them(elsewhere):
    """Else it would depend on when a structure comes whether the turn handles one batch or more."""
    graph, device = chosen(elsewhere=elsewhere)
    deliver(graph, device, message(7))
    assert device.has_work is bool(elsewhere)
    device.handle(DeliverStructures(stack({7: {"side": np.array([1])}})))
    first = turns(device)[0]
    assert nodes(first) == ["first"] if elsewhere else ["first", "choose", "either"]


def test_on_the_way_back_nothing_waits_for_a_structure():
    _, device = chosen()
    device.handle(Deliver(Target("choose", 0, BACKWARD), message(7), "d2"))
    assert device.has_work
