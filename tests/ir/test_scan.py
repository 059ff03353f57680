"""A Scan answers as the loop of messages that it stands for, whatever comes in whatever order."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampsim.errors import GraphError
from ampsim.ir.batch import BACKWARD, FORWARD, INFERENCE, Batch, concatenate
from ampsim.ir.builder import GraphBuilder
from ampsim.ir.node import TrainingSetup
from ampsim.ir.scan import BEGINNING, ELEMENTS, ScanSpec
from ampsim.ir.state import Field, StateSchema
from ampsim.ir.store import DuplicateState, UnknownState
from ampsim.ir.structure import StructureTable
from ampsim.ops import OPS, ArraySpec
from ampsim.ops.optimizers import sgd

SCHEMA = StateSchema((Field("instance", 40), Field("t", 3), Field("length", 3)))
OPTIONS = {"vocabulary": 5, "embedding": 2, "units": 3}
TOKEN, STATE = ArraySpec((), "int64"), ArraySpec((3,))
INPUTS = {"token": TOKEN, "start": TOKEN, "label": TOKEN}

randoms = st.builds(Random, st.integers(0, 2**32))


def scan(arithmetic=True, min_update_frequency=1000):
    spec = ScanSpec("scan", ((TOKEN,), (STATE,)), (False, True), SCHEMA, OPS["token_rnn"], OPTIONS)
    return spec.build(TrainingSetup(0, sgd(learning_rate=0.1), min_update_frequency, 1.0, arithmetic), StructureTable())


def message(instance, t, length, *arrays):
    return Batch(np.array([[instance, t, length]]), np.array([len(arrays[0])]), arrays)


class Sequence:
    """What is sent for one instance: its elements, and what the scan begins with."""

    def __init__(self, instance, length, rows):
        draw = np.random.default_rng([instance, length, rows])
        self.tokens, self.state = draw.integers(5, size=(length, rows)), draw.standard_normal((rows, 3), np.float32)
        self.gradient = draw.standard_normal((rows, 3), np.float32)
        self.messages = [(ELEMENTS, message(instance, t, length, row)) for t, row in enumerate(self.tokens)]
        self.messages.append((BEGINNING, message(instance, 0, length, self.state)))
        self.end = message(instance, length, length, self.gradient)

    def expected(self, values):
        """End, gradient of the beginning, and gradients of the parameters: a step after the other."""
        state, kept = self.state, []
        for row in self.tokens:
            (state,), saved = OPS["token_rnn"].forward(values, row, state, **OPTIONS)
            kept.append(saved)
        gradient, sums = self.gradient, dict.fromkeys(values, 0.0)
        for saved in reversed(kept):
            (_, gradient), found = OPS["token_rnn"].backward(values, saved, (gradient,), (False, True), **OPTIONS)
            sums = {name: sums[name] + found[name] for name in values}
        return state, gradient, sums


@settings(deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=4),
    random=randoms,
    arithmetic=st.booleans(),
)
def test_it_is_the_loop_of_steps_whatever_overtakes_what(shapes, random, arithmetic):
    node = scan(arithmetic)
    sequences = [Sequence(instance, length, rows) for instance, (length, rows) in enumerate(shapes)]
    waiting = [one for sequence in sequences for one in sequence.messages]
    random.shuffle(waiting)
    ends, answers = {}, []
    while waiting:
        # Up to three at a time, as many of them as are for one port.
        port = waiting[-1][0]
        batches = [waiting.pop()[1]]
        while waiting and waiting[-1][0] == port and len(batches) < 3:
            batches.append(waiting.pop()[1])
        batch = concatenate(batches)
        answers.append(node.answer(FORWARD, port, batch if arithmetic else Batch(batch.states, batch.rows, ())))
    for answer in answers:
        ends |= {emission.batch.states.item(0): emission.batch for emission in answer.emissions}
    assert sum(answer.rows for answer in answers) == sum(length * rows for length, rows in shapes)
    assert sorted(ends) == list(range(len(shapes)))

    gradients = [sequence.end for sequence in sequences]
    random.shuffle(gradients)
    together = concatenate(gradients)
    back = node.answer(BACKWARD, 0, together if arithmetic else Batch(together.states, together.rows, ()))
    assert (back.rows, back.gradients) == (sum(n * rows for n, rows in shapes), sum(length for length, _ in shapes))
    assert node.held() == []
    assert node.cached_bytes == 0
    sent = {(emission.batch.states.item(0), emission.port): emission.batch for emission in back.emissions}
    totals = dict.fromkeys(node.parameters.values, 0.0)
    for instance, sequence in enumerate(sequences):
        length, rows = sequence.tokens.shape
        assert ends[instance].states.tolist() == [[instance, length, length]]
        elements, beginning = sent[instance, ELEMENTS], sent[instance, BEGINNING]
        assert elements.states.tolist() == [[instance, t, length] for t in range(length)]
        assert (elements.rows.tolist(), elements.payload) == ([rows] * length, ())
        assert beginning.states.tolist() == [[instance, 0, length]]
        if arithmetic:
            end, gradient, sums = sequence.expected(node.parameters.values)
            np.testing.assert_allclose(ends[instance].payload[0], end, rtol=1e-6, atol=1e-6)
            np.testing.assert_allclose(beginning.payload[0], gradient, rtol=1e-5, atol=1e-5)
            totals = {name: totals[name] + sums[name] for name in sums}
    if arithmetic:
        before = dict(node.parameters.values)
        node.parameters.flush()
        for name, total in totals.items():
            np.testing.assert_allclose(before[name] - node.parameters.values[name], 0.1 * total, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("arithmetic", [False, True])
def test_bytes_are_counted_the_same_on_shapes_alone(arithmetic):
    node, seen = scan(arithmetic), []
    for port, batch in Sequence(7, 3, 2).messages:
        node.answer(FORWARD, port, batch if arithmetic else Batch(batch.states, batch.rows, ()))
        seen.append(node.cached_bytes)
    # A token of 8 bytes a row; kept for the way back are the token and the states before and after it.
    assert seen == [16, 32, 48, 3 * 2 * (8 + 12 + 12)]


def test_inference_keeps_nothing():
    node = scan()
    answers = [node.answer(INFERENCE, port, batch) for port, batch in Sequence(7, 3, 2).messages]
    assert [len(answer.emissions) for answer in answers] == [0, 0, 0, 1]
    assert node.held() == []
    assert node.cached_bytes == 0


def test_an_update_waits_for_a_later_instance():
    node = scan(min_update_frequency=2)
    first, second = Sequence(1, 3, 2), Sequence(2, 1, 2)
    for port, batch in first.messages:
        node.answer(FORWARD, port, batch)
    assert node.answer(BACKWARD, 0, first.end).updates == 0
    answers = [node.answer(FORWARD, port, batch) for port, batch in second.messages]
    assert [answer.updates for answer in answers] == [0, 1]
    assert node.answer(BACKWARD, 0, second.end).staleness == 0


@pytest.mark.parametrize(
    ("port", "t", "length"), [(ELEMENTS, 2, 2), (ELEMENTS, 0, 0), (BEGINNING, 1, 2), (BEGINNING, 0, 0)]
)
def test_a_message_beyond_the_sequence_is_refused(port, t, length):
    array = np.zeros(1, np.int64) if port == ELEMENTS else np.zeros((1, 3), np.float32)
    with pytest.raises(ValueError, match=rf"t is \[{t}\] of \[{length}\] steps"):
        scan().answer(FORWARD, port, message(7, t, length, array))


def test_elements_of_other_rows_than_the_beginning_are_refused():
    node = scan()
    node.answer(FORWARD, ELEMENTS, message(7, 0, 1, np.zeros(2, np.int64)))
    with pytest.raises(ValueError, match=r"elements of \[2\] rows, and a beginning of 1"):
        node.answer(FORWARD, BEGINNING, message(7, 0, 1, np.zeros((1, 3), np.float32)))


def test_a_second_message_and_a_gradient_of_nothing_are_told():
    node, sequence = scan(), Sequence(7, 2, 1)
    node.answer(FORWARD, *sequence.messages[0])
    with pytest.raises(DuplicateState):
        node.answer(FORWARD, *sequence.messages[0])
    with pytest.raises(UnknownState):
        node.answer(BACKWARD, 0, sequence.end)


@pytest.mark.parametrize(
    ("op", "counter", "options", "problem"),
    [
        ("token_rnn", "step", OPTIONS, "scan: states have no field 'step'"),
        ("token_rnn", "t", OPTIONS | {"units": 4}, r"scan \(token_rnn\)"),
        ("add", "t", {}, r"scan \(add\): a scan is of an op that takes several steps at once"),
    ],
)
def test_what_cannot_be_scanned_is_told_when_the_graph_is_built(op, counter, options, problem):
    graph = GraphBuilder(INPUTS, {"t": 3, "length": 3})
    start = graph.transform("first", "embedding", graph.input("start"), vocabulary=1, units=3)
    token = graph.input("token")
    elements = graph.transform("embed", "embedding", token, vocabulary=5, units=3) if op == "add" else token
    wire = graph.scan("scan", op, elements, start, counter, "length", **options)
    graph.loss("loss", "softmax_cross_entropy", wire, graph.input("label"))
    with pytest.raises(GraphError, match=problem):
        graph.graph()
