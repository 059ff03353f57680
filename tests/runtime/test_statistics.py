from __future__ import annotations

import msgpack
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ampsim.runtime.statistics import NodeCounts, OnTheWay, Staleness, WorkCounts

counts = st.integers(0, 2**40)
staleness = st.builds(Staleness, counts, counts, counts)
work = st.builds(
    WorkCounts,
    *[counts] * 6,
    st.dictionaries(st.sampled_from(["linear1", "linear2", "embedding"]), st.builds(NodeCounts, counts, staleness)),
)


def copy_of(counts: WorkCounts) -> WorkCounts:
    return WorkCounts.from_wire(counts.to_wire())


def test_staleness_counts_each_gradient():
    staleness = Staleness()
    staleness.add(3, np.array([0, 3, 1]))
    staleness.add(1, 2)
    assert (staleness.gradients, staleness.total, staleness.maximum, staleness.mean) == (4, 6, 3, 1.5)


def test_time_on_the_way_is_a_mean_over_packets():
    came = OnTheWay()
    assert came.mean_s == 0
    came.add(3, 2.0)
    came.merge(OnTheWay(1, 10.0))
    assert (came.packets, came.total_s, came.mean_s) == (4, 16.0, 4.0)


def test_no_gradients_have_a_mean_staleness_of_zero():
    assert Staleness().mean == 0.0


@given(work)
def test_counts_come_back_from_a_message_as_they_went_in(counts):
    plain = msgpack.unpackb(msgpack.packb(counts.to_wire()))
    assert WorkCounts.from_wire(plain) == counts


@given(work, work)
def test_merging_adds_counts_and_keeps_the_largest_level(first, second):
    merged = copy_of(first)
    merged.merge(second)
    for name in ("forward_messages", "backward_messages", "batches"):
        assert getattr(merged, name) == getattr(first, name) + getattr(second, name)
    for name in ("queue_max", "cached_bytes", "peak_memory_bytes"):
        assert getattr(merged, name) == max(getattr(first, name), getattr(second, name))
    assert merged.updates == first.updates + second.updates
    for name in ("gradients", "total"):
        assert getattr(merged.staleness, name) == getattr(first.staleness, name) + getattr(second.staleness, name)
    assert merged.staleness.maximum == max(first.staleness.maximum, second.staleness.maximum)
    assert set(merged.nodes) == set(first.nodes) | set(second.nodes)


@given(work, work, work)
def test_intervals_may_be_merged_in_any_grouping(first, second, third):
    left = copy_of(first)
    left.merge(second)
    left.merge(third)
    tail = copy_of(second)
    tail.merge(third)
    right = copy_of(first)
    right.merge(tail)
    assert left == right


@given(work, work)
def test_merging_leaves_the_other_as_it_was(first, second):
    before = copy_of(second)
    first.merge(second)
    first.merge(second)
    assert second == before


def test_a_node_is_made_on_first_use_and_then_found_again():
    counts = WorkCounts()
    counts.node("linear1").updates += 2
    counts.node("linear1").updates += 1
    counts.node("linear2").updates += 4
    assert counts.nodes["linear1"].updates == 3
    assert counts.updates == 7
