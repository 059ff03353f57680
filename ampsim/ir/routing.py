"""Nodes that send messages this way or that, by their state alone: Phi, Cond, Isu, Bcast (PAPER.md, "The IR nodes").

None of them touches a payload but Bcast, which sums gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import final

import numpy as np

from ampsim.ir.batch import BACKWARD, FORWARD, Batch, Direction, total_rows
from ampsim.ir.node import (
    AHEAD,
    ALL_DIRECTIONS,
    Answer,
    Emission,
    Node,
    Payload,
    RoutingSpec,
    TrainingSetup,
    gradients_of,
)
from ampsim.ir.state import check_numbers
from ampsim.ir.store import RowStore
from ampsim.ir.structure import Structures, StructureTable
from ampsim.ops.table import Array, Cost

Select = Callable[[Array, Structures], Array]
"""states int64[n, fields], the structures of their instances -> int64[n], the output port of each message."""

Update = Callable[[Array], Array]
"""states int64[n, fields] -> states int64[n, fields]; the instance (column 0) stays."""


@final
@dataclass(frozen=True)
class PhiSpec(RoutingSpec):
    """Joins several edges into one; gradients go back to where their message came from.

    With `origin`, a function of the state tells where that was, and nothing is remembered.
    """

    origin: Select | None = None
    structured: bool = False

    @property
    def needs_structure(self) -> bool:
        return self.structured

    def light(self, gathers: bool) -> frozenset[Direction]:
        # Back, what has gathered is parted by origin into fuller batches.
        return AHEAD if gathers else ALL_DIRECTIONS

    @property
    def outputs(self) -> tuple[Payload, ...]:
        return (self.inputs[0],)

    def build(self, setup: TrainingSetup, structures: StructureTable) -> Node:
        return Phi(self, structures)


@final
class Phi(Node):
    """Remembers by state which port a message came in by, unless the state tells."""

    parameters = None
    cached_bytes = 0

    def __init__(self, spec: PhiSpec, structures: StructureTable) -> None:
        self.name, self._spec, self._structures = spec.name, spec, structures
        self._origins = RowStore()

    def held(self) -> list[int]:
        return list(self._origins)

    def answer(self, direction: Direction, port: int, batch: Batch) -> Answer:
        spec = self._spec
        if direction is not BACKWARD:
            if direction is FORWARD and spec.origin is None:
                self._origins.put(spec.schema.keys(batch.states), batch.rows, (), port)
            return Answer([Emission(direction, 0, batch)])
        if spec.origin is None:
            _, _, ports = self._origins.take(spec.schema.keys(batch.states))
            if isinstance(ports, int):
                return Answer([Emission(direction, ports, spec.home(ports, batch))])
        else:
            ports = spec.origin(batch.states, self._structures.of(batch.states))
            check_numbers(ports, len(batch), len(spec.inputs), "origin")
        parts = partition(batch, ports)
        return Answer([Emission(direction, int(origin), spec.home(int(origin), part)) for origin, part in parts])


@final
@dataclass(frozen=True)
class CondSpec(RoutingSpec):
    """Sends each message to one of `ports` successors, by a function of its state."""

    select: Select
    ports: int
    structured: bool

    @property
    def needs_structure(self) -> bool:
        return self.structured

    def light(self, gathers: bool) -> frozenset[Direction]:
        return ALL_DIRECTIONS

    @property
    def outputs(self) -> tuple[Payload, ...]:
        return (self.inputs[0],) * self.ports

    def build(self, setup: TrainingSetup, structures: StructureTable) -> Node:
        return Cond(self, structures)


@final
class Cond(Node):
    """Keeps nothing: what comes back by any output port goes home by the one input port."""

    parameters = None
    cached_bytes = 0

    def __init__(self, spec: CondSpec, structures: StructureTable) -> None:
        self.name, self._spec, self._structures = spec.name, spec, structures

    def held(self) -> list[int]:
        return []

    def answer(self, direction: Direction, port: int, batch: Batch) -> Answer:
        if direction is BACKWARD:
            return Answer([Emission(direction, 0, self._spec.home(0, batch))])
        ports = self._spec.select(batch.states, self._structures.of(batch.states))
        check_numbers(ports, len(batch), self._spec.ports, "select")
        return Answer([Emission(direction, int(chosen), part) for chosen, part in partition(batch, ports)])


@final
@dataclass(frozen=True)
class IsuSpec(RoutingSpec):
    """Applies an invertible function to the state: forward `update`, backward `inverse`."""

    update: Update
    inverse: Update

    def light(self, gathers: bool) -> frozenset[Direction]:
        return ALL_DIRECTIONS

    @property
    def outputs(self) -> tuple[Payload, ...]:
        return (self.inputs[0],)

    def build(self, setup: TrainingSetup, structures: StructureTable) -> Node:
        return Isu(self)


@final
class Isu(Node):
    """Keeps nothing: the inverse gives the state back."""

    parameters = None
    cached_bytes = 0

    def __init__(self, spec: IsuSpec) -> None:
        self.name, self._spec = spec.name, spec

    def held(self) -> list[int]:
        return []

    def answer(self, direction: Direction, port: int, batch: Batch) -> Answer:
        backward = direction is BACKWARD
        states = (self._spec.inverse if backward else self._spec.update)(batch.states)
        self._spec.schema.check(states, len(batch), "inverse" if backward else "update")
        moved = Batch(states, batch.rows, batch.payload)
        return Answer([Emission(direction, 0, self._spec.home(0, moved) if backward else moved)])


@final
@dataclass(frozen=True)
class BcastSpec(RoutingSpec):
    """Sends every message to each of `ports` successors, and sums the gradients that come back."""

    ports: int

    def light(self, gathers: bool) -> frozenset[Direction]:
        return ALL_DIRECTIONS

    @property
    def outputs(self) -> tuple[Payload, ...]:
        return (self.inputs[0],) * self.ports

    def cost(self, rows: int) -> tuple[Cost, Cost]:
        """Forward nothing is computed; backward, `ports - 1` additions for each value."""
        values = sum(rows * array.row_values for array in self.inputs[0])
        size = sum(rows * array.row_bytes for array in self.inputs[0])
        return Cost(), Cost((self.ports - 1) * values, self.ports * size, size)

    def build(self, setup: TrainingSetup, structures: StructureTable) -> Node:
        return Bcast(self, setup)


@final
class Bcast(Node):
    """Waits for the gradients of all copies, and adds them up in the order of the ports, whichever came first."""

    parameters = None

    def __init__(self, spec: BcastSpec, setup: TrainingSetup) -> None:
        self.name, self._spec = spec.name, spec
        gradients = gradients_of(spec.inputs[0]) if spec.wanted[0] else ()
        self._join = setup.join([gradients] * spec.ports)

    def held(self) -> list[int]:
        return self._join.waiting()

    @property
    def cached_bytes(self) -> int:
        return self._join.size_bytes

    def answer(self, direction: Direction, port: int, batch: Batch) -> Answer:
        if direction is not BACKWARD:
            return Answer([Emission(direction, number, batch) for number in range(self._spec.ports)])
        keys = self._spec.schema.keys(batch.states)
        joined = self._join.add(port, batch.states, keys, batch.rows, batch.payload)
        if joined is None:
            return Answer()
        width = len(joined.arrays) // self._spec.ports
        sums = tuple(reduce(np.add, joined.arrays[number::width]) for number in range(width))
        home = self._spec.home(0, Batch(joined.states, joined.rows, sums))
        return Answer([Emission(direction, 0, home)], rows=total_rows(joined.rows))


def partition(batch: Batch, parts: Array) -> list[tuple[int, Batch]]:
    """The messages of each part (`parts int64[n]`), in order; a batch that is of one part is not copied."""
    if len(parts) == 1:
        return [(parts.item(0), batch)]
    numbers = np.flatnonzero(np.bincount(parts)).tolist()
    if len(numbers) == 1:
        return [(numbers[0], batch)]
    return [(number, batch.select(np.flatnonzero(parts == number))) for number in numbers]
