from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampsim.ir.batch import Batch, Direction
from ampsim.ir.graph import Target
from ampsim.runtime.queues import Entry, Waves, message_queues

FORWARD, BACKWARD, INFERENCE, *_ = Direction
TARGETS = [
    Target(node, port, direction)
    for node, port in (("a", 0), ("a", 1), ("b", 0))
    for direction in (FORWARD, BACKWARD, INFERENCE)
]
ORDER = ("a", "b")
RANKS = {name: rank for rank, name in enumerate(ORDER)}
A, B = Target("a", 0, FORWARD), Target("b", 0, FORWARD)
A_BACK, B_BACK = Target("a", 0, BACKWARD), Target("b", 0, BACKWARD)


def batch_of(keys):
    """A message of one row for each of the instances `keys`."""
    return Batch(np.array(keys)[:, None], np.ones(len(keys), int), (np.array(keys, np.float32),))


class Naive:
    """The same as the queues of a device, on one list of keys: looks through everything, every time.

    Each batch has the number of its entry; what is taken is told with how many messages are of which entry.
    """

    def __init__(self, max_batch, wave):
        self.waiting = []
        self.arrivals = 0
        self.max_batch, self.wave = max_batch, wave

    def put(self, target, keys):
        # The wave is that of the first message; what is left of a batch that was split stays in it.
        self.waiting.append([target, keys, self.arrivals, keys[0][0] // self.wave if self.wave > 1 else 0])
        self.arrivals += 1

    def urgency(self, entry):
        target, keys, arrival, wave = entry
        backward = target.direction is BACKWARD
        if self.max_batch == 1:
            return not backward, keys[0][0], arrival
        rank = ORDER.index(target.node)
        return wave, backward == (self.wave > 1), -rank if backward else rank, target.direction, target.port

    def take(self):
        if not self.waiting:
            return None
        first = min(self.waiting, key=self.urgency)
        alike = [one for one in self.waiting if one[0] == first[0] and one[3] == first[3]]
        alike.sort(key=lambda entry: (entry[1][0][0], entry[2]))
        target, keys, _, _ = alike[0]
        if len(keys) > self.max_batch:
            alike[0][1] = keys[self.max_batch :]
            return target, keys[: self.max_batch], [(alike[0][2], self.max_batch)]
        taken, parts = [], []
        for entry in alike:
            if len(taken) + len(entry[1]) > self.max_batch:
                break
            taken += entry[1]
            parts.append((entry[2], len(entry[1])))
            self.waiting.remove(entry)
        return target, taken, parts


steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"),
            st.sampled_from(TARGETS),
            st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3)), min_size=1, max_size=5),
        ),
        st.tuples(st.just("take")),
    ),
    max_size=40,
)


@settings(max_examples=200)
@given(steps, st.integers(1, 7), st.integers(1, 3))
def test_queues_do_what_a_list_of_everything_that_waits_would_do(steps, max_batch, wave):
    queues, naive, number = message_queues(RANKS, max_batch, wave), Naive(max_batch, wave), 0
    row_counts = {}

    def take():
        next_up, expected, found = queues.next_up, naive.take(), queues.take()
        if expected is None:
            assert (next_up, found) == (None, None)
            return
        target, batch, parts = found
        assert next_up == (target.direction, batch.states.item(0))
        keys = list(map(tuple, batch.states.tolist()))
        assert (target, keys, [(entry.number, messages) for entry, messages in parts]) == expected
        assert batch.rows.tolist() == [row_counts[key] for key in keys]
        assert batch.payload[0].tolist() == [number for _, number in keys for _ in range(row_counts[_, number])]

    for step in steps:
        if step[0] == "put":
            _, target, messages = step
            # The state has the instance, which may have several messages, and a number that tells all apart.
            keys = [(instance, number + index) for index, (instance, _) in enumerate(messages)]
            rows = [count for _, count in messages]
            number += len(messages)
            row_counts.update(zip(keys, rows, strict=True))
            payload = np.repeat([number for _, number in keys], rows).astype(np.float32)
            queues.put(target, Batch(np.array(keys), np.array(rows), (payload,)), Entry("d0", naive.arrivals))
            naive.put(target, keys)
        else:
            take()
        assert queues.messages == sum(len(keys) for _, keys, _, _ in naive.waiting)
        assert queues.ready == bool(naive.waiting)
    while naive.waiting:
        take()
    assert (queues.take(), queues.messages, queues.ready) == (None, 0, False)


def taken(queues):
    """Everything that waits, in the order in which it is taken: `a+ 1 2` is forward messages 1 and 2 of a."""
    order = []
    while (found := queues.take()) is not None:
        target, batch, _ = found
        order.append(f"{target.node}{'+-'[target.direction is BACKWARD]} {' '.join(map(str, batch.states[:, 0]))}")
    return order


def queues_with(max_batch, *batches, wave=1):
    queues = message_queues(RANKS, max_batch, wave)
    for number, (target, *keys) in enumerate(batches):
        queues.put(target, batch_of(keys), Entry("d0", number))
    return queues


def test_a_message_at_a_time_backward_goes_before_forward_and_older_instances_before_newer():
    queues = queues_with(1, (A, 1), (B, 2), (A_BACK, 3), (A, 4), (B_BACK, 5))
    assert taken(queues) == ["a- 3", "b- 5", "a+ 1", "b+ 2", "a+ 4"]


def test_an_older_instance_goes_first_even_if_it_came_later():
    assert taken(queues_with(1, (A, 4), (B, 2), (A, 3), (B, 1))) == ["b+ 1", "b+ 2", "a+ 3", "a+ 4"]


def test_messages_of_one_instance_go_in_the_order_in_which_they_came():
    assert taken(queues_with(1, (B, 1), (A, 1), (B, 1))) == ["b+ 1", "a+ 1", "b+ 1"]


def test_inference_waits_in_line_with_forward():
    queues = queues_with(1, (A, 1), (Target("a", 0, INFERENCE), 2), (A, 3))
    assert taken(queues) == ["a+ 1", "a+ 2", "a+ 3"]


def test_several_messages_of_one_batch_are_handed_out_one_by_one():
    assert taken(queues_with(1, (A, 1, 2, 4), (A, 3))) == ["a+ 1", "a+ 2", "a+ 3", "a+ 4"]


@pytest.mark.parametrize(
    ("max_batch", "order"),
    [
        (1, ["a+ 1", "b+ 2", "a+ 3", "a+ 4", "b+ 5"]),
        (2, ["a+ 1 3", "a+ 4", "b+ 2 5"]),
        (3, ["a+ 1 3 4", "b+ 2 5"]),
    ],
)
def test_messages_of_one_port_are_merged_up_to_the_limit(max_batch, order):
    assert taken(queues_with(max_batch, (A, 1), (B, 2), (A, 3), (A, 4), (B, 5))) == order


def test_what_would_not_fit_whole_waits_for_its_turn():
    assert taken(queues_with(3, (A, 1, 2), (B, 3), (A, 4, 5), (A, 6))) == ["a+ 1 2", "a+ 4 5 6", "b+ 3"]


def test_where_messages_may_go_together_the_way_forward_begins_at_the_inputs_and_the_way_back_at_the_loss():
    assert taken(queues_with(8, (B, 1), (A, 2), (A, 3), (B, 4))) == ["a+ 2 3", "b+ 1 4"]
    assert taken(queues_with(8, (A_BACK, 1), (B_BACK, 2), (A, 3))) == ["b- 2", "a- 1", "a+ 3"]


def test_in_a_wave_forward_goes_before_backward():
    assert taken(queues_with(8, (A_BACK, 1), (B_BACK, 2), (A, 3), wave=8)) == ["a+ 3", "b- 2", "a- 1"]


def test_an_older_wave_goes_before_a_newer_one_and_is_not_mixed_with_it():
    queues = queues_with(8, (A, 4), (A_BACK, 1), (A, 5), (A_BACK, 3), (B_BACK, 0), (A, 6), wave=3)
    assert taken(queues) == ["b- 0", "a- 1", "a+ 4 5", "a- 3", "a+ 6"]


def test_a_batch_above_the_limit_is_split_and_keeps_its_place():
    assert taken(queues_with(2, (A, 1, 2, 3, 4, 5), (B, 6), (A, 7))) == ["a+ 1 2", "a+ 3 4", "a+ 5 7", "b+ 6"]


def test_what_arrives_between_turns_of_a_wave_may_overtake_only_if_it_is_nearer_to_the_inputs():
    queues = queues_with(2, (B, 1, 2, 3), wave=8)
    assert queues.take().batch.states[:, 0].tolist() == [1, 2]
    queues.put(B_BACK, batch_of([4]), Entry("d0", 1))
    queues.put(A, batch_of([5]), Entry("d0", 2))
    assert taken(queues) == ["a+ 5", "b+ 3", "b- 4"]


def test_ports_of_one_node_are_not_merged():
    queues = queues_with(8, (A, 1), (Target("a", 1, FORWARD), 2), (A, 3))
    assert taken(queues) == ["a+ 1 3", "a+ 2"]


def test_what_is_taken_is_told_by_the_entries_that_it_came_in():
    """Two messages of the first entry; then its last one, split off, together with what came behind it."""
    queues = Waves(RANKS, max_batch=2)
    first, second = Entry("d1", 7), Entry("d2", 0)
    queues.put(A, batch_of([1, 2, 3]), first)
    queues.put(A, batch_of([4]), second)
    told = [[(entry, messages) for entry, messages in queues.take().parts] for _ in range(2)]
    assert told == [[(first, 2)], [(first, 1), (second, 1)]]
    assert told[0][0][0] is told[1][0][0] is first, "the entry itself: what is noted on it is not lost"


def test_a_gathering_node_takes_what_came_together_of_one_instance():
    queues = message_queues(RANKS, 1, gathering={"a"})
    for target in (A, B):
        queues.put(target, batch_of([3, 3, 3, 5, 5]), Entry("d", 0))
    taken = [queues.take() for _ in range(7)]
    assert [(one.target.node, one.batch.states[:, 0].tolist(), one.parts[0][1]) for one in taken] == [
        ("a", [3, 3, 3], 3),
        ("b", [3], 1),
        ("b", [3], 1),
        ("b", [3], 1),
        ("a", [5, 5], 2),
        ("b", [5], 1),
        ("b", [5], 1),
    ]
    assert queues.messages == 0
    assert not queues.ready
