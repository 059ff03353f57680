"""The two cells of a binary Tree-LSTM (Tai, Socher and Manning, 2015): tree_leaf for words, tree_branch for pairs.

Weights start by fan_in_normal and biases at zero, but those of forget gates at one: a new branch sums its children.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ampsim.ops.gates import (
    check_input,
    fan_in_normal,
    forget_bias,
    gates_forward,
    product_cost,
    squash_backward,
    tanh_c_backward,
)
from ampsim.ops.gradients import DeferredGradients
from ampsim.ops.linear import layer_gradients, zeros
from ampsim.ops.table import Array, Arrays, ArraySpec, Cost, Gradients, Op, Parameters, ParameterSpec, register


def leaf_forward(parameters: Parameters, x: Array, *, units: int) -> tuple[Arrays, Arrays]:
    """x float32[rows, inputs] -> h, c float32[rows, units].

    i, o = sigmoid, u = tanh of x W + b; c = i u; h = o tanh(c).
    """
    gates = gates_forward(parameters, x, sigmoids=2 * units)
    i, o, u = (gates[:, k * units : (k + 1) * units] for k in range(3))
    c = i * u
    tanh_c = np.tanh(c)
    return (o * tanh_c, c), (x, gates, tanh_c)


def leaf_backward(
    parameters: Parameters, saved: Arrays, gradients: Arrays, wanted: tuple[bool, ...], *, units: int
) -> Gradients:
    """dh, dc float32[rows, units] -> dx float32[rows, inputs], and the gradients of weight and bias."""
    (x, gates, tanh_c), (dh, dc) = saved, gradients
    i, o, u = (gates[:, k * units : (k + 1) * units] for k in range(3))
    all_dc = tanh_c_backward(dh, dc, o, tanh_c)
    dz = np.empty_like(gates)
    np.multiply(all_dc, u, out=dz[:, :units])
    np.multiply(dh, tanh_c, out=dz[:, units : 2 * units])
    np.multiply(all_dc, i, out=dz[:, 2 * units :])
    squash_backward(gates, dz, sigmoids=2 * units)
    dx = dz @ parameters["weight"].T if wanted[0] else None
    return (dx,), DeferredGradients(layer_gradients, x, dz)


def leaf_shape(x: ArraySpec, *, units: int) -> tuple[ArraySpec, ...]:
    """float32[rows, inputs] -> h, c float32[rows, units]."""
    check_input("tree_leaf", x, units)
    return ArraySpec((units,), x.dtype), ArraySpec((units,), x.dtype)


def leaf_cost(rows: int, x: ArraySpec, *, units: int) -> tuple[Cost, Cost]:
    """Of r rows, i inputs, u units: product_cost of i inputs and 3u columns, 2u of them with a sigmoid, and

    forward    3ru flops (c, tanh, h); writes tanh(c), for the way back, h and c: 3ru
    backward   8ru (the gradient of c by 5, three gates); reads tanh(c), dh, dc: 3ru
    """
    forward, backward = product_cost(rows, x.row_values, 3 * units, 2 * units, x.dtype)
    values, size = rows * units, rows * units * np.dtype(x.dtype).itemsize
    return forward + Cost(3 * values, 0, 3 * size), backward + Cost(8 * values, 3 * size)


def leaf_parameters(x: ArraySpec, *, units: int) -> dict[str, ParameterSpec]:
    """weight float32[inputs, 3 units] and bias float32[3 units]; the blocks of columns are i, o, u."""
    return {
        "weight": ParameterSpec((x.shape[0], 3 * units), fan_in_normal),
        "bias": ParameterSpec((3 * units,), zeros),
    }


def branch_forward(parameters: Parameters, h: Array, c: Array, *, units: int, rows: Array) -> tuple[Arrays, Arrays]:
    """h, c float32[2n, units], left child before right -> h, c float32[n, units].

    i, o, fl, fr = sigmoid, u = tanh of [h left, h right] W + b; c' = i u + fl c left + fr c right; h' = o tanh(c').
    """
    if (rows != 2).any():
        wrong = int((rows != 2).argmax())
        raise ValueError(
            f"tree_branch takes messages of 2 rows, left and right, but message {wrong} has {rows[wrong]}: "
            "group exactly two children"
        )
    children = h.reshape(len(rows), 2 * units)
    gates = gates_forward(parameters, children, sigmoids=4 * units)
    new_c = gates[:, :units] * gates[:, 4 * units :]
    new_c += gates[:, 2 * units : 3 * units] * c[0::2]
    new_c += gates[:, 3 * units : 4 * units] * c[1::2]
    tanh_c = np.tanh(new_c)
    return (gates[:, units : 2 * units] * tanh_c, new_c), (children, gates, c, tanh_c)


def branch_backward(
    parameters: Parameters, saved: Arrays, gradients: Arrays, wanted: tuple[bool, ...], *, units: int, rows: Array
) -> Gradients:
    """dh, dc float32[n, units] -> dh, dc float32[2n, units] of the children, and the gradients of weight and bias."""
    (children, gates, c, tanh_c), (dh, dc) = saved, gradients
    i, o, _, _, u = (gates[:, k * units : (k + 1) * units] for k in range(5))
    forget = gates[:, 2 * units : 4 * units].reshape(-1, 2, units)
    all_dc = tanh_c_backward(dh, dc, o, tanh_c)
    dz = np.empty_like(gates)
    np.multiply(all_dc, u, out=dz[:, :units])
    np.multiply(dh, tanh_c, out=dz[:, units : 2 * units])
    np.multiply(all_dc, c[0::2], out=dz[:, 2 * units : 3 * units])
    np.multiply(all_dc, c[1::2], out=dz[:, 3 * units : 4 * units])
    np.multiply(all_dc, i, out=dz[:, 4 * units :])
    squash_backward(gates, dz, sigmoids=4 * units)
    child_dh = (dz @ parameters["weight"].T).reshape(c.shape) if wanted[0] else None
    child_dc = (forget * all_dc[:, None]).reshape(c.shape) if wanted[1] else None
    return (child_dh, child_dc), DeferredGradients(layer_gradients, children, dz)


def branch_shape(h: ArraySpec, c: ArraySpec, *, units: int) -> tuple[ArraySpec, ...]:
    """float32[rows, units] twice -> the same, with a row per message."""
    check_input("tree_branch", h, units)
    for letter, spec in (("h", h), ("c", c)):
        if spec != ArraySpec((units,), h.dtype):
            raise ValueError(
                f"tree_branch: {letter} is {spec} and must be {h.dtype}[rows, {units}]: "
                "give leaf and branch as many units"
            )
    return h, c


def branch_cost(rows: int, h: ArraySpec, c: ArraySpec, *, units: int) -> tuple[Cost, Cost]:
    """Of r rows, so n = r / 2 branches, u units: product_cost of n rows, 2u inputs and 5u columns, 4u of them with a
    sigmoid, and

    forward    7nu flops (c' by 5, tanh, h'); reads c: 2nu; writes tanh(c'), for the way back, h' and c': 3nu
    backward   10nu (the gradient of c' by 5, five gates) + 2nu (dc); reads c: 2nu, tanh(c'), dh', dc': 3nu;
               writes dc: 2nu
    """
    n = rows / 2
    forward, backward = product_cost(n, 2 * units, 5 * units, 4 * units, h.dtype)
    values, size = n * units, n * h.row_bytes
    return forward + Cost(7 * values, 2 * size, 3 * size), backward + Cost(12 * values, 5 * size, 2 * size)


def branch_parameters(h: ArraySpec, c: ArraySpec, *, units: int) -> dict[str, ParameterSpec]:
    """weight float32[2 units, 5 units] and bias float32[5 units]; the blocks of columns are i, o, fl, fr, u."""
    return {
        "weight": ParameterSpec((2 * units, 5 * units), fan_in_normal),
        "bias": ParameterSpec((5 * units,), partial(forget_bias, units=units)),
    }


tree_leaf = register(Op("tree_leaf", leaf_forward, leaf_backward, leaf_shape, leaf_cost, leaf_parameters))
tree_branch = register(
    Op(
        "tree_branch",
        branch_forward,
        branch_backward,
        branch_shape,
        branch_cost,
        branch_parameters,
        segmented=True,
    )
)
