"""The shapes of the instances in flight, for the nodes whose control flow asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ampsim.ops.table import Array

Structure = Mapping[str, Array]
"""An instance's shape: a tree's parents, a graph's edges. `int64[k]` arrays by name."""

FIRST_SIZE = 1024
FIRST_SLOTS = 64

STRUCTURE_ARRAYS = 3
"""As how many arrays structures travel."""


class StructureBatch(NamedTuple):
    """The structures of several instances, as they travel.

    `instances int64[n]`; `lengths int64[n, names]` of each array (-1: the instance has none of that name); `values`
    int64[sum of lengths], instance after instance.
    """

    names: tuple[str, ...]
    instances: Array
    lengths: Array
    values: Array

    @property
    def size_bytes(self) -> int:
        """Bytes of the three arrays."""
        return self.instances.nbytes + self.lengths.nbytes + self.values.nbytes


def stack(structures: Mapping[int, Structure]) -> StructureBatch:
    """The structures of some instances in one."""
    kinds = set(map(tuple, structures.values()))
    if len(kinds) == 1:  # all have the same arrays, as those of one data set do
        (names,) = kinds
        values = [array for structure in structures.values() for array in structure.values()]
        lengths = list(map(len, values))
    else:
        names = tuple(dict.fromkeys(name for structure in structures.values() for name in structure))
        arrays = [structure.get(name) for structure in structures.values() for name in names]
        lengths = [-1 if array is None else len(array) for array in arrays]
        values = [array for array in arrays if array is not None]
    return StructureBatch(
        names,
        np.array(list(structures), np.int64),
        np.array(lengths, np.int64).reshape(len(structures), len(names)),
        np.concatenate(values, dtype=np.int64) if values else np.zeros(0, np.int64),
    )


class Structures:
    """The structures of the instances that a batch's messages belong to, as the functions of a node see them."""

    def __init__(self, table: StructureTable, states: Array) -> None:
        self._table, self._states = table, states

    def at(self, name: str, index: Array | int) -> Array:
        """For each message, the value at `index` (`int64[n]`, or one for all) of its instance's array `name`.

        int64[n]. Raises LookupError if an instance has no structure here, no array of that name, or no such value.
        """
        starts, sizes = self._table.places(name, self._slots)
        # As unsigned numbers, negative ones are beyond every size.
        outside = np.asarray(index, np.int64).view(np.uint64) >= sizes
        if np.count_nonzero(outside):
            self._table.check_present(name, self._slots)
            message = int(np.argmax(outside))
            value = int(np.broadcast_to(index, outside.shape)[message])
            raise IndexError(f"{name} has {int(sizes[message])} values, and number {value} was asked for")
        return self._table.values(starts + index)

    @cached_property
    def _slots(self) -> Array:
        return self._table.slots(self._states[:, 0])


class StructureTable:
    """Structures by instance: one table for all nodes of a device, filled and emptied by the device.

    All arrays lie in one buffer, so that values of many instances are looked up at once. An instance has the slot of
    its number modulo how many there are, with the place of each of its arrays: those in flight follow each other, and
    where two would share a slot there are soon twice as many. The buffer is used again once instances have been
    dropped.
    """

    def __init__(self, structures: Mapping[int, Structure] | None = None) -> None:
        self._instances = np.full(FIRST_SLOTS, -1)  # of each slot; -1: free
        self._count = 0
        self._columns: dict[str, int] = {}
        # Of each name and slot: the first value, and how many there are (absent: none, and there is no such array).
        self._starts = np.zeros((0, FIRST_SLOTS), np.int64)
        self._sizes = np.zeros((0, FIRST_SLOTS), np.uint64)
        self._absent = np.ones((0, FIRST_SLOTS), bool)
        self._buffer = np.zeros(FIRST_SIZE, np.int64)
        self._end = 0
        if structures:
            self.add(stack(structures))

    def __contains__(self, instance: int) -> bool:
        return instance >= 0 and bool(self._instances[instance % len(self._instances)] == instance)

    def __len__(self) -> int:
        return self._count

    @property
    def size_bytes(self) -> int:
        """Bytes of the buffer and of what is noted of the slots."""
        noted = self._starts.nbytes + self._sizes.nbytes + self._absent.nbytes + self._instances.nbytes
        return self._buffer.nbytes + noted

    def of(self, states: Array) -> Structures:
        """What a node's functions get to see for a batch: `states int64[n, fields]`."""
        return Structures(self, states)

    def missing(self, instances: Array) -> set[int]:
        """Which of `instances int64[n]` have no structure here."""
        absent = self._instances[instances % len(self._instances)] != instances
        return set(instances[absent].tolist()) if np.count_nonzero(absent) else set()

    def add(self, structures: StructureBatch) -> None:
        """Keep the structures of some instances until they are dropped."""
        names, instances, lengths, values = structures
        for name in names:
            if name not in self._columns:
                self._columns[name] = len(self._columns)
                self._note((self._starts, self._sizes, self._absent), len(self._columns), len(self._instances))
        for instance in instances.tolist():
            self.drop(instance)
        while not self._all_fit(instances):
            self._add_slots()
        if self._end + len(values) > len(self._buffer):
            self._compact(len(values))
        slots = instances % len(self._instances)
        self._instances[slots] = instances
        self._count += len(instances)
        sizes = np.maximum(lengths, 0)
        starts = self._end + (np.cumsum(sizes) - sizes.ravel()).reshape(sizes.shape)
        self._sizes[:, slots], self._absent[:, slots] = 0, True
        places = np.array([[self._columns[name]] for name in names], np.int64).reshape(len(names), 1), slots
        self._starts[places], self._sizes[places], self._absent[places] = starts.T, sizes.T, lengths.T < 0
        self._buffer[self._end : self._end + len(values)] = values
        self._end += len(values)

    def _all_fit(self, instances: Array) -> bool:
        slots = instances % len(self._instances)
        return len(np.unique(slots)) == len(slots) and bool((self._instances[slots] == -1).all())

    def drop(self, instance: int) -> None:
        """Forget the structure of an instance, if there is one."""
        if instance in self:
            self._instances[instance % len(self._instances)] = -1
            self._count -= 1

    def slots(self, instances: Array) -> Array:
        """Where the structures of `instances int64[n]` are noted. Raises LookupError if one has none here."""
        slots: Array = instances % len(self._instances)
        if np.count_nonzero(self._instances[slots] != instances):
            absent = min(self.missing(instances))
            raise LookupError(f"the structure of instance {absent} is not here: does the node ask for it?")
        return slots

    def places(self, name: str, slots: Array) -> tuple[Array, Array]:
        """First values int64[n] and sizes uint64[n] of the arrays `name`; size 0 where there is no such array.

        Raises LookupError if there is none in any structure.
        """
        column = self._columns.get(name)
        if column is None:
            raise self._no_array(name)
        return self._starts[column].take(slots), self._sizes[column].take(slots)

    def check_present(self, name: str, slots: Array) -> None:
        """Raise LookupError if one of the instances has no array `name`."""
        if np.count_nonzero(self._absent[self._columns[name]].take(slots)):
            raise self._no_array(name)

    def _no_array(self, name: str) -> LookupError:
        return LookupError(f"a structure has no array {name!r}: there are {', '.join(sorted(self._columns))}")

    def values(self, places: Array) -> Array:
        """What lies at some places of the buffer."""
        return self._buffer.take(places)

    def _add_slots(self) -> None:
        """Twice as many slots: those that shared one now and then have two."""
        taken = np.flatnonzero(self._instances >= 0)
        instances = self._instances[taken]
        noted = self._starts[:, taken], self._sizes[:, taken], self._absent[:, taken]
        self._instances = np.full(2 * len(self._instances), -1)
        slots = instances % len(self._instances)
        self._instances[slots] = instances
        self._note(noted, len(self._columns), len(self._instances), slots)

    def _note(self, noted: tuple[Array, ...], names: int, slots: int, places: Array | slice = slice(None)) -> None:
        """Room for so many names and slots; what was noted of some stands at `places` now."""
        fresh = np.zeros((names, slots), np.int64), np.zeros((names, slots), np.uint64), np.ones((names, slots), bool)
        for new, old in zip(fresh, noted, strict=True):
            new[: len(old), places] = old
        self._starts, self._sizes, self._absent = fresh

    def _compact(self, size: int) -> None:
        """Room for `size` more values: what is still there moves together, into a larger buffer if need be."""
        slots = np.flatnonzero(self._instances >= 0)
        live = int(self._sizes[:, slots].sum())
        buffer = np.zeros(max(len(self._buffer), 8 * (live + size)), np.int64)
        self._end = 0
        for slot in slots.tolist():
            for column, length in enumerate(self._sizes[:, slot].tolist()):
                if length:
                    first = int(self._starts[column, slot])
                    buffer[self._end : self._end + length] = self._buffer[first : first + length]
                    self._starts[column, slot] = self._end
                    self._end += length
        self._buffer = buffer
