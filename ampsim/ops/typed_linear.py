"""The linear map of each row by its type: what `linear` nodes behind a Cond would do, one for each type, in one op."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np

from ampsim.ops.gradients import DeferredGradients
from ampsim.ops.linear import he_normal, linear_cost, weight_gradient, zeros
from ampsim.ops.table import (
    Array,
    Arrays,
    ArraySpec,
    Cost,
    Gradients,
    Op,
    Parameters,
    ParameterSpec,
    check_indices,
    is_float,
    register,
)

NARROW = 32
"""Inputs below which all types share one product: it computes `types` times as much, but in far fewer calls."""


def typed_linear_forward(
    parameters: Parameters, x: Array, kind: Array, *, types: int, units: int
) -> tuple[Arrays, Arrays]:
    """x float32[rows, inputs], kind int64[rows] -> y float32[rows, units] = x @ weight[kind] + bias[kind]."""
    check_indices(kind, types, "typed_linear: type", f"raise types ({types}) or correct the data")
    if x.shape[1] < NARROW:
        return (_spread(x, kind, types) @ _all_in_one(parameters),), (x, kind)
    order, ends = _by_type(kind, types)
    sorted_x = x.take(order, axis=0)
    sorted_y = np.empty((len(x), units), x.dtype)
    for weight, (start, stop) in zip(parameters["weight"], pairwise(ends), strict=True):
        if start < stop:
            np.matmul(sorted_x[start:stop], weight, out=sorted_y[start:stop])
    y = np.empty_like(sorted_y)
    y[order] = sorted_y
    y += parameters["bias"].take(kind, axis=0)
    return (y,), (x, kind)


def typed_linear_backward(
    parameters: Parameters, saved: Arrays, gradients: Arrays, wanted: tuple[bool, ...], *, types: int, units: int
) -> Gradients:
    """dy float32[rows, units] -> dx float32[rows, inputs], and the gradients of weight and bias."""
    (x, kind), (dy,) = saved, gradients
    weight = parameters["weight"]
    dws = DeferredGradients(partial(typed_linear_gradients, types), x, kind, dy)
    if not wanted[0]:
        return (None, None), dws
    if x.shape[1] < NARROW:
        of_all_types = (dy @ _all_in_one(parameters).T).reshape(len(dy), types, x.shape[1] + 1)
        return (of_all_types[np.arange(len(dy)), kind, :-1], None), dws
    order, ends = _by_type(kind, types)
    sorted_dy, sorted_dx = dy.take(order, axis=0), np.empty_like(x)
    for number, (start, stop) in enumerate(pairwise(ends)):
        if start < stop:
            np.matmul(sorted_dy[start:stop], weight[number].T, out=sorted_dx[start:stop])
    dx = np.empty_like(sorted_dx)
    dx[order] = sorted_dx
    return (dx, None), dws


def typed_linear_gradients(types: int, x: Array, kind: Array, dy: Array) -> dict[str, Array]:
    """Those of weight and bias: x float32[rows, inputs], kind int64[rows], dy float32[rows, units]."""
    inputs, units = x.shape[1], dy.shape[1]
    if inputs < NARROW:
        both = weight_gradient(_spread(x, kind, types), dy).reshape(types, inputs + 1, units)
        return {"weight": both[:, :-1].copy(), "bias": both[:, -1].copy()}
    order, ends = _by_type(kind, types)
    sorted_x, sorted_dy = x.take(order, axis=0), dy.take(order, axis=0)
    dweight, dbias = np.zeros((types, inputs, units), dy.dtype), np.zeros((types, units), dy.dtype)
    for number, (start, stop) in enumerate(pairwise(ends)):
        if start < stop:
            own = sorted_dy[start:stop]
            np.dot(sorted_x[start:stop].T, own, out=dweight[number])
            np.add.reduce(own, axis=0, out=dbias[number])
    return {"weight": dweight, "bias": dbias}


def _spread(x: Array, kind: Array, types: int) -> Array:
    """float32[rows, types (inputs + 1)]: each row, and a 1 for the bias, in the columns of its type; else zeros."""
    rows, inputs = x.shape
    spread = np.zeros((rows, types, inputs + 1), x.dtype)
    with_one = np.ones((rows, inputs + 1), x.dtype)
    with_one[:, :-1] = x
    spread[np.arange(rows), kind] = with_one
    return spread.reshape(rows, types * (inputs + 1))


def _all_in_one(parameters: Parameters) -> Array:
    """float32[types (inputs + 1), units]: below each weight its bias."""
    weight, bias = parameters["weight"], parameters["bias"]
    return np.concatenate([weight, bias[:, None]], axis=1).reshape(-1, weight.shape[2])


def _by_type(kind: Array, types: int) -> tuple[Array, list[int]]:
    """The rows in the order of their types, int64[rows], and where each type begins and the last one ends."""
    return kind.argsort(kind="stable"), [0, *np.cumsum(np.bincount(kind, minlength=types)).tolist()]


def typed_linear_shape(x: ArraySpec, kind: ArraySpec, *, types: int, units: int) -> tuple[ArraySpec, ...]:
    """float32[rows, inputs], int64[rows] -> float32[rows, units]."""
    if len(x.shape) != 1 or not is_float(x):
        raise ValueError(f"typed_linear takes float32[rows, inputs], not {x}: flatten or embed it first")
    if kind != ArraySpec((), "int64"):
        raise ValueError(f"typed_linear takes its types as int64[rows], not {kind}: give it one type per row")
    if x.shape[0] < 1 or types < 1 or units < 1:
        raise ValueError(
            f"typed_linear needs at least 1 input, type and unit, not {x.shape[0]}, {types} and {units}: give it more"
        )
    return (ArraySpec((units,), x.dtype),)


def typed_linear_cost(rows: int, x: ArraySpec, kind: ArraySpec, *, types: int, units: int) -> tuple[Cost, Cost]:
    """That of `linear` for all rows, and r types to read each way; the other weights are read and written besides, as
    far as rows may be of their types: min(r, types) - 1 times the bytes of one weight and bias.
    """
    forward, backward = linear_cost(rows, x, units=units)
    others = max(min(rows, types) - 1, 0) * (x.row_values + 1) * units * np.dtype(x.dtype).itemsize
    kinds = rows * kind.row_bytes
    return forward + Cost(0, kinds + others), backward + Cost(0, kinds + others, others)


def typed_linear_parameters(x: ArraySpec, kind: ArraySpec, *, types: int, units: int) -> dict[str, ParameterSpec]:
    """weight float32[types, inputs, units] and bias float32[types, units]; each type starts as a `linear` would."""
    return {
        "weight": ParameterSpec((types, x.shape[0], units), _he_normal_each),
        "bias": ParameterSpec((types, units), zeros),
    }


def _he_normal_each(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """For all types, or for one."""
    *types, inputs, units = shape
    return (
        np.stack([he_normal(generator, (inputs, units)) for _ in range(*types)])
        if types
        else he_normal(generator, shape)
    )


typed_linear = register(
    Op(
        "typed_linear",
        typed_linear_forward,
        typed_linear_backward,
        typed_linear_shape,
        typed_linear_cost,
        typed_linear_parameters,
    )
)
"""One op where a model has a linear map for each type of edge: a batch of all types is one call."""
