"""The rows of each message as one: sums over a message, and the ops `sum_rows` and `take_row`.

`rows int64[n]` says how many rows each of n messages has; they lie one after the other. The cost rules of segmented
ops know the rows of all messages together, not their number, and where it matters they count one message.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ampsim.ops.table import Array, Arrays, ArraySpec, Cost, Gradients, Op, Parameters, is_float, register

WIDE = 32
"""Values of a row from which on rows are added up together for all messages: reduceat takes a step for each."""

SHORT = 8
"""Rows of a message that are added up so; messages with more are few."""


def row_starts(rows: Array) -> Array:
    """int64[n]: the first row of each message."""
    starts: Array = np.cumsum(rows)
    starts -= rows
    return starts


def segment_sums(x: Array, rows: Array) -> Array:
    """x[total rows, ...] -> [n, ...]: the sum over the rows of each message, zeros for one without rows.

    How rows are added up depends on the message alone, so that its sum has the same bits whatever batch it comes in.
    """
    starts = row_starts(rows)
    if prod(x.shape[1:]) >= WIDE:
        return _wide_sums(x, rows, starts)
    if rows.all():
        sums: Array = np.add.reduceat(x, starts, axis=0)
        return sums
    # reduceat takes an empty segment for the one row at its start.
    sums = np.zeros((len(rows), *x.shape[1:]), x.dtype)
    some = np.flatnonzero(rows)
    sums[some] = np.add.reduceat(x, starts[some], axis=0)
    return sums


def _wide_sums(x: Array, rows: Array, starts: Array) -> Array:
    """The first rows of all messages together, then the second ones, and so on; what is left of long ones by itself."""
    order = np.argsort(-rows, kind="stable")
    descending, first = -rows[order], starts[order]
    sums = np.zeros((len(rows), *x.shape[1:]), x.dtype)
    for place in range(min(-int(descending[0]), SHORT)):
        # Messages with more rows than `place` come first.
        have = int(np.searchsorted(descending, -place))
        sums[:have] += x.take(first[:have] + place, axis=0)
    for number in range(int(np.searchsorted(descending, -SHORT))):
        start, stop = int(first[number]), int(first[number] - descending[number])
        sums[number] += x[start + SHORT : stop].sum(axis=0)
    in_order = np.empty_like(sums)
    in_order[order] = sums
    return in_order


def sum_rows_forward(parameters: Parameters, x: Array, *, rows: Array) -> tuple[Arrays, Arrays]:
    """x float32[rows, w] -> float32[n, w], the sum over the rows of each message."""
    return (segment_sums(x, rows),), ()


def sum_rows_backward(
    parameters: Parameters, saved: Arrays, gradients: Arrays, wanted: tuple[bool, ...], *, rows: Array
) -> Gradients:
    """dy float32[n, w] -> float32[rows, w]: each row has its message's gradient."""
    return (np.repeat(gradients[0], rows, axis=0) if wanted[0] else None,), {}


def sum_rows_shape(x: ArraySpec) -> tuple[ArraySpec, ...]:
    """float32[rows, w] -> the same, with a row per message."""
    if len(x.shape) != 1 or not is_float(x):
        raise ValueError(f"sum_rows takes floats [rows, width], not {x}: flatten or embed it first")
    return (x,)


def sum_rows_cost(rows: int, x: ArraySpec) -> tuple[Cost, Cost]:
    """With r rows of width w, of one message:

    forward    rw flops; reads rw; writes w
    backward   no flops; reads w; writes rw
    """
    size = rows * x.row_bytes
    return Cost(rows * x.row_values, size, x.row_bytes), Cost(0, x.row_bytes, size)


def take_row_forward(parameters: Parameters, x: Array, *, place: int, rows: Array) -> tuple[Arrays, Arrays]:
    """x float32[rows, w] -> float32[n, w]: row number `place` of each message, counted from its end if negative."""
    return (x[_places(place, rows)],), ()


def take_row_backward(
    parameters: Parameters, saved: Arrays, gradients: Arrays, wanted: tuple[bool, ...], *, place: int, rows: Array
) -> Gradients:
    """dy float32[n, w] -> float32[rows, w]: dy at the rows that were taken, zeros elsewhere."""
    if not wanted[0]:
        return (None,), {}
    (dy,) = gradients
    dx = np.zeros((int(rows.sum()), *dy.shape[1:]), dy.dtype)
    dx[_places(place, rows)] = dy
    return (dx,), {}


def take_row_shape(x: ArraySpec, *, place: int) -> tuple[ArraySpec, ...]:
    """float32[rows, w] -> the same, with a row per message."""
    if len(x.shape) != 1 or not is_float(x):
        raise ValueError(f"take_row takes floats [rows, width], not {x}: flatten or embed it first")
    return (x,)


def take_row_cost(rows: int, x: ArraySpec, *, place: int) -> tuple[Cost, Cost]:
    """With r rows of width w, of one message: no flops; forward reads and writes w, backward reads w and writes rw."""
    return Cost(0, x.row_bytes, x.row_bytes), Cost(0, x.row_bytes, rows * x.row_bytes)


def _places(place: int, rows: Array) -> Array:
    needed = place + 1 if place >= 0 else -place
    if (rows < needed).any():
        short = int((rows < needed).argmax())
        raise ValueError(
            f"take_row: place {place} needs messages of {needed} rows or more, but message {short} has {rows[short]}: "
            "choose another place"
        )
    places: Array = row_starts(rows)
    places += place if place >= 0 else rows + place
    return places


sum_rows = register(Op("sum_rows", sum_rows_forward, sum_rows_backward, sum_rows_shape, sum_rows_cost, segmented=True))
take_row = register(Op("take_row", take_row_forward, take_row_backward, take_row_shape, take_row_cost, segmented=True))
