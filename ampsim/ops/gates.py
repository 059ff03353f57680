"""What the gated ops share: one product for the columns of all gates, squashed in place by sigmoid and tanh.

A gated op keeps its gates as column blocks of one array `float32[rows, columns]`, those with a sigmoid first,
those with a tanh last. Its weight and bias have the same columns, so a call is one product forward and two backward.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from ampsim.ops.table import Array, ArraySpec, Cost, Parameters, is_float


def fan_in_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """float32[inputs, columns] of deviation sqrt(1 / inputs), after Glorot: sums have the scale of their inputs.

    That is where sigmoid and tanh are steep; he_normal, made for rectified layers, has twice the variance. In a cell
    whose columns are the blocks of several gates, each gate starts as if it stood alone.
    """
    weight = generator.standard_normal(shape, dtype=np.float32)
    weight *= sqrt(1 / shape[0])
    return weight


def forget_bias(generator: np.random.Generator, shape: tuple[int, ...], *, units: int) -> Array:
    """float32[columns] of zeros, but ones for forget gates: at first a cell remembers.

    The blocks, of `units` columns each, are: input gate, output gate, forget gates, and last the candidate's tanh.
    """
    bias = np.zeros(shape, dtype=np.float32)
    bias[2 * units : -units] = 1
    return bias


def gates_forward(parameters: Parameters, x: Array, sigmoids: int) -> Array:
    """x float32[rows, inputs] -> float32[rows, columns]: the first `sigmoids` columns through sigmoid, others tanh."""
    y: Array = x @ parameters["weight"]
    y += parameters["bias"]
    return squash(y, sigmoids)


def squash(y: Array, sigmoids: int) -> Array:
    """In place: sigmoid of the first `sigmoids` columns, tanh of the others.

    sigmoid(x) = (1 + tanh(x / 2)) / 2 never overflows, and one call of tanh does for all. Its error is that of
    rounding at 1, which is enough for what is multiplied by it; the op `sigmoid` is exact to the last tiny values too.
    """
    first = y[:, :sigmoids]
    first *= 0.5
    np.tanh(y, out=y)
    first += 1
    first *= 0.5
    return y


def squash_backward(y: Array, dy: Array, sigmoids: int) -> Array:
    """In place on dy, the gradient of the output y of `squash`: dy y (1 - y) and dy (1 - y²)."""
    slope = 1 - y
    slope[:, :sigmoids] *= y[:, :sigmoids]
    slope[:, sigmoids:] *= 1 + y[:, sigmoids:]
    dy *= slope
    return dy


def tanh_c_backward(dh: Array, dc: Array, o: Array, tanh_c: Array) -> Array:
    """For h = o tanh(c), the whole gradient of c: that by c itself and that by h."""
    all_dc: Array = tanh_c * tanh_c
    np.subtract(1, all_dc, out=all_dc)
    all_dc *= o
    all_dc *= dh
    all_dc += dc
    return all_dc


def input_gradients(
    dz: Array, weight: Array, widths: tuple[int, ...], wanted: tuple[bool, ...]
) -> tuple[Array | None, ...]:
    """For z = [x1, x2, ...] @ weight, the gradients of the x, of the given widths: one product if all are wanted."""
    stops = np.cumsum(widths).tolist()
    places = [slice(stop - width, stop) for width, stop in zip(widths, stops, strict=True)]
    if all(wanted):
        dx = dz @ weight.T
        return tuple(dx[:, place] for place in places)
    return tuple(dz @ weight[place].T if want else None for place, want in zip(places, wanted, strict=True))


def product_cost(rows: float, inputs: int, columns: int, sigmoids: int, dtype: str) -> tuple[Cost, Cost]:
    """The gates of r rows, i inputs, k columns, s of them with a sigmoid:

    forward    2rik flops (sums start at the bias) + 4rs (a sigmoid: halve, tanh, add, halve) + r(k - s);
               reads the inputs: ri, weight: ik, bias: k; writes the gates, for the way back: rk
    backward   4rik (two products) + rk (bias) + 3rk (slopes); reads the inputs: ri, gates: rk, weight: ik;
               writes dinputs: ri, dweight: ik, dbias: k

    Numbers of values; times the bytes of one value.
    """
    value = np.dtype(dtype).itemsize
    product, squashing = 2 * rows * inputs * columns, rows * (columns + 3 * sigmoids)
    x, y, weight = rows * inputs, rows * columns, inputs * columns
    forward = Cost(product + squashing, value * (x + weight + columns), value * y)
    backward = Cost(2 * product + 4 * y, value * (x + y + weight), value * (x + weight + columns))
    return forward, backward


def check_input(name: str, x: ArraySpec, units: int) -> None:
    """Raise ValueError unless x is float32[rows, inputs] and there are units."""
    if len(x.shape) != 1 or not is_float(x):
        raise ValueError(f"{name} takes float32[rows, inputs], not {x}: flatten or embed it first")
    if x.shape[0] < 1 or units < 1:
        raise ValueError(f"{name} needs at least 1 input and 1 unit, not {x.shape[0]} and {units}: give it more")


def check_memory(name: str, x: ArraySpec, units: int, **memories: ArraySpec) -> None:
    """Raise ValueError unless each of `memories` (h, c) is float32[rows, units], of the type of x."""
    needed = ArraySpec((units,), x.dtype)
    for letter, spec in memories.items():
        if spec != needed:
            raise ValueError(f"{name}: {letter} is {spec} and must be {needed}: set units to its width, or start it so")
