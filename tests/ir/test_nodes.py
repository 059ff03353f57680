"""Payload transforms and losses, driven by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ampsim.ir.batch import Batch, Direction, concatenate
from ampsim.ir.builder import GraphBuilder
from ampsim.ir.node import TrainingSetup
from ampsim.ir.store import DuplicateState, UnknownState
from ampsim.ir.structure import StructureTable
from ampsim.ops import OPTIMIZERS, ArraySpec

FORWARD, BACKWARD, INFERENCE, *_ = Direction


def stale(answer):
    """The staleness of each gradient of an answer."""
    return np.broadcast_to(answer.staleness, answer.gradients).tolist()


def build(frequency=1):
    """linear -> tanh -> linear -> squared_error, as live nodes."""
    builder = GraphBuilder({"x": ArraySpec((3,)), "y": ArraySpec((2,))})
    wire = builder.transform("linear1", "linear", builder.input("x"), units=4)
    wire = builder.transform("tanh", "tanh", wire)
    wire = builder.transform("linear2", "linear", wire, units=2)
    builder.loss("loss", "squared_error", wire, builder.input("y"))
    setup = TrainingSetup(0, OPTIMIZERS["sgd"](learning_rate=0.1), frequency)
    return {name: spec.build(setup, StructureTable()) for name, spec in builder.graph().nodes.items()}


def message(key, width, rows=1):
    values = np.random.default_rng([key, width]).standard_normal((rows, width))
    return Batch(np.array([[key]]), np.array([rows]), (values,))


def emitted(answer):
    (emission,) = answer.emissions
    return emission.batch


def test_staleness_is_the_updates_between_the_passes_of_each_gradient():
    node = build()["linear1"]
    for key in (1, 2, 3):
        assert node.answer(FORWARD, 0, message(key, 3)).gradients == 0
    answers = [node.answer(BACKWARD, 0, message(key, 4)) for key in (1, 2, 3)]
    assert [stale(answer) for answer in answers] == [[0], [1], [2]]
    assert [answer.updates for answer in answers] == [1, 1, 1]


def test_staleness_is_counted_for_each_message_of_a_batch():
    node = build()["linear1"]
    node.answer(FORWARD, 0, message(1, 3))
    node.answer(FORWARD, 0, message(2, 3))
    node.answer(BACKWARD, 0, message(1, 4))
    node.answer(FORWARD, 0, message(3, 3))
    answer = node.answer(BACKWARD, 0, concatenate([message(3, 4), message(2, 4)]))
    assert stale(answer) == [0, 1]
    assert (answer.updates, node.parameters.version) == (1, 2)


def test_one_instance_at_a_time_is_never_stale():
    node = build()["linear1"]
    for key in range(4):
        node.answer(FORWARD, 0, message(key, 3))
        assert stale(node.answer(BACKWARD, 0, message(key, 4))) == [0]


def test_gradients_that_only_accumulate_make_nothing_stale():
    node = build(frequency=2)["linear1"]
    for key in (1, 2, 3):
        node.answer(FORWARD, 0, message(key, 3))
    answers = [node.answer(BACKWARD, 0, message(key, 4)) for key in (1, 2, 3)]
    assert [stale(answer) for answer in answers] == [[0], [0], [1]]
    assert [answer.updates for answer in answers] == [0, 1, 0]


def test_a_node_without_parameters_reports_neither_updates_nor_staleness():
    node = build()["tanh"]
    node.answer(FORWARD, 0, message(1, 4))
    answer = node.answer(BACKWARD, 0, message(1, 4))
    assert (answer.updates, answer.gradients, node.parameters) == (0, 0, None)


@pytest.mark.parametrize("node", ["linear1", "tanh", "loss"])
def test_inference_leaves_nothing_behind_and_changes_nothing(node):
    nodes = build()
    node = nodes[node]
    before = dict(node.parameters.values) if node.parameters else {}
    ports = {"linear1": [3], "tanh": [4], "loss": [2, 2]}[node.name]
    answers = [node.answer(INFERENCE, port, message(1, width)) for port, width in enumerate(ports)]
    assert node.held() == []
    assert node.cached_bytes == 0
    assert all(emission.direction is INFERENCE for answer in answers for emission in answer.emissions)
    assert all(answer.updates == 0 and answer.gradients == 0 for answer in answers)
    if node.parameters:
        assert node.parameters.version == 0
        assert all(node.parameters.values[name] is value for name, value in before.items())


def test_inference_gives_what_training_gives_on_the_way_forward():
    nodes = build()
    trained = emitted(nodes["linear1"].answer(FORWARD, 0, message(1, 3, rows=2)))
    inferred = emitted(nodes["linear1"].answer(INFERENCE, 0, message(1, 3, rows=2)))
    np.testing.assert_array_equal(trained.payload[0], inferred.payload[0])


def test_what_a_node_holds_is_named_by_state_and_counted_in_bytes():
    node = build()["linear1"]
    node.answer(FORWARD, 0, concatenate([message(5, 3), message(6, 3, rows=2)]))
    assert node.held() == [5, 6]
    assert node.cached_bytes == 3 * 3 * 8
    node.answer(BACKWARD, 0, message(6, 4, rows=2))
    assert node.held() == [5]
    node.answer(BACKWARD, 0, message(5, 4))
    assert (node.held(), node.cached_bytes) == ([], 0)


def test_a_loss_waits_for_the_partner_of_each_message():
    loss = build()["loss"]
    assert not loss.answer(FORWARD, 0, concatenate([message(1, 2), message(2, 2)])).emissions
    assert loss.held() == [1, 2]
    answer = loss.answer(FORWARD, 1, message(2, 2))
    assert [emission.batch.states.tolist() for emission in answer.emissions] == [[[2]], [[2]]]
    assert loss.held() == [1]


def test_a_loss_answers_the_prediction_with_its_gradient_and_the_target_with_none():
    loss = build()["loss"]
    loss.answer(FORWARD, 0, message(1, 2, rows=3))
    answer = loss.answer(FORWARD, 1, message(1, 2, rows=3))
    prediction, target = answer.emissions
    assert (prediction.direction, prediction.port, prediction.batch.payload[0].shape) == (BACKWARD, 0, (3, 2))
    assert (target.direction, target.port, target.batch.payload) == (BACKWARD, 1, ())


def test_a_loss_reports_for_each_message_the_sums_over_its_rows():
    loss = build()["loss"]
    predictions, targets = (
        [Batch(np.array([[key]]), np.array([rows]), (np.full((rows, 2), value, np.float32),)) for key, rows in sizes]
        for value, sizes in ((3.0, ((4, 1), (5, 3))), (1.0, ((4, 1), (5, 3))))
    )
    loss.answer(FORWARD, 0, concatenate(predictions))
    report = loss.answer(FORWARD, 1, concatenate(targets)).report
    assert report.states.tolist() == [[4], [5]]
    assert report.rows.tolist() == [1, 1]
    assert report.payload[0].dtype == np.float64
    assert report.payload[0].tolist() == [[4, 2, 1], [12, 6, 3]]


def test_the_gradient_of_a_message_does_not_depend_on_its_company():
    alone, together = build()["loss"], build()["loss"]
    sizes = {1: 1, 2: 4, 3: 2}
    expected = {}
    for key, rows in sizes.items():
        alone.answer(FORWARD, 0, message(key, 2, rows))
        answer = alone.answer(FORWARD, 1, Batch(np.array([[key]]), np.array([rows]), (np.zeros((rows, 2)),)))
        expected[key] = answer.emissions[0].batch.payload[0]
    together.answer(FORWARD, 0, concatenate([message(key, 2, rows) for key, rows in sizes.items()]))
    zeros = np.zeros((7, 2))
    answer = together.answer(FORWARD, 1, Batch(np.array([[1], [2], [3]]), np.array([1, 4, 2]), (zeros,)))
    np.testing.assert_array_equal(answer.emissions[0].batch.payload[0], np.concatenate(list(expected.values())))


def gradient_of(node, values, batches, gradients):
    """The sum of the node's gradients when it is given the batches, then their gradients."""
    before = {name: value.astype(np.float64) for name, value in values.items()}
    node.parameters.values = dict(before)
    for batch in batches:
        node.answer(FORWARD, 0, batch)
    answers = [node.answer(BACKWARD, 0, gradient) for gradient in gradients]
    node.parameters.flush()
    return {name: (before[name] - node.parameters.values[name]) / 0.1 for name in before}, answers


def test_a_batch_of_messages_gets_the_sum_of_their_gradients():
    forward = [message(key, 4, rows=key) for key in (1, 2, 3)]
    backward = [message(key, 2, rows=key) for key in (1, 2, 3)]
    one, many = build(frequency=100)["linear2"], build(frequency=100)["linear2"]
    values = dict(one.parameters.values)
    single, answers = gradient_of(one, values, forward, backward)
    batched, (answer,) = gradient_of(many, values, [concatenate(forward)], [concatenate(backward)])
    for name in values:
        np.testing.assert_allclose(batched[name], single[name], rtol=1e-9)
    inputs = np.concatenate([emitted(answer).payload[0] for answer in answers])
    np.testing.assert_allclose(emitted(answer).payload[0], inputs, rtol=1e-9)


def test_a_backward_batch_made_up_differently_gets_the_same_gradients():
    forward = [message(key, 4, rows=key) for key in (1, 2, 3, 4)]
    backward = {key: message(key, 2, rows=key) for key in (1, 2, 3, 4)}
    one, other = build(frequency=100)["linear2"], build(frequency=100)["linear2"]
    values = dict(one.parameters.values)
    straight, _ = gradient_of(one, values, forward, list(backward.values()))
    mixed = [concatenate([backward[4], backward[1]]), concatenate([backward[3], backward[2]])]
    crossed, answers = gradient_of(other, values, [concatenate(forward[:2]), concatenate(forward[2:])], mixed)
    for name in values:
        np.testing.assert_allclose(crossed[name], straight[name], rtol=1e-9)
    assert emitted(answers[0]).states.tolist() == [[4], [1]]
    assert emitted(answers[0]).rows.tolist() == [4, 1]


def test_a_transform_before_all_parameters_answers_without_a_gradient():
    builder = GraphBuilder({"x": ArraySpec((3,)), "y": ArraySpec((3,))})
    first = builder.transform("relu", "relu", builder.input("x"))
    builder.loss("loss", "squared_error", builder.transform("linear", "linear", first, units=3), builder.input("y"))
    nodes = {
        name: spec.build(TrainingSetup(0, OPTIMIZERS["sgd"](learning_rate=0.1)), StructureTable())
        for name, spec in builder.graph().nodes.items()
    }
    nodes["linear"].answer(FORWARD, 0, emitted(nodes["relu"].answer(FORWARD, 0, message(1, 3, rows=2))))
    unwanted = emitted(nodes["linear"].answer(BACKWARD, 0, message(1, 3, rows=2)))
    assert unwanted.payload == ()
    home = emitted(nodes["relu"].answer(BACKWARD, 0, unwanted))
    assert (home.states.tolist(), home.rows.tolist(), home.payload) == ([[1]], [2], ())
    assert nodes["relu"].held() == []


def test_a_gradient_for_a_state_that_never_came_is_refused():
    with pytest.raises(UnknownState, match="9"):
        build()["linear1"].answer(BACKWARD, 0, message(9, 4))


def test_a_message_that_comes_twice_is_refused():
    node = build()["linear1"]
    node.answer(FORWARD, 0, message(9, 3))
    with pytest.raises(DuplicateState, match="9"):
        node.answer(FORWARD, 0, message(9, 3))
