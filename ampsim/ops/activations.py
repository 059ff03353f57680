"""The elementwise ops. Each derivative is a function of the output, so the output is all that is saved."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ampsim.ops.table import (
    Array,
    Arrays,
    ArraySpec,
    Gradients,
    Op,
    Parameters,
    elementwise_cost,
    is_float,
    register,
    same_shape,
)


def rectified(x: Array, out: Array | None = None) -> Array:
    """max(x, 0), float32[rows, ...] like x, and in `out` if that is given."""
    # Against a row of zeros, where a single one would be taken value by value: up to three times as fast.
    y: Array = np.maximum(x, np.zeros(x.shape[1:], x.dtype), out=out)
    return y


def relu_forward(x: Array) -> Array:
    """y = max(x, 0), float32[rows, ...] like x."""
    return rectified(x)


def relu_backward(y: Array, dy: Array) -> Array:
    """dx = dy where y > 0, else 0."""
    return dy * (y > 0)


def tanh_forward(x: Array) -> Array:
    """y = tanh(x), float32[rows, ...] like x."""
    y: Array = np.tanh(x)
    return y


def tanh_backward(y: Array, dy: Array) -> Array:
    """dx = dy (1 - y²)."""
    dx = y * y
    np.subtract(1, dx, out=dx)
    dx *= dy
    return dx


def sigmoid_forward(x: Array) -> Array:
    """y = 1 / (1 + exp(-x)), float32[rows, ...] like x."""
    # exp of what is never positive cannot overflow; for negative x both sides are multiplied by exp(x).
    small = np.exp(-np.abs(x))
    y: Array = np.where(x >= 0, 1, small)
    small += 1
    y /= small
    return y


def sigmoid_backward(y: Array, dy: Array) -> Array:
    """dx = dy y (1 - y)."""
    dx: Array = np.subtract(1, y)
    dx *= y
    dx *= dy
    return dx


def activation(
    name: str,
    forward: Callable[[Array], Array],
    backward: Callable[[Array, Array], Array],
    forward_flops: float,
    backward_flops: float,
) -> Op:
    """Register an op with `y = forward(x)` and `dx = backward(y, dy)`.

    The flops are per value; a transcendental function counts as one.
    """

    def run(parameters: Parameters, x: Array) -> tuple[Arrays, Arrays]:
        y = forward(x)
        return (y,), (y,)

    def back(parameters: Parameters, saved: Arrays, gradients: Arrays, wanted: tuple[bool, ...]) -> Gradients:
        (y,), (dy,) = saved, gradients
        return (backward(y, dy) if wanted[0] else None,), {}

    def shape(x: ArraySpec) -> tuple[ArraySpec, ...]:
        if not is_float(x):
            raise ValueError(f"{name} takes floats [rows, ...], not {x}: put an embedding before it")
        return same_shape(x)

    return register(Op(name, run, back, shape, elementwise_cost(forward_flops, backward_flops)))


relu = activation("relu", relu_forward, relu_backward, forward_flops=1, backward_flops=2)
tanh = activation("tanh", tanh_forward, tanh_backward, forward_flops=1, backward_flops=3)
sigmoid = activation("sigmoid", sigmoid_forward, sigmoid_backward, forward_flops=5, backward_flops=3)
