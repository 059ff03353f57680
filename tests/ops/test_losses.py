from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ampsim.ops import OPS, ArraySpec, check_gradients

CROSS_ENTROPY = OPS["softmax_cross_entropy"]
matrices = array_shapes(min_dims=2, max_dims=2, max_side=4)


@given(st.data())
def test_gradient_of_cross_entropy_is_the_central_difference(data):
    rows, classes = data.draw(matrices)
    logits = data.draw(arrays(np.float64, (rows, classes), elements=st.floats(-30, 30)))
    labels = data.draw(arrays(np.int64, rows, elements=st.integers(0, classes - 1)))
    check_gradients(CROSS_ENTROPY, logits, labels)


@pytest.mark.parametrize("name", ["squared_error", "absolute_error"])
@given(data=st.data())
def test_gradient_of_a_regression_loss_is_the_central_difference(name, data):
    shape = data.draw(matrices)
    prediction, target = (data.draw(arrays(np.float64, shape, elements=st.floats(-10, 10))) for _ in range(2))
    assume((np.abs(prediction - target) > 1e-3).all())
    check_gradients(name, prediction, target)


def test_cross_entropy_is_minus_the_log_of_the_softmax():
    logits, labels = np.array([[1.0, 2.0, 0.5], [3.0, -1.0, 0.0]]), np.array([1, 2])
    (loss, correct), _ = CROSS_ENTROPY.forward({}, logits, labels)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(loss, -np.log(softmax[[0, 1], labels]), rtol=1e-14)
    assert correct.tolist() == [1, 0]


def test_extreme_logits_are_stable():
    logits = np.array([[3e38, 0, -3e38], [-3e38, -3e38, -3e38], [1e4, -1e4, 0]], np.float32) / 2
    labels = np.array([0, 1, 1])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        (loss, _), saved = CROSS_ENTROPY.forward({}, logits, labels)
        (dlogits, _), _ = CROSS_ENTROPY.backward({}, saved, (np.ones(3, np.float32), None), (True, False))
    np.testing.assert_allclose(loss, [0, np.log(3), 1e4], rtol=1e-6)
    np.testing.assert_allclose(dlogits, [[0, 0, 0], [1 / 3, -2 / 3, 1 / 3], [1, -1, 0]], atol=1e-6)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_a_label_out_of_range_is_named_with_the_range(wrong):
    with pytest.raises(ValueError, match=rf"label {wrong} is not in 0 to 2.*3 classes"):
        CROSS_ENTROPY.forward({}, np.zeros((2, 3)), np.array([0, wrong]))


def test_regression_losses_are_means_over_the_values_of_a_row():
    prediction, target = np.array([[1.0, 5.0]]), np.array([[2.0, 2.0]])
    assert [y.tolist() for y in OPS["squared_error"].forward({}, prediction, target)[0]] == [[5], [2]]
    assert [y.tolist() for y in OPS["absolute_error"].forward({}, prediction, target)[0]] == [[2], [2]]


@pytest.mark.parametrize(
    ("name", "prediction", "target", "text"),
    [
        ("softmax_cross_entropy", ArraySpec(()), ArraySpec((), "int64"), r"not float32\[rows\]: end in a linear"),
        ("softmax_cross_entropy", ArraySpec((3,)), ArraySpec((3,)), r"not float32\[rows, 3\]: give it one class"),
        ("squared_error", ArraySpec((3,)), ArraySpec((2,)), r"float32\[rows, 3\] and target float32\[rows, 2\]"),
        ("absolute_error", ArraySpec(()), ArraySpec(()), r"not float32\[rows\]"),
    ],
)
def test_what_does_not_fit_is_told_with_its_cure(name, prediction, target, text):
    with pytest.raises(ValueError, match=text):
        OPS[name].shape(prediction, target)
