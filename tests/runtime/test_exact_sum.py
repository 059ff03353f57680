from __future__ import annotations

from math import fsum, inf, isnan, nan

from hypothesis import given
from hypothesis import strategies as st

from ampsim.runtime.exact_sum import ExactSum


def total(values, at_once=1):
    exact = ExactSum()
    for start in range(0, len(values), at_once):
        exact.add(values[start : start + at_once])
    return exact.value


@given(st.lists(st.floats(-1e300, 1e300), max_size=30), st.integers(1, 30), st.randoms(use_true_random=False))
def test_a_sum_is_that_of_all_numbers_at_once_in_whatever_order_they_come(values, at_once, random):
    assert total(values) == total(random.sample(values, len(values)), at_once) == fsum(values)


def test_small_numbers_are_not_lost_beside_large_ones():
    assert total([1e16, 1.0, -1e16]) == 1.0
    assert sum([1e16, 1.0, -1e16]) == 0.0


def test_what_is_not_finite_shows():
    assert total([1.0, inf, 2.0]) == inf
    assert isnan(total([1.0, nan]))
    assert isnan(total([inf, -inf]))


def test_an_empty_sum_is_zero():
    assert ExactSum().value == 0.0
