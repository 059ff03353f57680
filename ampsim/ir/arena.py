"""Rows of many messages in one stretch of memory, so that any choice of them is gathered by one look-up an array."""

from __future__ import annotations

import numpy as np

from ampsim.ir.batch import single_rows, total_rows
from ampsim.ops.table import Array, Arrays

FIRST_MESSAGES = 64


class Arena:
    """Messages by number, which ascend as they are appended; numbers may be left out.

    Kept of each message: its number of rows, a tag, and arrays that have either all rows or a row per message. New
    ones lie behind those before; `make_room` moves what is still wanted together.
    """

    def __init__(self) -> None:
        self.end = 0
        """The number after that of the last message."""
        self._first = self._row_end = 0
        self._rows, self._tags, self._starts = (np.zeros(0, np.int64) for _ in range(3))
        self._row_room = 0
        self._multiple = False
        self._arrays: list[Array] = []
        self._per_message: tuple[bool, ...] = ()

    def has_room(self, number: int, rows: Array) -> bool:
        """Whether messages of `rows int64[n]` fit in under `number` and the numbers after it."""
        left_out = number - self.end
        return (
            number - self._first + len(rows) <= len(self._rows)
            and self._row_end + left_out + total_rows(rows) <= self._row_room
        )

    def append(self, number: int, rows: Array, arrays: Arrays, per_message: tuple[bool, ...], tag: int) -> None:
        """Copy messages in, the first of them under `number`. There must be room."""
        count, total = len(rows), total_rows(rows)
        if count != total or not self._per_message:
            # Until a message of several rows comes, a message and its row have the same place.
            self._per_message = per_message
        self._multiple = self._multiple or count != total
        if not self._arrays:
            self._arrays = [np.empty((self._row_room, *array.shape[1:]), array.dtype) for array in arrays]
        self._row_end += number - self.end
        at, row = number - self._first, self._row_end
        self._rows[at : at + count] = rows
        self._tags[at : at + count] = tag
        self._starts[at : at + count] = np.cumsum(rows) + (row - rows)
        for own, array, flag in zip(self._arrays, arrays, self._per_message, strict=True):
            start = at if flag else row
            own[start : start + len(array)] = array
        self.end, self._row_end = number + count, row + total

    def gather(self, numbers: Array) -> tuple[Array, Arrays, Array]:
        """Rows, arrays and tags of some messages, in that order."""
        at = numbers - self._first
        rows, places = single_rows(len(at)), at
        if self._multiple:
            rows, places = self._rows[at], self._starts[at]
            places = np.arange(int(rows.sum())) + np.repeat(places - (np.cumsum(rows) - rows), rows)
        arrays = tuple(
            own.take(at if flag else places, axis=0) for own, flag in zip(self._arrays, self._per_message, strict=True)
        )
        return rows, arrays, self._tags[at]

    def make_room(self, wanted: Array, number: int, rows: Array) -> int:
        """Forget all but the messages `wanted int64[m]`, so that others of `rows int64[n]` fit in under `number`.

        What is wanted has from now on the numbers before `number`, in its order; the first of them is returned.
        """
        kept, arrays, tags = self.gather(wanted)
        messages, total = len(kept) + len(rows), total_rows(kept) + total_rows(rows)
        needed = max(messages, total)
        if 4 * needed > 3 * self._row_room:  # the next move is to be a quarter of the room away at least
            self._row_room = max(FIRST_MESSAGES, 2 * needed)
            self._rows, self._tags, self._starts = (np.zeros(self._row_room, np.int64) for _ in range(3))
            self._arrays = []
        self._first = self.end = number - len(kept)
        self._row_end = 0
        if len(kept):
            self.append(self._first, kept, arrays, self._per_message, 0)
            self._tags[: len(kept)] = tags
        return self._first
