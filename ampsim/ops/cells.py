"""The recurrent cells: one step of a loop over a list or over the nodes of a graph, fused into one op.

    rnn    x, h    -> h     h' = tanh([x, h] W + b)
    lstm   x, h, c -> h, c  i, o, f = sigmoid, g = tanh of [x, h] W + b; c' = i g + f c; h' = o tanh(c')
    gru    x, h    -> h     z, r = sigmoid([x, h] W + b); g = tanh([x, r h] W' + b'); h' = (1 - z) h + z g

Weights start by fan_in_normal and biases at zero, but those of the lstm's forget gate at one.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ampsim.ops.gates import (
    check_input,
    check_memory,
    fan_in_normal,
    forget_bias,
    gates_forward,
    input_gradients,
    product_cost,
    squash,
    squash_backward,
    tanh_c_backward,
)
from ampsim.ops.gradients import DeferredGradients
from ampsim.ops.linear import layer_gradients, zeros
from ampsim.ops.table import Array, Arrays, ArraySpec, Cost, Gradients, Op, Parameters, ParameterSpec, register


def rnn_forward(parameters: Parameters, x: Array, h: Array, *, units: int) -> tuple[Arrays, Arrays]:
    """x float32[rows, inputs], h float32[rows, units] -> float32[rows, units]."""
    xh = np.concatenate([x, h], axis=1)
    y = gates_forward(parameters, xh, sigmoids=0)
    return (y,), (xh, y)


def rnn_backward(
    parameters: Parameters, saved: Arrays, gradients: Arrays, wanted: tuple[bool, ...], *, units: int
) -> Gradients:
    """dy float32[rows, units] -> dx, dh, and the gradients of weight and bias."""
    (xh, y), (dy,) = saved, gradients
    dz = squash_backward(y, dy.copy(), sigmoids=0)
    widths = (xh.shape[1] - units, units)
    return input_gradients(dz, parameters["weight"], widths, wanted), DeferredGradients(layer_gradients, xh, dz)


def rnn_shape(x: ArraySpec, h: ArraySpec, *, units: int) -> tuple[ArraySpec, ...]:
    """float32[rows, inputs], float32[rows, units] -> float32[rows, units]."""
    check_input("rnn", x, units)
    check_memory("rnn", x, units, h=h)
    return (h,)


def rnn_cost(rows: int, x: ArraySpec, h: ArraySpec, *, units: int) -> tuple[Cost, Cost]:
    """Of r rows, i inputs, u units: product_cost of i + u inputs and u columns, and

    forward    writes [x, h], for the way back: r(i + u)
    backward   reads dy: ru
    """
    forward, backward = product_cost(rows, x.row_values + units, units, 0, x.dtype)
    kept = rows * (x.row_bytes + h.row_bytes)
    return forward + Cost(0, 0, kept), backward + Cost(0, rows * h.row_bytes)


def rnn_parameters(x: ArraySpec, h: ArraySpec, *, units: int) -> dict[str, ParameterSpec]:
    """weight float32[inputs + units, units] and bias float32[units]."""
    return {
        "weight": ParameterSpec((x.shape[0] + units, units), fan_in_normal),
        "bias": ParameterSpec((units,), zeros),
    }


def lstm_forward(parameters: Parameters, x: Array, h: Array, c: Array, *, units: int) -> tuple[Arrays, Arrays]:
    """x float32[rows, inputs], h and c float32[rows, units] -> h, c float32[rows, units]."""
    xh = np.concatenate([x, h], axis=1)
    gates = gates_forward(parameters, xh, sigmoids=3 * units)
    i, o, f, g = (gates[:, k * units : (k + 1) * units] for k in range(4))
    new_c = i * g
    new_c += f * c
    tanh_c = np.tanh(new_c)
    return (o * tanh_c, new_c), (xh, gates, c, tanh_c)


def lstm_backward(
    parameters: Parameters, saved: Arrays, gradients: Arrays, wanted: tuple[bool, ...], *, units: int
) -> Gradients:
    """dh, dc float32[rows, units] -> dx, dh, dc of what came in, and the gradients of weight and bias."""
    (xh, gates, c, tanh_c), (dh, dc) = saved, gradients
    i, o, f, g = (gates[:, k * units : (k + 1) * units] for k in range(4))
    dz = np.empty_like(gates)
    di, do, df, dg = (dz[:, k * units : (k + 1) * units] for k in range(4))
    all_dc = tanh_c_backward(dh, dc, o, tanh_c)
    np.multiply(all_dc, g, out=di)
    np.multiply(dh, tanh_c, out=do)
    np.multiply(all_dc, c, out=df)
    np.multiply(all_dc, i, out=dg)
    squash_backward(gates, dz, sigmoids=3 * units)
    widths = (xh.shape[1] - units, units)
    dx_dh = input_gradients(dz, parameters["weight"], widths, wanted[:2])
    return (*dx_dh, all_dc * f if wanted[2] else None), DeferredGradients(layer_gradients, xh, dz)


def lstm_shape(x: ArraySpec, h: ArraySpec, c: ArraySpec, *, units: int) -> tuple[ArraySpec, ...]:
    """float32[rows, inputs], float32[rows, units] twice -> float32[rows, units] twice."""
    check_input("lstm", x, units)
    check_memory("lstm", x, units, h=h, c=c)
    return h, c


def lstm_cost(rows: int, x: ArraySpec, h: ArraySpec, c: ArraySpec, *, units: int) -> tuple[Cost, Cost]:
    """Of r rows, i inputs, u units: product_cost of i + u inputs and 4u columns, 3u of them with a sigmoid, and

    forward    5ru flops (c' by 3, tanh, h'); reads c: ru; writes [x, h]: r(i + u) and tanh(c'): ru, for the way
               back, h' and c': 2ru
    backward   10ru (the gradient of c' by 5, four gates, dc); reads c, tanh(c'), dh', dc': 4ru; writes dc: ru
    """
    forward, backward = product_cost(rows, x.row_values + units, 4 * units, 3 * units, x.dtype)
    values, size = rows * units, rows * h.row_bytes
    kept = rows * x.row_bytes + size
    return forward + Cost(5 * values, size, kept + 3 * size), backward + Cost(10 * values, 4 * size, size)


def lstm_parameters(x: ArraySpec, h: ArraySpec, c: ArraySpec, *, units: int) -> dict[str, ParameterSpec]:
    """weight float32[inputs + units, 4 units] and bias float32[4 units]; the blocks of columns are i, o, f, g."""
    return {
        "weight": ParameterSpec((x.shape[0] + units, 4 * units), fan_in_normal),
        "bias": ParameterSpec((4 * units,), partial(forget_bias, units=units)),
    }


def gru_forward(parameters: Parameters, x: Array, h: Array, *, units: int) -> tuple[Arrays, Arrays]:
    """x float32[rows, inputs], h float32[rows, units] -> float32[rows, units].

    The reset gate is applied to h before the candidate's product, as in gated graph networks.
    """
    xh = np.concatenate([x, h], axis=1)
    gates = gates_forward(parameters, xh, sigmoids=2 * units)
    xrh = xh.copy()
    xrh[:, -units:] *= gates[:, units:]
    candidate = xrh @ parameters["candidate_weight"]
    candidate += parameters["candidate_bias"]
    squash(candidate, sigmoids=0)
    y = candidate - h
    y *= gates[:, :units]
    y += h
    return (y,), (xh, gates, xrh, candidate)


def gru_backward(
    parameters: Parameters, saved: Arrays, gradients: Arrays, wanted: tuple[bool, ...], *, units: int
) -> Gradients:
    """dy float32[rows, units] -> dx, dh, and the gradients of both weights and biases."""
    (xh, gates, xrh, candidate), (dy,) = saved, gradients
    h, update, reset = xh[:, -units:], gates[:, :units], gates[:, units:]
    dcandidate = squash_backward(candidate, dy * update, sigmoids=0)
    dxrh = dcandidate @ parameters["candidate_weight"].T
    drh = dxrh[:, -units:]
    dz = np.empty_like(gates)
    np.subtract(candidate, h, out=dz[:, :units])
    dz[:, :units] *= dy
    np.multiply(drh, h, out=dz[:, units:])
    squash_backward(gates, dz, sigmoids=2 * units)
    dws = DeferredGradients(gru_gradients, xh, dz, xrh, dcandidate)
    if not any(wanted):
        return (None, None), dws
    drh *= reset
    drh += dy
    drh -= dy * update
    dxrh += dz @ parameters["weight"].T
    return (dxrh[:, :-units] if wanted[0] else None, drh if wanted[1] else None), dws


def gru_gradients(xh: Array, dz: Array, xrh: Array, dcandidate: Array) -> dict[str, Array]:
    """Those of all four parameters, float32[rows, ...] each."""
    of_candidate = layer_gradients(xrh, dcandidate)
    return layer_gradients(xh, dz) | {f"candidate_{name}": dw for name, dw in of_candidate.items()}


def gru_shape(x: ArraySpec, h: ArraySpec, *, units: int) -> tuple[ArraySpec, ...]:
    """float32[rows, inputs], float32[rows, units] -> float32[rows, units]."""
    check_input("gru", x, units)
    check_memory("gru", x, units, h=h)
    return (h,)


def gru_cost(rows: int, x: ArraySpec, h: ArraySpec, *, units: int) -> tuple[Cost, Cost]:
    """Of r rows, i inputs, u units: product_cost of i + u inputs, for 2u columns with a sigmoid and for u with a tanh;
    each counts its inputs, [x, h] and [x, r h]. And

    forward    4ru flops (r h; three for h'); writes [x, h] and [x, r h], for the way back: 2r(i + u), and h': ru
    backward   8ru (dg, dz by 2, dr, dh by 4) + r(i + u) (both ways to dx and dh); reads dy: ru; the second product's
               dinputs are not written: the gradients are summed
    """
    inputs = x.row_values + units
    forward, backward = (
        gates + candidate
        for gates, candidate in zip(
            product_cost(rows, inputs, 2 * units, 2 * units, x.dtype),
            product_cost(rows, inputs, units, 0, x.dtype),
            strict=True,
        )
    )
    values, size, kept = rows * units, rows * h.row_bytes, rows * (x.row_bytes + h.row_bytes)
    return (
        forward + Cost(4 * values, 0, 2 * kept + size),
        backward + Cost(8 * values + rows * inputs, size, -kept),
    )


def gru_parameters(x: ArraySpec, h: ArraySpec, *, units: int) -> dict[str, ParameterSpec]:
    """Update and reset gates: weight float32[inputs + units, 2 units], bias float32[2 units], in this order of columns.
    The candidate: candidate_weight float32[inputs + units, units], candidate_bias float32[units].
    """
    inputs = x.shape[0] + units
    return {
        "weight": ParameterSpec((inputs, 2 * units), fan_in_normal),
        "bias": ParameterSpec((2 * units,), zeros),
        "candidate_weight": ParameterSpec((inputs, units), fan_in_normal),
        "candidate_bias": ParameterSpec((units,), zeros),
    }


rnn = register(Op("rnn", rnn_forward, rnn_backward, rnn_shape, rnn_cost, rnn_parameters))
lstm = register(Op("lstm", lstm_forward, lstm_backward, lstm_shape, lstm_cost, lstm_parameters))
gru = register(Op("gru", gru_forward, gru_backward, gru_shape, gru_cost, gru_parameters))
