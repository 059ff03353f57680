from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ampsim.ops import OPS, ArraySpec, Cost, check_gradients
from ampsim.ops.linear import SMALL_VOCABULARY, block_of_linear

small = st.integers(1, 4)
values = st.floats(-10, 10, width=32)


def matrices(rows=small, columns=small):
    return st.tuples(rows, columns).flatmap(lambda shape: arrays(np.float32, shape, elements=values))


@given(matrices(), small, st.integers(0, 100), st.booleans())
def test_gradient_of_linear_is_the_central_difference(x, units, seed, bias):
    check_gradients("linear", x, seed=seed, units=units, bias=bias)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), small)
def test_gradient_of_embedding_is_the_central_difference(ids, units):
    check_gradients("embedding", np.array(ids), vocabulary=5, units=units)


def test_linear_multiplies_and_adds():
    parameters = {"weight": np.array([[1, 2], [3, 4]], np.float32), "bias": np.array([10, 20], np.float32)}
    (y,), _ = OPS["linear"].forward(parameters, np.array([[1, 1], [0, 2]], np.float32), units=2)
    assert y.tolist() == [[14, 26], [16, 28]]
    (y,), _ = OPS["linear"].forward(parameters, np.array([[1, 1], [0, 2]], np.float32), units=2, bias=False)
    assert y.tolist() == [[4, 6], [6, 8]]
    assert list(OPS["linear"].parameters(ArraySpec((2,)), units=2, bias=False)) == ["weight"]


@given(st.integers(1, 5), small, small)
def test_the_gradient_of_a_weight_is_a_matrix_product_for_one_row_and_for_several(rows, inputs, units):
    x, dy = (np.random.default_rng(rows).standard_normal((rows, width), np.float32) for width in (inputs, units))
    parameters = {"weight": np.zeros((inputs, units), np.float32)}
    _, gradients = OPS["linear"].backward(parameters, (x,), (dy,), (False,), units=units)
    np.testing.assert_allclose(gradients["weight"], x.T @ dy, rtol=1e-5, atol=1e-6)


def test_linear_starts_he_normal_with_no_bias():
    rule = OPS["linear"].parameters(ArraySpec((800,)), units=500)
    weight, bias = (rule[name].initialise(np.random.default_rng(1), rule[name].shape) for name in ("weight", "bias"))
    assert weight.dtype == bias.dtype == np.float32
    assert weight.std() == pytest.approx(np.sqrt(2 / 800), rel=0.01)
    assert not bias.any()


def test_the_blocks_of_a_layer_begin_as_the_layer_would():
    def drawn(op, inputs, units):
        rule = op.parameters(ArraySpec((inputs,)), units=units)
        return {name: spec.initialise(np.random.default_rng(1), spec.shape) for name, spec in rule.items()}

    whole = drawn(OPS["linear"], 6, 5)["weight"]
    by_units = [drawn(block_of_linear((0, first), units=5), 6, count) for first, count in ((0, 2), (2, 3))]
    by_inputs = [drawn(block_of_linear((first, 0), inputs=6), count, 5) for first, count in ((0, 4), (4, 2))]
    np.testing.assert_array_equal(np.hstack([block["weight"] for block in by_units]), whole)
    np.testing.assert_array_equal(np.vstack([block["weight"] for block in by_inputs]), whole)
    assert all(block["weight"].flags.c_contiguous for block in (*by_units, *by_inputs))
    assert [block["bias"].shape for block in (*by_units, *by_inputs)] == [(2,), (3,), (5,), (5,)]


@given(small, small, small)
def test_flops_of_linear_are_those_of_its_loops(rows, inputs, units):
    forward = backward = 0
    for _ in range(rows):
        for _ in range(units):
            backward += 1  # bias gradient += dy
            for _ in range(inputs):
                forward += 2  # y += x * w
                backward += 2 + 2  # dx += dy * w; dw += x * dy
    costs = OPS["linear"].cost(rows, ArraySpec((inputs,)), units=units)
    assert [cost.flops for cost in costs] == [forward, backward]


def test_linear_reads_its_weights_once_per_call():
    x, w, b, y = 4 * 10 * 3, 4 * 3 * 2, 4 * 2, 4 * 10 * 2
    forward, backward = OPS["linear"].cost(10, ArraySpec((3,)), units=2)
    assert forward == Cost(2 * 10 * 3 * 2, x + w + b, y)
    assert backward == Cost(4 * 10 * 3 * 2 + 20, x + y + w, x + w + b)
    forward, backward = OPS["linear"].cost(10, ArraySpec((3,)), units=2, bias=False)
    assert (forward, backward) == (Cost(2 * 10 * 3 * 2, x + w, y), Cost(4 * 10 * 3 * 2, x + y + w, x + w))


def test_embedding_never_reads_more_than_its_weight():
    few, many = (
        OPS["embedding"].cost(rows, ArraySpec((), "int64"), vocabulary=5, units=2)[0].bytes_read for rows in (3, 100)
    )
    assert (few, many) == (3 * 8 + 3 * 8, 100 * 8 + 5 * 8)


@pytest.mark.parametrize("vocabulary", [7, SMALL_VOCABULARY, SMALL_VOCABULARY + 1])
@given(ids=st.lists(st.integers(0, 6), max_size=30))
def test_embedding_sums_the_gradients_of_repeated_ids(vocabulary, ids):
    ids = np.array(ids, np.int64)
    dy = np.random.default_rng(3).integers(-9, 9, (len(ids), 3)).astype(np.float32)
    (dids,), gradients = OPS["embedding"].backward({}, (ids,), (dy,), (False,), vocabulary=vocabulary, units=3)
    expected = np.zeros((vocabulary, 3), np.float32)
    for i, row in zip(ids, dy, strict=True):
        expected[i] += row
    assert dids is None
    np.testing.assert_array_equal(gradients["weight"], expected)


@pytest.mark.parametrize("wrong", [-1, 5, 2**40])
def test_an_id_out_of_range_is_named_with_the_range(wrong):
    parameters = {"weight": np.zeros((5, 2), np.float32)}
    with pytest.raises(ValueError, match=rf"id {wrong} is not in 0 to 4"):
        OPS["embedding"].forward(parameters, np.array([1, wrong, 3]), vocabulary=5, units=2)


@pytest.mark.parametrize(
    ("name", "spec", "options", "text"),
    [
        ("linear", ArraySpec((2, 3)), {"units": 1}, r"float32\[rows, 2, 3\]: flatten"),
        ("linear", ArraySpec((2,), "int64"), {"units": 1}, r"int64\[rows, 2\]"),
        ("linear", ArraySpec((2,)), {"units": 0}, "not 2 and 0"),
        ("embedding", ArraySpec(()), {"vocabulary": 3, "units": 1}, r"int64\[rows\], not float32\[rows\]"),
        ("embedding", ArraySpec((), "int64"), {"vocabulary": 0, "units": 1}, "not 0 and 1"),
    ],
)
def test_what_does_not_fit_is_told_with_its_cure(name, spec, options, text):
    with pytest.raises(ValueError, match=text):
        OPS[name].shape(spec, **options)
