from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.ops import OPS, ArraySpec, Cost, check_gradients


def numbered(start):
    return start + np.arange(6, dtype=np.float64).reshape(3, 2)


@given(st.integers(1, 4))
def test_the_gradient_of_add_is_the_central_difference(count):
    check_gradients("add", *(numbered(start) for start in range(count)))


def test_add_sums_value_by_value_and_writes_to_no_input():
    xs = [numbered(start) for start in (0, 10, 100)]
    for count in (1, 2, 3):
        (y,), saved = OPS["add"].forward({}, *xs[:count])
        np.testing.assert_array_equal(y, sum(xs[:count]))
        assert not any(np.shares_memory(y, x) for x in xs)
        assert saved == ()
    np.testing.assert_array_equal(xs[0], numbered(0))


def test_only_what_is_wanted_has_a_gradient():
    dy = numbered(0)
    dxs, parameters = OPS["add"].backward({}, (), (dy,), (True, False))
    assert dxs == (dy, None)
    assert parameters == {}


def test_add_costs_an_addition_for_each_value_of_each_further_input():
    assert OPS["add"].cost(5, *[ArraySpec((7,))] * 3) == (Cost(2 * 5 * 7, 3 * 5 * 7 * 4, 5 * 7 * 4), Cost())


@pytest.mark.parametrize(
    ("specs", "problem"),
    [
        ((), "add needs at least 1 input"),
        ((ArraySpec((2,)), ArraySpec((3,))), r"float32\[rows, 2\] and float32\[rows, 3\]"),
        ((ArraySpec((), "int64"),), r"add takes floats .*, not int64\[rows\]"),
    ],
)
def test_inputs_that_do_not_fit_are_told(specs, problem):
    with pytest.raises(ValueError, match=problem):
        OPS["add"].shape(*specs)
