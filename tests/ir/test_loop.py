"""A Loop answers as the Phi, the Cond and the Isu that it stands for."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampsim.errors import GraphError
from ampsim.ir.batch import BACKWARD, FORWARD, INFERENCE, Batch, single_rows
from ampsim.ir.builder import GraphBuilder
from ampsim.ir.loop import BACK_EDGE, BODY, ENTRY, EXIT, LoopSpec
from ampsim.ir.node import AHEAD, ALL_DIRECTIONS, TrainingSetup
from ampsim.ir.routing import CondSpec, IsuSpec, PhiSpec
from ampsim.ir.state import Field, StateSchema
from ampsim.ir.structure import StructureTable
from ampsim.ops import OPTIMIZERS, ArraySpec
from tests.ir.passed_on import in_any_batches, plain

SCHEMA = StateSchema((Field("instance", 40), Field("t", 3), Field("rounds", 3)))
SETUP = TrainingSetup(0, OPTIMIZERS["sgd"](learning_rate=0.1))
PAYLOAD = (ArraySpec((2,), "float64"),)
A_ROUND = np.array([0, 1, 0])

randoms = st.builds(Random, st.integers(0, 2**32))


def is_over(states, structures):
    return (states[:, 1] >= states[:, 2]).astype(int)


def loop(wanted=(True, True), over=is_over):
    return LoopSpec("loop", (PAYLOAD, PAYLOAD), wanted, SCHEMA, 1, over, False).build(SETUP, StructureTable())


class Three:
    """The nodes that it stands for: what they send each other is not seen from outside."""

    def __init__(self, wanted):
        phi = PhiSpec("phi", (PAYLOAD,) * 2, wanted, SCHEMA)
        cond = CondSpec("cond", (PAYLOAD,), (True,), SCHEMA, is_over, 2, False)
        isu = IsuSpec("isu", (PAYLOAD,), (wanted[BACK_EDGE],), SCHEMA, lambda s: s + A_ROUND, lambda s: s - A_ROUND)
        self.phi, self.cond, self.isu = (spec.build(SETUP, StructureTable()) for spec in (phi, cond, isu))

    def answer(self, direction, port, batch):
        if direction is BACKWARD:
            (home,) = self.cond.answer(direction, port, batch).emissions
            sent = []
            for emission in self.phi.answer(direction, 0, home.batch).emissions:
                if emission.port == BACK_EDGE:
                    (back,) = self.isu.answer(direction, 0, emission.batch).emissions
                    emission = emission._replace(batch=back.batch)
                sent.append(emission)
            return sent
        if port == BACK_EDGE:
            (moved,) = self.isu.answer(direction, 0, batch).emissions
            batch = moved.batch
        (joined,) = self.phi.answer(direction, port, batch).emissions
        return self.cond.answer(direction, 0, joined.batch).emissions


def message(instance, t, rounds):
    values = np.array([[instance, 10.0 * t]])
    return Batch(np.array([[instance, t, rounds]]), single_rows(1), (values,))


@settings(max_examples=60)
@given(
    rounds=st.lists(st.integers(0, 7), min_size=1, max_size=12),
    wanted=st.tuples(st.booleans(), st.booleans()),
    direction=st.sampled_from([FORWARD, INFERENCE]),
    random=randoms,
)
def test_it_answers_as_three_nodes(rounds, wanted, direction, random):
    one, three = loop(wanted), Three(wanted)
    entering = [message(instance, 0, many) for instance, many in enumerate(rounds)]
    returning = [message(instance, t, many) for instance, many in enumerate(rounds) for t in range(many)]
    for port, messages in ((ENTRY, entering), (BACK_EDGE, returning)):
        for batch in in_any_batches(random, messages):
            assert plain(one.answer(direction, port, batch).emissions) == plain(three.answer(direction, port, batch))
    if direction is FORWARD:
        gone = [message(instance, t, many) for instance, many in enumerate(rounds) for t in range(many + 1)]
        for batch in in_any_batches(random, gone):
            port = random.choice((BODY, EXIT))  # a gradient goes home by its state alone
            assert plain(one.answer(BACKWARD, port, batch).emissions) == plain(three.answer(BACKWARD, port, batch))
    assert one.held() == three.phi.held() == []


def test_a_message_that_enters_with_rounds_behind_it_is_refused():
    with pytest.raises(ValueError, match="enters with t above 0, which counts the rounds"):
        loop().answer(FORWARD, ENTRY, message(0, 1, 3))


def test_a_loop_that_does_not_end_is_told_when_the_counter_is_full():
    with pytest.raises(ValueError, match=r"a round gives a state whose t is 8, and t has 3 bits .* does not end"):
        loop(over=lambda states, _: np.zeros(len(states), int)).answer(FORWARD, BACK_EDGE, message(0, 7, 7))


def test_an_over_that_is_no_choice_is_refused():
    with pytest.raises(ValueError, match="over gives 2: expected 0 to 1"):
        loop(over=lambda states, _: np.full(len(states), 2)).answer(FORWARD, ENTRY, message(0, 0, 1))


def test_it_is_light_but_back_where_messages_gather():
    spec = LoopSpec("loop", (PAYLOAD, PAYLOAD), (True, True), SCHEMA, 1, is_over, False)
    assert (spec.light(gathers=False), spec.light(gathers=True)) == (ALL_DIRECTIONS, AHEAD)


def built(counts="t", over=is_over, closed=True, leaves=True):
    graph = GraphBuilder({"x": ArraySpec((3,)), "y": ArraySpec((3,))}, {"t": 8, "length": 8})
    body, done = graph.loop("loop", graph.input("x"), counts, over)
    state = graph.transform("linear", "linear", body, units=3)
    if closed:
        graph.back(body, state)
    end = done if leaves else graph.transform("own", "linear", graph.input("x"), units=3)
    graph.loss("loss", "squared_error", end, graph.input("y"))
    return graph.graph()


def test_a_graph_with_a_loop_has_its_edges():
    graph = built()
    assert graph.nodes["loop"].counter == 1
    ways = {(source.node, source.number): (target.node, target.number) for source, target in graph.edges.items()}
    assert ways["loop", BODY] == ("linear", 0)
    assert ways["loop", EXIT] == ("loss", 0)
    assert ways["linear", 0] == ("loop", BACK_EDGE)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"counts": "tt"}, r"loop: states have no field 'tt' \(did you mean 't'\? there are: length, t\)"),
        ({"counts": "instance"}, r"loop: states have no field 'instance'"),
        ({"over": 3}, "loop: over must be a function, not 3"),
        ({"closed": False}, r"loop: 1 of its inputs are open: connect them with back\(...\)"),
        ({"leaves": False}, r"loop \(output 1\) goes nowhere: connect it, or leave it out"),
    ],
)
def test_each_fault_of_a_loop_is_told(options, problem):
    with pytest.raises(GraphError, match=problem):
        built(**options)


def test_a_loop_whose_way_out_leads_back_is_endless():
    graph = GraphBuilder({"x": ArraySpec((3,)), "y": ArraySpec((3,))}, {"t": 8})
    outer = graph.phi("outer", graph.input("x"), loops=1)
    body, done = graph.loop("loop", outer, "t", is_over)
    graph.back(body, graph.transform("linear", "linear", body, units=3))
    graph.back(outer, done)
    with pytest.raises(GraphError) as told:
        graph.graph()
    assert "outer: a message that enters this loop can never leave it" in str(told.value)
