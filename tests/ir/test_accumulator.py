"""What a node has gathered is shared out among its updates by instances, however messages were handled together."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.ir.accumulator import Accumulator
from ampsim.ops.gradients import DeferredGradients
from ampsim.ops.linear import layer_gradients

messages = st.tuples(st.integers(0, 11), st.integers(1, 3))  # instance, rows
batches = st.lists(st.lists(messages, min_size=1, max_size=4), min_size=1, max_size=5)


def draw(rows, seed):
    generator = np.random.default_rng([rows, *np.atleast_1d(seed)])
    # Of small whole numbers sums are exact, in whatever order.
    return tuple(generator.integers(-4, 5, (rows, width)).astype(np.float32) for width in (3, 2))


def gathered(most, batches, *, by_message=False, arithmetic=True, **options):
    """An accumulator that was given batches of messages, and for each message its instance, rows and gradients."""
    accumulator, alone = Accumulator(most, **options), []
    for seed, batch in enumerate(batches):
        instances, rows = map(np.array, zip(*batch, strict=True))
        lengths = [1] * len(batch) if by_message else rows.tolist()
        pieces = [draw(length, [seed, place]) for place, length in enumerate(lengths)]
        alone += [(*one, layer_gradients(*piece)) for one, piece in zip(batch, pieces, strict=True)]
        joined = map(np.concatenate, zip(*pieces, strict=True))
        accumulator.add(DeferredGradients(layer_gradients, *joined) if arithmetic else {}, len(batch), instances, rows)
    return accumulator, alone


def total(alone):
    return {name: sum(gradients[name] for *_, gradients in alone) for name in ("weight", "bias")}


@pytest.mark.parametrize("most", [1, 2, 3, 12])
@pytest.mark.parametrize("by_message", [False, True])
@given(batches=batches)
def test_shares_are_of_instances_in_their_order_as_few_and_as_equal_as_can_be(most, by_message, batches):
    accumulator, alone = gathered(most, batches, by_message=by_message)
    assert accumulator.messages == len(alone)
    shares, instances = accumulator.take(), sorted({instance for instance, *_ in alone})
    assert len(shares) == ceil(len(instances) / most)
    sizes = []
    for share in shares:
        # The next instances, one after the other, until their rows are those of the share.
        own: list = []
        size = 0
        while sum(rows for _, rows, _ in own) < share.rows:
            own += [one for one in alone if one[0] == instances[size + sum(sizes)]]
            size += 1
        sizes.append(size)
        assert sum(rows for _, rows, _ in own) == share.rows
        for name, gradient in total(own).items():
            np.testing.assert_array_equal(share.gradients[name], gradient)
    assert sum(sizes) == len(instances)
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1


@given(batches=batches)
def test_without_a_most_all_is_one_share_however_little_is_kept(batches):
    for kept_bytes in (0, 100, 2**20):
        accumulator, alone = gathered(0, batches, kept_bytes=kept_bytes)
        (share,) = accumulator.take()
        assert share.rows == sum(rows for _, rows, _ in alone)
        for name, gradient in total(alone).items():
            np.testing.assert_array_equal(share.gradients[name], gradient)


@given(batches=batches)
def test_without_arithmetic_there_are_the_same_shares_of_nothing(batches):
    accumulator, _ = gathered(2, batches)
    shapes, _ = gathered(2, batches, arithmetic=False)
    assert [(share.rows, dict(share.gradients)) for share in shapes.take()] == [
        (share.rows, {}) for share in accumulator.take()
    ]


def test_rows_are_summed_up_once_they_take_more_memory_than_may_be_kept():
    calls = []

    def rule(x, dy):
        calls.append(len(x))
        return layer_gradients(x, dy)

    accumulator = Accumulator(0, kept_bytes=200)  # a row has 20
    for _ in range(3):
        accumulator.add(DeferredGradients(rule, *draw(4, 0)), 1, np.array([0]), np.array([4]))
    assert calls == [12]
    accumulator.add(DeferredGradients(rule, *draw(4, 0)), 1, np.array([0]), np.array([4]))
    (share,) = accumulator.take()
    np.testing.assert_array_equal(share.gradients["weight"], 4 * layer_gradients(*draw(4, 0))["weight"])


def test_gradients_that_are_not_deferred_are_those_of_the_latest_instance_among_them():
    accumulator = Accumulator(1)
    for instances in ([0, 1], [0], [1]):
        accumulator.add({"weight": np.ones(2)}, len(instances), np.array(instances), np.ones(len(instances), int))
    first, second = accumulator.take()
    assert (first.gradients["weight"].tolist(), second.gradients["weight"].tolist()) == ([1, 1], [2, 2])


def test_gradients_of_both_kinds_are_shared_out_together():
    accumulator, expected = Accumulator(1), {}
    for number, (instance, rows) in enumerate([(3, 2), (5, 1), (3, 3), (4, 1), (5, 2)]):
        x, dy = draw(rows, number)
        gradients = DeferredGradients(layer_gradients, x, dy) if number % 2 else layer_gradients(x, dy)
        expected[instance] = expected.get(instance, 0) + layer_gradients(x, dy)["weight"]
        accumulator.add(gradients, 1, np.array([instance]), np.array([rows]))
    shares = accumulator.take()
    assert [share.rows for share in shares] == [5, 1, 3]
    for instance, share in zip((3, 4, 5), shares, strict=True):
        np.testing.assert_array_equal(share.gradients["weight"], expected[instance])


def test_what_was_taken_is_gone():
    accumulator, _ = gathered(1, [[(0, 1), (1, 2)]])
    assert len(accumulator.take()) == 2
    assert accumulator.messages == 0
    accumulator.add({"weight": np.ones(2)}, 1, np.array([4]), np.array([3]))
    (share,) = accumulator.take()
    assert (share.rows, list(share.gradients)) == (3, ["weight"])
