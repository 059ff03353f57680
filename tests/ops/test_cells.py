from __future__ import annotations

from math import exp, tanh

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampsim.ops import OPS, ArraySpec, Cost, check_gradients

# op -> how many arrays float[rows, units] it takes after x
MEMORIES = {"rnn": 1, "lstm": 2, "gru": 1}
every_cell = pytest.mark.parametrize("name", MEMORIES)
small = st.integers(1, 3)


def draw(name, rows, inputs, units, seed=0, scale=1.0):
    """Random inputs and parameters of a cell, float64."""
    generator = np.random.default_rng(seed)
    xs = [scale * generator.standard_normal((rows, inputs))]
    xs += [scale * generator.standard_normal((rows, units)) for _ in range(MEMORIES[name])]
    rule = OPS[name].parameters(*(ArraySpec(x.shape[1:], "float64") for x in xs), units=units)
    return xs, {key: scale * generator.standard_normal(spec.shape) for key, spec in rule.items()}


@every_cell
@settings(max_examples=20)
@given(small, small, small, st.integers(0, 100))
def test_gradient_of_a_cell_is_the_central_difference(name, rows, inputs, units, seed):
    xs, parameters = draw(name, rows, inputs, units, seed)
    check_gradients(name, *xs, parameters=parameters, units=units)


def sigmoid(x):
    return 1 / (1 + exp(-x))


def columns(function, values, weight, bias, block, units):
    """function(values @ weight + bias) of the columns of one block, value by value."""
    return [
        function(sum(value * row[k] for value, row in zip(values, weight, strict=True)) + bias[k])
        for k in range(block * units, (block + 1) * units)
    ]


def plain_rnn(p, x, h):
    return (columns(tanh, [*x, *h], p["weight"], p["bias"], 0, len(h)),)


def plain_lstm(p, x, h, c):
    functions = enumerate((sigmoid, sigmoid, sigmoid, tanh))
    i, o, f, g = (columns(function, [*x, *h], p["weight"], p["bias"], k, len(h)) for k, function in functions)
    new_c = [i[k] * g[k] + f[k] * c[k] for k in range(len(h))]
    return [o[k] * tanh(new_c[k]) for k in range(len(h))], new_c


def plain_gru(p, x, h):
    z, r = (columns(sigmoid, [*x, *h], p["weight"], p["bias"], k, len(h)) for k in range(2))
    reset_h = [r[k] * h[k] for k in range(len(h))]
    g = columns(tanh, [*x, *reset_h], p["candidate_weight"], p["candidate_bias"], 0, len(h))
    return ([(1 - z[k]) * h[k] + z[k] * g[k] for k in range(len(h))],)


@pytest.mark.parametrize(("name", "plain"), [("rnn", plain_rnn), ("lstm", plain_lstm), ("gru", plain_gru)])
@given(small, small, small, st.integers(0, 100))
def test_a_cell_is_the_formula_of_its_paper(name, plain, rows, inputs, units, seed):
    xs, parameters = draw(name, rows, inputs, units, seed)
    outputs, _ = OPS[name].forward(parameters, *xs, units=units)
    for row in range(rows):
        for y, expected in zip(outputs, plain(parameters, *(x[row] for x in xs)), strict=True):
            np.testing.assert_allclose(y[row], expected, rtol=1e-12, atol=1e-14)


@every_cell
def test_a_row_gets_the_same_among_others_as_by_itself(name):
    xs, parameters = draw(name, 5, 3, 4)
    op = OPS[name]
    together, saved = op.forward(parameters, *xs, units=4)
    gradients = tuple(np.random.default_rng(1).standard_normal(y.shape) for y in together)
    dxs, dws = op.backward(parameters, saved, gradients, (True,) * len(xs), units=4)
    sums = {key: np.zeros_like(dw) for key, dw in dws.items()}
    for row in range(5):
        one = slice(row, row + 1)
        alone, saved = op.forward(parameters, *(x[one] for x in xs), units=4)
        its_dxs, its_dws = op.backward(
            parameters, saved, tuple(dy[one] for dy in gradients), (True,) * len(xs), units=4
        )
        for all_rows, its in zip((*together, *dxs), (*alone, *its_dxs), strict=True):
            np.testing.assert_allclose(all_rows[one], its, rtol=1e-12, atol=1e-14)
        for key, dw in its_dws.items():
            sums[key] += dw
    for key, dw in dws.items():
        np.testing.assert_allclose(dw, sums[key], rtol=1e-12, atol=1e-13)


@every_cell
@pytest.mark.parametrize("scale", [0.0, 1e-20, 1e4, 1e18])
def test_saturated_gates_neither_overflow_nor_lose_their_gradient_to_nan(name, scale):
    xs, parameters = draw(name, 4, 3, 2, scale=scale)
    xs, parameters = [x.astype(np.float32) for x in xs], {key: w.astype(np.float32) for key, w in parameters.items()}
    if name == "lstm":
        xs[2] /= max(scale, 1)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        outputs, saved = OPS[name].forward(parameters, *xs, units=2)
        ones = tuple(np.ones_like(y) for y in outputs)
        dxs, dws = OPS[name].backward(parameters, saved, ones, (True,) * len(xs), units=2)
    assert all(np.isfinite(array).all() for array in (*outputs, *dxs, *dws.values()))


@pytest.mark.parametrize("wanted", [(True, False, True), (False, True, False), (False, False, False)])
@every_cell
def test_only_wanted_gradients_come_back_and_are_those_of_all(name, wanted):
    xs, parameters = draw(name, 3, 2, 2)
    wanted = wanted[: len(xs)]
    outputs, saved = OPS[name].forward(parameters, *xs, units=2)
    everything, _ = OPS[name].backward(parameters, saved, outputs, (True,) * len(xs), units=2)
    some, _ = OPS[name].backward(parameters, saved, outputs, wanted, units=2)
    for dx, full, want in zip(some, everything, wanted, strict=True):
        assert (dx is not None) == want
        if want:
            np.testing.assert_allclose(dx, full, rtol=1e-12)


def test_weights_start_scaled_by_their_inputs_and_a_cell_remembers_at_first():
    spec = ArraySpec((300,))
    rule = OPS["lstm"].parameters(spec, ArraySpec((100,)), ArraySpec((100,)), units=100)
    weight, bias = (rule[name].initialise(np.random.default_rng(1), rule[name].shape) for name in ("weight", "bias"))
    assert weight.dtype == bias.dtype == np.float32
    assert weight.std() == pytest.approx(np.sqrt(1 / 400), rel=0.01)
    assert bias.reshape(4, 100).tolist() == [[0] * 100, [0] * 100, [1] * 100, [0] * 100]


def test_flops_of_an_rnn_are_those_of_its_loops():
    rows, inputs, units = 3, 4, 2
    forward = rows * units * (2 * (inputs + units) + 1)  # multiply-adds, tanh
    backward = rows * units * (4 * (inputs + units) + 1 + 3)  # two products; bias; slope
    costs = OPS["rnn"].cost(rows, ArraySpec((inputs,)), ArraySpec((units,)), units=units)
    assert [cost.flops for cost in costs] == [forward, backward]


def test_an_lstm_reads_its_weights_once_per_call():
    specs = ArraySpec((3,)), ArraySpec((2,)), ArraySpec((2,))
    one, ten = (OPS["lstm"].cost(rows, *specs, units=2) for rows in (1, 10))
    weight, bias = 4 * 5 * 8, 4 * 8
    assert ten[0].bytes_read == 10 * (one[0].bytes_read - weight - bias) + weight + bias
    assert ten[1].bytes_read == 10 * (one[1].bytes_read - weight) + weight
    assert one[0] != Cost()


@pytest.mark.parametrize(
    ("name", "specs", "units", "text"),
    [
        (
            "rnn",
            [((3,), "int64"), ((2,), "float32")],
            2,
            r"rnn takes float32\[rows, inputs\], not int64\[rows, 3\]: .*embed",
        ),
        (
            "rnn",
            [((3,), "float32"), ((2,), "float32")],
            4,
            r"h is float32\[rows, 2\] and must be float32\[rows, 4\]: set",
        ),
        ("gru", [((3,), "float32"), ((0,), "float32")], 0, "not 3 and 0: give it more"),
        ("gru", [((3, 2), "float32"), ((2,), "float32")], 2, r"not float32\[rows, 3, 2\]: flatten"),
        ("gru", [((3,), "float64"), ((2,), "float32")], 2, r"h is float32\[rows, 2\] and must be float64\[rows, 2\]"),
        ("lstm", [((3,), "float32"), ((2,), "float32"), ((3,), "float32")], 2, r"c is float32\[rows, 3\] and must be"),
    ],
)
def test_what_does_not_fit_is_told_with_its_cure(name, specs, units, text):
    with pytest.raises(ValueError, match=text):
        OPS[name].shape(*(ArraySpec(shape, dtype) for shape, dtype in specs), units=units)
