"""The optimizers, as pure updates: (value, gradient, state, step, rate) -> (new value, new state).

The signature of a factory is its list of options: types, bounds and defaults, for whoever checks a config.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Lt

from ampsim.ops.gradients import SummedRows
from ampsim.ops.table import Array, Arrays, Cost

VALUE_BYTES = 4
"""Parameters and what is kept beside them are float32."""

Gradient = Array | SummedRows

Positive = Annotated[float, Gt(0)]
Decay = Annotated[float, Ge(0), Lt(1)]


@dataclass(frozen=True)
class Optimizer:
    """How one parameter learns.

    initial_state(value) -> the arrays that the optimizer keeps beside the parameter, zeros of its shape and type
    update(value, gradient, state, step, rate) -> (new value, new state)
        The gradient is an array, or some rows of one; an update does the same with either, to the bit.
        `step` counts updates from 1; `rate` is what the learning rate is multiplied by (a schedule). `value` is
        never written to: whoever holds it (a message on its way, a checkpoint being written) keeps what it has. The
        gradient and the state are given away: the new value lies in the gradient's memory, if it is an array, and the
        new state in the old one's, so that no update allocates. All arrays have the dtype of `value`.
    cost(values) -> the Cost of an update of so many values
    """

    name: str
    initial_state: Callable[[Array], Arrays]
    update: Callable[[Array, Gradient, Arrays, int, float], tuple[Array, Arrays]]
    cost: Callable[[int], Cost]


def update_cost(flops: int, read: int, written: int) -> Callable[[int], Cost]:
    """The cost rule of an update that does `flops` per value and reads and writes so many arrays of float32."""
    return lambda values: Cost(flops * values, read * VALUE_BYTES * values, written * VALUE_BYTES * values)


def sgd(*, learning_rate: Positive) -> Optimizer:
    """w - learning_rate g"""

    def initial_state(value: Array) -> Arrays:
        return ()

    def update(value: Array, gradient: Gradient, state: Arrays, step: int, rate: float) -> tuple[Array, Arrays]:
        if isinstance(gradient, SummedRows):
            value = value.copy()
            value[gradient.ids] += gradient.rows * (-learning_rate * rate)
            return value, ()
        gradient *= -learning_rate * rate
        gradient += value
        return gradient, ()

    # A product and a sum; reads w and g, writes w.
    return Optimizer("sgd", initial_state, update, update_cost(2, 2, 1))


def momentum(*, learning_rate: Positive, momentum: Decay = 0.9) -> Optimizer:
    """v = momentum v + g;  w - learning_rate v"""

    def initial_state(value: Array) -> Arrays:
        return (np.zeros_like(value),)

    def update(value: Array, gradient: Gradient, state: Arrays, step: int, rate: float) -> tuple[Array, Arrays]:
        (velocity,) = state
        velocity *= momentum
        new = _add(velocity, gradient)
        np.multiply(velocity, -learning_rate * rate, out=new)
        new += value
        return new, (velocity,)

    # Two products and two sums; reads w, g and v, writes w and v.
    return Optimizer("momentum", initial_state, update, update_cost(4, 3, 2))


def adam(
    *,
    learning_rate: Positive = 1e-3,
    beta1: Decay = 0.9,
    beta2: Decay = 0.999,
    epsilon: Positive = 1e-8,
) -> Optimizer:
    """m = beta1 m + (1 - beta1) g;  s = beta2 s + (1 - beta2) g²

    w - learning_rate (m / (1 - beta1^step)) / (sqrt(s / (1 - beta2^step)) + epsilon)
    """

    def initial_state(value: Array) -> Arrays:
        return np.zeros_like(value), np.zeros_like(value)

    def update(value: Array, gradient: Gradient, state: Arrays, step: int, rate: float) -> tuple[Array, Arrays]:
        # Kept are m / (1 - beta1) and s / (1 - beta2): what is added to them then needs no product of its own.
        mean, square = state
        mean *= beta1
        _add(mean, gradient)
        rows = gradient.rows if isinstance(gradient, SummedRows) else gradient
        rows *= rows
        square *= beta2
        new = _add(square, gradient)
        # sqrt(s / (1 - beta2^step)) + epsilon is `scale` times what is first in `new`.
        scale = sqrt((1 - beta2) / (1 - beta2**step))
        np.sqrt(square, out=new)
        new += epsilon / scale
        np.divide(mean, new, out=new)
        new *= -learning_rate * rate * (1 - beta1) / (1 - beta1**step) / scale
        new += value
        return new, (mean, square)

    # m: 2, s: 3, and 5 for the step (root, epsilon, quotient, rate, sum); reads w, g, m, s, writes w, m, s.
    return Optimizer("adam", initial_state, update, update_cost(10, 4, 3))


def _add(total: Array, gradient: Gradient) -> Array:
    """Add a gradient in place; memory like that of `total` to write the new value to, the gradient's if it can be."""
    if isinstance(gradient, SummedRows):
        total[gradient.ids] += gradient.rows
        return np.empty_like(total)
    total += gradient
    return gradient


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": sgd, "momentum": momentum, "adam": adam}
