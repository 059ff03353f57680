"""`gated_sum`: one vector for a whole graph, as gated graph networks read it out of the states of its nodes.

    y = sum over the rows of sigmoid(gate) tanh(value)

Gate and value are affine in h; with a second input, the annotation that the nodes began with, the gate is affine in
both. Weights start by fan_in_normal and the bias at zero.
"""

from __future__ import annotations

import numpy as np

from ampsim.ops.gates import check_input, fan_in_normal, product_cost, squash, squash_backward
from ampsim.ops.gradients import DeferredGradients
from ampsim.ops.linear import layer_gradients, weight_gradient, zeros
from ampsim.ops.segments import segment_sums
from ampsim.ops.table import Array, Arrays, ArraySpec, Cost, Gradients, Op, Parameters, ParameterSpec, register


def gated_sum_forward(
    parameters: Parameters, h: Array, annotation: Array | None = None, *, units: int, rows: Array
) -> tuple[Arrays, Arrays]:
    """h float32[rows, w], annotation float32[rows, a] if there is one -> float32[n, units]."""
    gates = h @ parameters["weight"]
    gates += parameters["bias"]
    if annotation is not None:
        gates[:, :units] += annotation @ parameters["annotation_weight"]
    squash(gates, sigmoids=units)
    y = segment_sums(gates[:, :units] * gates[:, units:], rows)
    return (y,), (h, gates) if annotation is None else (h, gates, annotation)


def gated_sum_backward(
    parameters: Parameters, saved: Arrays, gradients: Arrays, wanted: tuple[bool, ...], *, units: int, rows: Array
) -> Gradients:
    """dy float32[n, units] -> dh (and the gradient of the annotation), and those of the parameters."""
    (h, gates, *annotation), (dy,) = saved, gradients
    dy = np.repeat(dy, rows, axis=0)
    dz = np.empty_like(gates)
    np.multiply(dy, gates[:, units:], out=dz[:, :units])
    np.multiply(dy, gates[:, :units], out=dz[:, units:])
    squash_backward(gates, dz, sigmoids=units)
    dws = DeferredGradients(gated_sum_gradients, h, dz, *annotation)
    dxs = [dz @ parameters["weight"].T if wanted[0] else None]
    if annotation:
        dgate = dz[:, :units]
        dxs.append(dgate @ parameters["annotation_weight"].T if wanted[1] else None)
    return tuple(dxs), dws


def gated_sum_gradients(h: Array, dz: Array, annotation: Array | None = None) -> dict[str, Array]:
    """Those of the parameters: h float32[rows, w], dz float32[rows, 2 units], annotation float32[rows, a]."""
    dws = layer_gradients(h, dz)
    if annotation is not None:
        dws["annotation_weight"] = weight_gradient(annotation, dz[:, : dz.shape[1] // 2])
    return dws


def gated_sum_shape(h: ArraySpec, annotation: ArraySpec | None = None, *, units: int) -> tuple[ArraySpec, ...]:
    """float32[rows, w] and, if it is given, float32[rows, a] -> float32[rows, units], with a row per message."""
    check_input("gated_sum", h, units)
    if annotation is not None:
        check_input("gated_sum", annotation, units)
        if annotation.dtype != h.dtype:
            raise ValueError(f"gated_sum: {h} and {annotation} are of two types: make them one")
    return (ArraySpec((units,), h.dtype),)


def gated_sum_cost(rows: int, h: ArraySpec, annotation: ArraySpec | None = None, *, units: int) -> tuple[Cost, Cost]:
    """Of r rows, of one message, width w, u units: product_cost of w inputs, 2u columns, u of them with a sigmoid, and

    forward    2ru flops (multiply, sum); writes y: u
    backward   2ru; reads dy: u

    and of an annotation a wide:

    forward    2rau flops; reads the annotation: ra and its weight: au
    backward   4rau; reads the same; writes the gradients of both
    """
    value = np.dtype(h.dtype).itemsize
    forward, backward = product_cost(rows, h.row_values, 2 * units, units, h.dtype)
    forward += Cost(2 * rows * units, 0, value * units)
    backward += Cost(2 * rows * units, value * units, 0)
    if annotation is not None:
        flops = 2 * rows * annotation.row_values * units
        size = rows * annotation.row_bytes + annotation.row_bytes * units
        forward += Cost(flops, size, 0)
        backward += Cost(2 * flops, size, size)
    return forward, backward


def gated_sum_parameters(h: ArraySpec, annotation: ArraySpec | None = None, *, units: int) -> dict[str, ParameterSpec]:
    """weight float32[w, 2 units] and bias float32[2 units], columns of the gate before those of the value;
    with an annotation also annotation_weight float32[a, units].
    """
    specs = {
        "weight": ParameterSpec((h.shape[0], 2 * units), fan_in_normal),
        "bias": ParameterSpec((2 * units,), zeros),
    }
    if annotation is not None:
        specs["annotation_weight"] = ParameterSpec((annotation.shape[0], units), fan_in_normal)
    return specs


gated_sum = register(
    Op(
        "gated_sum",
        gated_sum_forward,
        gated_sum_backward,
        gated_sum_shape,
        gated_sum_cost,
        gated_sum_parameters,
        segmented=True,
    )
)
