"""Waits for the members of groups, and stacks each group in the order of its members, whichever came first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ampsim.ir.batch import Batch, concatenate
from ampsim.ops.table import Array


@dataclass(frozen=True, slots=True)
class Full:
    """Groups that are complete: `members int64[g]` and `rows int64[g]` of each, and all members in order."""

    keys: list[int]
    members: Array
    rows: Array
    batch: Batch


class Collector:
    """Messages by group, until a group has as many as it is known to have."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[tuple[int, Batch, int]]] = {}
        self.size_bytes = 0

    def waiting(self) -> list[int]:
        """Keys of the groups of which some members have come and others have not."""
        return list(self._waiting)

    def add(self, keys: list[int], places: list[int], counts: list[int], batch: Batch) -> Full | None:
        """Message i of the batch is number `places[i]` of group `keys[i]`, which has `counts[i]` members.

        The groups that this makes complete, or None. Raises ValueError for a group with a member too many, and for one
        that has two at one place.
        """
        full: list[int] = []
        for number, (key, place, count) in enumerate(zip(keys, places, counts, strict=True)):
            members = self._waiting.setdefault(key, [])
            members.append((place, batch, number))
            if len(members) == count:
                full.append(key)
            elif len(members) > count:
                raise ValueError(f"a group of {count} got {len(members)} messages")
        self.size_bytes += batch.size_bytes
        if not full:
            return None
        groups = [sorted(self._waiting.pop(key), key=lambda member: member[0]) for key in full]
        for group in groups:
            if (found := [place for place, _, _ in group]) != list(range(len(group))):
                raise ValueError(f"the members of a group of {len(group)} have the places {found}: each must come once")
        stacked = _stack([member for group in groups for member in group])
        self.size_bytes -= stacked.size_bytes
        members_each = np.array([len(group) for group in groups], np.int64)
        ends = np.cumsum(members_each)
        rows = np.add.reduceat(stacked.rows, ends - members_each)
        return Full(full, members_each, rows, stacked)


def _stack(members: list[tuple[int, Batch, int]]) -> Batch:
    """The members' messages as one batch, in order."""
    sources = {id(batch): batch for _, batch, _ in members}
    if len(sources) == 1:
        (batch,) = sources.values()
        numbers = [number for _, _, number in members]
        return batch if numbers == list(range(len(batch))) else batch.select(np.array(numbers))
    together = concatenate(list(sources.values()))
    offsets, total = {}, 0
    for identity, batch in sources.items():
        offsets[identity] = total
        total += len(batch)
    return together.select(np.array([offsets[id(batch)] + number for _, batch, number in members]))
