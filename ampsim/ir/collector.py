"""Waits for the members of groups, and stacks each group in the order of its members, whichever came first."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ampsim.ir.batch import Batch, are_single, single_rows
from ampsim.ir.store import DuplicateState, RowStore
from ampsim.ops.table import Array, Arrays

FIRST_SLOTS = 256

_TRUE = np.array([True])


class Full(NamedTuple):
    """Groups that are complete: `members int64[g]` and `rows int64[g]` of each, and all members in order.

    `last int64[g]` is the number, in the batch that came last, of a message of each group. `came int64[members]`
    numbers the members in the order in which they came, if all came in one batch; else it has zeros.
    """

    keys: list[int]
    members: Array
    rows: Array
    batch: Batch
    last: Array
    came: Array


class Collector:
    """Messages by group, until a group has as many as it is known to have.

    The members of a group are kept under numbers that follow each other, so that a full group is taken in order.
    `row_bytes` is what a row counts on top of its arrays (see RowStore).
    """

    def __init__(self, row_bytes: int = 0) -> None:
        self._slots = _Slots(row_bytes)
        self._others = RowStore(row_bytes)
        self._single = True
        self._groups: dict[int, tuple[int, int, int]] = {}  # of each: first number, number of members, how many miss
        self._numbers = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of the members that wait for the others of their group."""
        return self._slots.size_bytes + self._others.size_bytes

    def waiting(self) -> list[int]:
        """Keys of the groups of which some members have come and others have not."""
        return list(self._groups)

    def add(self, keys: Array, places: Array, counts: Array, batch: Batch) -> Full | None:
        """Message i of the batch is number `places[i]` of group `keys[i]`, which has `counts[i]` members (int64[n]).

        The groups that this makes complete, or None. Raises ValueError for a group with a member too many, for one
        whose members do not agree how many they are, and for one that has two at one place or one at no place.
        """
        order = np.lexsort((places, keys))
        sorted_already = not np.count_nonzero(order[1:] < order[:-1])
        if not sorted_already:
            keys, places, counts = keys[order], places[order], counts[order]
        first = np.flatnonzero(np.concatenate((_TRUE, keys[1:] != keys[:-1])))
        came = np.append(first[1:], len(keys)) - first
        groups, members = keys[first], counts[first]
        if np.count_nonzero(counts != np.repeat(members, came)):
            raise ValueError(f"the members of a group do not agree how many they are: {np.unique(counts).tolist()}")
        # Where all of each group is here, each place once, nothing has to be kept.
        whole = not self._groups and not np.count_nonzero(came != members)
        if whole and not np.count_nonzero(places != np.arange(len(keys)) - np.repeat(first, came)):
            return _full(groups, members, batch if sorted_already else batch.select(order), order[first], order)
        if np.count_nonzero((places < 0) | (places >= counts)):
            raise ValueError(f"a member of a group of {counts.tolist()} has the place {places.tolist()}")
        begins, complete = self._count(groups.tolist(), members.tolist(), came.tolist())
        if np.count_nonzero((keys[1:] == keys[:-1]) & (places[1:] == places[:-1])):
            raise ValueError(f"{_TWO_AT_ONE_PLACE}: {places.tolist()}")
        try:
            self._put(np.repeat(begins, came) + places, batch, order)
        except DuplicateState:
            raise ValueError(f"{_TWO_AT_ONE_PLACE}: {places.tolist()}") from None
        if not np.count_nonzero(complete):
            return None
        members = members[complete]
        ends = np.cumsum(members)
        numbers = np.arange(int(ends[-1])) + np.repeat(begins[complete] - (ends - members), members)
        rows, (states, *payload) = self._take(numbers)
        together = Batch(states, rows, tuple(payload))
        return _full(groups[complete], members, together, order[first[complete]], np.zeros_like(numbers))

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

    def _put(self, numbers: Array, batch: Batch, order: Array) -> None:
        """Keep the messages of a batch; `numbers` are those of the messages `order`."""
        if self._single and not are_single(batch.rows):
            # From now on messages may have several rows. Those that wait have one each.
            self._single = False
            waiting = self._slots.numbers
            if len(waiting):
                self._others.put(waiting.tolist(), np.ones_like(waiting), self._slots.take(waiting))
        arrays = batch.states, *batch.payload
        if self._single:
            self._slots.put(numbers, tuple(array.take(order, axis=0) for array in arrays))
            return
        found = np.empty_like(numbers)
        found[order] = numbers
        self._others.put(found.tolist(), batch.rows, arrays)

    def _take(self, numbers: Array) -> tuple[Array, Arrays]:
        if self._single:
            return single_rows(len(numbers)), self._slots.take(numbers)
        return self._others.take(numbers.tolist())[:2]


class _Slots:
    """Messages of one row, under numbers: each lies at its number modulo how many slots there are.

    Numbers in use are close to each other; where two would share a slot there are soon twice as many.
    """

    def __init__(self, row_bytes: int) -> None:
        self._row_bytes = row_bytes
        self._numbers = np.full(FIRST_SLOTS, -1)  # of each slot; -1: free
        self._arrays: list[Array] = []
        self._message_bytes = 0
        self.size_bytes = 0

    @property
    def numbers(self) -> Array:
        """The numbers that are in use: int64[n], ascending."""
        used = self._numbers[self._numbers >= 0]
        used.sort()
        return used

    def put(self, numbers: Array, arrays: Arrays) -> None:
        """Keep messages. Raises DuplicateState for a number that is in use."""
        if not self._arrays:
            self._arrays = [np.empty((FIRST_SLOTS, *array.shape[1:]), array.dtype) for array in arrays]
            self._message_bytes = self._row_bytes + sum(array.nbytes // len(array) for array in arrays)
        least, most = int(numbers.min()), int(numbers.max())
        while True:
            slots = numbers % len(self._numbers)
            there = self._numbers[slots]
            if np.count_nonzero(there == numbers):
                raise DuplicateState
            if most - least < len(self._numbers) and not np.count_nonzero(there >= 0):
                break
            self._grow()
        self._numbers[slots] = numbers
        for own, array in zip(self._arrays, arrays, strict=True):
            own[slots] = array
        self.size_bytes += len(numbers) * self._message_bytes

    def take(self, numbers: Array) -> Arrays:
        """The arrays of messages, which are then forgotten."""
        slots = numbers % len(self._numbers)
        self._numbers[slots] = -1
        self.size_bytes -= len(numbers) * self._message_bytes
        return tuple(own.take(slots, axis=0) for own in self._arrays)

    def _grow(self) -> None:
        """Twice as many slots: those that shared one now and then have two."""
        used = np.flatnonzero(self._numbers >= 0)
        numbers, arrays = self._numbers[used], [own[used] for own in self._arrays]
        self._numbers = np.full(2 * len(self._numbers), -1)
        slots = numbers % len(self._numbers)
        self._numbers[slots] = numbers
        self._arrays = [np.empty((len(self._numbers), *own.shape[1:]), own.dtype) for own in self._arrays]
        for own, array in zip(self._arrays, arrays, strict=True):
            own[slots] = array


_TWO_AT_ONE_PLACE = "each member of a group must have a place of its own"


def _full(groups: Array, members: Array, batch: Batch, last: Array, came: Array) -> Full:
    rows = members if are_single(batch.rows) else np.add.reduceat(batch.rows, np.cumsum(members) - members)
    return Full(groups.tolist(), members, rows, batch, last, came)
