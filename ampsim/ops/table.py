"""What an op is: one row, one column per meaning (forward, backward, shape, cost, parameters).

The node code that calls ops (ampsim.ir.transform) is the same for every op, so a new one is a row and
nothing else. Arrays hold the rows of one or more messages: `float32[rows, ...]`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = tuple[Array, ...]
Parameters = Mapping[str, Array]


@dataclass(frozen=True)
class ArraySpec:
    """Type and shape of an array without its row axis; prints as `float32[rows, 784]`."""

    shape: tuple[int, ...]
    dtype: str = "float32"

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(['rows', *map(str, self.shape)])}]"

    @property
    def row_values(self) -> int:
        """Values in one row."""
        return prod(self.shape)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.row_values * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Cost:
    """Work of one call, as the device cost model takes it: operations, and bytes moved to and from memory."""

    flops: float = 0.0
    bytes_read: float = 0.0
    bytes_written: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.flops + other.flops,
            self.bytes_read + other.bytes_read,
            self.bytes_written + other.bytes_written,
        )


Gradients = tuple[tuple[Array | None, ...], Mapping[str, Array]]
"""What a backward rule returns: the inputs' gradients, and the parameters', maybe deferred (ampsim.ops.gradients)."""


@dataclass(frozen=True)
class ParameterSpec:
    """A parameter's shape and how its first value is drawn: `initialise(generator, shape) -> float32[shape]`.

    `by_rows`: its gradient is deferred, a function of an id and a row for each row that was computed on.
    """

    shape: tuple[int, ...]
    initialise: Callable[[np.random.Generator, tuple[int, ...]], Array]
    by_rows: bool = False


def no_parameters(*inputs: ArraySpec, **options: Any) -> dict[str, ParameterSpec]:
    """The parameter rule of an op that has none."""
    return {}


@dataclass(frozen=True)
class Op:
    """One row of the op table. Every rule takes the node's options as keywords.

    forward(parameters, *inputs, **options) -> (outputs, saved)
        `saved` is what backward needs: a tuple of arrays whose first axis is the inputs' rows, so that a
        backward call may gather the rows of several forward calls. Inputs must not be written to.
    backward(parameters, saved, output_gradients, wanted, **options) -> (input_gradients, parameter_gradients)
        `wanted` says for each input whether its gradient is needed; an unwanted one is returned as None.
        Parameter gradients are summed over rows.
    shape(*input_specs, **options) -> output specs
        Raises ValueError with both numbers where the inputs do not fit.
    cost(rows, *input_specs, **options) -> (forward Cost, backward Cost)
        Weights count once per call, whatever the number of rows.
    parameters(*input_specs, **options) -> {name: ParameterSpec}
    segmented: the op works on whole messages: forward and backward also take the keyword `rows int64[n]`, the rows of
        each message, and its outputs have one row per message. Each array of `saved` has either all rows or a row
        per message. The shape and cost rules do not see the messages: cost counts as if `rows` were those of one,
        unless the op fixes how many a message has.
    sequential: of its two inputs, elements and state, the second goes round: forward and backward also take the keyword
        `steps`, and work through `[steps * rows]` elements, `rows` at a time, from a state and to a state of `rows`.
        Each array of `saved` has a row for each element. Without the keyword it is one step.
    metric: set for losses only, which take (prediction, target) and give (loss[rows], metric[rows]): what the
        mean of the second is called (`accuracy`, `mae`).
    """

    name: str
    forward: Callable[..., tuple[Arrays, Arrays]]
    backward: Callable[..., Gradients]
    shape: Callable[..., tuple[ArraySpec, ...]]
    cost: Callable[..., tuple[Cost, Cost]]
    parameters: Callable[..., dict[str, ParameterSpec]] = no_parameters
    segmented: bool = False
    sequential: bool = False
    metric: str | None = None


OPS: dict[str, Op] = {}


def register(op: Op) -> Op:
    """Add a row to the table, under the op's name; a taken name raises ValueError."""
    if op.name in OPS:
        raise ValueError(f"there is an op named {op.name!r} already")
    OPS[op.name] = op
    return op


def elementwise(
    name: str,
    forward: Callable[[Array], Array],
    derivative: Callable[[Array], Array],
    flops: float = 1.0,
) -> Op:
    """An op that maps every value by itself: `y = forward(x)`, `dx = dy * derivative(x)`.

    `flops` is the number of operations per value, each way. The op is returned, not registered: give it
    to `GraphBuilder.transform` as it is.
    """

    def run(parameters: Parameters, x: Array) -> tuple[Arrays, Arrays]:
        return (np.asarray(forward(x), dtype=x.dtype),), (x,)

    def back(parameters: Parameters, saved: Arrays, gradients: Arrays, wanted: tuple[bool, ...]) -> Gradients:
        (x,), (dy,) = saved, gradients
        return (np.asarray(dy * derivative(x), dtype=x.dtype) if wanted[0] else None,), {}

    return Op(name, run, back, same_shape, elementwise_cost(flops))


def same_shape(x: ArraySpec) -> tuple[ArraySpec, ...]:
    """The shape rule of an op whose output is like its input."""
    return (x,)


def elementwise_cost(flops: float, backward_flops: float | None = None) -> Callable[..., tuple[Cost, Cost]]:
    """The cost rule of an elementwise op: `flops` per value, one array read and one written (two read, back).

    The way back costs `flops + 1` per value (the derivative, times `dy`) unless `backward_flops` says otherwise.
    """
    flops_back = flops + 1 if backward_flops is None else backward_flops

    def cost(rows: int, x: ArraySpec) -> tuple[Cost, Cost]:
        values, size = rows * x.row_values, rows * x.row_bytes
        return Cost(flops * values, size, size), Cost(flops_back * values, 2 * size, size)

    return cost


def is_float(spec: ArraySpec) -> bool:
    """Whether an array holds floats, of any width: ops follow the width of what they are given."""
    return np.dtype(spec.dtype).kind == "f"


def check_indices(indices: Array, count: int, what: str, cure: str) -> None:
    """Raise ValueError naming the first of `indices` (int64[rows]) that is not in 0 to `count - 1`.

    NumPy would read a negative index from the end, which here is never meant.
    """
    # As unsigned numbers, negative ones are the largest.
    if np.count_nonzero(indices.view(f"u{indices.itemsize}") >= count):
        wrong = indices[(indices < 0) | (indices >= count)][0]
        raise ValueError(f"{what} {wrong} is not in 0 to {count - 1}: {cure}")
