from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.data.list_reduction import ListReduction, reduce

digit_lists = st.lists(st.integers(0, 9), min_size=1, max_size=10)


def lists_of(instance):
    """The lists of a minibatch: (operator, digits, label)."""
    tokens = instance.inputs["token"].arrays[0].reshape(-1, instance.size)
    labels = instance.inputs["label"].arrays[0].tolist()
    return [(row[0] - 9, tuple(row[1:]), label) for row, label in zip(tokens.T.tolist(), labels, strict=True)]


def by_hand(operator, digits, each):
    """The class as one would write the rule down, a list at a time."""
    even, odd = (Fraction(sum(part), max(len(part), 1)) for part in (digits[::2], digits[1::2]))
    difference = floor(even) - floor(odd) if each else floor(even - odd)
    return [sum(digits) // len(digits), difference, max(digits) - min(digits), len(digits)][operator - 1] % 10


@pytest.mark.parametrize(
    ("operator", "digits", "expected"),
    [
        (1, [9], 9),
        (1, [1, 2], 1),
        (1, [9, 9, 8], 8),
        (2, [7], 7),
        (2, [1, 9], 2),
        (2, [0, 1], 9),
        (2, [3, 1, 4, 2], 2),
        (2, [3, 2, 4, 2], 1),
        (2, [2, 3, 4, 2], 0),
        (3, [5], 0),
        (3, [2, 9, 0], 9),
        (4, [0, 0, 0], 3),
        (4, list(range(10)), 0),
    ],
)
def test_operators_are_those_of_the_paper(operator, digits, expected):
    assert reduce(operator, digits) == expected


@given(digit_lists)
def test_the_second_operator_rounds_the_difference_of_the_means_down_or_if_asked_each_of_them(digits):
    even, odd = ((Fraction(sum(part), len(part)) if part else 0) for part in (digits[::2], digits[1::2]))
    assert reduce(2, digits) == floor(even - odd) % 10
    assert reduce(2, digits, round_each_mean=True) == (floor(even) - floor(odd)) % 10


@given(st.integers(1, 4), digit_lists)
def test_every_class_is_a_digit(operator, digits):
    assert reduce(operator, digits) in range(10)
    assert reduce(operator, np.array(digits)) == reduce(operator, digits)


@pytest.mark.parametrize("operator", [1, 2, 3, 4])
def test_an_empty_list_is_refused_by_every_operator(operator):
    with pytest.raises(ValueError, match="the list is empty"):
        reduce(operator, [])


@given(st.integers().filter(lambda operator: operator not in range(1, 5)), digit_lists)
def test_an_operator_out_of_range_is_named(operator, digits):
    with pytest.raises(ValueError, match=f"operator {operator} is not in 1 to 4"):
        reduce(operator, digits)


@given(digit_lists, st.integers().filter(lambda digit: digit not in range(10)), digit_lists)
def test_a_digit_out_of_range_is_named_with_its_position(before, wrong, after):
    with pytest.raises(ValueError, match=f"digit {wrong} at position {len(before)} is not in 0 to 9"):
        reduce(1, [*before, wrong, *after])


@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(1, 200), st.booleans())
def test_every_label_is_what_its_operator_makes_of_the_list(seed, batch, train, each):
    data = ListReduction(seed, batch=batch, train=train, validation=20, test=20, round_each_mean=each)
    for instance in data.instances("train", 1):
        for operator, digits, label in lists_of(instance):
            assert by_hand(operator, digits, each) == reduce(operator, digits, round_each_mean=each) == label


def test_a_minibatch_is_messages_of_equal_lists():
    for instance in ListReduction(3, batch=7, train=300, validation=5, test=5).instances("train", 2):
        token, start, label = (instance.inputs[name] for name in ("token", "start", "label"))
        steps, size = len(token.rows), instance.size
        assert 1 <= size <= 7
        assert 2 <= steps <= 11
        assert token.arrays[0].dtype == np.int64
        assert token.arrays[0].shape == (steps * size,)
        assert token.rows.tolist() == [size] * steps
        assert token.fields.tolist() == [[t, steps] for t in range(steps)]
        assert set(token.arrays[0][:size].tolist()) <= {10, 11, 12, 13}
        assert token.arrays[0][size:].max() <= 9
        assert start.arrays[0].tolist() == [0] * size
        assert start.fields.tolist() == [[0, steps]]
        assert label.fields.tolist() == [[steps, steps]]
        assert label.arrays[0].shape == (size,)
        assert instance.losses == 1


def test_only_the_last_minibatch_of_a_length_is_smaller():
    sizes = Counter()
    for instance in ListReduction(0, batch=10, train=2000, validation=5, test=5).instances("train", 1):
        sizes[len(instance.inputs["token"].rows), instance.size < 10] += 1
    assert all(count <= 1 for (_, smaller), count in sizes.items() if smaller)


def test_an_epoch_shuffles_lists_and_lengths_but_has_each_list_once():
    data = ListReduction(0, batch=10, train=1000, validation=100, test=100)
    epochs = [[lists_of(instance) for instance in data.instances("train", epoch)] for epoch in (1, 2)]
    first, second = [Counter(row for minibatch in epoch for row in minibatch) for epoch in epochs]
    assert first == second
    assert epochs[0] != epochs[1]
    lengths = [[len(minibatch[0][1]) for minibatch in epoch] for epoch in epochs]
    assert lengths[0] != sorted(lengths[0])
    assert lengths[0] != lengths[1]
    assert {frozenset(minibatch) for minibatch in epochs[0]} != {frozenset(minibatch) for minibatch in epochs[1]}


def test_operators_lengths_and_digits_are_drawn_uniformly():
    rows = [row for instance in ListReduction(1).instances("train", 1) for row in lists_of(instance)]
    assert len(rows) == 100_000
    operators = Counter(operator for operator, _, _ in rows)
    lengths = Counter(len(digits) for _, digits, _ in rows)
    digits = Counter(digit for _, digits, _ in rows for digit in digits)
    for counts, values in ((operators, 4), (lengths, 10), (digits, 10)):
        assert len(counts) == values
        mean = counts.total() / values
        assert all(abs(count - mean) < 6 * mean**0.5 for count in counts.values())


def test_splits_and_seeds_differ():
    data = ListReduction(0, train=100, validation=100, test=100)
    drawn = [
        Counter(row for instance in some.instances(split, 1) for row in lists_of(instance))
        for some, split in (
            (data, "train"),
            (data, "validation"),
            (data, "test"),
            (ListReduction(1, train=100), "train"),
        )
    ]
    assert all(drawn[a] != drawn[b] for a in range(4) for b in range(a))
