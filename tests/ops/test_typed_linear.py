"""`typed_linear` is `linear` for each type, by one product for all types and by one for each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.ops import OPS, ArraySpec, check_gradients
from ampsim.ops.typed_linear import NARROW

OP, LINEAR = OPS["typed_linear"], OPS["linear"]

widths = st.sampled_from([1, 3, NARROW - 1, NARROW, NARROW + 5])
kinds_of_rows = st.integers(1, 4).flatmap(
    lambda types: st.tuples(st.just(types), st.lists(st.integers(0, types - 1), max_size=12))
)


@given(inputs=widths, units=widths, kinds=kinds_of_rows, seed=st.integers(0, 100))
def test_each_row_goes_through_the_map_of_its_type(inputs, units, kinds, seed):
    types, kind = kinds[0], np.array(kinds[1], np.int64)
    draw = np.random.default_rng(seed).standard_normal
    x, dy = draw((len(kind), inputs)), draw((len(kind), units))
    p = {"weight": draw((types, inputs, units)), "bias": draw((types, units))}
    (y,), saved = OP.forward(p, x, kind, types=types, units=units)
    (dx, none), sums = OP.backward(p, saved, (dy,), (True, False), types=types, units=units)
    assert none is None
    for number in range(types):
        own = {"weight": p["weight"][number], "bias": p["bias"][number]}
        rows = kind == number
        (its_y,), its_saved = LINEAR.forward(own, x[rows], units=units)
        (its_dx,), its_sums = LINEAR.backward(own, its_saved, (dy[rows],), (True,), units=units)
        found = (y[rows], dx[rows], sums["weight"][number], sums["bias"][number])
        for ours, its in zip(found, (its_y, its_dx, its_sums["weight"], its_sums["bias"]), strict=True):
            np.testing.assert_allclose(ours, its, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("inputs", [4, NARROW])
def test_gradients_are_central_differences(inputs):
    x = np.random.default_rng(0).standard_normal((5, inputs))
    check_gradients("typed_linear", x, np.array([2, 0, 2, 3, 0]), types=4, units=2)


@pytest.mark.parametrize("kind", [-1, 3])
def test_a_type_that_there_is_not_is_named(kind):
    p = {"weight": np.zeros((3, 2, 2)), "bias": np.zeros((3, 2))}
    with pytest.raises(ValueError, match=rf"typed_linear: type {kind} is not in 0 to 2: raise types \(3\)"):
        OP.forward(p, np.zeros((1, 2)), np.array([kind]), types=3, units=2)


@pytest.mark.parametrize(
    ("specs", "options", "fault"),
    [
        ((ArraySpec((2, 2)), ArraySpec((), "int64")), {"types": 2, "units": 2}, "flatten or embed it first"),
        ((ArraySpec((2,)), ArraySpec(())), {"types": 2, "units": 2}, "one type per row"),
        ((ArraySpec((2,)), ArraySpec((), "int64")), {"types": 0, "units": 2}, "not 2, 0 and 2"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(specs, options, fault):
    with pytest.raises(ValueError, match=fault):
        OP.shape(*specs, **options)
