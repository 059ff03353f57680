"""The op `add`: equal arrays, value by value."""

from __future__ import annotations

from ampsim.ops.table import Array, Arrays, ArraySpec, Cost, Gradients, Op, Parameters, is_float, register


def add_forward(parameters: Parameters, *xs: Array) -> tuple[Arrays, Arrays]:
    """k inputs float32[rows, ...] -> their sum, added in the order of the inputs."""
    y = xs[0] + xs[1] if len(xs) > 1 else xs[0].copy()
    for x in xs[2:]:
        y += x
    return (y,), ()


def add_backward(parameters: Parameters, saved: Arrays, gradients: Arrays, wanted: tuple[bool, ...]) -> Gradients:
    """dy, for each input."""
    return tuple(gradients[0] if want else None for want in wanted), {}


def add_shape(*xs: ArraySpec) -> tuple[ArraySpec, ...]:
    """float32[rows, ...] like every input."""
    if not xs:
        raise ValueError("add needs at least 1 input, not 0: give it one")
    for x in xs:
        if not is_float(x):
            raise ValueError(f"add takes floats [rows, ...], not {x}: put an embedding before it")
        if x != xs[0]:
            raise ValueError(f"add takes equal arrays, not {xs[0]} and {x}: make them one shape")
    return (xs[0],)


def add_cost(rows: int, *xs: ArraySpec) -> tuple[Cost, Cost]:
    """With r rows, v values in one, k inputs: forward (k - 1)rv flops, reads krv, writes rv; backward passes dy on."""
    size = rows * xs[0].row_bytes
    return Cost((len(xs) - 1) * rows * xs[0].row_values, len(xs) * size, size), Cost()


add = register(Op("add", add_forward, add_backward, add_shape, add_cost))
