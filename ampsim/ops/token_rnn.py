"""One step of a recurrent loop over tokens in one op: what embedding, concat, linear and relu would do in four.

token, h -> h     h' = max(0, [table[token], h] W + b)
"""

from __future__ import annotations

import numpy as np

from ampsim.ops.gates import check_input, check_memory
from ampsim.ops.linear import (
    embedding_cost,
    embedding_shape,
    he_normal,
    linear_cost,
    table_gradient,
    unit_normal,
    zeros,
)
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
    register,
)


def token_rnn_forward(
    parameters: Parameters, token: Array, h: Array, *, vocabulary: int, embedding: int, units: int
) -> tuple[Arrays, Arrays]:
    """token int64[rows], h float32[rows, units] -> float32[rows, units]."""
    check_indices(token, vocabulary, "token_rnn: token", f"raise vocabulary ({vocabulary}) or correct the data")
    weight = parameters["weight"]
    x = parameters["table"].take(token, axis=0)
    # Two products of parts that lie side by side in memory, where one would take a copy of both inputs.
    y = x @ weight[:embedding]
    y += h @ weight[embedding:]
    y += parameters["bias"]
    np.maximum(y, 0, out=y)
    return (y,), (token, x, h, y)


def token_rnn_backward(
    parameters: Parameters,
    saved: Arrays,
    gradients: Arrays,
    wanted: tuple[bool, ...],
    *,
    vocabulary: int,
    embedding: int,
    units: int,
) -> Gradients:
    """dy float32[rows, units] -> dh float32[rows, units], and the gradients of table, weight and bias."""
    (token, x, h, y), (dy,) = saved, gradients
    weight = parameters["weight"]
    dz = dy * (y > 0)
    dweight = np.empty_like(weight)
    np.dot(x.T, dz, out=dweight[:embedding])
    np.dot(h.T, dz, out=dweight[embedding:])
    dtable = table_gradient(token, dz @ weight[:embedding].T, vocabulary)
    dh = dz @ weight[embedding:].T if wanted[1] else None
    return (None, dh), {"table": dtable, "weight": dweight, "bias": np.add.reduce(dz, axis=0)}


def token_rnn_shape(
    token: ArraySpec, h: ArraySpec, *, vocabulary: int, embedding: int, units: int
) -> tuple[ArraySpec, ...]:
    """int64[rows], float32[rows, units] -> float32[rows, units]."""
    embedding_shape(token, vocabulary=vocabulary, units=embedding)
    x = ArraySpec((embedding,), h.dtype)
    check_input("token_rnn", x, units)
    check_memory("token_rnn", x, units, h=h)
    return (h,)


def token_rnn_cost(
    rows: int, token: ArraySpec, h: ArraySpec, *, vocabulary: int, embedding: int, units: int
) -> tuple[Cost, Cost]:
    """Of r rows, e values of an embedding, u units: that of `embedding`, of `linear` for its output and h, and

    forward    ru flops (the maximum)
    backward   2ru flops (its slope); reads the output: ru; neither writes nor reads again the gradient of what was
               looked up: -re each
    """
    looked_up = embedding_cost(rows, token, vocabulary=vocabulary, units=embedding)
    product = linear_cost(rows, ArraySpec((embedding + units,), h.dtype), units=units)
    forward, backward = (one + other for one, other in zip(looked_up, product, strict=True))
    values = rows * units
    between = rows * ArraySpec((embedding,), h.dtype).row_bytes
    return forward + Cost(values), backward + Cost(2 * values, rows * h.row_bytes - between, -between)


def token_rnn_parameters(
    token: ArraySpec, h: ArraySpec, *, vocabulary: int, embedding: int, units: int
) -> dict[str, ParameterSpec]:
    """table float32[vocabulary, embedding], weight float32[embedding + units, units] and bias float32[units]."""
    return {
        "table": ParameterSpec((vocabulary, embedding), unit_normal),
        "weight": ParameterSpec((embedding + units, units), he_normal),
        "bias": ParameterSpec((units,), zeros),
    }


token_rnn = register(
    Op("token_rnn", token_rnn_forward, token_rnn_backward, token_rnn_shape, token_rnn_cost, token_rnn_parameters)
)
