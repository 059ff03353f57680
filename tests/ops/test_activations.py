from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ampsim.ops import OPS, ArraySpec, check_gradients

NAMES = ("relu", "tanh", "sigmoid")
away_from_the_kink = st.floats(-20, 20).filter(lambda x: abs(x) > 1e-3)
anywhere = st.floats(width=32, allow_nan=False)


@pytest.mark.parametrize("name", NAMES)
@given(x=arrays(np.float64, array_shapes(max_dims=3, max_side=3), elements=away_from_the_kink))
def test_gradient_of_an_activation_is_the_central_difference(name, x):
    check_gradients(name, x)


@pytest.mark.parametrize("name", NAMES)
@given(x=arrays(np.float32, array_shapes(max_dims=2), elements=anywhere))
def test_no_input_overflows(name, x):
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        (y,), saved = OPS[name].forward({}, x)
        (dx,), _ = OPS[name].backward({}, saved, (np.ones_like(y),), (True,))
    assert not np.isnan(y).any()
    assert not np.isnan(dx).any()


def test_activations_have_their_textbook_values():
    x = np.array([[-2.0, 0.0, 3.0]])
    got = {name: OPS[name].forward({}, x)[0][0] for name in NAMES}
    np.testing.assert_array_equal(got["relu"], [[0, 0, 3]])
    np.testing.assert_allclose(got["tanh"], np.tanh(x), rtol=1e-15)
    np.testing.assert_allclose(got["sigmoid"], 1 / (1 + np.exp(-x)), rtol=1e-15)


def test_sigmoid_keeps_its_precision_far_on_the_negative_side():
    (y,), _ = OPS["sigmoid"].forward({}, np.array([[-700.0]]))
    np.testing.assert_allclose(y, np.exp(-700.0), rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_only_the_output_is_saved(name):
    (y,), saved = OPS[name].forward({}, np.ones((2, 3), np.float32))
    assert len(saved) == 1
    assert saved[0] is y


@pytest.mark.parametrize("name", NAMES)
def test_integers_are_refused_with_a_cure(name):
    with pytest.raises(ValueError, match=rf"{name} takes floats.*int64\[rows, 3\].*embedding"):
        OPS[name].shape(ArraySpec((3,), "int64"))
