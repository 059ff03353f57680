"""Waits for the members of groups, and stacks each group in the order of its members, whichever came first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ampsim.ir.batch import Batch
from ampsim.ir.store import DuplicateState, RowStore
from ampsim.ops.table import Array


@dataclass(frozen=True, slots=True)
class Full:
    """Groups that are complete: `members int64[g]` and `rows int64[g]` of each, and all members in order.

    `last int64[g]` is the number, in the batch that came last, of a message of each group.
    """

    keys: list[int]
    members: Array
    rows: Array
    batch: Batch
    last: Array


class Collector:
    """Messages by group, until a group has as many as it is known to have.

    The members of a group are kept under numbers that follow each other, so that a full group is taken in order.
    `row_bytes` is what a row counts on top of its arrays (see RowStore).
    """

    def __init__(self, row_bytes: int = 0) -> None:
        self._members = RowStore(row_bytes)
        self._groups: dict[int, tuple[int, int, int]] = {}  # of each: first number, number of members, how many miss
        self._numbers = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of the members that wait for the others of their group."""
        return self._members.size_bytes

    def waiting(self) -> list[int]:
        """Keys of the groups of which some members have come and others have not."""
        return list(self._groups)

    def add(self, keys: Array, places: Array, counts: Array, batch: Batch) -> Full | None:
        """Message i of the batch is number `places[i]` of group `keys[i]`, which has `counts[i]` members (int64[n]).

        The groups that this makes complete, or None. Raises ValueError for a group with a member too many, for one
        whose members do not agree how many they are, and for one that has two at one place or one at no place.
        """
        groups, first, group_of, came = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        members = counts[first]
        if (counts != members[group_of]).any():
            raise ValueError(f"the members of a group do not agree how many they are: {np.unique(counts).tolist()}")
        if (places < 0).any() or (places >= counts).any():
            raise ValueError(f"a member of a group of {counts.tolist()} has the place {places.tolist()}")
        if not self._groups and (came == members).all():
            order = np.lexsort((places, group_of))
            expected = np.arange(len(order)) - np.repeat(np.cumsum(members) - members, members)
            if (places[order] != expected).any():
                raise ValueError(f"{_TWO_AT_ONE_PLACE}: {places.tolist()}")
            in_order = batch if (order[1:] > order[:-1]).all() else batch.select(order)
            return _full(groups, members, in_order, first)
        begins, complete = self._count(groups.tolist(), members.tolist(), came.tolist())
        try:
            numbers = (begins[group_of] + places).tolist()
            self._members.put(numbers, batch.rows, (batch.states, *batch.payload))
        except DuplicateState:
            raise ValueError(f"{_TWO_AT_ONE_PLACE}: {places.tolist()}") from None
        if not complete.any():
            return None
        members = members[complete]
        starts = np.repeat(begins[complete] - (np.cumsum(members) - members), members)
        rows, (states, *payload), _ = self._members.take((starts + np.arange(len(starts))).tolist())
        return _full(groups[complete], members, Batch(states, rows, tuple(payload)), first[complete])

    def _count(self, groups: list[int], members: list[int], came: list[int]) -> tuple[Array, Array]:
        """Note how many members of each group have come; the groups' first numbers, and which are complete now."""
        begins, complete = [], []
        for key, count, new in zip(groups, members, came, strict=True):
            begin, known, missing = self._groups.pop(key, (self._numbers, count, count))
            if known != count:
                raise ValueError(f"the members of a group do not agree how many they are: {known} and {count}")
            if new > missing:
                raise ValueError(f"a group of {count} got {count - missing + new} messages")
            if begin == self._numbers:
                self._numbers += count
            if new < missing:
                self._groups[key] = begin, count, missing - new
            begins.append(begin)
            complete.append(new == missing)
        return np.array(begins), np.array(complete)


_TWO_AT_ONE_PLACE = "each member of a group must have a place of its own"


def _full(groups: Array, members: Array, batch: Batch, last: Array) -> Full:
    starts = np.cumsum(members) - members
    return Full(groups.tolist(), members, np.add.reduceat(batch.rows, starts), batch, last)
