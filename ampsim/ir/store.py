"""Rows kept by state: what the backward pass needs, and what waits for its partner.

What one forward batch left behind is kept as one block, by reference: no copy in. A batch that takes a whole block
out again gets the very arrays, without a copy, and one that takes a part of it has that part gathered. Where a batch
takes from several, all blocks first move into an arena.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from ampsim.ir.arena import Arena
from ampsim.ir.batch import Batch, chosen_rows, row_numbers, total_rows
from ampsim.ops.table import Array, Arrays

_T = TypeVar("_T")

Tags = int | Array
"""The tags of some messages: one that all of them have, or int64[n]."""


class DuplicateState(KeyError):
    """A second message with a state that is kept already."""


class UnknownState(KeyError):
    """A message with a state of which nothing is kept."""


LARGE_BATCH = 16
"""Messages from which on a batch is kept as one, until messages are asked for that are not all of it."""


_YES, _NO = np.array([True]), np.array([False])
_YES.flags.writeable = _NO.flags.writeable = False


@dataclass(slots=True)
class _Block:
    """What came in one batch, and how many of its messages are still wanted."""

    keys: list[int]
    arrays: Arrays
    rows: Array
    tag: int
    left: int

    @property
    def per_message(self) -> tuple[bool, ...]:
        """Of each array whether it has the messages and not their rows; where these are as many, either is right."""
        count, total = len(self.rows), total_rows(self.rows)
        return tuple(len(array) == count != total for array in self.arrays)

    def gather(self, messages: Array) -> Arrays:
        """The rows of some messages, in that order, of each array."""
        rows = row_numbers(self.rows, messages)
        return tuple(
            array.take(messages if per_message else rows, axis=0)
            for array, per_message in zip(self.arrays, self.per_message, strict=True)
        )


def admit(known: dict[int, _T], keys: list[int], values: Iterable[_T]) -> None:
    """Note a value for each key, none of which may be known already. Raises DuplicateState."""
    before = len(known)
    if not known.keys().isdisjoint(keys):
        raise DuplicateState(next(key for key in keys if key in known))
    known.update(zip(keys, values, strict=False))  # the values may be endless
    if len(known) != before + len(keys):
        raise DuplicateState(next(key for key in keys if keys.count(key) > 1))


class RowStore:
    """Arrays by key, put and taken in batches of any make-up; `tag` is an int kept with every batch.

    Messages are numbered as they are put, and a dictionary has the number of each key. A large batch is not looked into
    before it must be: most come out again as they went in, and are known by their first key. On shapes alone, where
    there are no arrays, `row_bytes` and `message_bytes` say what a row and a message would take.
    """

    def __init__(self, row_bytes: int = 0, message_bytes: int = 0) -> None:
        self._row_bytes, self._message_bytes = row_bytes, message_bytes
        self._numbers: dict[int, int] = {}
        self._whole: dict[int, int] = {}  # of large batches: first key, number of the first message
        self._blocks: list[_Block] = []
        self._firsts: list[int] = []
        self._arena = Arena()
        self._next = 0
        self.size_bytes = 0

    def __len__(self) -> int:
        self._look_into_all()
        return len(self._numbers)

    @property
    def empty(self) -> bool:
        """Whether nothing is kept."""
        return not self._numbers and not self._whole

    def __contains__(self, key: int) -> bool:
        self._look_into_all()
        return key in self._numbers

    def holds(self, keys: list[int]) -> Array:
        """Which keys are kept: bool[n]."""
        if len(keys) == 1:
            return _YES if keys[0] in self else _NO
        if self._find_whole(keys) >= 0:
            return np.ones(len(keys), bool)
        self._look_into_all()
        return np.fromiter(map(self._numbers.__contains__, keys), bool, len(keys))

    def __iter__(self) -> Iterator[int]:
        """The keys that are kept now, oldest first."""
        self._look_into_all()
        return iter(sorted(self._numbers, key=self._numbers.__getitem__))

    def put(self, keys: list[int], rows: Array, arrays: Arrays, tag: int = 0) -> None:
        """Keep `arrays`, `rows[i]` rows under `keys[i]`. Raises DuplicateState, of a large batch maybe later.

        The first axis of an array has all rows of all messages, or the messages (`[sum(rows), ...]` or `[n, ...]`);
        which, its length tells, since a message has at least one row. Types and shapes beyond it never change.
        """
        first, count = self._next, len(keys)
        if keys[0] in self._whole or keys[0] in self._numbers:
            raise DuplicateState(keys[0])
        if count == 1:
            self._numbers[keys[0]] = first
        elif count < LARGE_BATCH:
            admit(self._numbers, keys, range(first, first + count))
        else:
            self._whole[keys[0]] = first
        self._blocks.append(_Block(keys, arrays, rows, tag, count))
        self._firsts.append(first)
        self._next += count
        self.size_bytes += self._size(rows, arrays)

    def take(self, keys: list[int]) -> tuple[Array, Arrays, Tags]:
        """Rows, arrays and tags of `keys`, in their order, which are then forgotten. Raises UnknownState."""
        if self._whole:
            at = self._find_whole(keys)
            if at >= 0:
                del self._whole[keys[0]]
                return self._take_from(at, self._blocks[at].rows, self._blocks[at].arrays)
            self._look_into_all()
        try:
            numbers = list(map(self._numbers.pop, keys))
        except KeyError as error:
            raise UnknownState(error.args[0]) from None
        at = bisect_right(self._firsts, numbers[0]) - 1
        if at >= 0:
            block, first = self._blocks[at], self._firsts[at]
            count = len(block.keys)
            if len(numbers) == count and (count == 1 or numbers == list(range(first, first + count))):
                return self._take_from(at, block.rows, block.arrays)
            if first <= min(numbers) and max(numbers) < first + count:
                messages = np.array(numbers) - first
                return self._take_from(at, chosen_rows(block.rows, messages), block.gather(messages))
        rows, arrays, tags = self._arena.gather(self._bring_together(np.array(numbers)))
        self.size_bytes -= self._size(rows, arrays)
        return rows, arrays, tags

    def _find_whole(self, keys: list[int]) -> int:
        """The place of the block that is a large batch of these very keys; -1 if there is none."""
        if not self._whole:
            return -1
        first = self._whole.get(keys[0])
        if first is None:
            return -1
        at = bisect_right(self._firsts, first) - 1
        return at if self._blocks[at].keys == keys else -1

    def _look_into_all(self) -> None:
        """Note the number of every key. Raises DuplicateState."""
        for first in self._whole.values():
            block = self._blocks[bisect_right(self._firsts, first) - 1]
            admit(self._numbers, block.keys, range(first, first + len(block.keys)))
        self._whole.clear()

    def _take_from(self, at: int, rows: Array, arrays: Arrays) -> tuple[Array, Arrays, Tags]:
        """Forget messages of one block, and the block with its last one."""
        block = self._blocks[at]
        block.left -= len(rows)
        if not block.left:
            del self._blocks[at], self._firsts[at]
        self.size_bytes -= self._size(rows, arrays)
        return rows, arrays, block.tag

    def _size(self, rows: Array, arrays: Arrays) -> int:
        size = 0
        for array in arrays:
            size += array.nbytes
        if self._message_bytes or self._row_bytes:
            size += self._message_bytes * len(rows) + self._row_bytes * total_rows(rows)
        return size

    def _bring_together(self, taken: Array) -> Array:
        """Move all blocks into the arena; the numbers that the messages `taken` have there."""
        arena = self._arena
        for first, block in zip(self._firsts, self._blocks, strict=True):
            if not arena.has_room(first, block.rows):
                kept = {key: number for key, number in self._numbers.items() if number < arena.end}
                numbers = np.array(list(kept.values()), np.int64)
                inside = taken < arena.end
                wanted = np.sort(np.concatenate([numbers, taken[inside]]))
                start = arena.make_room(wanted, first, block.rows)
                moved = start + np.searchsorted(wanted, numbers)
                self._numbers.update(zip(kept, moved.tolist(), strict=True))
                taken = np.where(inside, start + np.searchsorted(wanted, taken), taken)
            arena.append(first, block.rows, block.arrays, block.per_message, block.tag)
        self._blocks, self._firsts = [], []
        return taken


class Joined(NamedTuple):
    """Messages of which every port has come: `arrays` are those of all ports, side by side."""

    states: Array
    keys: list[int]
    rows: Array
    arrays: Arrays


class Join:
    """Matches the messages of several ports by state; a node of one port passes through untouched.

    On shapes alone `row_bytes` has for each port what a row would take.
    """

    def __init__(self, ports: int, row_bytes: Sequence[int] | None = None) -> None:
        self._stores = [RowStore(size) for size in row_bytes or [0] * ports] if ports > 1 else []

    @property
    def size_bytes(self) -> int:
        """Bytes that wait for a partner."""
        return sum([store.size_bytes for store in self._stores]) if self._stores else 0

    def waiting(self) -> list[int]:
        """Keys of which some ports have a message and others have not."""
        return list(dict.fromkeys(key for store in self._stores for key in store))

    def add(self, port: int, states: Array, keys: list[int], rows: Array, arrays: Arrays) -> Joined | None:
        """The messages that are complete with this batch, or None if all still wait.

        Raises DuplicateState if a state comes a second time on one port.
        """
        if not self._stores:
            return Joined(states, keys, rows, arrays)
        complete = self._complete(port, keys)
        count = np.count_nonzero(complete)
        if not count:
            self._stores[port].put(keys, rows, arrays)
            return None
        if count < len(keys):
            chosen, others = np.flatnonzero(complete), np.flatnonzero(~complete)
            batch = Batch(states, rows, arrays)
            waits, batch = batch.select(others), batch.select(chosen)
            self._stores[port].put([keys[index] for index in others.tolist()], waits.rows, waits.payload)
            keys = [keys[index] for index in chosen.tolist()]
            states, rows, arrays = batch.states, batch.rows, batch.payload
        joined: list[Array] = []
        for number, store in enumerate(self._stores):
            port_rows, port_arrays = (rows, arrays) if number == port else store.take(keys)[:2]
            if total_rows(port_rows) != total_rows(rows) or (len(rows) > 1 and not np.array_equal(port_rows, rows)):
                raise ValueError(
                    f"messages of one state have {port_rows.tolist()} rows on port {number} "
                    f"and {rows.tolist()} on port {port}: the ports of one node must agree"
                )
            joined += port_arrays
        return Joined(states, keys, rows, tuple(joined))

    def _complete(self, port: int, keys: list[int]) -> Array:
        """Which messages of a port have come on all others: bool[n]."""
        others = [store for number, store in enumerate(self._stores) if number != port]
        complete = others[0].holds(keys)
        for store in others[1:]:
            complete = complete & store.holds(keys)
        return complete
