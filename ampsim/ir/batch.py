"""The unit that moves: a batch of messages to one port, as a struct of arrays.

One message is a batch of n = 1. Batches are never written to once made: they may be on their way to a
socket, cached for the backward pass, or both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from ampsim.ops.table import Array, Arrays


class Direction(IntEnum):
    """Which way a message goes, and whether it will be answered."""

    FORWARD = 0
    """with the edges; exactly one backward message will come back for it"""
    BACKWARD = 1
    """against the edges, carrying the gradient of a forward message"""
    INFERENCE = 2
    """with the edges, forward only: nothing is kept and nothing comes back"""
    UPDATE = 3
    """from a replica to those that stand for the same node: the gradient of an update; nothing comes back"""

    # Directions are in the keys of every queue: an enum's own hash, a Python function, costs more than the look-up.
    __hash__ = int.__hash__


# To look a member up in its enum takes longer than to compare with it.
FORWARD, BACKWARD, INFERENCE, UPDATE = Direction


@dataclass(slots=True, eq=False)
class Batch:
    """n messages of one port and direction.

    `states int64[n, fields]`; `rows int64[n]`, the rows of each message; `payload`, arrays `[sum(rows), ...]`
    that hold the messages' rows one after the other (no arrays at all: an answer that carries no gradient).
    """

    states: Array
    rows: Array
    payload: Arrays

    def __len__(self) -> int:
        return len(self.states)

    @property
    def size_bytes(self) -> int:
        """Bytes of states, row counts and payload."""
        return self.states.nbytes + self.rows.nbytes + sum(array.nbytes for array in self.payload)

    def select(self, messages: Array) -> Batch:
        """The messages of the given numbers, `int64[m]`, in that order; a number may come several times."""
        rows = chosen_rows(self.rows, messages)
        if not self.payload:
            return Batch(self.states[messages], rows, ())
        index = row_numbers(self.rows, messages)
        return Batch(self.states[messages], rows, tuple(array.take(index, axis=0) for array in self.payload))

    def split(self, messages: int) -> tuple[Batch, Batch]:
        """The first `messages` messages, and the others."""
        row = total_rows(self.rows[:messages])
        return (
            Batch(self.states[:messages], self.rows[:messages], tuple(array[:row] for array in self.payload)),
            Batch(self.states[messages:], self.rows[messages:], tuple(array[row:] for array in self.payload)),
        )


_ONES = np.ones(4096, np.int64)
_ONES.flags.writeable = False


def single_rows(messages: int) -> Array:
    """The row counts of messages of one row each: int64[messages] of ones, which is known to be that."""
    return _ONES[:messages] if messages <= len(_ONES) else np.ones(messages, np.int64)


def are_single(rows: Array) -> bool:
    """Whether `rows int64[n]` are known to be of messages of one row each, without a look at them."""
    return rows.base is _ONES


def total_rows(rows: Array) -> int:
    """The rows of some messages together: `int64[n]` added up."""
    if rows.base is _ONES:
        return len(rows)
    total: int = rows.item(0) if len(rows) == 1 else int(np.add.reduce(rows))
    return total


def chosen_rows(rows: Array, messages: Array) -> Array:
    """The row counts `rows int64[n]` of the messages of the given numbers, `int64[m]`."""
    return single_rows(len(messages)) if rows.base is _ONES else rows[messages]


def concatenate(batches: Sequence[Batch]) -> Batch:
    """One batch with the messages of all, in order; a single batch is returned as it is."""
    if len(batches) == 1:
        return batches[0]
    return Batch(
        np.concatenate([batch.states for batch in batches]),
        _joined_rows([batch.rows for batch in batches]),
        tuple(np.concatenate(arrays) for arrays in zip(*(batch.payload for batch in batches), strict=True)),
    )


def _joined_rows(parts: Sequence[Array]) -> Array:
    if all(map(are_single, parts)):
        return single_rows(sum(map(len, parts)))
    return np.concatenate(parts)


def row_numbers(rows: Array, messages: Array) -> Array:
    """Where the rows of some messages lie: `rows int64[n]` of all messages, `int64[m]` which of them.

    For each chosen message its first row, and on from there: int64[sum(rows[messages])].
    """
    if are_single(rows):
        return messages
    chosen = rows[messages]
    starts = np.cumsum(rows) - rows
    within = np.arange(int(chosen.sum())) - np.repeat(np.cumsum(chosen) - chosen, chosen)
    numbers: Array = np.repeat(starts[messages], chosen) + within
    return numbers
