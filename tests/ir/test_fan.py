"""Group, Ungroup and Flatmap, and the collector inside them: any arrival order, any make-up of batches."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampsim.ir.batch import Batch, Direction, concatenate
from ampsim.ir.collector import Collector
from ampsim.ir.fan import FlatmapSpec, GroupSpec, UngroupSpec
from ampsim.ir.node import TrainingSetup
from ampsim.ir.state import Field, StateSchema
from ampsim.ir.structure import StructureTable
from ampsim.ops import OPTIMIZERS, ArraySpec

FORWARD, BACKWARD, INFERENCE, *_ = Direction
SCHEMA = StateSchema((Field("instance", 40), Field("node", 8)))
SETUP = TrainingSetup(0, OPTIMIZERS["sgd"](learning_rate=0.1))
PAYLOAD = (ArraySpec((2,), "float64"), ArraySpec((), "float64"))
NODE = 1


def message(instance, node, rows=1, mark=0.0):
    """A message whose values say whose each row is."""
    return Batch(
        np.array([[instance, node]]),
        np.array([rows]),
        (
            np.array([[instance + node / 100, row + mark] for row in range(rows)]),
            np.arange(rows) + 1000.0 * instance + 10.0 * node + mark,
        ),
    )


def singles(batch):
    """Its messages one by one."""
    found = []
    while len(batch):
        one, batch = batch.split(1)
        found.append(one)
    return found


def state_of(batch):
    """The state of a single message, as a tuple."""
    return tuple(batch.states[0].tolist())


def assert_same(found, expected):
    """Equal in states, rows and every bit of the payload."""
    assert found.states.tolist() == expected.states.tolist()
    assert found.rows.tolist() == expected.rows.tolist()
    assert len(found.payload) == len(expected.payload)
    for array, other in zip(found.payload, expected.payload, strict=True):
        np.testing.assert_array_equal(array, other)


def stacked(state, members):
    """The message of a group."""
    together = concatenate(members)
    return Batch(np.array([state]), np.array([together.rows.sum()]), together.payload)


def only(answer, direction):
    """The batch of the only emission; it leaves by port 0."""
    (emission,) = answer.emissions
    assert (emission.direction, emission.port) == (direction, 0)
    return emission.batch


def in_any_batches(random, messages):
    """The messages in a random order, in batches of random make-up."""
    left = random.sample(messages, len(messages))
    while left:
        size = random.randrange(len(left)) + 1
        yield concatenate(left[:size])
        left = left[size:]


def bytes_kept(batch):
    """What a collector counts for messages that wait: states and payload."""
    return batch.size_bytes - batch.rows.nbytes


def nothing_kept(node):
    return (node.held(), node.cached_bytes) == ([], 0)


def whole(states, structures):
    """All nodes of an instance in one group: the member function of the tests."""
    group = states.copy()
    group[:, NODE] = 0
    return np.column_stack([group, states[:, NODE], structures.at("nodes", 0)])


def parents(states, structures):
    """Groups by parent, as in a tree of any degree."""
    group = states.copy()
    group[:, NODE] = structures.at("parent", states[:, NODE])
    nodes = states[:, NODE]
    return np.column_stack([group, structures.at("place", nodes), structures.at("count", nodes)])


def group(structures, member=whole, wanted=True):
    return GroupSpec("group", (PAYLOAD,), (wanted,), SCHEMA, member).build(SETUP, StructureTable(structures))


def ungroup(wanted=True):
    def row_state(states, places):
        found = states.copy()
        found[:, NODE] = states[:, NODE] * 8 + places
        return found

    return UngroupSpec("ungroup", (PAYLOAD,), (wanted,), SCHEMA, row_state).build(SETUP, StructureTable())


def children(states, structures):
    """As many copies of each node's message as `children` says, whose states number the instance's edges."""
    nodes = states[:, NODE]
    counts = structures.at("children", nodes)
    numbers = np.repeat(np.arange(len(states)), counts)
    copies = states[numbers]
    firsts = structures.at("first", nodes).tolist()
    copies[:, NODE] = [
        first + copy for first, count in zip(firsts, counts.tolist(), strict=True) for copy in range(count)
    ]
    return numbers, copies


def flatmap(counts, wanted=True):
    structures = StructureTable(
        {instance: {"children": np.array(some), "first": np.cumsum(some) - some} for instance, some in counts.items()}
    )
    return FlatmapSpec("flatmap", (PAYLOAD,), (wanted,), SCHEMA, children).build(SETUP, structures)


def arrays(*columns):
    """Keys, places and counts as a collector takes them."""
    return [np.array(column) for column in columns]


randoms = st.builds(Random, st.integers(0, 2**32))
# Rows of each member, of each group; of each node, of each instance.
groups = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=5), min_size=1, max_size=4)


class TestCollector:
    def test_a_group_leaves_in_the_order_of_its_places_whichever_came_first(self):
        collector = Collector()
        assert collector.add(*arrays([9, 9], [2, 0], [3, 3]), concatenate([message(1, 2), message(1, 0)])) is None
        assert collector.waiting() == [9]
        assert collector.size_bytes > 0
        full = collector.add(*arrays([9], [1], [3]), message(1, 1, rows=2))
        assert (full.keys, full.members.tolist(), full.rows.tolist()) == ([9], [3], [4])
        assert_same(full.batch, concatenate([message(1, 0), message(1, 1, rows=2), message(1, 2)]))
        assert (collector.waiting(), collector.size_bytes) == ([], 0)

    @settings(max_examples=50)
    @given(groups, randoms)
    def test_every_group_leaves_once_and_with_its_last_member(self, groups, random):
        collector, found = Collector(), {}
        members = [message(key, place, rows) for key, some in enumerate(groups) for place, rows in enumerate(some)]
        missing = {key: len(some) for key, some in enumerate(groups)}
        for batch in in_any_batches(random, members):
            keys, places = batch.states[:, 0].tolist(), batch.states[:, 1].tolist()
            full = collector.add(*arrays(keys, places, [len(groups[key]) for key in keys]), batch)
            for key in keys:
                missing[key] -= 1
            due = {key for key in keys if missing[key] == 0}
            assert (full is not None) == bool(due)
            if full is not None:
                assert set(full.keys) == due
                assert len(full.keys) == len(due)
                assert full.members.tolist() == [len(groups[key]) for key in full.keys]
                assert full.rows.tolist() == [sum(groups[key]) for key in full.keys]
                left = full.batch
                for key, count in zip(full.keys, full.members.tolist(), strict=True):
                    found[key], left = left.split(count)
            assert set(collector.waiting()) == {key for key in missing if 0 < missing[key] < len(groups[key])}
        for key, some in enumerate(groups):
            assert_same(found[key], concatenate([message(key, place, rows) for place, rows in enumerate(some)]))
        assert (collector.waiting(), collector.size_bytes) == ([], 0)

    def test_a_group_that_comes_whole_and_in_order_is_not_copied(self):
        batch = concatenate([message(1, 0), message(1, 1)])
        assert Collector().add(*arrays([5, 5], [0, 1], [2, 2]), batch).batch is batch

    def test_a_member_too_many_in_the_same_batch_is_refused(self):
        batch = concatenate([message(1, 0), message(1, 1), message(1, 1)])
        with pytest.raises(ValueError, match="a group of 2 got 3 messages"):
            Collector().add(*arrays([5] * 3, [0, 1, 1], [2] * 3), batch)

    def test_a_member_that_comes_twice_is_refused(self):
        collector = Collector()
        collector.add(*arrays([5], [1], [2]), message(1, 1))
        with pytest.raises(ValueError, match="a place of its own"):
            collector.add(*arrays([5], [1], [2]), message(1, 1))

    @pytest.mark.parametrize("place", [-1, 2])
    def test_a_place_that_the_group_does_not_have_is_refused(self, place):
        collector = Collector()
        collector.add(*arrays([5], [0], [2]), message(1, 0))
        with pytest.raises(ValueError, match=r"a group of \[2\] has the place"):
            collector.add(*arrays([5], [place], [2]), message(1, 1))

    def test_members_that_do_not_agree_how_many_they_are_are_refused(self):
        both = concatenate([message(1, 0), message(1, 1)])
        with pytest.raises(ValueError, match=r"do not agree how many they are: \[2, 3\]"):
            Collector().add(*arrays([5, 5], [0, 1], [2, 3]), both)
        collector = Collector()
        collector.add(*arrays([5], [0], [2]), message(1, 0))
        with pytest.raises(ValueError, match="do not agree how many they are: 2 and 3"):
            collector.add(*arrays([5], [1], [3]), message(1, 1))


class TestGroup:
    @settings(max_examples=50)
    @given(groups, randoms)
    def test_groups_of_several_instances_are_stacked_and_their_gradients_taken_apart(self, groups, random):
        node = group({instance: {"nodes": np.array([len(some)])} for instance, some in enumerate(groups)})
        members = {(instance, place): rows for instance, some in enumerate(groups) for place, rows in enumerate(some)}
        forward = {}
        for batch in in_any_batches(random, [message(*state, rows) for state, rows in members.items()]):
            for emission in node.answer(FORWARD, 0, batch).emissions:
                assert (emission.direction, emission.port) == (FORWARD, 0)
                for one in singles(emission.batch):
                    assert state_of(one) not in forward
                    forward[state_of(one)] = one
        for instance, some in enumerate(groups):
            expected = [message(instance, place, rows) for place, rows in enumerate(some)]
            assert_same(forward[instance, 0], stacked((instance, 0), expected))
        assert sorted(node.held()) == sorted(SCHEMA.keys(np.array(list(forward))))
        gradients = [
            stacked((instance, 0), [message(instance, place, rows, mark=0.5) for place, rows in enumerate(some)])
            for instance, some in enumerate(groups)
        ]
        home = {}
        for batch in in_any_batches(random, gradients):
            for one in singles(only(node.answer(BACKWARD, 0, batch), BACKWARD)):
                assert state_of(one) not in home
                home[state_of(one)] = one
        assert set(home) == set(members)
        for state, rows in members.items():
            assert_same(home[state], message(*state, rows, mark=0.5))
        assert nothing_kept(node)

    @settings(max_examples=50)
    @given(groups, randoms)
    def test_an_instance_may_have_many_groups_at_once(self, groups, random):
        place = np.array([place for some in groups for place in range(len(some))])
        parent = np.array([number for number, some in enumerate(groups) for _ in some])
        count = np.array([len(some) for some in groups for _ in some])
        shape = {"parent": parent, "place": place, "count": count}
        node, rows = group({0: shape, 1: shape}, parents), [rows for some in groups for rows in some]
        messages = [message(instance, at, rows[at]) for instance in (0, 1) for at in range(len(rows))]
        found = {}
        for batch in in_any_batches(random, messages):
            for emission in node.answer(INFERENCE, 0, batch).emissions:
                found.update((state_of(one), one) for one in singles(emission.batch))
        assert set(found) == {(instance, number) for instance in (0, 1) for number in range(len(groups))}
        for (instance, number), one in found.items():
            members = [message(instance, int(at), rows[at]) for at in np.flatnonzero(parent == number)]
            assert_same(one, stacked((instance, number), members))
        assert nothing_kept(node)

    def test_a_group_says_what_it_waits_for_first_its_members_then_its_gradient(self):
        node = group({3: {"nodes": np.array([2])}})
        node.answer(FORWARD, 0, message(3, 1))
        assert node.held() == SCHEMA.keys(np.array([[3, 0]]))
        assert node.cached_bytes == bytes_kept(message(3, 1))
        node.answer(FORWARD, 0, message(3, 0))
        assert node.held() == SCHEMA.keys(np.array([[3, 0]]))
        assert node.cached_bytes == 0
        node.answer(BACKWARD, 0, stacked((3, 0), [message(3, 0), message(3, 1)]))
        assert nothing_kept(node)

    def test_a_sender_that_wants_no_gradient_gets_its_states_and_rows_back(self):
        node = group({3: {"nodes": np.array([2])}}, wanted=False)
        node.answer(FORWARD, 0, concatenate([message(3, 1, rows=2), message(3, 0)]))
        home = only(node.answer(BACKWARD, 0, Batch(np.array([[3, 0]]), np.array([3]), ())), BACKWARD)
        assert_same(home, Batch(np.array([[3, 1], [3, 0]]), np.array([2, 1]), ()))

    def test_a_gradient_for_a_group_that_never_was_is_refused(self):
        with pytest.raises(KeyError):
            group({3: {"nodes": np.array([2])}}).answer(BACKWARD, 0, message(3, 0))

    def test_a_second_gradient_for_the_same_group_is_refused(self):
        node = group({3: {"nodes": np.array([1])}})
        node.answer(FORWARD, 0, message(3, 0))
        node.answer(BACKWARD, 0, message(3, 0))
        with pytest.raises(KeyError):
            node.answer(BACKWARD, 0, message(3, 0))

    def test_a_member_too_many_is_refused(self):
        node = group({3: {"nodes": np.array([2])}})
        with pytest.raises(ValueError, match="a group of 2 got 3 messages"):
            node.answer(FORWARD, 0, concatenate([message(3, 0), message(3, 1), message(3, 1)]))

    def test_a_member_that_comes_twice_is_refused(self):
        node = group({3: {"nodes": np.array([2])}})
        node.answer(FORWARD, 0, message(3, 0))
        with pytest.raises(ValueError, match=r"place of its own: \[0\]"):
            node.answer(FORWARD, 0, message(3, 0))


class TestUngroup:
    @settings(max_examples=50)
    @given(groups, randoms)
    def test_every_row_leaves_under_a_state_of_its_own_and_its_gradient_comes_home_in_its_place(self, groups, random):
        node = ungroup()
        rows = {(instance, at): count for instance, some in enumerate(groups) for at, count in enumerate(some)}
        sent, home = {}, {}
        for batch in in_any_batches(random, [message(*state, count) for state, count in rows.items()]):
            for one in singles(only(node.answer(FORWARD, 0, batch), FORWARD)):
                assert state_of(one) not in sent
                sent[state_of(one)] = one
        assert set(sent) == {(i, at * 8 + row) for (i, at), count in rows.items() for row in range(count)}
        for (instance, child), one in sent.items():
            whole = message(instance, child // 8, child % 8 + 1)
            last = tuple(array[-1:] for array in whole.payload)
            assert_same(one, Batch(np.array([[instance, child]]), np.array([1]), last))
        assert sorted(node.held()) == sorted(SCHEMA.keys(np.array(list(rows))))
        gradients = []
        for (instance, child), one in sent.items():
            parts = tuple(array[-1:] for array in message(instance, child // 8, child % 8 + 1, mark=0.5).payload)
            gradients.append(Batch(one.states, one.rows, parts))
        for batch in in_any_batches(random, gradients):
            for emission in node.answer(BACKWARD, 0, batch).emissions:
                assert (emission.direction, emission.port) == (BACKWARD, 0)
                for one in singles(emission.batch):
                    assert state_of(one) not in home
                    home[state_of(one)] = one
        assert set(home) == set(rows)
        for state, count in rows.items():
            assert_same(home[state], message(*state, count, mark=0.5))
        assert nothing_kept(node)

    def test_inference_leaves_nothing_behind(self):
        node = ungroup()
        (emission,) = node.answer(INFERENCE, 0, message(1, 1, rows=3)).emissions
        assert (emission.direction, len(emission.batch)) == (INFERENCE, 3)
        assert nothing_kept(node)

    def test_a_sender_that_wants_no_gradient_gets_its_state_and_rows_back(self):
        node = ungroup(wanted=False)
        sent = only(node.answer(FORWARD, 0, message(1, 1, rows=3)), FORWARD)
        home = only(node.answer(BACKWARD, 0, Batch(sent.states, sent.rows, ())), BACKWARD)
        assert_same(home, Batch(np.array([[1, 1]]), np.array([3]), ()))

    def test_a_gradient_for_a_row_that_never_left_is_refused(self):
        node = ungroup()
        node.answer(FORWARD, 0, message(1, 1, rows=2))
        with pytest.raises(KeyError):
            node.answer(BACKWARD, 0, message(1, 10))


# For each instance and node: how many copies are made of its message, and its rows.
trees = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=4), min_size=1, max_size=3
)


class TestFlatmap:
    @settings(max_examples=50)
    @given(trees, st.booleans(), randoms)
    def test_copies_go_to_every_child_and_their_gradients_are_summed(self, trees, one_row, random):
        counts = {instance: [count for count, _ in some] for instance, some in enumerate(trees)}
        rows = {
            (instance, at): 1 if one_row else rows
            for instance, some in enumerate(trees)
            for at, (_, rows) in enumerate(some)
        }
        node, copies, home = flatmap(counts), {}, {}

        def take_home(emission):
            assert (emission.direction, emission.port) == (BACKWARD, 0)
            for one in singles(emission.batch):
                assert state_of(one) not in home
                home[state_of(one)] = one

        for batch in in_any_batches(random, [message(*state, count) for state, count in rows.items()]):
            for emission in node.answer(FORWARD, 0, batch).emissions:
                if emission.direction is BACKWARD:
                    take_home(emission)
                    continue
                assert (emission.direction, emission.port) == (FORWARD, 0)
                for one in singles(emission.batch):
                    assert state_of(one) not in copies
                    copies[state_of(one)] = one
        childless = {(instance, at) for instance, at in rows if counts[instance][at] == 0}
        assert set(home) == childless
        of = {
            (instance, edge): (instance, at)
            for instance, some in counts.items()
            for edge, at in enumerate(np.repeat(np.arange(len(some)), some).tolist())
        }
        assert set(copies) == set(of)
        for edge, one in copies.items():
            assert_same(one, Batch(np.array([edge]), one.rows, message(*of[edge], rows[of[edge]]).payload))
            assert one.rows.tolist() == [rows[of[edge]]]
        assert set(node.held()) == (set(SCHEMA.keys(np.array(list(of.values())))) if of else set())
        draw = np.random.default_rng(random.randrange(2**32))
        gradients = {
            edge: Batch(one.states, one.rows, tuple(draw.standard_normal(array.shape) for array in one.payload))
            for edge, one in copies.items()
        }
        for batch in in_any_batches(random, list(gradients.values())):
            for emission in node.answer(BACKWARD, 0, batch).emissions:
                take_home(emission)
        assert set(home) == set(rows)
        for state, found in home.items():
            sums = [np.zeros_like(array) for array in message(*state, rows[state]).payload]
            for edge, parent in of.items():
                if parent == state:
                    sums = [total + array for total, array in zip(sums, gradients[edge].payload, strict=True)]
            assert (found.states.tolist(), found.rows.tolist()) == ([list(state)], [rows[state]])
            for array, total in zip(found.payload, sums, strict=True):
                np.testing.assert_allclose(array, total, rtol=1e-12, atol=1e-14)
        assert nothing_kept(node)

    @settings(max_examples=50)
    @given(st.lists(st.integers(1, 12), min_size=1, max_size=4), randoms)
    def test_the_bits_of_a_sum_do_not_depend_on_the_order_in_which_the_gradients_come(self, counts, random):
        draw = np.random.default_rng(random.randrange(2**32))
        # Of very different sizes, so that another order of adding gives other bits.
        values = draw.standard_normal((sum(counts), 3)) * 10.0 ** draw.integers(0, 9, (sum(counts), 3))
        gradients = [
            Batch(np.array([[0, edge]]), np.array([1]), (value[None, :2], value[2:]))
            for edge, value in enumerate(values)
        ]
        found = []
        for batches in (gradients, in_any_batches(random, gradients)):
            node = flatmap({0: counts})
            node.answer(FORWARD, 0, concatenate([message(0, at) for at in range(len(counts))]))
            emissions = [emission for batch in batches for emission in node.answer(BACKWARD, 0, batch).emissions]
            home = {state_of(one): one for emission in emissions for one in singles(emission.batch)}
            found.append([home[0, at] for at in range(len(counts))])
        for one, other in zip(*found, strict=True):
            assert_same(one, other)

    def test_a_message_without_children_is_answered_at_once_with_zeros(self):
        node = flatmap({1: [0]})
        home = only(node.answer(FORWARD, 0, message(1, 0, rows=2)), BACKWARD)
        assert_same(home, Batch(np.array([[1, 0]]), np.array([2]), (np.zeros((2, 2)), np.zeros(2))))
        assert nothing_kept(node)

    def test_a_message_without_children_is_answered_without_a_payload_if_no_gradient_is_wanted(self):
        home = only(flatmap({1: [0]}, wanted=False).answer(FORWARD, 0, message(1, 0, rows=2)), BACKWARD)
        assert_same(home, Batch(np.array([[1, 0]]), np.array([2]), ()))

    @pytest.mark.parametrize("rows", [1, 2])
    def test_a_sender_that_wants_no_gradient_gets_its_state_and_rows_back(self, rows):
        node = flatmap({1: [3]}, wanted=False)
        sent = only(node.answer(FORWARD, 0, message(1, 0, rows)), FORWARD)
        home = only(node.answer(BACKWARD, 0, Batch(sent.states, sent.rows, ())), BACKWARD)
        assert_same(home, Batch(np.array([[1, 0]]), np.array([rows]), ()))

    def test_inference_leaves_nothing_behind_and_answers_nothing(self):
        node = flatmap({1: [0, 2]})
        (emission,) = node.answer(INFERENCE, 0, concatenate([message(1, 0), message(1, 1)])).emissions
        assert (emission.direction, emission.batch.states.tolist()) == (INFERENCE, [[1, 0], [1, 1]])
        assert not node.answer(INFERENCE, 0, message(1, 0)).emissions
        assert nothing_kept(node)

    def test_a_gradient_for_a_copy_that_never_left_is_refused(self):
        node = flatmap({1: [2]})
        node.answer(FORWARD, 0, message(1, 0))
        with pytest.raises(KeyError):
            node.answer(BACKWARD, 0, message(1, 2))

    def test_a_second_gradient_for_the_same_copy_is_refused(self):
        node = flatmap({1: [2]})
        node.answer(FORWARD, 0, message(1, 0))
        node.answer(BACKWARD, 0, message(1, 1))
        with pytest.raises(KeyError):
            node.answer(BACKWARD, 0, message(1, 1))


@pytest.mark.parametrize(
    ("numbers", "states", "fault"),
    [
        ([1, 0], [[3, 1], [3, 2]], r"in their order, not \[1, 0\]"),
        ([0, 2], [[3, 1], [3, 2]], "children gives 2: expected 0 to 1"),
        ([0], [[3, 1], [3, 2]], r"an integer for each of 2, int64\[2\], not int64\[1\]"),
        ([0, 1], [[3, 1], [3, 256]], "a state whose node is 256, and node has 8 bits"),
    ],
)
def test_a_flatmap_refuses_children_that_are_none(numbers, states, fault):
    def wrong(of_messages, structures):
        return np.array(numbers), np.array(states)

    node = FlatmapSpec("flatmap", (PAYLOAD,), (True,), SCHEMA, wrong).build(SETUP, StructureTable())
    with pytest.raises(ValueError, match=fault):
        node.answer(FORWARD, 0, concatenate([message(3, 0), message(3, 1)]))


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        ([[3, 0, 0]], r"member must give int64\[1, 4\], not int64\[1, 3\]"),
        ([[3, -1, 0, 1]], "a state whose node is -1"),
    ],
)
def test_a_group_refuses_members_of_no_group(found, fault):
    with pytest.raises(ValueError, match=fault):
        group({3: {}}, member=lambda states, structures: np.array(found)).answer(FORWARD, 0, message(3, 0))
