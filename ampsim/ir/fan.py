"""Nodes of which one message becomes many, or many become one: Group, Ungroup, Flatmap (PAPER.md, "The IR nodes")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np

from ampsim.ir.batch import Batch, Direction
from ampsim.ir.collector import Collector
from ampsim.ir.node import Answer, Emission, Node, NodeSpec, Payload, RoutingSpec, TrainingSetup
from ampsim.ir.structure import Structure, StructureTable
from ampsim.ops.table import Array, Cost

Member = Callable[[Array, Structure], Array]
"""states int64[n, fields] of one instance, its structure -> int64[n, fields + 2]: the group's state, this message's
place in the group (from 0), and how many members the group has."""

Children = Callable[[Array, Structure], tuple[Array, Array]]
"""states int64[n, fields] of one instance, its structure -> for each copy to be made: the number of its message
int64[m], not descending, and its state int64[m, fields]."""

RowState = Callable[[Array, Array], Array]
"""states int64[m, fields] of the messages that m rows belong to, and each row's place in its message int64[m] -> the
state of each row's own message, int64[m, fields]."""


@final
@dataclass(frozen=True)
class GroupSpec(RoutingSpec):
    """Collects the messages of a group, and sends them on as one, their rows stacked in the order of their places."""

    member: Member

    @property
    def needs_structure(self) -> bool:
        return True

    @property
    def outputs(self) -> tuple[Payload, ...]:
        return (self.inputs[0],)

    def build(self, setup: TrainingSetup, structures: StructureTable) -> Node:
        return Group(self, structures)


@final
class Group(Node):
    """Remembers the members of each group until its gradient has come."""

    parameters = None

    def __init__(self, spec: GroupSpec, structures: StructureTable) -> None:
        self.name, self._spec, self._structures = spec.name, spec, structures
        self._collector = Collector()
        self._members: dict[int, tuple[Array, Array]] = {}

    def held(self) -> list[int]:
        return [*self._collector.waiting(), *self._members]

    @property
    def cached_bytes(self) -> int:
        return self._collector.size_bytes

    def answer(self, direction: Direction, port: int, batch: Batch) -> Answer:
        if direction is Direction.BACKWARD:
            members = [self._members.pop(key) for key in self._spec.schema.keys(batch.states)]
            states = np.concatenate([states for states, _ in members])
            rows = np.concatenate([rows for _, rows in members])
            return Answer([Emission(direction, 0, self._spec.home(0, Batch(states, rows, batch.payload)))])
        fields = batch.states.shape[1]
        found = self._structures.per_instance(batch.states, self._spec.member)
        groups = found[:, :fields]
        keys = self._spec.schema.keys(groups)
        full = self._collector.add(keys, found[:, fields].tolist(), found[:, fields + 1].tolist(), batch)
        if full is None:
            return Answer()
        if direction is Direction.FORWARD:
            ends = np.cumsum(full.members)
            for key, end, count in zip(full.keys, ends.tolist(), full.members.tolist(), strict=True):
                self._members[key] = (full.batch.states[end - count : end], full.batch.rows[end - count : end])
        states = groups[[keys.index(key) for key in full.keys]]
        return Answer([Emission(direction, 0, Batch(states, full.rows, full.batch.payload))])


class _Spread:
    """What becomes of the children of messages: which parent each belongs to, until all their gradients are home."""

    def __init__(self, spec: NodeSpec) -> None:
        self._schema = spec.schema
        self._collector = Collector()
        self._parent: dict[int, tuple[int, int, int]] = {}
        self._states: dict[int, Array] = {}

    def held(self) -> list[int]:
        return [*self._collector.waiting(), *self._states]

    @property
    def size_bytes(self) -> int:
        return self._collector.size_bytes

    def remember(self, parents: Array, numbers: Array, counts: Array, children: Array) -> None:
        """`children int64[m, fields]` come from the `parents int64[n, fields]` of `numbers int64[m]`, in that order;
        `counts int64[n]` of each parent."""
        keys = self._schema.keys(parents)
        for key, count, state in zip(keys, counts.tolist(), parents, strict=True):
            if count:
                self._states[key] = state
        places = np.arange(len(numbers)) - np.repeat(np.cumsum(counts) - counts, counts)
        sizes = counts.tolist()
        for child, number, place in zip(self._schema.keys(children), numbers.tolist(), places.tolist(), strict=True):
            self._parent[child] = (keys[number], place, sizes[number])

    def come_home(self, batch: Batch) -> tuple[Array, Array, Array, Batch] | None:
        """Parents of which all children's gradients are home: states, rows, members of each; the children in order."""
        keys, places, counts = zip(*(self._parent.pop(key) for key in self._schema.keys(batch.states)), strict=True)
        full = self._collector.add(list(keys), list(places), list(counts), batch)
        if full is None:
            return None
        return np.stack([self._states.pop(key) for key in full.keys]), full.rows, full.members, full.batch


@final
@dataclass(frozen=True)
class UngroupSpec(RoutingSpec):
    """One message in, a message for each of its rows out."""

    row_state: RowState

    @property
    def outputs(self) -> tuple[Payload, ...]:
        return (self.inputs[0],)

    def build(self, setup: TrainingSetup, structures: StructureTable) -> Node:
        return Ungroup(self)


@final
class Ungroup(Node):
    """Stacks the rows' gradients again."""

    parameters = None

    def __init__(self, spec: UngroupSpec) -> None:
        self.name, self._spec = spec.name, spec
        self._spread = _Spread(spec)

    def held(self) -> list[int]:
        return self._spread.held()

    @property
    def cached_bytes(self) -> int:
        return self._spread.size_bytes

    def answer(self, direction: Direction, port: int, batch: Batch) -> Answer:
        if direction is Direction.BACKWARD:
            home = self._spread.come_home(batch)
            if home is None:
                return Answer()
            states, rows, _, children = home
            return Answer([Emission(direction, 0, self._spec.home(0, Batch(states, rows, children.payload)))])
        numbers = np.repeat(np.arange(len(batch)), batch.rows)
        places = np.arange(len(numbers)) - np.repeat(np.cumsum(batch.rows) - batch.rows, batch.rows)
        states = self._spec.row_state(batch.states[numbers], places)
        if direction is Direction.FORWARD:
            self._spread.remember(batch.states, numbers, batch.rows, states)
        ones = np.ones(len(numbers), np.int64)
        return Answer([Emission(direction, 0, Batch(states, ones, batch.payload))])


@final
@dataclass(frozen=True)
class FlatmapSpec(RoutingSpec):
    """One message in, a copy of it for each of its children out: none, one or several."""

    children: Children

    @property
    def needs_structure(self) -> bool:
        return True

    @property
    def outputs(self) -> tuple[Payload, ...]:
        return (self.inputs[0],)

    def cost(self, rows: int) -> tuple[Cost, Cost]:
        """As if every message had one child: copied forward, added up backward."""
        values = sum(rows * array.row_values for array in self.inputs[0])
        size = sum(rows * array.row_bytes for array in self.inputs[0])
        return Cost(0, size, size), Cost(values, size, size)

    def build(self, setup: TrainingSetup, structures: StructureTable) -> Node:
        return Flatmap(self, structures)


@final
class Flatmap(Node):
    """Sums the copies' gradients in the order of the copies; a message without children is answered with zeros."""

    parameters = None

    def __init__(self, spec: FlatmapSpec, structures: StructureTable) -> None:
        self.name, self._spec, self._structures = spec.name, spec, structures
        self._spread = _Spread(spec)

    def held(self) -> list[int]:
        return self._spread.held()

    @property
    def cached_bytes(self) -> int:
        return self._spread.size_bytes

    def answer(self, direction: Direction, port: int, batch: Batch) -> Answer:
        if direction is Direction.BACKWARD:
            home = self._spread.come_home(batch)
            return Answer() if home is None else Answer([self._sum(*home)])
        numbers, states = self._structures.expand(batch.states, self._spec.children)
        counts = np.bincount(numbers, minlength=len(batch))
        emissions = []
        if len(numbers):
            copies = batch.select(numbers)
            emissions.append(Emission(direction, 0, Batch(states, copies.rows, copies.payload)))
        if direction is Direction.FORWARD:
            self._spread.remember(batch.states, numbers, counts, states)
            childless = np.flatnonzero(counts == 0)
            if len(childless):
                parts = batch.select(childless)
                zeros = Batch(parts.states, parts.rows, tuple(np.zeros_like(array) for array in parts.payload))
                emissions.append(Emission(Direction.BACKWARD, 0, self._spec.home(0, zeros)))
        return Answer(emissions)

    def _sum(self, states: Array, rows: Array, members: Array, children: Batch) -> Emission:
        rows_each = rows // members
        if (rows_each == 1).all():
            starts = np.cumsum(members) - members
            sums = tuple(np.add.reduceat(array, starts) for array in children.payload)
        else:
            pieces = np.split(np.arange(int(rows.sum())), np.cumsum(rows)[:-1])
            sums = tuple(
                np.concatenate(
                    [
                        array[piece].reshape(count, -1, *array.shape[1:]).sum(axis=0)
                        for piece, count in zip(pieces, members.tolist(), strict=True)
                    ]
                )
                for array in children.payload
            )
        return Emission(Direction.BACKWARD, 0, self._spec.home(0, Batch(states, rows_each, sums)))
