from __future__ import annotations

from math import exp, tanh

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampsim.ops import OPS, ArraySpec, check_gradients

LEAF, BRANCH = OPS["tree_leaf"], OPS["tree_branch"]
small = st.integers(1, 3)


def sigmoid(x):
    return 1 / (1 + exp(-x))


def columns(function, values, p, block, units):
    """function(values @ weight + bias) of the columns of one block, value by value."""
    return [
        function(sum(value * row[k] for value, row in zip(values, p["weight"], strict=True)) + p["bias"][k])
        for k in range(block * units, (block + 1) * units)
    ]


def pairs(messages):
    return np.full(messages, 2)


@settings(max_examples=20)
@given(small, small, small, st.integers(0, 100))
def test_gradient_of_a_leaf_is_the_central_difference(rows, inputs, units, seed):
    check_gradients("tree_leaf", np.random.default_rng(seed).standard_normal((rows, inputs)), seed=seed, units=units)


@settings(max_examples=20)
@given(small, small, st.integers(0, 100))
def test_gradient_of_a_branch_is_the_central_difference(messages, units, seed):
    h, c = np.random.default_rng(seed).standard_normal((2, 2 * messages, units))
    check_gradients("tree_branch", h, c, rows=pairs(messages), seed=seed, units=units)


@given(small, small, small, st.integers(0, 100))
def test_a_leaf_is_the_formula_of_its_paper(rows, inputs, units, seed):
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((rows, inputs))
    p = {"weight": generator.standard_normal((inputs, 3 * units)), "bias": generator.standard_normal(3 * units)}
    (h, c), _ = LEAF.forward(p, x, units=units)
    for row in range(rows):
        i, o, u = (columns(f, x[row], p, block, units) for block, f in enumerate((sigmoid, sigmoid, tanh)))
        expected = [i[k] * u[k] for k in range(units)]
        np.testing.assert_allclose(c[row], expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(h[row], [o[k] * tanh(expected[k]) for k in range(units)], rtol=1e-12, atol=1e-14)


@given(small, small, st.integers(0, 100))
def test_a_branch_is_the_formula_of_its_paper(messages, units, seed):
    generator = np.random.default_rng(seed)
    p = {"weight": generator.standard_normal((2 * units, 5 * units)), "bias": generator.standard_normal(5 * units)}
    h, c = generator.standard_normal((2, 2 * messages, units))
    (new_h, new_c), _ = BRANCH.forward(p, h, c, units=units, rows=pairs(messages))
    for message in range(messages):
        left, right = 2 * message, 2 * message + 1
        functions = enumerate((sigmoid, sigmoid, sigmoid, sigmoid, tanh))
        i, o, fl, fr, u = (columns(f, [*h[left], *h[right]], p, block, units) for block, f in functions)
        expected = [i[k] * u[k] + fl[k] * c[left, k] + fr[k] * c[right, k] for k in range(units)]
        np.testing.assert_allclose(new_c[message], expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(
            new_h[message], [o[k] * tanh(expected[k]) for k in range(units)], rtol=1e-12, atol=1e-14
        )


def test_a_branch_knows_left_from_right():
    p = {"weight": np.zeros((2, 5)), "bias": np.array([-100.0, 0, 100, -100, 0])}  # remembers the left child alone
    (_, c), _ = BRANCH.forward(p, np.zeros((4, 1)), np.array([[1.0], [2], [3], [4]]), units=1, rows=pairs(2))
    np.testing.assert_allclose(c, [[1], [3]])


def test_a_new_branch_remembers_both_children():
    rule = BRANCH.parameters(ArraySpec((3,)), ArraySpec((3,)), units=3)
    bias = rule["bias"].initialise(np.random.default_rng(0), rule["bias"].shape)
    assert bias.reshape(5, 3).tolist() == [[0] * 3, [0] * 3, [1] * 3, [1] * 3, [0] * 3]


@pytest.mark.parametrize("rows", [[1, 3], [2, 1, 1], [4], [2, 0, 2]])
def test_a_branch_of_any_but_two_children_is_refused(rows):
    total = sum(rows)
    p = {"weight": np.zeros((4, 10)), "bias": np.zeros(10)}
    wrong = next(k for k, count in enumerate(rows) if count != 2)
    text = rf"2 rows, left and right, but message {wrong} has {rows[wrong]}: group exactly two children"
    with pytest.raises(ValueError, match=text):
        BRANCH.forward(p, np.zeros((total, 2)), np.zeros((total, 2)), units=2, rows=np.array(rows))


@pytest.mark.parametrize("scale", [0.0, 1e4, 1e18])
def test_saturated_gates_neither_overflow_nor_lose_their_gradient_to_nan(scale):
    generator = np.random.default_rng(0)
    p = {"weight": np.full((4, 10), scale, np.float32), "bias": np.zeros(10, np.float32)}
    h, c = generator.standard_normal((2, 6, 2), np.float32)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        outputs, saved = BRANCH.forward(p, h, c, units=2, rows=pairs(3))
        dxs, dws = BRANCH.backward(p, saved, outputs, (True, True), units=2, rows=pairs(3))
        leaf = {"weight": p["weight"][:, :6], "bias": p["bias"][:6]}
        x = np.full((2, 4), scale, np.float32)
        leaf_outputs, saved = LEAF.forward(leaf, x, units=2)
        leaf_dxs, leaf_dws = LEAF.backward(leaf, saved, leaf_outputs, (True,), units=2)
    arrays = [*outputs, *dxs, *dws.values(), *leaf_outputs, *leaf_dxs, *leaf_dws.values()]
    assert all(np.isfinite(array).all() for array in arrays)


def test_a_branch_costs_half_as_much_per_row_as_its_pairs():
    specs = ArraySpec((3,)), ArraySpec((3,))
    forward, _ = BRANCH.cost(2, *specs, units=3)
    assert forward.flops == 2 * 6 * 15 + (15 + 3 * 12) + 7 * 3  # product, gates, c' and h' of one branch


@pytest.mark.parametrize(
    ("op", "specs", "units", "text"),
    [
        (LEAF, [((), "int64")], 2, r"tree_leaf takes float32\[rows, inputs\], not int64\[rows\]: flatten or embed"),
        (LEAF, [((3,), "float32")], 0, "at least 1 input and 1 unit, not 3 and 0"),
        (BRANCH, [((3,), "float32"), ((3,), "float32")], 2, r"h is float32\[rows, 3\] and must be float32\[rows, 2\]"),
        (BRANCH, [((3,), "float32"), ((2,), "float32")], 3, r"c is float32\[rows, 2\] .*leaf and branch as many units"),
    ],
)
def test_what_does_not_fit_is_told_with_its_cure(op, specs, units, text):
    with pytest.raises(ValueError, match=text):
        op.shape(*(ArraySpec(shape, dtype) for shape, dtype in specs), units=units)
