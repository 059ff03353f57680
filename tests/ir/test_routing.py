"""The nodes that only send messages on: Phi, Cond, Isu, Bcast, by hand and by property."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampsim.ir.batch import Batch, Direction, concatenate
from ampsim.ir.node import TrainingSetup
from ampsim.ir.routing import BcastSpec, CondSpec, IsuSpec, PhiSpec, partition
from ampsim.ir.state import Field, StateSchema
from ampsim.ir.store import DuplicateState
from ampsim.ir.structure import StructureTable
from ampsim.ops import OPTIMIZERS, ArraySpec

FORWARD, BACKWARD, INFERENCE, *_ = Direction
SCHEMA = StateSchema((Field("instance", 40), Field("t", 4)))
SETUP = TrainingSetup(0, OPTIMIZERS["sgd"](learning_rate=0.1))
WIDE = (ArraySpec((2,), "float64"),)


def message(instance, t=0, rows=1, mark=0.0):
    """A message whose every value says whose it is."""
    values = [[instance + 0.1 * t, row + mark] for row in range(rows)]
    return Batch(np.array([[instance, t]]), np.array([rows]), (np.array(values),))


def singles(batch):
    """Its messages one by one, as what can be compared: state, rows, payload."""
    left, found = batch, []
    while len(left):
        one, left = left.split(1)
        found.append((tuple(one.states[0].tolist()), one.rows.tolist(), [array.tolist() for array in one.payload]))
    return found


def sent(answer):
    """What left the node: (direction, port) -> messages."""
    return {(emission.direction, emission.port): singles(emission.batch) for emission in answer.emissions}


def nothing_kept(node):
    return (node.held(), node.cached_bytes) == ([], 0)


def phi(ports=2, wanted=None):
    return PhiSpec("phi", (WIDE,) * ports, wanted or (True,) * ports, SCHEMA).build(SETUP, StructureTable())


def cond(select, ports=2, structured=False, structures=None, wanted=True):
    spec = CondSpec("cond", (WIDE,), (wanted,), SCHEMA, select, ports, structured)
    return spec.build(SETUP, StructureTable() if structures is None else structures)


def isu(wanted=True):
    step = np.array([0, 1])
    up, down = (lambda states: states + step), (lambda states: states - step)
    return IsuSpec("isu", (WIDE,), (wanted,), SCHEMA, up, down).build(SETUP, StructureTable())


def bcast(ports=2, payload=WIDE, wanted=True):
    return BcastSpec("bcast", (payload,), (wanted,), SCHEMA, ports).build(SETUP, StructureTable())


def in_any_batches(random, messages):
    """The messages in a random order, in batches of random sizes."""
    left = random.sample(messages, len(messages))
    while left:
        size = random.randrange(len(left)) + 1
        yield left[:size]
        left = left[size:]


states = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), min_size=1, max_size=10, unique=True)
randoms = st.builds(Random, st.integers(0, 2**32))


def test_a_gradient_goes_back_through_the_port_that_its_message_came_in_by():
    node = phi()
    assert sent(node.answer(FORWARD, 1, message(7))) == {(FORWARD, 0): singles(message(7))}
    node.answer(FORWARD, 0, message(8))
    assert node.held() == SCHEMA.keys(np.array([[7, 0], [8, 0]]))
    answer = node.answer(BACKWARD, 0, concatenate([message(7, mark=3), message(8, mark=4)]))
    assert sent(answer) == {(BACKWARD, 0): singles(message(8, mark=4)), (BACKWARD, 1): singles(message(7, mark=3))}
    assert nothing_kept(node)


@settings(max_examples=50)
@given(states, st.integers(2, 4), randoms)
def test_a_phi_answers_every_message_once_at_its_own_port_whatever_the_order(states, ports, random):
    node, origin, home = phi(ports), {}, Counter()
    rows = {state: random.randrange(1, 4) for state in states}
    for batch in in_any_batches(random, states):
        port = random.randrange(ports)
        origin.update(dict.fromkeys(batch, port))
        forward = concatenate([message(*state, rows[state]) for state in batch])
        assert sent(node.answer(FORWARD, port, forward)) == {(FORWARD, 0): singles(forward)}
    for batch in in_any_batches(random, states):
        answer = node.answer(BACKWARD, 0, concatenate([message(*state, rows[state], mark=0.5) for state in batch]))
        for (direction, port), messages in sent(answer).items():
            assert direction is BACKWARD
            home.update((state, port) for state, *_ in messages)
            assert messages == [singles(message(*state, rows[state], mark=0.5))[0] for state, *_ in messages]
    assert home == Counter(origin.items())
    assert nothing_kept(node)


def test_a_phi_sends_no_gradient_to_a_port_that_wants_none():
    node = phi(wanted=(True, False))
    node.answer(FORWARD, 0, message(1, rows=2))
    node.answer(FORWARD, 1, message(2, rows=2))
    answer = sent(node.answer(BACKWARD, 0, concatenate([message(1, rows=2), message(2, rows=2)])))
    assert answer == {(BACKWARD, 0): singles(message(1, rows=2)), (BACKWARD, 1): [((2, 0), [2], [])]}


def test_a_phi_refuses_a_gradient_for_a_state_that_never_came():
    node = phi()
    node.answer(FORWARD, 0, message(1))
    with pytest.raises(KeyError):
        node.answer(BACKWARD, 0, message(2))


def test_a_phi_refuses_a_second_gradient_for_the_same_state():
    node = phi()
    node.answer(FORWARD, 0, message(1))
    node.answer(BACKWARD, 0, message(1))
    with pytest.raises(KeyError):
        node.answer(BACKWARD, 0, message(1))


@settings(max_examples=50)
@given(states, st.integers(2, 4), randoms)
def test_a_cond_sends_each_message_where_its_state_says_and_keeps_their_order(states, ports, random):
    node = cond(lambda states, structures: states.sum(axis=1) % ports, ports)
    for direction in (FORWARD, INFERENCE):
        for batch in in_any_batches(random, states):
            forward = concatenate([message(*state, rows=random.randrange(1, 3)) for state in batch])
            expected = {}
            for one in singles(forward):
                expected.setdefault((direction, sum(one[0]) % ports), []).append(one)
            assert sent(node.answer(direction, 0, forward)) == expected
    assert nothing_kept(node)


@settings(max_examples=50)
@given(states, randoms)
def test_a_cond_that_asks_for_the_structure_is_given_that_of_each_instance(states, random):
    structures = StructureTable({instance: {"chosen": np.arange(8) * instance % 3} for instance in range(6)})
    node = cond(lambda states, structures: structures.at("chosen", states[:, 1]), 3, True, structures)
    batch = concatenate([message(*state) for state in random.sample(states, len(states))])
    expected = {}
    for one in singles(batch):
        instance, t = one[0]
        expected.setdefault((FORWARD, t * instance % 3), []).append(one)
    assert sent(node.answer(FORWARD, 0, batch)) == expected


def test_a_cond_that_does_not_ask_for_the_structure_works_without_any():
    node = cond(lambda states, structures: np.zeros(len(states), int))
    assert sent(node.answer(FORWARD, 0, message(1))) == {(FORWARD, 0): singles(message(1))}


@pytest.mark.parametrize("port", [0, 1, 2])
def test_what_comes_back_to_a_cond_by_any_port_goes_home_by_its_only_one(port):
    batch = concatenate([message(1, 1, rows=2), message(2)])
    node = cond(lambda states, structures: states[:, 1], 3)
    assert sent(node.answer(BACKWARD, port, batch)) == {(BACKWARD, 0): singles(batch)}


@pytest.mark.parametrize(
    "node", [cond(lambda states, structures: states[:, 1], wanted=False), isu(wanted=False), bcast(1, wanted=False)]
)
def test_no_gradient_goes_to_a_sender_that_wants_none(node):
    (emission,) = node.answer(BACKWARD, 0, message(1, 1, rows=2)).emissions
    assert (emission.direction, emission.port) == (BACKWARD, 0)
    assert (emission.batch.rows.tolist(), emission.batch.payload) == ([2], ())


@settings(max_examples=50)
@given(states, randoms)
def test_an_isu_changes_the_state_forward_and_gives_it_back_backward(states, random):
    node = isu()
    for batch in in_any_batches(random, states):
        messages = concatenate([message(*state, rows=random.randrange(1, 3)) for state in batch])
        for direction in (FORWARD, INFERENCE):
            (emission,) = node.answer(direction, 0, messages).emissions
            assert (emission.direction, emission.port) == (direction, 0)
            assert emission.batch.states.tolist() == [[instance, t + 1] for instance, t in batch]
            assert emission.batch.payload is messages.payload
        assert sent(node.answer(BACKWARD, 0, emission.batch)) == {(BACKWARD, 0): singles(messages)}
    assert nothing_kept(node)


@pytest.mark.parametrize("direction", [FORWARD, INFERENCE])
def test_a_bcast_sends_every_message_to_every_successor_and_keeps_nothing(direction):
    node, batch = bcast(3), concatenate([message(1), message(2, rows=2)])
    emissions = node.answer(direction, 0, batch).emissions
    assert [(emission.direction, emission.port) for emission in emissions] == [(direction, port) for port in range(3)]
    assert all(emission.batch is batch for emission in emissions)
    assert nothing_kept(node)


def test_gradient_of_a_bcast_is_the_sum_over_its_copies():
    node = bcast(2)
    assert not node.answer(BACKWARD, 1, concatenate([message(1, mark=3), message(2, mark=3)])).emissions
    assert node.held() == SCHEMA.keys(np.array([[1, 0], [2, 0]]))
    assert node.cached_bytes > 0
    assert sent(node.answer(BACKWARD, 0, message(2, mark=4))) == {(BACKWARD, 0): [((2, 0), [1], [[[4.0, 7.0]]])]}
    assert sent(node.answer(BACKWARD, 0, message(1, mark=4))) == {(BACKWARD, 0): [((1, 0), [1], [[[2.0, 7.0]]])]}
    assert nothing_kept(node)


@settings(max_examples=50)
@given(states, st.integers(2, 4), st.integers(1, 2), randoms)
def test_a_bcast_adds_in_the_order_of_its_ports_whichever_came_first(states, ports, arrays, random):
    node = bcast(ports, WIDE * arrays)
    rows = {state: random.randrange(1, 4) for state in states}
    gradients = {
        (state, port): Batch(
            np.array([state]),
            np.array([rows[state]]),
            # Of very different sizes, so that another order of adding gives other bits.
            tuple(
                np.array([[random.gauss(0, 10.0 ** random.randrange(9)) for _ in range(2)] for _ in range(rows[state])])
                for _ in range(arrays)
            ),
        )
        for state in states
        for port in range(ports)
    }
    left, home = {port: list(states) for port in range(ports)}, {}
    while any(left.values()):
        port = random.choice([port for port in left if left[port]])
        batch = next(in_any_batches(random, left[port]))
        left[port] = [state for state in left[port] if state not in batch]
        answer = node.answer(BACKWARD, port, concatenate([gradients[state, port] for state in batch]))
        for at, messages in sent(answer).items():
            assert at == (BACKWARD, 0)
            for state, *content in messages:
                assert state not in home
                home[state] = content
        waiting = {state for state in states if any(state in left[port] for port in left)} & {
            state for state in states if any(state not in left[port] for port in left)
        }
        assert sorted(node.held()) == sorted(SCHEMA.keys(np.array(list(waiting)))) if waiting else nothing_kept(node)
    for state in states:
        sums = [gradients[state, 0].payload[number] for number in range(arrays)]
        for port in range(1, ports):
            sums = [total + array for total, array in zip(sums, gradients[state, port].payload, strict=True)]
        assert home[state] == [[rows[state]], [total.tolist() for total in sums]]


def test_a_bcast_of_what_no_one_wants_a_gradient_of_still_answers_once():
    node = bcast(2, wanted=False)
    empty = Batch(np.array([[1, 0]]), np.array([3]), ())
    assert not node.answer(BACKWARD, 0, empty).emissions
    assert sent(node.answer(BACKWARD, 1, empty)) == {(BACKWARD, 0): [((1, 0), [3], [])]}
    assert nothing_kept(node)


def test_a_bcast_refuses_a_second_gradient_from_the_same_successor():
    node = bcast(2)
    node.answer(BACKWARD, 0, message(1))
    with pytest.raises(DuplicateState):
        node.answer(BACKWARD, 0, message(1))


def test_a_bcast_refuses_gradients_of_one_state_that_have_different_rows():
    node = bcast(2)
    node.answer(BACKWARD, 0, message(1, rows=2))
    with pytest.raises(ValueError, match=r"have \[2\] rows on port 0 and \[3\] on port 1"):
        node.answer(BACKWARD, 1, message(1, rows=3))


@pytest.mark.parametrize(
    "node",
    [phi(), cond(lambda states, structures: states[:, 1] % 2), isu(), bcast()],
    ids=["phi", "cond", "isu", "bcast"],
)
def test_inference_leaves_nothing_behind_in_any_of_them(node):
    answer = node.answer(INFERENCE, 0, concatenate([message(1, 0), message(2, 1)]))
    assert {emission.direction for emission in answer.emissions} == {INFERENCE}
    assert nothing_kept(node)
    # The same states may come again: nobody remembers the first time.
    assert len(node.answer(INFERENCE, 0, concatenate([message(1, 0), message(2, 1)])).emissions) == len(
        answer.emissions
    )


@settings(max_examples=50)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_the_parts_of_a_batch_have_its_messages_in_order_and_each_once(parts):
    batch = concatenate([message(number, rows=1 + number % 3) for number in range(len(parts))])
    found = dict(partition(batch, np.array(parts)))
    assert list(found) == sorted(set(parts))
    for part, some in found.items():
        numbers = [number for number, other in enumerate(parts) if other == part]
        assert singles(some) == [singles(message(number, rows=1 + number % 3))[0] for number in numbers]
    assert len(found) > 1 or found[parts[0]] is batch


@pytest.mark.parametrize(
    ("select", "fault"),
    [
        (lambda states, structures: np.full(len(states), 2), "select gives 2: expected 0 to 1"),
        (lambda states, structures: np.full(len(states), -1), "select gives -1: expected 0 to 1"),
        (lambda states, structures: np.zeros(0, int), r"an integer for each of 1, int64\[1\], not int64\[0\]"),
        (lambda states, structures: np.zeros((1, 1), int), r"not int64\[1, 1\]"),
        (lambda states, structures: np.full(len(states), 0.5), r"not float64\[1\]"),
        (lambda states, structures: 1, "not 1"),
        (lambda states, structures: None, "not None"),
    ],
)
def test_a_cond_refuses_what_is_no_port(select, fault):
    with pytest.raises(ValueError, match=fault):
        cond(select).answer(FORWARD, 0, message(1))


@pytest.mark.parametrize(
    ("update", "fault"),
    [
        (lambda states: states + np.array([0, 99]), "a state whose t is 103, and t has . bits"),
        (lambda states: states - np.array([0, 9]), "a state whose t is -5"),
        (lambda states: states * 1.0, r"update must give states int64\[1, 2\], not float64\[1, 2\]"),
        (lambda states: states[:, :1], r"not int64\[1, 1\]"),
        (lambda states: None, "not None"),
    ],
)
def test_an_isu_refuses_what_is_no_state(update, fault):
    node = IsuSpec("isu", (WIDE,), (True,), SCHEMA, update, update).build(SETUP, StructureTable())
    with pytest.raises(ValueError, match=fault):
        node.answer(FORWARD, 0, message(1, 4))
