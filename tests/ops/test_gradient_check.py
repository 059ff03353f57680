"""The check itself: each way to break the contract of an op is caught, and named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ampsim.ops import OPS, ArraySpec, GradientMismatch, check_gradients

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]], np.float32)
RELU, LINEAR, CROSS_ENTROPY = OPS["relu"], OPS["linear"], OPS["softmax_cross_entropy"]
SUM, BRANCH = OPS["sum_rows"], OPS["tree_branch"]
NODES = np.random.default_rng(0).standard_normal((6, 2))


def test_a_wrong_gradient_is_named_with_op_argument_index_and_both_values():
    def backward(parameters, saved, gradients, wanted):
        (dx,), _ = RELU.backward(parameters, saved, gradients, wanted)
        if dx is not None:
            dx[:, 2] = 7
        return (dx,), {}

    with pytest.raises(GradientMismatch, match=r"^relu: input 0\[0, 2\]: backward says 7, central difference [-\d]"):
        check_gradients(replace(RELU, backward=backward), X)


def test_a_wrong_parameter_gradient_is_named():
    def backward(parameters, saved, gradients, wanted, units):
        dxs, dws = LINEAR.backward(parameters, saved, gradients, wanted, units=units)
        return dxs, dict(dws) | {"bias": dws["bias"] * 2}

    with pytest.raises(GradientMismatch, match=r"linear: parameter bias\[0\]"):
        check_gradients(replace(LINEAR, backward=backward), X, units=2)


def test_a_nan_gradient_is_a_mismatch():
    with pytest.raises(GradientMismatch, match="backward says nan"):
        check_gradients(broken_backward(lambda dx: dx * np.nan), X)


def test_a_gradient_of_the_wrong_shape_is_a_mismatch():
    with pytest.raises(GradientMismatch, match=r"input 0: the gradient has the shape \(2, 1\), the argument \(2, 3\)"):
        check_gradients(broken_backward(lambda dx: dx[:, :1]), X)


def test_a_gradient_that_depends_on_the_place_of_its_row_is_a_mismatch():
    def place(x):
        return np.arange(1, len(x) + 1)[:, None]

    def forward(parameters, x):
        return (x * place(x),), (x,)

    def backward(parameters, saved, gradients, wanted):
        return (gradients[0] * place(gradients[0]) if wanted[0] else None,), {}

    with pytest.raises(GradientMismatch, match="input 0: the gradient of a row depends on the order of the rows"):
        check_gradients(replace(RELU, forward=forward, backward=backward), X)


def broken_backward(spoil):
    def backward(parameters, saved, gradients, wanted):
        (dx,), _ = RELU.backward(parameters, saved, gradients, wanted)
        return (None if dx is None else spoil(dx),), {}

    return replace(RELU, backward=backward)


def test_an_unwanted_gradient_must_be_none():
    def backward(parameters, saved, gradients, wanted):
        return RELU.backward(parameters, saved, gradients, (True,))

    with pytest.raises(GradientMismatch, match="the gradient is not None, and wanted is False"):
        check_gradients(replace(RELU, backward=backward), X)


def test_a_missing_parameter_gradient_is_a_mismatch():
    def backward(parameters, saved, gradients, wanted, units):
        dxs, dws = LINEAR.backward(parameters, saved, gradients, wanted, units=units)
        return dxs, {"weight": dws["weight"]}

    with pytest.raises(GradientMismatch, match=r"those of \['weight'\]"):
        check_gradients(replace(LINEAR, backward=backward), X, units=2)


def test_writing_to_an_input_is_a_mismatch():
    def forward(parameters, x):
        np.maximum(x, 0, out=x)
        return (x,), (x,)

    with pytest.raises(GradientMismatch, match="relu: input 0: forward has written to it"):
        check_gradients(replace(RELU, forward=forward), X)


def test_writing_to_an_output_gradient_is_a_mismatch():
    def backward(parameters, saved, gradients, wanted):
        gradients[0][...] *= saved[0] > 0
        return (gradients[0] if wanted[0] else None,), {}

    with pytest.raises(GradientMismatch, match="relu: output gradient 0: backward has written to it"):
        check_gradients(replace(RELU, backward=backward), X)


def test_outputs_must_have_the_shape_of_the_shape_rule():
    wrong = replace(RELU, shape=lambda x: (ArraySpec((9,)),))
    with pytest.raises(GradientMismatch, match=r"\(2, 3\).*promises \[\(2, 9\)\]"):
        check_gradients(wrong, X)


def test_saved_arrays_must_have_the_rows_first():
    def forward(parameters, x):
        (y,), _ = RELU.forward(parameters, x)
        return (y,), (y.T,)

    with pytest.raises(GradientMismatch, match=r"saved array 0 has the shape \(3, 2\); its first axis must be 2 rows"):
        check_gradients(replace(RELU, forward=forward), X)


def test_of_a_loss_neither_metric_nor_target_has_a_gradient():
    def backward(parameters, saved, gradients, wanted):
        assert gradients[1] is None
        assert wanted[1] is False
        return CROSS_ENTROPY.backward(parameters, saved, gradients, wanted)

    check_gradients(replace(CROSS_ENTROPY, backward=backward), X, np.array([0, 2]))


def test_parameters_can_be_given():
    check_gradients("linear", X, parameters={"weight": np.eye(3), "bias": np.ones(3)}, units=3)


def test_the_callers_arrays_are_left_as_they_were():
    x, ids = X.copy(), np.array([1, 0])
    check_gradients("relu", x)
    check_gradients("embedding", ids, vocabulary=2, units=1)
    np.testing.assert_array_equal(x, X)
    assert ids.tolist() == [1, 0]


def test_an_unknown_name_and_uneven_rows_are_refused():
    with pytest.raises(ValueError, match=r"no op 'rleu' \(there are: .*relu"):
        check_gradients("rleu", X)
    with pytest.raises(ValueError, match=r"\[2, 1\] rows"):
        check_gradients("softmax_cross_entropy", X, np.array([0]))
    with pytest.raises(ValueError, match="6 rows, and rows add up to 5"):
        check_gradients("sum_rows", NODES, rows=[3, 2])
    with pytest.raises(ValueError, match="relu is not segmented: leave rows out"):
        check_gradients("relu", X, rows=[2])


def test_the_rows_of_a_segmented_op_are_drawn_if_not_given_and_every_row_is_in_a_message():
    seen = []

    def forward(parameters, x, rows):
        seen.append(rows.tolist())
        return SUM.forward(parameters, x, rows=rows)

    for seed in range(5):
        check_gradients(replace(SUM, forward=forward), NODES, seed=seed)
    assert {len(rows) for rows in seen} > {1, 2}
    assert min(min(rows) for rows in seen) == 1


def test_a_segmented_op_has_one_output_row_per_message():
    def forward(parameters, x, rows):
        return (x,), ()

    with pytest.raises(
        GradientMismatch, match=r"sum_rows: outputs have the shapes \[\(6, 2\)\].*promises \[\(2, 2\)\]"
    ):
        check_gradients(replace(SUM, forward=forward), NODES, rows=[4, 2])


def test_saved_arrays_of_a_segmented_op_have_all_rows_or_one_per_message():
    def saving(array):
        return replace(SUM, forward=lambda parameters, x, rows: (SUM.forward(parameters, x, rows=rows)[0], (array,)))

    check_gradients(saving(np.zeros((1, 3))), NODES, rows=[6])
    check_gradients(saving(np.zeros((6, 3))), NODES, rows=[6])
    with pytest.raises(
        GradientMismatch, match=r"saved array 0 .*\(4, 3\); its first axis must be 6 rows or 1 messages"
    ):
        check_gradients(saving(np.zeros((4, 3))), NODES, rows=[6])


def test_an_output_that_depends_on_other_messages_is_a_mismatch():
    def forward(parameters, x, rows):
        return (np.add.reduceat(x, np.cumsum(rows) - rows) / len(rows),), ()

    def backward(parameters, saved, gradients, wanted, rows):
        return (np.repeat(gradients[0], rows, axis=0) / len(rows) if wanted[0] else None,), {}

    with pytest.raises(GradientMismatch, match="output 0: message 0 by itself does not get what it gets among others"):
        check_gradients(replace(SUM, forward=forward, backward=backward), NODES, rows=[4, 2])


def test_a_gradient_that_depends_on_the_place_of_its_message_is_a_mismatch():
    def weights(rows):
        return np.arange(1, len(rows) + 1)[:, None]

    def forward(parameters, x, rows):
        return (np.add.reduceat(x, np.cumsum(rows) - rows) * weights(rows),), ()

    def backward(parameters, saved, gradients, wanted, rows):
        return (np.repeat(gradients[0] * weights(rows), rows, axis=0) if wanted[0] else None,), {}

    with pytest.raises(GradientMismatch, match="gradient of a row depends on the order of the messages"):
        check_gradients(replace(SUM, forward=forward, backward=backward), NODES, rows=[4, 2])


def test_a_wrong_gradient_of_a_segmented_op_is_named():
    def backward(parameters, saved, gradients, wanted, units, rows):
        (dh, dc), dws = BRANCH.backward(parameters, saved, gradients, wanted, units=units, rows=rows)
        return (dh, None if dc is None else dc[::-1]), dws

    with pytest.raises(GradientMismatch, match=r"tree_branch: input 1\[0, 0\]: backward says"):
        check_gradients(replace(BRANCH, backward=backward), NODES, NODES, rows=[2, 2, 2], units=2)
