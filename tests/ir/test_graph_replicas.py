"""A whole graph several times over, and what its copies tell each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.ir.batch import Batch, Direction, single_rows
from ampsim.ir.builder import GraphBuilder
from ampsim.ir.gradient_exchange import GradientFormat
from ampsim.ir.graph import CONTROLLER, Graph, Port, Target
from ampsim.ir.node import TrainingSetup
from ampsim.ir.replicas import replicated
from ampsim.ir.structure import StructureTable
from ampsim.ops.gradients import DeferredGradients
from ampsim.ops.linear import table_gradients, unit_normal
from ampsim.ops.optimizers import sgd
from ampsim.ops.table import ArraySpec, ParameterSpec

FORWARD, BACKWARD, _, UPDATE = Direction
SETUP = TrainingSetup(0, sgd(learning_rate=0.5))


def graph(heavy: int = 1) -> Graph:
    builder = GraphBuilder({"word": ArraySpec((), "int64"), "y": ArraySpec((3,))}, {"step": 4})
    wire = builder.transform("embed", "embedding", builder.input("word"), vocabulary=100, units=2)
    wire = builder.replicated("linear", heavy, "linear", wire, units=3)
    builder.loss("loss", "squared_error", wire, builder.input("y"))
    return builder.graph()


def messages(instance: int, *arrays: object, rows: int = 1) -> Batch:
    counts = single_rows(1) if rows == 1 else np.array([rows])
    return Batch(np.array([[instance, 0]]), counts, tuple(map(np.asarray, arrays)))


def test_each_copy_has_its_nodes_edges_and_inputs() -> None:
    plain, twice = graph(), replicated(graph(), 2, share=False)
    assert list(twice.nodes) == ["embed_0", "linear_0", "loss_0", "embed_1", "linear_1", "loss_1"]
    assert twice.nodes_of_copy(1) == ["embed_1", "linear_1", "loss_1"]
    assert twice.entries == ("word_0", "y_0", "word_1", "y_1")
    assert twice.target(CONTROLLER, FORWARD, 3) == Target("loss_1", 1, FORWARD)
    assert twice.target("linear_1", FORWARD, 0) == Target("loss_1", 0, FORWARD)
    assert twice.target("embed_1", BACKWARD, 0) == Target(CONTROLLER, 2, BACKWARD)
    assert len(twice.edges) == 2 * len(plain.edges)
    assert twice.replicas == (("embed_0", "embed_1"), ("linear_0", "linear_1"))
    assert not twice.sharing


def test_one_copy_is_the_graph_itself() -> None:
    plain = graph()
    assert replicated(plain, 1, share=True) is plain
    assert (plain.entries, list(plain.nodes_of_copy(0))) == (("word", "y"), list(plain.nodes))


def test_graphs_with_other_copies_have_other_fingerprints() -> None:
    variants = [(1, False), (2, False), (2, True), (3, True)]
    assert len({replicated(graph(), copies, share).fingerprint for copies, share in variants}) == len(variants)


def test_all_copies_start_from_the_parameters_of_the_plain_node() -> None:
    plain = graph().nodes["linear"].build(SETUP, StructureTable()).parameters
    assert plain is not None
    for name in ("linear_0", "linear_1", "linear_2"):
        parameters = replicated(graph(), 3, share=True).nodes[name].build(SETUP, StructureTable()).parameters
        assert parameters is not None
        np.testing.assert_array_equal(parameters.values["weight"], plain.values["weight"])


def test_replicas_of_a_node_in_copies_of_the_graph_all_stand_for_one() -> None:
    copies = replicated(graph(heavy=2), 2, share=True)
    assert ("linear_0_0", "linear_1_0", "linear_0_1", "linear_1_1") in copies.replicas
    assert set(copies.sharing) == {name for group in copies.replicas for name in group}


@given(copies=st.integers(2, 5))
def test_each_node_reaches_every_other_that_stands_for_the_same_by_a_port_of_its_own(copies: int) -> None:
    shared = replicated(graph(), copies, share=True)
    for copy in range(copies):
        targets = [shared.target(f"linear_{copy}", UPDATE, port) for port in range(copies - 1)]
        assert {target.node for target in targets} == {f"linear_{n}" for n in range(copies) if n != copy}
        for target in targets:
            assert shared.payload(target) == (ArraySpec((2 * 3 + 3,)),)
            # By the port at which it arrives, the receiver would reach the sender.
            assert shared.target(target.node, UPDATE, target.port).node == f"linear_{copy}"
    arriving = [shared.target(f"embed_{copy}", UPDATE, 0) for copy in range(1, copies)]
    assert {target.node for target in arriving} == {"embed_0"}
    assert len(set(arriving)) == copies - 1
    with pytest.raises(IndexError):
        shared.target("linear_0", UPDATE, copies - 1)


def test_what_is_taken_in_is_what_was_packed() -> None:
    specs = {"weight": ParameterSpec((2, 3), unit_normal), "bias": ParameterSpec((3,), unit_normal)}
    gradients = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.full(3, 7, np.float32)}
    travelled = GradientFormat(specs).unpack(GradientFormat(specs).pack(gradients))
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(travelled[name], gradient)
        assert not np.shares_memory(travelled[name], gradient)


def test_the_gradient_of_a_table_travels_by_rows() -> None:
    table = GradientFormat({"weight": ParameterSpec((5, 2), unit_normal, by_rows=True)})
    gradients = table_gradients(5, np.array([4, 1]), np.ones((2, 2), np.float32))
    gradients += table_gradients(5, np.array([4]), np.full((1, 2), 3, np.float32))
    ids, rows = table.pack(gradients)
    assert (ids.tolist(), rows.tolist()) == ([4, 1, 4], [[1, 1], [1, 1], [3, 3]])
    found = table.unpack((ids, rows))
    assert isinstance(found, DeferredGradients)
    np.testing.assert_array_equal(found["weight"], gradients["weight"])


def test_an_update_is_sent_to_the_replicas_and_made_there_before_the_next_instance(both_ways) -> None:
    shared = replicated(graph(), 2, share=True)
    nodes = both_ways(shared, SETUP, StructureTable())
    sender, receiver = nodes["linear_0"], nodes["linear_1"]
    x, gradient = np.ones((1, 2), np.float32), np.array([[1, 0, 2]], np.float32)
    receiver.answer(FORWARD, 0, messages(0, x))
    assert sender.answer(FORWARD, 0, messages(1, x)).updates == 0
    answer = sender.answer(BACKWARD, 0, messages(1, gradient))
    assert (answer.updates, [emission.direction for emission in answer.emissions]) == (1, [BACKWARD, UPDATE])
    told = answer.emissions[1].batch
    assert (len(told), told.rows.tolist()) == (1, [1])
    before = dict(receiver.parameters.values)
    taken = receiver.answer(UPDATE, 0, told)
    assert (taken.updates, taken.emissions, receiver.parameters.received_updates) == (0, (), 1)
    assert receiver.cached_bytes > 0
    another_step = Batch(np.array([[0, 1]]), single_rows(1), (x,))
    assert receiver.answer(FORWARD, 0, another_step).updates == 0
    assert all(receiver.parameters.values[name] is value for name, value in before.items()), "not in mid-instance"
    answer = receiver.answer(FORWARD, 0, messages(3, x))
    assert (answer.updates, [emission.direction for emission in answer.emissions]) == (1, [FORWARD])
    for name, value in sender.parameters.values.items():
        np.testing.assert_array_equal(receiver.parameters.values[name], value)
    assert (sender.parameters.own_updates, receiver.parameters.own_updates) == (1, 0)


def test_several_gradients_at_once_are_several_updates(both_ways) -> None:
    shared = replicated(graph(), 3, share=True)
    receiver = both_ways(shared, SETUP, StructureTable())["embed_0"]
    ids, rows = np.array([1, 2, 1]), np.arange(6, dtype=np.float32).reshape(3, 2)
    before = receiver.parameters.values["weight"]
    batch = Batch(np.array([[4, 0], [5, 0]]), np.array([2, 1]), (ids, rows))
    assert receiver.answer(UPDATE, 1, batch).updates == 0
    assert receiver.answer(FORWARD, 0, messages(7, [0])).updates == 2
    expected = before.copy()
    np.subtract.at(expected, ids, 0.5 * rows)
    np.testing.assert_allclose(receiver.parameters.values["weight"], expected, rtol=1e-6)


def test_an_update_waits_for_a_later_instance_while_another_message_is_under_way(both_ways) -> None:
    node = both_ways(replicated(graph(), 2, share=True), SETUP, StructureTable())["linear_0"]
    x, gradient = np.ones((1, 2), np.float32), np.ones((1, 3), np.float32)
    for step in (0, 1):
        node.answer(FORWARD, 0, Batch(np.array([[1, step]]), single_rows(1), (x,)))
    assert node.answer(BACKWARD, 0, messages(1, gradient)).updates == 0
    answer = node.answer(FORWARD, 0, messages(2, x))
    assert (answer.updates, [emission.direction for emission in answer.emissions]) == (1, [FORWARD, UPDATE])


def test_what_is_left_at_the_end_of_an_epoch_is_sent_to_nobody(both_ways) -> None:
    setup = TrainingSetup(0, sgd(learning_rate=0.5), min_update_frequency=2)
    node = both_ways(replicated(graph(), 2, share=True), setup, StructureTable())["linear_0"]
    node.answer(FORWARD, 0, messages(1, np.ones((1, 2), np.float32)))
    node.answer(BACKWARD, 0, messages(1, np.ones((1, 3), np.float32)))
    assert node.end_epoch() == 1
    assert (node.parameters.own_updates, node.parameters.take_outgoing()) == (0, [])


def test_ports_stay_what_they_are() -> None:
    twice = replicated(graph(), 2, share=True)
    sources = {port for port in twice.edges if port.node == CONTROLLER}
    assert sources == {Port(CONTROLLER, number) for number in range(4)}
