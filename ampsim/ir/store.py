"""Rows kept by state: what the backward pass needs, and what waits for its partner.

What one forward batch left behind is kept as one block, by reference: no copy in. A batch that takes a
whole block out again gets the very arrays, without a copy; any other make-up is gathered by slices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ampsim.ops.table import Array, Arrays


class DuplicateState(KeyError):
    """A second message with a state that is kept already."""


class UnknownState(KeyError):
    """A message with a state of which nothing is kept."""


@dataclass(slots=True)
class _Block:
    arrays: Arrays
    rows: Array
    per_message: tuple[bool, ...]
    tag: int
    left: int
    size_bytes: int


class RowStore:
    """Arrays by key, put and taken in batches of any make-up; `tag` is an int kept with every batch."""

    def __init__(self) -> None:
        self._slots: dict[int, tuple[_Block, int, int, int]] = {}
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, key: int) -> bool:
        return key in self._slots

    def __iter__(self) -> Iterator[int]:
        """The keys that are kept now, oldest first."""
        return iter(self._slots)

    def put(self, keys: list[int], rows: Array, arrays: Arrays, tag: int = 0) -> None:
        """Keep `arrays`, `rows[i]` rows under `keys[i]`. Raises DuplicateState.

        The first axis of an array has all rows of all messages, or the messages (`[sum(rows), ...]` or `[n, ...]`);
        which, its length tells, since a message has at least one row.
        """
        total = int(rows.sum())
        per_message = tuple(len(array) == len(keys) != total for array in arrays)
        block = _Block(arrays, rows, per_message, tag, len(keys), sum(array.nbytes for array in arrays))
        start = 0
        for index, (key, count) in enumerate(zip(keys, rows.tolist(), strict=True)):
            if key in self._slots:
                raise DuplicateState(key)
            self._slots[key] = (block, index, start, start + count)
            start += count
        self.size_bytes += block.size_bytes

    def take(self, keys: list[int]) -> tuple[Array, Arrays, list[int]]:
        """Rows, arrays and tags of `keys`, in their order, which are then forgotten. Raises UnknownState."""
        pieces = []
        for key in keys:
            slot = self._slots.pop(key, None)
            if slot is None:
                raise UnknownState(key)
            pieces.append(slot)
            block = slot[0]
            block.left -= 1
            if block.left == 0:
                self.size_bytes -= block.size_bytes
        tags = [block.tag for block, *_ in pieces]
        first = pieces[0][0]
        if len(pieces) == len(first.rows) and all(
            block is first and index == position for position, (block, index, *_) in enumerate(pieces)
        ):
            return first.rows, first.arrays, tags
        rows = np.array([stop - start for _, _, start, stop in pieces], np.int64)
        return rows, tuple(_gather(pieces, number) for number in range(len(first.arrays))), tags


def _gather(pieces: list[tuple[_Block, int, int, int]], number: int) -> Array:
    """The rows of one array; a block whose messages have as many rows in all as there are messages fits both ways."""
    return np.concatenate(
        [
            block.arrays[number][index : index + 1] if block.per_message[number] else block.arrays[number][start:stop]
            for block, index, start, stop in pieces
        ]
    )


@dataclass(frozen=True, slots=True)
class Joined:
    """Messages of which every port has come: `arrays` are those of all ports, side by side."""

    states: Array
    keys: list[int]
    rows: Array
    arrays: Arrays


class Join:
    """Matches the messages of several ports by state; a node of one port passes through untouched."""

    def __init__(self, ports: int) -> None:
        self._stores = [RowStore() for _ in range(ports)] if ports > 1 else []

    @property
    def size_bytes(self) -> int:
        """Bytes that wait for a partner."""
        return sum(store.size_bytes for store in self._stores)

    def waiting(self) -> list[int]:
        """Keys of which some ports have a message and others have not."""
        return list(dict.fromkeys(key for store in self._stores for key in store))

    def add(self, port: int, states: Array, keys: list[int], rows: Array, arrays: Arrays) -> Joined | None:
        """The messages that are complete with this batch, or None if all still wait.

        Raises DuplicateState if a state comes a second time on one port.
        """
        if not self._stores:
            return Joined(states, keys, rows, arrays)
        others = [store for index, store in enumerate(self._stores) if index != port]
        complete = [index for index, key in enumerate(keys) if all(key in store for store in others)]
        self._stores[port].put(keys, rows, arrays)
        if not complete:
            return None
        ready = [keys[index] for index in complete]
        taken = [store.take(ready) for store in self._stores]
        joined_rows = taken[0][0]
        for index, (port_rows, _, _) in enumerate(taken):
            if not np.array_equal(port_rows, joined_rows):
                raise ValueError(
                    f"messages of one state have {joined_rows.tolist()} rows on port 0 "
                    f"and {port_rows.tolist()} on port {index}: the ports of one node must agree"
                )
        selected = states if len(complete) == len(keys) else states[complete]
        return Joined(selected, ready, joined_rows, tuple(array for _, arrays, _ in taken for array in arrays))
