"""`token_rnn` does in one op what `embedding`, `concat`, `linear` and `relu` do in four."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.ops import OPS, ArraySpec, check_gradients
from ampsim.ops.linear import SMALL_VOCABULARY

OP = OPS["token_rnn"]
INTEGERS = ArraySpec((), "int64")

vocabularies = st.sampled_from([1, 5, SMALL_VOCABULARY + 1])


@given(
    vocabulary=vocabularies,
    embedding=st.integers(1, 4),
    units=st.integers(1, 4),
    rows=st.integers(0, 8),
    wants_h=st.booleans(),
    seed=st.integers(0, 100),
)
def test_it_is_the_four_ops_one_after_the_other(vocabulary, embedding, units, rows, wants_h, seed):
    generator = np.random.default_rng(seed)
    draw = generator.standard_normal
    token, h, dy = generator.integers(vocabulary, size=rows), draw((rows, units)), draw((rows, units))
    table, weight, bias = draw((vocabulary, embedding)), draw((embedding + units, units)), draw(units)

    (x,), ids = OPS["embedding"].forward({"weight": table}, token, vocabulary=vocabulary, units=embedding)
    (xh,), widths = OPS["concat"].forward({}, x, h)
    layer = {"weight": weight, "bias": bias}
    (z,), kept = OPS["linear"].forward(layer, xh, units=units)
    (y,), signs = OPS["relu"].forward({}, z)
    (dz,), _ = OPS["relu"].backward({}, signs, (dy,), (True,))
    (dxh,), sums = OPS["linear"].backward(layer, kept, (dz,), (True,), units=units)
    (dx, dh), _ = OPS["concat"].backward({}, widths, (dxh,), (True, True))
    looked_up = OPS["embedding"].backward({}, ids, (dx,), (False,), vocabulary=vocabulary, units=embedding)[1]

    sizes = {"vocabulary": vocabulary, "embedding": embedding, "units": units}
    p = {"table": table, **layer}
    (found,), saved = OP.forward(p, token, h, **sizes)
    (none, found_dh), found_sums = OP.backward(p, saved, (dy,), (False, wants_h), **sizes)
    assert (none, found_dh is None) == (None, not wants_h)
    pairs = [(found, y), (found_sums["weight"], sums["weight"]), (found_sums["bias"], sums["bias"])]
    pairs.append((found_sums["table"], looked_up["weight"]))
    pairs += [(found_dh, dh)] if wants_h else []
    for ours, its in pairs:
        np.testing.assert_allclose(ours, its, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("vocabulary", [5, SMALL_VOCABULARY + 1])
@pytest.mark.parametrize(("steps", "rows"), [(1, 3), (2, 1), (4, 3)])
@pytest.mark.parametrize("wants_h", [False, True])
def test_several_steps_are_one_after_the_other(steps, rows, vocabulary, wants_h):
    generator = np.random.default_rng(steps)
    token = generator.integers(vocabulary, size=(steps, rows))
    sizes = {"vocabulary": vocabulary, "embedding": 2, "units": 4}
    shapes = OP.parameters(INTEGERS, ArraySpec((4,), "float64"), **sizes)
    p = {name: generator.standard_normal(spec.shape) for name, spec in shapes.items()}
    h, dy = generator.standard_normal((2, rows, 4))

    (found,), kept = OP.forward(p, token.reshape(-1), h, **sizes, steps=steps)
    (_, found_dh), found_sums = OP.backward(p, kept, (dy,), (False, wants_h), **sizes, steps=steps)
    assert all(len(array) == steps * rows for array in kept)

    saved, y, dh = [], h, dy
    sums = dict.fromkeys(p, 0.0)
    for step in token:
        (y,), one = OP.forward(p, step, y, **sizes)
        saved.append(one)
    for one in reversed(saved):
        (_, dh), gradients = OP.backward(p, one, (dh,), (False, True), **sizes)
        sums = {name: sums[name] + gradient for name, gradient in gradients.items()}
    pairs = [(found, y), *((found_sums[name], total) for name, total in sums.items())]
    pairs += [(found_dh, dh)] if wants_h else []
    assert wants_h or found_dh is None
    for ours, its in pairs:
        np.testing.assert_allclose(ours, its, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("tokens", [[4, 0, 4], [4, 0, 4, 2, 2, 0]], ids=["fewer than words", "more than words"])
@pytest.mark.parametrize("vocabulary", [5, SMALL_VOCABULARY + 1])
def test_gradients_are_central_differences(vocabulary, tokens):
    h = np.random.default_rng(0).standard_normal((len(tokens), 2))
    check_gradients("token_rnn", np.array(tokens), h, vocabulary=vocabulary, embedding=3, units=2)


@pytest.mark.parametrize(("vocabulary", "rows"), [(5, 3), (5, 6), (70, 80)])
def test_the_gradient_is_that_at_todays_table_and_weight(vocabulary, rows):
    generator = np.random.default_rng(1)
    sizes = {"vocabulary": vocabulary, "embedding": 3, "units": 2}
    token, h = generator.integers(vocabulary, size=rows), generator.standard_normal((rows, 2))
    dy = generator.standard_normal((rows, 2))
    shapes = {name: spec.shape for name, spec in OP.parameters(INTEGERS, ArraySpec((2,)), **sizes).items()}
    p = {name: generator.standard_normal(shape) for name, shape in shapes.items()}
    (y,), saved = OP.forward(p, token, h, **sizes)
    later = {name: value + 1 for name, value in p.items()}
    (_, dh), sums = OP.backward(later, saved, (dy,), (False, True), **sizes)
    dz = dy * (y > 0)
    np.testing.assert_allclose(dh, dz @ later["weight"][3:].T)
    np.testing.assert_allclose(sums["weight"], np.concatenate([later["table"][token], h], axis=1).T @ dz, atol=1e-12)


def test_the_part_of_the_product_that_is_of_words_is_taken_once_for_each():
    sizes = {"vocabulary": 5, "embedding": 3, "units": 2}
    few, many = (OP.cost(rows, INTEGERS, ArraySpec((2,)), **sizes) for rows in (4, 1000))
    # 2weu + 2ru² + 2ru forward, of w words, r rows, e values, u units.
    assert few[0].flops == 2 * 4 * 3 * 2 + 2 * 4 * 4 + 2 * 4 * 2
    assert many[0].flops == 2 * 5 * 3 * 2 + 2 * 1000 * 4 + 2 * 1000 * 2
    # Both products twice, the bias, and ru each for the slope's two and the sums by word; re for those by row.
    assert few[1].flops == 2 * (2 * 4 * 3 * 2 + 2 * 4 * 4) + 4 * 2 + 2 * 4 * 2 + 4 * 3
    assert many[1].flops == 2 * (2 * 5 * 3 * 2 + 2 * 1000 * 4) + 5 * 2 + 3 * 1000 * 2


@pytest.mark.parametrize("token", [-1, 3])
def test_a_token_that_there_is_not_is_named(token):
    p = {"table": np.zeros((3, 2)), "weight": np.zeros((4, 2)), "bias": np.zeros(2)}
    with pytest.raises(ValueError, match=rf"token_rnn: token {token} is not in 0 to 2: raise vocabulary \(3\)"):
        OP.forward(p, np.array([token]), np.zeros((1, 2)), vocabulary=3, embedding=2, units=2)


@pytest.mark.parametrize(
    ("token", "h", "sizes", "message"),
    [
        (ArraySpec(()), ArraySpec((2,)), {}, r"int64\[rows\], not float32\[rows\]"),
        (INTEGERS, ArraySpec((3,)), {}, r"h is float32\[rows, 3\] and must be float32\[rows, 2\]"),
        (INTEGERS, ArraySpec((2,)), {"embedding": 0}, "1 or more"),
        (INTEGERS, ArraySpec((0,)), {"units": 0}, "at least 1 input and 1 unit"),
    ],
)
def test_what_does_not_fit_is_told(token, h, sizes, message):
    with pytest.raises(ValueError, match=message):
        OP.shape(token, h, **{"vocabulary": 3, "embedding": 2, "units": 2, **sizes})
