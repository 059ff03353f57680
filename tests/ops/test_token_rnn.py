"""`token_rnn` does in one op what `embedding`, `concat`, `linear` and `relu` do in four."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.ops import OPS, ArraySpec, check_gradients
from ampsim.ops.linear import SMALL_VOCABULARY
from ampsim.ops.table import RowGradient, dense

OP = OPS["token_rnn"]
INTEGERS = ArraySpec((), "int64")

vocabularies = st.sampled_from([1, 5, SMALL_VOCABULARY + 1])


@given(
    vocabulary=vocabularies,
    embedding=st.integers(1, 4),
    units=st.integers(1, 4),
    rows=st.integers(0, 6),
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
    assert isinstance(found_sums["table"], RowGradient) == (vocabulary > SMALL_VOCABULARY)
    pairs = [(found, y), (found_sums["weight"], sums["weight"]), (found_sums["bias"], sums["bias"])]
    pairs.append((dense(found_sums["table"]), dense(looked_up["weight"])))
    pairs += [(found_dh, dh)] if wants_h else []
    for ours, its in pairs:
        np.testing.assert_allclose(ours, its, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("vocabulary", [5, SMALL_VOCABULARY + 1])
def test_gradients_are_central_differences(vocabulary):
    h = np.random.default_rng(0).standard_normal((3, 2))
    check_gradients("token_rnn", np.array([4, 0, 4]), h, vocabulary=vocabulary, embedding=3, units=2)


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
