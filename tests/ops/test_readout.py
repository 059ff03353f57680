from __future__ import annotations

from math import exp, tanh

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampsim.ops import OPS, ArraySpec, check_gradients

GATED_SUM = OPS["gated_sum"]
small = st.integers(1, 3)
some_rows = st.lists(st.integers(1, 4), min_size=1, max_size=3)


def draw(rows, width, annotation, units, dtype=np.float64):
    """Inputs (one or two) and parameters."""
    generator = np.random.default_rng(sum(rows))
    xs = [generator.standard_normal((sum(rows), w)).astype(dtype) for w in (width, annotation) if w]
    rule = GATED_SUM.parameters(*(ArraySpec(x.shape[1:], str(x.dtype)) for x in xs), units=units)
    return xs, {name: generator.standard_normal(spec.shape).astype(dtype) for name, spec in rule.items()}


@settings(max_examples=20)
@given(some_rows, small, st.integers(0, 2), small)
def test_gradient_of_gated_sum_is_the_central_difference_with_and_without_annotation(rows, width, annotation, units):
    xs, parameters = draw(rows, width, annotation, units)
    check_gradients("gated_sum", *xs, parameters=parameters, rows=rows, units=units)


@given(some_rows, small, st.integers(0, 2), small)
def test_gated_sum_is_the_sum_over_the_nodes_of_a_graph(rows, width, annotation, units):
    xs, p = draw(rows, width, annotation, units)
    (y,), _ = GATED_SUM.forward(p, *xs, units=units, rows=np.array(rows))
    row = 0
    for message, count in enumerate(rows):
        expected = [0.0] * units
        for _ in range(count):
            for k in range(units):
                gate, value = (
                    sum(xs[0][row, i] * p["weight"][i, column] for i in range(width)) + p["bias"][column]
                    for column in (k, units + k)
                )
                gate += sum(xs[1][row, i] * p["annotation_weight"][i, k] for i in range(annotation))
                expected[k] += tanh(value) / (1 + exp(-gate))
            row += 1
        np.testing.assert_allclose(y[message], expected, rtol=1e-12, atol=1e-13)


def test_a_graph_without_nodes_reads_as_zeros():
    xs, parameters = draw([2, 1], 3, 0, 2)
    rows = np.array([2, 0, 1])
    (y,), saved = GATED_SUM.forward(parameters, *xs, units=2, rows=rows)
    assert y.shape == (3, 2)
    assert not y[1].any()
    (dx,), _ = GATED_SUM.backward(parameters, saved, (np.ones((3, 2)),), (True,), units=2, rows=rows)
    assert dx.shape == (3, 3)


@pytest.mark.parametrize("scale", [0.0, 1e4, 1e18])
def test_saturated_gates_neither_overflow_nor_lose_their_gradient_to_nan(scale):
    xs, parameters = draw([3, 2], 3, 2, 2, np.float32)
    xs, parameters = [x * np.float32(scale) for x in xs], {k: w * np.float32(scale) for k, w in parameters.items()}
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        outputs, saved = GATED_SUM.forward(parameters, *xs, units=2, rows=np.array([3, 2]))
        dxs, dws = GATED_SUM.backward(parameters, saved, outputs, (True, True), units=2, rows=np.array([3, 2]))
    assert all(np.isfinite(array).all() for array in (*outputs, *dxs, *dws.values()))


def test_the_annotation_has_a_weight_of_its_own_only_if_there_is_one():
    h, annotation = ArraySpec((4,)), ArraySpec((3,))
    alone = {name: spec.shape for name, spec in GATED_SUM.parameters(h, units=2).items()}
    both = {name: spec.shape for name, spec in GATED_SUM.parameters(h, annotation, units=2).items()}
    assert alone == {"weight": (4, 4), "bias": (4,)}
    assert both == {**alone, "annotation_weight": (3, 2)}
    without, with_it = (GATED_SUM.cost(10, *specs, units=2)[0] for specs in ([h], [h, annotation]))
    assert with_it.flops - without.flops == 2 * 10 * 3 * 2
    assert with_it.bytes_read - without.bytes_read == 4 * (10 * 3 + 3 * 2)


@pytest.mark.parametrize(
    ("specs", "units", "text"),
    [
        ([ArraySpec((3,), "int64")], 2, r"gated_sum takes float32\[rows, inputs\], not int64\[rows, 3\]"),
        ([ArraySpec((3,)), ArraySpec((), "int64")], 2, r"not int64\[rows\]: flatten or embed"),
        (
            [ArraySpec((3,)), ArraySpec((3,), "float64")],
            2,
            r"float32\[rows, 3\] and float64\[rows, 3\] are of two types",
        ),
        ([ArraySpec((3,))], 0, "at least 1 input and 1 unit, not 3 and 0"),
    ],
)
def test_what_does_not_fit_is_told_with_its_cure(specs, units, text):
    with pytest.raises(ValueError, match=text):
        GATED_SUM.shape(*specs, units=units)
