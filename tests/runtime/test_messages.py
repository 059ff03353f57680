from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ampsim.ir.batch import Batch, Direction
from ampsim.ir.builder import GraphBuilder
from ampsim.ir.graph import CONTROLLER, Target
from ampsim.ir.structure import StructureTable, stack
from ampsim.ops import ArraySpec
from ampsim.runtime.messages import (
    REPORT,
    PacketReader,
    is_structure,
    structures_from_packet,
    structures_to_packet,
    to_packet,
)
from ampsim.runtime.wire import DTYPES, Packet, WireError

FORWARD, BACKWARD, INFERENCE, *_ = Direction


def small_graph():
    builder = GraphBuilder({"x": ArraySpec((2,)), "y": ArraySpec((), "int64")})
    wire = builder.transform("linear", "linear", builder.input("x"), units=3)
    builder.loss("loss", "softmax_cross_entropy", wire, builder.input("y"))
    return builder.graph()


GRAPH = small_graph()
HERE = ("linear", "loss", CONTROLLER)


def packet(address=("linear", 0, 0), states=((5,), (6,)), rows=(1, 2), payload=None):
    arrays = [np.array(states, np.int64), np.array(rows, np.int64)]
    payload = [np.zeros((3, 2), np.float32)] if payload is None else payload
    return Packet(address, (*arrays, *payload))


def accepted(packet, here=HERE):
    return PacketReader(GRAPH, here).read(packet)


@pytest.mark.parametrize(
    ("target", "payload"),
    [
        (Target("linear", 0, FORWARD), (np.ones((3, 2), np.float32),)),
        (Target("linear", 0, INFERENCE), (np.ones((3, 2), np.float32),)),
        (Target("linear", 0, BACKWARD), (np.ones((3, 3), np.float32),)),
        (Target("loss", 1, FORWARD), (np.ones(3, np.int64),)),
        (Target(CONTROLLER, 1, BACKWARD), ()),
    ],
)
def test_a_batch_comes_out_of_its_packet_as_it_went_in(target, payload):
    batch = Batch(np.array([[5], [6]]), np.array([1, 2]), payload)
    got_target, got = accepted(to_packet(target, batch))
    assert got_target == target
    assert isinstance(got_target.direction, Direction)
    assert got.states is batch.states
    assert got.rows is batch.rows
    assert all(array is original for array, original in zip(got.payload, payload, strict=True))


def test_figures_for_the_controller_come_out_as_they_went_in():
    batch = Batch(np.array([[5]]), np.array([1]), (np.array([[0.5, 1.0, 2.0]]),))
    target, found = accepted(to_packet(REPORT, batch))
    assert target == REPORT
    assert [array.tolist() for array in (found.states, found.rows, *found.payload)] == [[[5]], [1], [[0.5, 1.0, 2.0]]]


def test_structures_come_out_as_they_went_in():
    structures = {7: {"parent": np.array([1, -1]), "side": np.array([0])}, 9: {"parent": np.array([-1])}, 12: {}}
    packet_ = structures_to_packet(stack(structures))
    assert is_structure(packet_)
    table = StructureTable()
    table.add(structures_from_packet(packet_))
    assert len(table) == 3
    for instance, named in structures.items():
        for name, array in named.items():
            found = table.of(np.full((len(array), 1), instance)).at(name, np.arange(len(array)))
            assert found.tolist() == array.tolist()


ONE, TWO = np.array([3]), np.array([[2]])


@pytest.mark.parametrize(
    ("names", "arrays", "message"),
    [
        (("a",), (ONE, TWO), "structures are instances"),
        (("a",), (ONE, TWO, np.zeros(2)), "structures are instances"),
        (("a", "a"), (ONE, np.array([[1, 1]]), np.zeros(2, int)), "structures are instances"),
        (("a", "b"), (ONE, TWO, np.zeros(2, int)), "do not fit lengths"),
        (("a",), (ONE[:0], TWO[:0], ONE[:0]), "do not fit lengths"),
        (("a",), (np.array([3, 3]), np.array([[1], [1]]), np.zeros(2, int)), "each instance has one structure"),
        (("a",), (np.array([-3]), TWO, np.zeros(2, int)), "each instance has one structure"),
        (("a",), (ONE, np.array([[-2]]), np.zeros(0, int)), "do not add up"),
        (("a",), (ONE, TWO, np.zeros(3, int)), "do not add up"),
    ],
)
def test_structures_that_do_not_fit_are_refused(names, arrays, message):
    with pytest.raises(WireError, match=message):
        structures_from_packet(Packet((len(names), *names), arrays))


REFUSED = {
    "no address": (packet(address=()), "no node, port and direction"),
    "half an address": (packet(address=("linear", 0)), "no node, port and direction"),
    "too much of an address": (packet(address=("linear", 0, 0, 0)), "no node, port and direction"),
    "a gradient where there are no replicas": (packet(address=("linear", 0, 3)), "no port 0 for update messages"),
    "no direction": (packet(address=("linear", 0, 4)), "no node, port and direction"),
    "a direction in words": (packet(address=("linear", 0, "FORWARD")), "no node, port and direction"),
    "a port in words": (packet(address=("linear", "0", 0)), "no node, port and direction"),
    "a node by number": (packet(address=(0, 0, 0)), "no node, port and direction"),
    "a node of nobody": (packet(address=("linaer", 0, 0)), "node 'linaer' is not hosted here"),
    "an unknown port": (packet(address=("linear", 1, 0)), "node linear has no port 1 for forward messages"),
    "a port before the first": (packet(address=("linear", -1, 0)), "has no port -1"),
    "an output of a loss": (packet(address=("loss", 0, 1)), "node loss has no port 0 for backward messages"),
    "a way into the controller": (packet(address=(CONTROLLER, 0, 2)), "controller has no port 0 for inference"),
    "an input that there is not": (packet(address=(CONTROLLER, 2, 1)), "controller has no port 2 for backward"),
    "no arrays": (Packet(("linear", 0, 0), ()), "at least its states and row counts"),
    "states alone": (Packet(("linear", 0, 0), (np.zeros((1, 1), int),)), "at least its states and row counts"),
    "states of another type": (
        Packet(("linear", 0, 0), (np.zeros((1, 1), np.int32), np.array([3]), np.zeros((3, 2), np.float32))),
        r"states int64\[n, 1\] expected, found int32",
    ),
    "states of two fields": (packet(states=((5, 0), (6, 0))), r"states int64\[n, 1\] expected"),
    "flat states": (packet(states=(5, 6)), r"states int64\[n, 1\] expected"),
    "a state alone": (packet(states=5), r"states int64\[n, 1\] expected"),
    "no messages": (packet(states=np.zeros((0, 1)), rows=(), payload=[np.zeros((0, 2), np.float32)]), "states int64"),
    "more states than row counts": (packet(rows=(3,)), r"row counts int64\[2\]"),
    "row counts of another type": (
        Packet(("linear", 0, 0), (np.array([[5]]), np.array([3.0]), np.zeros((3, 2), np.float32))),
        r"row counts int64\[1\]",
    ),
    "a message of no rows": (packet(rows=(0, 3)), "of at least 1 expected"),
    "a message of less than no rows": (packet(rows=(-1, 4)), "of at least 1 expected"),
    "fewer rows than announced": (packet(rows=(1, 3)), "for 4 rows, found"),
    "more rows than announced": (packet(rows=(1, 1)), "for 2 rows, found"),
    "a payload of another type": (packet(payload=[np.zeros((3, 2))]), r"takes float32\[rows, 2\].*'float64'"),
    "a payload of another width": (
        packet(payload=[np.zeros((3, 5), np.float32)]),
        r"takes float32\[rows, 2\].*\(3, 5\)",
    ),
    "a payload without columns": (packet(payload=[np.zeros(6, np.float32)]), r"takes float32\[rows, 2\]"),
    "two payloads": (packet(payload=[np.zeros((3, 2), np.float32)] * 2), r"takes float32\[rows, 2\]"),
    "no payload on the way forward": (packet(payload=[]), r"takes float32\[rows, 2\]"),
    "a gradient of another width": (
        packet(address=("linear", 0, 1), payload=[np.zeros((3, 2), np.float32)]),
        r"takes float32\[rows, 3\]",
    ),
    "a gradient for the controller": (packet(address=(CONTROLLER, 0, 1)), "controller takes"),
    "two rows of figures for one state": (
        packet(address=(CONTROLLER, 0, 0), states=((5,),), rows=(2,), payload=[np.zeros((2, 3))]),
        "row",
    ),
    "two figures": (
        packet(address=(CONTROLLER, 0, 0), rows=(1, 1), payload=[np.zeros((2, 2))]),
        r"takes float64\[rows, 3\]",
    ),
}


@pytest.mark.parametrize(("packet", "text"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_its_port_is_refused_with_the_reason(packet, text):
    with pytest.raises(WireError, match=text):
        accepted(packet)


def test_row_counts_whose_sum_overflows_are_refused():
    rows = (2**63 - 1, 2**63 - 1, 5)
    with pytest.raises(WireError):
        accepted(packet(states=((5,), (6,), (7,)), rows=rows))


def test_a_node_of_another_device_is_refused():
    with pytest.raises(WireError, match="node 'linear' is not hosted here"):
        accepted(packet(), here=("loss",))


anything = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
)
plausible_address = st.tuples(
    st.sampled_from(["linear", "loss", CONTROLLER, "", "relu"]), st.integers(-1, 2), st.integers(-1, 3)
)
any_address = st.lists(st.one_of(st.text(max_size=5), st.integers(-(2**63), 2**64 - 1)), max_size=4).map(tuple)
plausible_head = st.integers(0, 3).flatmap(
    lambda count: st.tuples(
        arrays(np.int64, (count, 1)),
        arrays(np.int64, count, elements=st.one_of(st.integers(0, 3), st.integers(-(2**63), 2**63 - 1))),
    )
)


@settings(max_examples=250)
@given(
    address=st.one_of(plausible_address, any_address),
    head=st.one_of(plausible_head, st.lists(anything, max_size=2).map(tuple)),
    payload=st.lists(anything, max_size=2).map(tuple),
)
def test_any_packet_at_all_is_accepted_or_refused(address, head, payload):
    try:
        target, batch = accepted(Packet(address, (*head, *payload)))
    except WireError:
        return
    assert target.node in HERE
    assert len(batch) > 0
    assert batch.rows.min() > 0
    assert all(len(array) == sum(batch.rows.tolist()) for array in batch.payload)
