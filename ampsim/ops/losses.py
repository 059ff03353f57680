"""The losses: (prediction, target) -> (loss float32[rows], metric float32[rows]).

Of `node_selection`, which is segmented, loss and metric have a value per message, float32[n].

The gradient flows from the loss alone, to the prediction alone: backward is given (dloss[rows], None) and
gives (dprediction, None).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ampsim.ops.segments import row_starts
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


def selection_forward(parameters: Parameters, scores: Array, target: Array, *, rows: Array) -> tuple[Arrays, Arrays]:
    """scores float32[rows, 1], target int64[rows] -> -log softmax over a message's rows at the one whose target is 1.

    The metric is 1 where that row's score is larger than any other of its message.
    """
    chosen = _chosen_rows(target, rows)
    starts = row_starts(rows)
    # With the largest score of each message at 0, exp cannot overflow and each sum is at least 1.
    shifted = scores[:, 0] - np.repeat(np.maximum.reduceat(scores[:, 0], starts), rows)
    picked = shifted[chosen]
    largest = np.add.reduceat(shifted == 0, starts, dtype=np.int64)
    correct = ((picked == 0) & (largest == 1)).astype(scores.dtype)
    softmax = np.exp(shifted, out=shifted)
    total = np.add.reduceat(softmax, starts)
    softmax /= np.repeat(total, rows)
    return (np.log(total) - picked, correct), (softmax, target)


def selection_backward(
    parameters: Parameters, saved: Arrays, gradients: tuple[Array, None], wanted: tuple[bool, ...], *, rows: Array
) -> Gradients:
    """dloss float32[n] -> dscores float32[rows, 1] = dloss (softmax - target)."""
    if not wanted[0]:
        return (None, None), {}
    (softmax, target), (dloss, _) = saved, gradients
    dscores = softmax * np.repeat(dloss, rows)
    dscores[np.flatnonzero(target)] -= dloss
    return (dscores[:, None], None), {}


def selection_shape(scores: ArraySpec, target: ArraySpec) -> tuple[ArraySpec, ...]:
    """float32[rows, 1], int64[rows] -> float32[rows], float32[rows], with a row per message."""
    if scores.shape != (1,) or not is_float(scores):
        raise ValueError(f"node_selection takes scores float32[rows, 1], not {scores}: end in a linear of 1 unit")
    if target != ArraySpec((), "int64"):
        raise ValueError(f"node_selection takes a target int64[rows], not {target}: give it 1 or 0 per row")
    return ArraySpec((), scores.dtype), ArraySpec((), scores.dtype)


def selection_cost(rows: int, scores: ArraySpec, target: ArraySpec) -> tuple[Cost, Cost]:
    """With r rows, of one message; a transcendental function counts as one:

    forward    6r flops (max, subtract, compare, exp, sum, divide) + 2 (log, subtract); reads scores: r and target: r;
               writes the softmax, for the way back: r, loss and metric: 2
    backward   r flops (multiply) + 1 (subtract at the target); reads the softmax: r, target: r, dloss: 1;
               writes dscores: r
    """
    size, target_bytes, value = rows * scores.row_bytes, rows * target.row_bytes, scores.row_bytes
    forward = Cost(6 * rows + 2, size + target_bytes, size + 2 * value)
    backward = Cost(rows + 1, size + target_bytes + value, size)
    return forward, backward


def _chosen_rows(target: Array, rows: Array) -> Array:
    """int64[n]: the row of each message whose target is 1; a ValueError unless it is one row, the others being 0."""
    chosen = np.flatnonzero(target)
    found = np.bincount(np.repeat(np.arange(len(rows)), rows)[chosen], minlength=len(rows))
    cure = "mark one row of each message by 1 and the others by 0"
    if (found != 1).any():
        wrong = int((found != 1).argmax())
        raise ValueError(f"node_selection: message {wrong} marks {found[wrong]} of its {rows[wrong]} rows: {cure}")
    if (target[chosen] != 1).any():
        odd = target[chosen][target[chosen] != 1][0]
        raise ValueError(f"node_selection: target {odd} is neither 0 nor 1: {cure}")
    return chosen


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
node_selection = register(
    Op(
        "node_selection",
        selection_forward,
        selection_backward,
        selection_shape,
        selection_cost,
        segmented=True,
        metric="accuracy",
    )
)
# Forward: subtract, penalty, sum, absolute, sum. Backward: slope, multiply.
squared_error = regression("squared_error", np.square, lambda error: 2 * error, forward_flops=5, backward_flops=2)
absolute_error = regression("absolute_error", np.abs, np.sign, forward_flops=5, backward_flops=2)
