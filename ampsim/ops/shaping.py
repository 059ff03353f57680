"""The ops that move values without computing any: concat, split, select, pad. Rows stay rows.

What their way back needs to know of an array is its shape, so an array `[rows, ..., 0]` is saved: it has no values.
"""

from __future__ import annotations

import numpy as np

from ampsim.ops.table import Array, Arrays, ArraySpec, Cost, Gradients, Op, Parameters, is_float, register


def shape_of(x: Array) -> Array:
    """x[rows, ...] -> an array [rows, ..., 0]: no bytes, the shape and the type of x."""
    return np.empty((*x.shape, 0), x.dtype)


def concat_forward(parameters: Parameters, *xs: Array) -> tuple[Arrays, Arrays]:
    """k inputs float32[rows, w1], float32[rows, w2], ... -> float32[rows, w1 + w2 + ...]."""
    return (np.concatenate(xs, axis=1),), tuple(shape_of(x) for x in xs)


def concat_backward(parameters: Parameters, saved: Arrays, gradients: Arrays, wanted: tuple[bool, ...]) -> Gradients:
    """dy float32[rows, w1 + w2 + ...] -> its slices."""
    (dy,) = gradients
    dxs, start = [], 0
    for shape, want in zip(saved, wanted, strict=True):
        stop = start + shape.shape[1]
        dxs.append(dy[:, start:stop].copy() if want else None)
        start = stop
    return tuple(dxs), {}


def concat_shape(*xs: ArraySpec) -> tuple[ArraySpec, ...]:
    """float32[rows, w1], float32[rows, w2], ... -> float32[rows, w1 + w2 + ...]."""
    if not xs:
        raise ValueError("concat needs at least 1 input, not 0: give it one")
    for x in xs:
        if len(x.shape) != 1 or not is_float(x):
            raise ValueError(f"concat takes floats [rows, width], not {x}: flatten or embed it first")
        if x.dtype != xs[0].dtype:
            raise ValueError(f"concat: {xs[0]} and {x} are of two types: make them one")
    return (ArraySpec((sum(x.shape[0] for x in xs),), xs[0].dtype),)


def concat_cost(rows: int, *xs: ArraySpec) -> tuple[Cost, Cost]:
    """With r rows and a width of w in all: no flops; each way reads rw and writes rw."""
    size = rows * sum(x.row_bytes for x in xs)
    return Cost(0, size, size), Cost(0, size, size)


def split_forward(parameters: Parameters, x: Array, *, sizes: list[int]) -> tuple[Arrays, Arrays]:
    """x float32[rows, sum of sizes] -> float32[rows, size], for each of `sizes`."""
    stops = np.cumsum(sizes).tolist()
    return tuple(x[:, stop - size : stop].copy() for size, stop in zip(sizes, stops, strict=True)), ()


def split_backward(
    parameters: Parameters, saved: Arrays, gradients: Arrays, wanted: tuple[bool, ...], *, sizes: list[int]
) -> Gradients:
    """The gradients side by side, float32[rows, sum of sizes]."""
    return (np.concatenate(gradients, axis=1) if wanted[0] else None,), {}


def split_shape(x: ArraySpec, *, sizes: list[int]) -> tuple[ArraySpec, ...]:
    """float32[rows, sum of sizes] -> float32[rows, size], for each of `sizes`."""
    if len(x.shape) != 1 or not is_float(x):
        raise ValueError(f"split takes floats [rows, width], not {x}: flatten or embed it first")
    if not sizes or min(sizes) < 1 or sum(sizes) != x.shape[0]:
        raise ValueError(
            f"split: sizes {list(sizes)} are {sum(sizes)} in all, and {x} is {x.shape[0]} wide: make them fit"
        )
    return tuple(ArraySpec((size,), x.dtype) for size in sizes)


def split_cost(rows: int, x: ArraySpec, *, sizes: list[int]) -> tuple[Cost, Cost]:
    """With r rows of width w: no flops; each way reads rw and writes rw."""
    return concat_cost(rows, x)


def select_forward(parameters: Parameters, *xs: Array, index: int) -> tuple[Arrays, Arrays]:
    """Input number `index` as it is."""
    return (xs[index],), tuple(shape_of(x) for x in xs)


def select_backward(
    parameters: Parameters, saved: Arrays, gradients: Arrays, wanted: tuple[bool, ...], *, index: int
) -> Gradients:
    """dy for input number `index`, zeros for the others."""
    dxs: list[Array | None] = []
    for i, (shape, want) in enumerate(zip(saved, wanted, strict=True)):
        if not want:
            dxs.append(None)
        else:
            dxs.append(gradients[0] if i == index else np.zeros(shape.shape[:-1], shape.dtype))
    return tuple(dxs), {}


def select_shape(*xs: ArraySpec, index: int) -> tuple[ArraySpec, ...]:
    """That of input number `index`."""
    if not 0 <= index < len(xs):
        raise ValueError(f"select: index {index} is not in 0 to {len(xs) - 1}: there are {len(xs)} inputs")
    return (xs[index],)


def select_cost(rows: int, *xs: ArraySpec, index: int) -> tuple[Cost, Cost]:
    """No flops, and what is passed on is not copied; only backward writes, the zeros for the other inputs."""
    zeros = sum(x.row_bytes for i, x in enumerate(xs) if i != index and is_float(x))
    return Cost(), Cost(0, 0, rows * zeros)


def pad_forward(parameters: Parameters, x: Array, *, units: int) -> tuple[Arrays, Arrays]:
    """x float32[rows, w] -> float32[rows, units], zeros from column w on."""
    rows, width = x.shape
    y = np.zeros((rows, units), x.dtype)
    y[:, :width] = x
    return (y,), (shape_of(x),)


def pad_backward(
    parameters: Parameters, saved: Arrays, gradients: Arrays, wanted: tuple[bool, ...], *, units: int
) -> Gradients:
    """dy float32[rows, units] -> its first w columns."""
    (shape,), (dy,) = saved, gradients
    return (dy[:, : shape.shape[1]].copy() if wanted[0] else None,), {}


def pad_shape(x: ArraySpec, *, units: int) -> tuple[ArraySpec, ...]:
    """float32[rows, w] -> float32[rows, units]."""
    if len(x.shape) != 1 or not is_float(x):
        raise ValueError(f"pad takes floats [rows, width], not {x}: flatten or embed it first")
    if x.shape[0] > units:
        raise ValueError(f"pad: {x} is wider than {units} units: give it at least {x.shape[0]}")
    return (ArraySpec((units,), x.dtype),)


def pad_cost(rows: int, x: ArraySpec, *, units: int) -> tuple[Cost, Cost]:
    """With r rows of width w, u units: no flops; forward reads rw and writes ru, backward reads rw and writes rw."""
    size = rows * x.row_bytes
    return Cost(0, size, rows * units * np.dtype(x.dtype).itemsize), Cost(0, size, size)


concat = register(Op("concat", concat_forward, concat_backward, concat_shape, concat_cost))
split = register(Op("split", split_forward, split_backward, split_shape, split_cost))
select = register(Op("select", select_forward, select_backward, select_shape, select_cost))
pad = register(Op("pad", pad_forward, pad_backward, pad_shape, pad_cost))
