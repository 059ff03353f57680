"""The losses: (prediction, target) -> (loss float32[rows], metric float32[rows]).

The gradient flows from the loss alone, to the prediction alone: backward is given (dloss[rows], None) and
gives (dprediction, None).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ampsim.ops.table import (
    Array,
    Arrays,
    ArraySpec,
    Cost,
    Gradients,
    Op,
    Parameters,
    check_indices,
    is_float,
    register,
)


def cross_entropy_forward(parameters: Parameters, logits: Array, labels: Array) -> tuple[Arrays, Arrays]:
    """logits float32[rows, classes], labels int64[rows] -> -log softmax(logits)[label], and 1 where the label wins."""
    rows, classes = logits.shape
    cure = f"there are {classes} classes; give the last linear more units or correct the labels"
    check_indices(labels, classes, "softmax_cross_entropy: label", cure)
    # With the largest logit at 0, exp cannot overflow and the sum is at least 1.
    shifted = logits - logits.max(axis=1, keepdims=True)
    picked = shifted[np.arange(rows), labels]
    softmax = np.exp(shifted, out=shifted)
    total = softmax.sum(axis=1, keepdims=True)
    softmax /= total
    loss = np.log(total[:, 0]) - picked
    correct = (logits.argmax(axis=1) == labels).astype(logits.dtype)
    return (loss, correct), (softmax, labels)


def cross_entropy_backward(
    parameters: Parameters, saved: Arrays, gradients: tuple[Array, None], wanted: tuple[bool, ...]
) -> Gradients:
    """dloss float32[rows] -> dlogits float32[rows, classes] = dloss (softmax - onehot(label))."""
    if not wanted[0]:
        return (None, None), {}
    (softmax, labels), (dloss, _) = saved, gradients
    dlogits = softmax * dloss[:, None]
    dlogits[np.arange(len(labels)), labels] -= dloss
    return (dlogits, None), {}


def cross_entropy_shape(logits: ArraySpec, labels: ArraySpec) -> tuple[ArraySpec, ...]:
    """float32[rows, classes], int64[rows] -> float32[rows], float32[rows]."""
    if len(logits.shape) != 1 or logits.shape[0] < 1 or not is_float(logits):
        raise ValueError(f"softmax_cross_entropy takes logits float32[rows, classes], not {logits}: end in a linear")
    if labels != ArraySpec((), "int64"):
        raise ValueError(f"softmax_cross_entropy takes labels int64[rows], not {labels}: give it one class per row")
    return ArraySpec((), logits.dtype), ArraySpec((), logits.dtype)


def cross_entropy_cost(rows: int, logits: ArraySpec, labels: ArraySpec) -> tuple[Cost, Cost]:
    """With r rows, c classes; a transcendental function counts as one:

    forward    5rc flops (max, subtract, exp, sum, divide) + 2r (log, subtract); reads the logits: rc and labels: r;
               writes the softmax, for the way back: rc, and loss and metric: 2r
    backward   rc flops (multiply) + r (subtract at the label); reads the softmax: rc, labels: r, dloss: r;
               writes dlogits: rc
    """
    values, size = rows * logits.row_values, rows * logits.row_bytes
    label_bytes, loss_bytes = rows * labels.row_bytes, rows * np.dtype(logits.dtype).itemsize
    forward = Cost(5 * values + 2 * rows, size + label_bytes, size + 2 * loss_bytes)
    backward = Cost(values + rows, size + label_bytes + loss_bytes, size)
    return forward, backward


def regression(
    name: str,
    penalty: Callable[[Array], Array],
    slope: Callable[[Array], Array],
    forward_flops: float,
    backward_flops: float,
) -> Op:
    """Register a loss whose value is the mean of `penalty(error)` over a row, with error = prediction - target.

    `slope` is the penalty's derivative. The metric is the mean of |error|, `mae`. The flops are per value, in all.
    """

    def run(parameters: Parameters, prediction: Array, target: Array) -> tuple[Arrays, Arrays]:
        error = prediction - target
        return (penalty(error).mean(axis=1), np.abs(error).mean(axis=1)), (error,)

    def back(
        parameters: Parameters, saved: Arrays, gradients: tuple[Array, None], wanted: tuple[bool, ...]
    ) -> Gradients:
        if not wanted[0]:
            return (None, None), {}
        (error,), (dloss, _) = saved, gradients
        dprediction = slope(error)
        dprediction *= (dloss / error.shape[1])[:, None]
        return (dprediction, None), {}

    def shape(prediction: ArraySpec, target: ArraySpec) -> tuple[ArraySpec, ...]:
        if len(prediction.shape) != 1 or prediction.shape[0] < 1 or not is_float(prediction):
            raise ValueError(f"{name} takes a prediction float32[rows, values], not {prediction}: end in a linear")
        if prediction != target:
            raise ValueError(f"{name}: prediction {prediction} and target {target} differ: make the last linear fit")
        return ArraySpec((), prediction.dtype), ArraySpec((), prediction.dtype)

    def cost(rows: int, prediction: ArraySpec, target: ArraySpec) -> tuple[Cost, Cost]:
        """With r rows of k values:

        forward    forward_flops rk + 2r (two divisions); reads prediction and target: 2rk; writes the error, for the
                   way back: rk, and loss and metric: 2r
        backward   backward_flops rk + r (a division); reads the error: rk and dloss: r; writes dprediction: rk
        """
        values, size = rows * prediction.row_values, rows * prediction.row_bytes
        loss_bytes = rows * np.dtype(prediction.dtype).itemsize
        forward = Cost(forward_flops * values + 2 * rows, 2 * size, size + 2 * loss_bytes)
        backward = Cost(backward_flops * values + rows, size + loss_bytes, size)
        return forward, backward

    return register(Op(name, run, back, shape, cost, metric="mae"))


softmax_cross_entropy = register(
    Op(
        "softmax_cross_entropy",
        cross_entropy_forward,
        cross_entropy_backward,
        cross_entropy_shape,
        cross_entropy_cost,
        metric="accuracy",
    )
)
# Forward: subtract, penalty, sum, absolute, sum. Backward: slope, multiply.
squared_error = regression("squared_error", np.square, lambda error: 2 * error, forward_flops=5, backward_flops=2)
absolute_error = regression("absolute_error", np.abs, np.sign, forward_flops=5, backward_flops=2)
