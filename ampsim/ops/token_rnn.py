"""Steps of a recurrent loop over tokens in one op: what embedding, concat, linear and relu would do in four a step.

token, h -> h     h' = max(0, [table[token], h] W + b)

Of several steps the tokens' parts are taken all at once, and so are the parameters' gradients.
"""

from __future__ import annotations

import numpy as np

from ampsim.ops.activations import rectified
from ampsim.ops.gates import check_input, check_memory
from ampsim.ops.gradients import DeferredGradients
from ampsim.ops.linear import (
    SMALL_VOCABULARY,
    embedding_shape,
    he_normal,
    sum_by_id,
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


def words_first(rows: int, vocabulary: int) -> bool:
    """Whether each word's part of the product is taken once, and not that of each row: where words are fewer."""
    return vocabulary <= min(rows, SMALL_VOCABULARY)


def token_rnn_forward(
    parameters: Parameters, token: Array, h: Array, *, vocabulary: int, embedding: int, units: int, steps: int = 1
) -> tuple[Arrays, Arrays]:
    """token int64[steps * rows], h float32[rows, units] -> float32[rows, units]."""
    check_indices(token, vocabulary, "token_rnn: token", f"raise vocabulary ({vocabulary}) or correct the data")
    table, weight = parameters["table"], parameters["weight"]
    by_word = words_first(len(token), vocabulary)
    x = table if by_word else table.take(token, axis=0)
    # Two products of parts that lie side by side in memory, where one would take a copy of both inputs.
    part = x @ weight[:embedding]
    part += parameters["bias"]
    rows, recurrent, dtype = len(h), weight[embedding:], np.result_type(h, weight)
    if steps == 1:
        before, after = h, np.empty((rows, units), dtype)
    else:  # in one array, of which what a step gives is what the next one takes
        states = np.empty(((steps + 1) * rows, units), dtype)
        states[:rows] = h
        before, after = states[: steps * rows], states[rows:]
    for first in range(0, steps * rows, rows or 1):
        of_step = slice(first, first + rows)
        y = np.dot(before[of_step], recurrent, out=after[of_step])
        y += part.take(token[of_step], axis=0) if by_word else part[of_step]
        rectified(y, out=y)
    last = after if steps == 1 else after[(steps - 1) * rows :]
    return (last,), (token, before, after)


def token_rnn_backward(
    parameters: Parameters,
    saved: Arrays,
    gradients: Arrays,
    wanted: tuple[bool, ...],
    *,
    vocabulary: int,
    embedding: int,
    units: int,
    steps: int = 1,
) -> Gradients:
    """dy float32[rows, units] -> dh float32[rows, units], and the gradients of table, weight and bias, of all steps."""
    (token, before, after), (dh,) = saved, gradients
    table, weight = parameters["table"], parameters["weight"]
    rows, back = len(dh), weight[embedding:].T
    dz = np.empty_like(after)
    for first in reversed(range(0, steps * rows, rows or 1)):
        of_step = slice(first, first + rows)
        dy = np.multiply(dh, after[of_step] > 0, out=dz[of_step])
        if first or wanted[1]:
            dh = dy @ back
    own = dh if wanted[1] else None
    if words_first(len(token), vocabulary):
        dpart = sum_by_id(token, dz, vocabulary)
        dws = _layer_gradients(table, dpart, before, dz)
        return (None, own), {**dws, "table": dpart @ weight[:embedding].T}
    dx = dz @ weight[:embedding].T

    def gradients_of_rows(token: Array, x: Array, dx: Array, before: Array, dz: Array) -> dict[str, Array]:
        return {**_layer_gradients(x, dz, before, dz), "table": sum_by_id(token, dx, vocabulary)}

    return (None, own), DeferredGradients(gradients_of_rows, token, table.take(token, axis=0), dx, before, dz)


def _layer_gradients(x: Array, dpart: Array, h: Array, dz: Array) -> dict[str, Array]:
    """Those of weight and bias, of which `x` and the tokens' parts are those of words or of rows."""
    embedding = x.shape[1]
    dweight = np.empty((embedding + h.shape[1], dz.shape[1]), dz.dtype)
    np.dot(x.T, dpart, out=dweight[:embedding])
    np.dot(h.T, dz, out=dweight[embedding:])
    return {"weight": dweight, "bias": np.add.reduce(dpart, axis=0)}


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
    """Of r rows, those of all steps, e values of an embedding, u units, and k parts of the product that are of tokens:
    v, the vocabulary, where it is at most r and SMALL_VOCABULARY, else r. That of `linear` for k rows of e values and,
    without a bias, for r rows of u, which writes the output once; what is looked up; and

    forward    2ru flops (a sum, the maximum); reads the tokens: r
    backward   2ru flops (the slope), and where k is v ru more (sums by token), where it is r what `embedding` has;
               reads the output: ru, and the tokens: r

    Of what lies between (the parts, the gradients of parts and of what was looked up) nothing is counted.
    """
    by_word = words_first(rows, vocabulary)
    parts, values = vocabulary if by_word else rows, rows * units
    value, token_bytes, h_bytes = h.row_bytes // units, rows * token.row_bytes, rows * h.row_bytes
    weight_bytes = value * (embedding + units + 1) * units
    table_bytes = value * min(rows, vocabulary) * embedding
    written = value * (vocabulary if vocabulary <= SMALL_VOCABULARY else rows) * embedding
    products = 2 * units * (parts * embedding + rows * units)
    sums = values if by_word else rows * embedding
    forward = Cost(products + 2 * values, token_bytes + table_bytes + weight_bytes + h_bytes, h_bytes)
    backward = Cost(
        2 * products + parts * units + 2 * values + sums,
        token_bytes + table_bytes + weight_bytes - value * units + 3 * h_bytes,
        h_bytes + weight_bytes + written,
    )
    return forward, backward


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
    Op(
        "token_rnn",
        token_rnn_forward,
        token_rnn_backward,
        token_rnn_shape,
        token_rnn_cost,
        token_rnn_parameters,
        sequential=True,
    )
)
