"""The gradients that a node gathers between its updates, and how they are shared out among updates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ampsim.ir.batch import total_rows
from ampsim.ops.gradients import DeferredGradients
from ampsim.ops.table import Array

DEFERRED_BYTES = 4 * 2**20
"""From so many bytes on, rows of deferred gradients are summed up although no update is due yet."""


class Share(NamedTuple):
    """What an update is made of: gradients by parameter (none on shapes alone), and of how many rows they are sums."""

    rows: int
    gradients: Mapping[str, Array]


class Accumulator:
    """Gradients of messages, until `take`: one share of them all, or some, each of at most `most_instances` instances.

    Then there are as few shares as can be, of as equally many instances, in their order. Deferred gradients are kept as
    rows, and told apart when they are taken; any others, of messages that were handled together, count as those of the
    latest instance among them. At most `kept_bytes` of rows are kept if they need not be told apart.
    """

    def __init__(self, most_instances: int = 0, kept_bytes: float = DEFERRED_BYTES) -> None:
        self._most_instances, self._kept_bytes = most_instances, kept_bytes
        self.messages = 0
        """How many gradients there are."""
        self._rows = 0
        self._sums: dict[int, dict[str, Array]] = {}
        self._deferred: DeferredGradients | None = None
        self._of_sums: list[tuple[Array, Array]] = []
        self._of_deferred: list[tuple[Array, Array]] = []
        """The instances and rows of what is summed up, and of what is deferred."""

    def add(self, gradients: Mapping[str, Array], messages: int, instances: Array, rows: Array) -> None:
        """Take in the gradients of `messages` messages; of each of the `instances int64[n]`, `rows int64[n]`.

        The arrays are given away.
        """
        self.messages += messages
        if not self._most_instances:
            self._rows += total_rows(rows)
        elif isinstance(gradients, DeferredGradients):
            self._of_deferred.append((instances, rows))
        else:
            self._of_sums.append((instances, rows))
        if not isinstance(gradients, DeferredGradients):
            self._add_up(int(instances.max()) if self._most_instances else 0, gradients)
        elif self._deferred is None:
            self._deferred = gradients
        else:
            self._deferred += gradients
            if not self._most_instances and self._deferred.nbytes > self._kept_bytes:
                self._add_up(0, self._deferred)
                self._deferred = None

    def take(self) -> Sequence[Share]:
        """All there is, for one update after the other; nothing is left."""
        sums, deferred, total = self._sums, self._deferred, self._rows
        self.messages, self._rows, self._sums, self._deferred = 0, 0, {}, None
        if not self._most_instances:
            return [Share(total, _sum([*sums.values(), deferred]))]
        instances, rows = map(np.concatenate, zip(*self._of_sums, *self._of_deferred, strict=True))
        first_deferred = sum([len(each) for each, _ in self._of_sums])
        self._of_sums, self._of_deferred = [], []
        found, places = np.unique(instances, return_inverse=True)
        count = -(-len(found) // self._most_instances)
        if count == 1:
            return [Share(total_rows(rows), _sum([*sums.values(), deferred]))]
        share_of = np.arange(len(found)) * count // len(found)
        shares = share_of[places]
        of_sums = dict(zip(found.tolist(), share_of.tolist(), strict=True))
        return [
            Share(
                total_rows(rows[shares == number]),
                _sum([*(own for instance, own in sums.items() if of_sums[instance] == number), part]),
            )
            for number, part in enumerate(_parts(deferred, shares[first_deferred:], rows[first_deferred:], count))
        ]

    def _add_up(self, instance: int, gradients: Mapping[str, Array]) -> None:
        self._sums[instance] = dict(_sum([self._sums.get(instance), gradients]))


def _sum(terms: Iterable[Mapping[str, Array] | None]) -> Mapping[str, Array]:
    """The sum of those gradients that are there, in the memory of the first; itself, if it is alone."""
    there = [term for term in terms if term is not None]
    if len(there) < 2:
        return there[0] if there else {}
    total = dict(there[0])
    for term in there[1:]:
        for name, gradient in term.items():
            total[name] += gradient
    return total


def _parts(
    deferred: DeferredGradients | None, shares: Array, rows: Array, count: int
) -> Sequence[DeferredGradients | None]:
    """The part of each of so many shares in deferred gradients, of messages that have these `shares` and `rows`."""
    if deferred is None:
        return [None] * count
    of_rows = shares if deferred.row_count == len(shares) else np.repeat(shares, rows)
    order = of_rows.argsort(kind="stable")
    starts = np.searchsorted(of_rows, np.arange(count), sorter=order).tolist()
    return [deferred.take(order[first:end]) for first, end in pairwise([*starts, len(order)])]
