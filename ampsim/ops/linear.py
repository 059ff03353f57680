"""The ops with weights: `linear` multiplies rows by a matrix, `embedding` looks rows of a matrix up.

In the cost rules each array is read and written once per call, however many products it takes part in,
and a multiply-add is two operations.
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np

from ampsim.ops.gradients import DeferredGradients, summed_rows
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

SMALL_VOCABULARY = 64
"""Up to so many rows a table's gradient is summed up by a product with ones and zeros, faster than by a sort."""

LARGE_WEIGHT = 2**17
"""From so many values on, zeros written first are worth a thought."""


def he_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """float32[inputs, units] of deviation sqrt(2 / inputs): rectified layers then keep their input's scale."""
    weight = generator.standard_normal(shape, dtype=np.float32)
    weight *= sqrt(2 / shape[0])
    return weight


def unit_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """float32[shape] of deviation 1, the scale of input that he_normal layers expect."""
    return generator.standard_normal(shape, dtype=np.float32)


def zeros(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """float32[shape] of zeros."""
    return np.zeros(shape, dtype=np.float32)


def linear_forward(parameters: Parameters, x: Array, *, units: int, bias: bool = True) -> tuple[Arrays, Arrays]:
    """x float32[rows, inputs] -> y float32[rows, units] = x @ weight + bias, or without the bias."""
    y = x @ parameters["weight"]
    if bias:
        y += parameters["bias"]
    return (y,), (x,)


def linear_backward(
    parameters: Parameters,
    saved: Arrays,
    gradients: Arrays,
    wanted: tuple[bool, ...],
    *,
    units: int,
    bias: bool = True,
) -> Gradients:
    """dy float32[rows, units] -> dx float32[rows, inputs], and the gradients of weight and bias."""
    (x,), (dy,) = saved, gradients
    dx = dy @ parameters["weight"].T if wanted[0] else None
    return (dx,), DeferredGradients(layer_gradients if bias else product_gradient, x, dy)


def layer_gradients(x: Array, dy: Array) -> dict[str, Array]:
    """Those of weight and bias for y = x @ weight + bias, x float32[rows, inputs], dy float32[rows, units]."""
    return {"weight": weight_gradient(x, dy), "bias": np.add.reduce(dy, axis=0)}


def product_gradient(x: Array, dy: Array) -> dict[str, Array]:
    """That of weight for y = x @ weight, x float32[rows, inputs], dy float32[rows, units]."""
    return {"weight": weight_gradient(x, dy)}


def weight_gradient(x: Array, dy: Array) -> Array:
    """x float32[rows, inputs], dy float32[rows, units] -> float32[inputs, units], summed over the rows.

    `x.T @ dy` gives the same bits. For a single row it takes ten times as long; but `np.dot` first fills what it
    returns with zeros, a twentieth of its time where that is large.
    """
    large = len(x) > 1 and x.shape[1] * dy.shape[1] >= LARGE_WEIGHT
    dw: Array = x.T @ dy if large else np.dot(x.T, dy)
    return dw


def linear_shape(x: ArraySpec, *, units: int, bias: bool = True) -> tuple[ArraySpec, ...]:
    """float32[rows, inputs] -> float32[rows, units]."""
    if len(x.shape) != 1 or not is_float(x):
        raise ValueError(f"linear takes float32[rows, inputs], not {x}: flatten or embed it first")
    if x.shape[0] < 1 or units < 1:
        raise ValueError(f"linear needs at least 1 input and 1 unit, not {x.shape[0]} and {units}: give it more")
    return (ArraySpec((units,), x.dtype),)


def linear_cost(rows: int, x: ArraySpec, *, units: int, bias: bool = True) -> tuple[Cost, Cost]:
    """With r rows, i inputs, u units (without a bias, less what falls to it):

    forward    2riu flops (sums start at the bias); reads x: ri, weight: iu, bias: u; writes y: ru
    backward   2riu (dx) + 2riu (dw) + ru (db) flops; reads x: ri, dy: ru, weight: iu; writes dx: ri, dw: iu, db: u

    Numbers of values; times the bytes of one value.
    """
    inputs, value = x.row_values, np.dtype(x.dtype).itemsize
    product = 2 * rows * inputs * units
    x_bytes, y_bytes = value * rows * inputs, value * rows * units
    weight_bytes, bias_bytes = value * inputs * units, value * units * bias
    forward = Cost(product, x_bytes + weight_bytes + bias_bytes, y_bytes)
    backward = Cost(
        2 * product + rows * units * bias, x_bytes + y_bytes + weight_bytes, x_bytes + weight_bytes + bias_bytes
    )
    return forward, backward


def linear_parameters(x: ArraySpec, *, units: int, bias: bool = True) -> dict[str, ParameterSpec]:
    """weight float32[inputs, units] and bias float32[units]."""
    weight = {"weight": ParameterSpec((x.shape[0], units), he_normal)}
    return {**weight, "bias": ParameterSpec((units,), zeros)} if bias else weight


def embedding_forward(parameters: Parameters, ids: Array, *, vocabulary: int, units: int) -> tuple[Arrays, Arrays]:
    """ids int64[rows] -> float32[rows, units], row by row weight[id]."""
    check_indices(ids, vocabulary, "embedding: id", f"raise vocabulary ({vocabulary}) or correct the data")
    return (parameters["weight"].take(ids, axis=0),), (ids,)


def embedding_backward(
    parameters: Parameters,
    saved: Arrays,
    gradients: Arrays,
    wanted: tuple[bool, ...],
    *,
    vocabulary: int,
    units: int,
) -> Gradients:
    """dy float32[rows, units] -> the gradient of weight: the rows of dy, by id. Ids have no gradient."""
    (ids,), (dy,) = saved, gradients
    return (None,), table_gradients(vocabulary, ids, dy)


def table_gradients(vocabulary: int, ids: Array, rows: Array, name: str = "weight") -> DeferredGradients:
    """That of the parameter float32[vocabulary, units] of which ids int64[rows] were looked up.

    `rows float32[rows, units]` are the gradients of what was found.
    """
    return DeferredGradients(lambda ids, rows: {name: sum_by_id(ids, rows, vocabulary)}, ids, rows)


def sum_by_id(ids: Array, rows: Array, vocabulary: int) -> Array:
    """float32[vocabulary, units]: the sum of the `rows float32[rows, units]` of each of the ids int64[rows].

    A product with zeros and ones where ids are few.
    """
    if vocabulary <= SMALL_VOCABULARY:
        chosen = np.zeros((vocabulary, len(ids)), rows.dtype)
        chosen[ids, np.arange(len(ids))] = 1
        sums: Array = chosen @ rows
        return sums
    some = summed_rows(ids, rows)
    sums = np.zeros((vocabulary, rows.shape[1]), rows.dtype)
    sums[some.ids] = some.rows
    return sums


def embedding_shape(ids: ArraySpec, *, vocabulary: int, units: int) -> tuple[ArraySpec, ...]:
    """int64[rows] -> float32[rows, units]."""
    if ids != ArraySpec((), "int64"):
        raise ValueError(f"embedding takes int64[rows], not {ids}: give it one id per row")
    if vocabulary < 1 or units < 1:
        raise ValueError(
            f"embedding needs a vocabulary and units of 1 or more, not {vocabulary} and {units}: raise them"
        )
    return (ArraySpec((units,)),)


def embedding_cost(rows: int, ids: ArraySpec, *, vocabulary: int, units: int) -> tuple[Cost, Cost]:
    """With r rows, u units, a vocabulary of v:

    forward    no flops; reads the ids: r and the rows looked up, at most the whole weight: min(r, v)u; writes y: ru
    backward   ru flops (a sum per value); reads the ids: r and dy: ru; writes as many rows of the gradient: ru, or with
               SMALL_VOCABULARY words at most all of them: vu
    """
    id_bytes, row_bytes = rows * ids.row_bytes, ArraySpec((units,)).row_bytes
    forward = Cost(0, id_bytes + min(rows, vocabulary) * row_bytes, rows * row_bytes)
    written = vocabulary if vocabulary <= SMALL_VOCABULARY else rows
    backward = Cost(rows * units, id_bytes + rows * row_bytes, written * row_bytes)
    return forward, backward


def embedding_parameters(ids: ArraySpec, *, vocabulary: int, units: int) -> dict[str, ParameterSpec]:
    """weight float32[vocabulary, units]."""
    return {"weight": ParameterSpec((vocabulary, units), unit_normal, by_rows=vocabulary > SMALL_VOCABULARY)}


linear = register(Op("linear", linear_forward, linear_backward, linear_shape, linear_cost, linear_parameters))


def block_of_linear(first: tuple[int, int], inputs: int | None = None, units: int | None = None) -> Op:
    """`linear` on some of the inputs and for some of the units of a layer: its first weights are that layer's.

    `inputs` and `units` are those of the whole layer, None where the block has them all; `first` is the number of the
    block's first input and of its first unit. The whole weight is drawn and cut, so that the blocks of a layer
    begin as the layer itself would.
    """
    row, column = first

    def parameters(x: ArraySpec, **options: Any) -> dict[str, ParameterSpec]:
        own = linear_parameters(x, **options)

        def cut(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
            whole = own["weight"].initialise(generator, (inputs or shape[0], units or shape[1]))
            return whole[row : row + shape[0], column : column + shape[1]].copy()

        return own | {"weight": ParameterSpec(own["weight"].shape, cut)}

    return replace(linear, parameters=parameters)


embedding = register(
    Op("embedding", embedding_forward, embedding_backward, embedding_shape, embedding_cost, embedding_parameters)
)
