"""The shapes of the instances in flight, for the nodes whose control flow asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from ampsim.ops.table import Array

Structure = Mapping[str, Array]
"""An instance's shape: a tree's parents, a graph's edges. `int64[k]` arrays by name."""

FIRST_SIZE = 1024


class Structures:
    """The structures of the instances that a batch's messages belong to, as the functions of a node see them."""

    def __init__(self, table: StructureTable, states: Array) -> None:
        self._table, self._states = table, states

    def at(self, name: str, index: Array | int) -> Array:
        """For each message, the value at `index` (`int64[n]`, or one for all) of its instance's array `name`.

        int64[n]. Raises LookupError if an instance has no structure here, no array of that name, or no such value.
        """
        starts, sizes = self._table.places(name, self._slots)
        outside = (index < 0) | (index >= sizes)
        if outside.any():
            message = int(np.argmax(outside))
            value = int(np.broadcast_to(index, outside.shape)[message])
            raise IndexError(f"{name} has {int(sizes[message])} values, and number {value} was asked for")
        return self._table.values(starts + index)

    @cached_property
    def _slots(self) -> Array:
        return self._table.slots(self._states[:, 0].tolist())


class StructureTable:
    """Structures by instance: one table for all nodes of a device, filled and emptied by the device.

    All arrays lie in one buffer, so that values of many instances are looked up at once. An instance has a slot, with
    the place of each of its arrays; slots and the buffer are used again once instances have been dropped.
    """

    def __init__(self, structures: Mapping[int, Structure] | None = None) -> None:
        self._slot_of: dict[int, int] = {}
        self._free: list[int] = []
        self._columns: dict[str, int] = {}
        self._places = np.zeros((0, 0, 2), np.int64)  # of each slot and name: first value, number of values (-1: none)
        self._buffer = np.zeros(FIRST_SIZE, np.int64)
        self._end = 0
        for instance, structure in (structures or {}).items():
            self.add(instance, structure)

    def __contains__(self, instance: int) -> bool:
        return instance in self._slot_of

    def __len__(self) -> int:
        return len(self._slot_of)

    @property
    def size_bytes(self) -> int:
        """Bytes of the buffer and of what is noted of the slots."""
        return self._buffer.nbytes + self._places.nbytes

    def of(self, states: Array) -> Structures:
        """What a node's functions get to see for a batch: `states int64[n, fields]`."""
        return Structures(self, states)

    def add(self, instance: int, structure: Structure) -> None:
        """Keep the structure of an instance until it is dropped."""
        for name in structure:
            self._columns.setdefault(name, len(self._columns))
        if not self._free or self._places.shape[1] < len(self._columns):
            self._add_slots()
        size = sum(len(array) for array in structure.values())
        if self._end + size > len(self._buffer):
            self._compact(size)
        slot = self._slot_of[instance] = self._free.pop()
        for name, array in structure.items():
            self._places[slot, self._columns[name]] = self._end, len(array)
            self._buffer[self._end : self._end + len(array)] = array
            self._end += len(array)

    def drop(self, instance: int) -> None:
        """Forget the structure of an instance, if there is one."""
        slot = self._slot_of.pop(instance, None)
        if slot is not None:
            self._places[slot] = 0, -1
            self._free.append(slot)

    def slots(self, instances: list[int]) -> Array:
        """Where their structures are noted. Raises LookupError if one has none here."""
        try:
            return np.array([self._slot_of[instance] for instance in instances])
        except KeyError as error:
            raise LookupError(
                f"the structure of instance {error.args[0]} is not here: does the node ask for it?"
            ) from None

    def places(self, name: str, slots: Array) -> tuple[Array, Array]:
        """First values and sizes of the arrays `name`. Raises LookupError if an instance has no such array."""
        column = self._columns.get(name)
        if column is None or (self._places[slots, column, 1] < 0).any():
            raise LookupError(f"a structure has no array {name!r}: there are {', '.join(sorted(self._columns))}")
        return self._places[slots, column, 0], self._places[slots, column, 1]

    def values(self, places: Array) -> Array:
        """What lies at some places of the buffer."""
        found: Array = self._buffer[places]
        return found

    def _add_slots(self) -> None:
        """Twice as many slots, and a column for each name."""
        slots, names, _ = self._places.shape
        places = np.full((max(2 * slots, 16), len(self._columns), 2), (0, -1))
        places[:slots, :names] = self._places
        self._free += range(len(places) - 1, slots - 1, -1)
        self._places = places

    def _compact(self, size: int) -> None:
        """Room for `size` more values: what is still there moves together, into a larger buffer if need be."""
        slots = list(self._slot_of.values())
        live = int(np.maximum(self._places[slots, :, 1], 0).sum())
        buffer = np.zeros(max(len(self._buffer), 2 * (live + size)), np.int64)
        self._end = 0
        for slot in slots:
            for place in self._places[slot]:
                first, length = place.tolist()
                if length > 0:
                    buffer[self._end : self._end + length] = self._buffer[first : first + length]
                    place[0] = self._end
                    self._end += length
        self._buffer = buffer
