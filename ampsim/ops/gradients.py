"""Parameters' gradients that are found for the rows of many messages at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from ampsim.ops.table import Array, Arrays


class DeferredGradients(Mapping[str, Array]):
    """A function of rows, by parameter, that is taken when the gradients are looked at: `rule(*rows) -> {name: array}`.

    `rows` are arrays of equally many rows, and the gradients are sums over them. `+=` takes in the rows of others of
    the same rule, and computes nothing: one large product an update takes less time than a small one and a sum for
    each message. The arrays of rows must not be written to any more; those that the rule returns are its caller's.
    """

    def __init__(self, rule: Callable[..., Mapping[str, Array]], *rows: Array) -> None:
        self._rule, self._pieces = rule, [rows]
        self._found: Mapping[str, Array] | None = None

    def __iadd__(self, other: DeferredGradients) -> DeferredGradients:
        self._pieces += other._pieces
        self._found = None
        return self

    @property
    def rows(self) -> Arrays:
        """The rows of all messages, in the order in which they came."""
        if len(self._pieces) > 1:
            self._pieces = [tuple(map(np.concatenate, zip(*self._pieces, strict=True)))]
        return self._pieces[0]

    @property
    def row_count(self) -> int:
        """How many rows there are."""
        return sum([len(piece[0]) for piece in self._pieces])

    def take(self, chosen: Array) -> DeferredGradients:
        """Those of some of the rows, int64[k], in that order."""
        return DeferredGradients(self._rule, *(array.take(chosen, axis=0) for array in self.rows))

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return sum([array.nbytes for piece in self._pieces for array in piece])

    def __getitem__(self, name: str) -> Array:
        if self._found is None:
            self._found = self._rule(*self.rows)
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        if self._found is None:
            self._found = self._rule(*self.rows)
        return iter(self._found)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class SummedRows(NamedTuple):
    """A matrix of zeros but for the rows `ids int64[k]`, which ascend: `rows float32[k, units]`."""

    ids: Array
    rows: Array


def summed_rows(ids: Array, rows: Array) -> SummedRows:
    """The sum of the `rows float32[n, units]` of each of the ids int64[n].

    Sorted by id, equal ids are neighbours: one reduceat sums each run, in the order of its rows (the sort is stable, so
    the bits repeat), several times faster than np.add.at.
    """
    order = ids.argsort(kind="stable")
    ids = ids[order]
    starts = np.flatnonzero(np.diff(ids, prepend=-1))
    return SummedRows(ids[starts], np.add.reduceat(rows[order], starts, axis=0) if len(ids) else rows)
