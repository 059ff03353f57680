"""Orders of work that are given: written from turns, sent as arrays, and followed however things arrive."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.ir.batch import Batch, Direction, concatenate
from ampsim.ir.graph import Target
from ampsim.runtime.queues import Entry, message_queues
from ampsim.runtime.schedule import Order, OrderWriter, ScheduledQueues

FORWARD, BACKWARD, *_ = Direction
TARGETS = [Target(node, 0, direction) for node in ("a", "b") for direction in (FORWARD, BACKWARD)]
A, A_BACK, B, _ = TARGETS
SOURCES = ("controller", "d0", "d1")
TARGET_NUMBERS = {target: number for number, target in enumerate(TARGETS)}
SOURCE_NUMBERS = {source: number for number, source in enumerate(SOURCES)}


def messages_of(*keys):
    """A message of one row for each of the instances `keys`."""
    return Batch(np.array(keys)[:, None], np.ones(len(keys), int), (np.array(keys, np.float32),))


def order_of(*turns):
    """The order of `(target, (source, number, messages), ...)` turns."""
    writer = OrderWriter(TARGET_NUMBERS, SOURCE_NUMBERS)
    for target, *parts in turns:
        writer.add(target, [(Entry(source, number), messages) for source, number, messages in parts])
    return writer.take()


def described(taken):
    """What a turn has handled: the target, the messages, and how many were of which entry."""
    target, batch, parts = taken
    assert batch.payload[0].tolist() == batch.states[:, 0].tolist()
    return target, batch.states[:, 0].tolist(), [(entry.source, entry.number, messages) for entry, messages in parts]


# What comes to a device: (target, source, number of messages), in the order in which it came.
arrivals = st.lists(
    st.tuples(st.sampled_from(TARGETS), st.sampled_from(SOURCES), st.integers(1, 4)), min_size=1, max_size=12
)


@given(arrivals, st.integers(1, 5), st.randoms(use_true_random=False))
def test_a_follower_handles_the_same_batches_whatever_comes_first_and_however_the_order_is_cut(
    arrivals, max_batch, random
):
    numbers, entries = Counter(), []
    for number, (target, source, messages) in enumerate(arrivals):
        keys = [100 * number + message for message in range(messages)]
        entries.append((target, messages_of(*keys), Entry(source, numbers[target, source])))
        numbers[target, source] += 1
    leader, writer, done, orders = (
        message_queues({"a": 0, "b": 1}, max_batch),
        OrderWriter(TARGET_NUMBERS, SOURCE_NUMBERS),
        [],
        [],
    )
    left = list(entries)
    while left or leader.ready:
        if left and (not leader.ready or random.random() < 0.5):
            leader.put(*left.pop(0))
        else:
            taken = leader.take()
            done.append(described(taken))
            writer.add(taken.target, taken.parts)
        if random.random() < 0.3:
            orders.append(writer.take())
            assert len(writer) == 0
    orders.append(writer.take())

    follower, found = ScheduledQueues(TARGET_NUMBERS, SOURCE_NUMBERS), []
    random.shuffle(entries)
    steps = ["come"] * len(entries) + ["told"] * len(orders)
    random.shuffle(steps)
    for step in steps:
        if step == "come":
            target, batch, entry = entries.pop()
            follower.put(target, batch, Entry(entry.source, entry.number))
        else:
            follower.follow(orders.pop(0))
        while next_up := follower.next_up:
            taken = follower.take()
            assert next_up == (taken.target.direction, taken.batch.states.item(0))
            found.append(described(taken))
        assert not follower.ready
        assert follower.take() is None
    assert found == done
    assert follower.messages == 0


def test_an_order_travels_as_numbers_of_targets_and_sources_turn_after_turn():
    order = order_of((B, ("d1", 7, 2), ("controller", 0, 1)), (A_BACK, ("d0", 3, 4)))
    assert [array.dtype for array in order] == [np.int32, np.int32]
    assert order.turns.tolist() == [[2, 2], [1, 1]]
    assert order.parts.tolist() == [[2, 7, 2], [0, 0, 1], [1, 3, 4]]


def test_an_empty_order_is_two_empty_arrays_and_changes_nothing():
    order = order_of()
    assert (order.turns.shape, order.parts.shape) == ((0, 2), (0, 3))
    queues = ScheduledQueues(TARGET_NUMBERS, SOURCE_NUMBERS)
    queues.follow(order)
    assert (queues.ready, queues.take()) == (False, None)


def test_backward_does_not_go_first_where_the_order_says_otherwise():
    queues = ScheduledQueues(TARGET_NUMBERS, SOURCE_NUMBERS)
    queues.follow(order_of((A, ("d0", 0, 1)), (A_BACK, ("d0", 0, 1))))
    queues.put(A_BACK, messages_of(5), Entry("d0", 0))
    assert not queues.ready
    queues.put(A, messages_of(6), Entry("d0", 0))
    assert [queues.take().target for _ in range(2)] == [A, A_BACK]


def test_entries_of_one_number_are_told_apart_by_target_and_source():
    queues = ScheduledQueues(TARGET_NUMBERS, SOURCE_NUMBERS)
    queues.follow(order_of((A, ("d1", 0, 1), ("d0", 0, 1)), (B, ("d1", 0, 1))))
    for target, source, key in ((B, "d1", 3), (A, "d0", 2), (A, "d1", 1)):
        queues.put(target, messages_of(key), Entry(source, 0))
    assert [described(queues.take())[1] for _ in range(2)] == [[1, 2], [3]]


def test_a_batch_is_handed_out_in_the_parts_that_the_order_names_and_max_batch_has_no_say():
    queues = ScheduledQueues(TARGET_NUMBERS, SOURCE_NUMBERS)
    queues.follow(order_of((A, ("d0", 0, 1)), (A, ("d0", 0, 2), ("d0", 1, 1))))
    queues.put(A, messages_of(1, 2, 3), Entry("d0", 0))
    assert described(queues.take())[1] == [1]
    assert queues.messages == 2
    assert not queues.ready
    queues.put(A, messages_of(4), Entry("d0", 1))
    assert described(queues.take())[1] == [2, 3, 4]


def test_an_order_that_names_an_entry_twice_in_a_turn_is_of_another_run():
    queues = ScheduledQueues(TARGET_NUMBERS, SOURCE_NUMBERS)
    queues.put(A, messages_of(1, 2), Entry("d0", 0))
    queues.follow(order_of((A, ("d0", 0, 2), ("d0", 0, 1))))
    with pytest.raises(ValueError, match="1 messages to a out of 0 that came from d0"):
        queues.take()


def test_an_entry_that_is_smaller_than_the_order_says_is_of_another_run():
    queues = ScheduledQueues(TARGET_NUMBERS, SOURCE_NUMBERS)
    queues.follow(order_of((A, ("d1", 0, 3))))
    queues.put(A, concatenate([messages_of(1), messages_of(2)]), Entry("d1", 0))
    with pytest.raises(ValueError, match=r"takes 3 messages to a out of 2 that came from d1: it is of another run"):
        queues.take()


def numbers(turns, parts):
    return Order(np.array(turns, np.int32).reshape(-1, 2), np.array(parts, np.int32).reshape(-1, 3))


@pytest.mark.parametrize(
    ("order", "text"),
    [
        (numbers([[len(TARGETS), 1]], [[0, 0, 1]]), "names a target beyond the 4 that there are"),
        (numbers([[-1, 1]], [[0, 0, 1]]), "names a target beyond the 4"),
        (numbers([[0, 1]], [[len(SOURCES), 0, 1]]), "names a source beyond the 3 that there are"),
        (numbers([[0, 1]], [[-1, 0, 1]]), "names a source beyond the 3"),
        (numbers([[0, 2]], [[0, 0, 1]]), "of 1 turns has 1 parts"),
        (numbers([[0, 1]], [[0, 0, 1], [0, 1, 1]]), "of 1 turns has 2 parts"),
        (numbers([[0, 0]], []), "of 1 turns has 0 parts"),
        (numbers([[0, 1]], [[0, 0, 0]]), "or some without messages"),
    ],
)
def test_a_wrong_order_is_refused_before_anything_of_it_is_done(order, text):
    queues = ScheduledQueues(TARGET_NUMBERS, SOURCE_NUMBERS)
    with pytest.raises(ValueError, match=text):
        queues.follow(order)
    queues.put(A, messages_of(1), Entry("controller", 0))
    assert not queues.ready
