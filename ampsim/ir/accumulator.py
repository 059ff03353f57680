"""The gradients that a node gathers between its updates, and how they are shared out among updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ampsim.ir.batch import total_rows
from ampsim.ops.gradients import DeferredGradients
from ampsim.ops.table import Array

DEFERRED_BYTES = 4 * 2**20
"""From so many bytes on, rows of deferred gradients are summed up although no update is due yet."""


class Groups(NamedTuple):
    """Groups of at most `size` instances, into which each `wave` of them is cut: see `training.inject_at_once`."""

    wave: int
    size: int

    def of(self, instances: Array) -> Array:
        """The number of the group of each instance, int64[n]; they ascend with the instances."""
        of_a_wave = -(-self.wave // self.size)
        numbers: Array = instances // self.wave * of_a_wave + instances % self.wave // self.size
        return numbers


class Share(NamedTuple):
    """What an update is made of: gradients by parameter (none on shapes alone), and of how many rows they are sums."""

    rows: int
    gradients: Mapping[str, Array]


class Accumulator:
    """Gradients of messages, until `take`: one share of them all, or one for each of the `groups` of instances.

    Deferred gradients are kept as rows, and told apart when they are taken; any others, of messages that were handled
    together, count as those of the latest group among them. At most `kept_bytes` of rows are kept if there are no
    groups.
    """

    def __init__(self, groups: Groups | None = None, kept_bytes: float = DEFERRED_BYTES) -> None:
        self._groups, self._kept_bytes = groups, kept_bytes
        self.messages = 0
        """How many gradients there are."""
        self._rows = 0
        self._origins: list[tuple[Array, Array]] = []
        self._sums: dict[int, dict[str, Array]] = {}
        self._deferred: DeferredGradients | None = None

    def add(self, gradients: Mapping[str, Array], messages: int, instances: Array, rows: Array) -> None:
        """Take in the gradients of `messages` messages; of each of the `instances int64[n]`, `rows int64[n]`.

        The arrays are given away.
        """
        self.messages += messages
        latest = 0
        if self._groups:
            groups = self._groups.of(instances)
            self._origins.append((groups, rows))
            latest = int(groups.max())
        else:
            self._rows += total_rows(rows)
        if not isinstance(gradients, DeferredGradients):
            self._add_up(latest, gradients)
        elif self._deferred is None:
            self._deferred = gradients
        else:
            self._deferred += gradients
            if not self._groups and self._deferred.nbytes > self._kept_bytes:
                self._add_up(latest, self._deferred)
                self._deferred = None

    def take(self) -> Sequence[Share]:
        """All there is, for one update after the other; nothing is left."""
        origins, sums, deferred, rows = self._origins, self._sums, self._deferred, self._rows
        self.messages, self._rows, self._origins, self._sums, self._deferred = 0, 0, [], {}, None
        if not self._groups:
            return [Share(rows, _sum(sums.get(0), deferred))]
        groups, each = map(np.concatenate, zip(*origins, strict=True))
        found = np.unique(groups)
        if len(found) == 1:
            return [Share(total_rows(each), _sum(sums.get(found.item()), deferred))]
        return [
            Share(total_rows(each[groups == group]), _sum(sums.get(group), part))
            for group, part in zip(found.tolist(), _parts(deferred, groups, each, found), strict=True)
        ]

    def _add_up(self, group: int, gradients: Mapping[str, Array]) -> None:
        self._sums[group] = dict(_sum(self._sums.get(group), gradients))


def _sum(sums: dict[str, Array] | None, others: Mapping[str, Array] | None) -> Mapping[str, Array]:
    """The sum of gradients, in the memory of the first; of one if there is no other."""
    if sums is None or others is None:
        return others if sums is None and others is not None else sums or {}
    for name, gradient in others.items():
        sums[name] += gradient
    return sums


def _parts(
    deferred: DeferredGradients | None, groups: Array, rows: Array, found: Array
) -> Sequence[DeferredGradients | None]:
    """The part of each of the groups `found` in deferred gradients, of messages of these groups and `rows`."""
    if deferred is None:
        return [None] * len(found)
    of_rows = groups if deferred.row_count == len(groups) else np.repeat(groups, rows)
    order = of_rows.argsort(kind="stable")
    starts = np.searchsorted(of_rows, found, sorter=order).tolist()
    return [deferred.take(order[first:end]) for first, end in pairwise([*starts, len(order)])]
