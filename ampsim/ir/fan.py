"""Nodes of which one message becomes many, or many become one: Group, Ungroup, Flatmap (PAPER.md, "The IR nodes")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np

from ampsim.ir.batch import BACKWARD, FORWARD, Batch, Direction, are_single, single_rows, total_rows
from ampsim.ir.collector import Collector, Full
from ampsim.ir.node import (
    AHEAD,
    ALL_DIRECTIONS,
    BACK,
    Answer,
    Emission,
    Node,
    NodeSpec,
    Payload,
    RoutingSpec,
    TrainingSetup,
    gradients_of,
    payload_bytes,
)
from ampsim.ir.routing import Select
from ampsim.ir.state import StateSchema, check_numbers
from ampsim.ir.store import RowStore
from ampsim.ir.structure import Structures, StructureTable
from ampsim.ops.segments import segment_sums, sum_rows_cost
from ampsim.ops.table import Array, ArraySpec, Cost

LABELS = ArraySpec((), "int64")
"""What a Flatmap may put beside the rows of its copies."""

Member = Callable[[Array, Structures], Array]
"""states int64[n, fields], the structures of their instances -> int64[n, fields + 2]: the group's state, this
message's place in the group (from 0), and how many members the group has."""

Children = Callable[[Array, Structures], tuple[Array, Array]]
"""states int64[n, fields], the structures of their instances -> for each copy to be made: the number of its message
int64[m], not descending, and its state int64[m, fields]."""

RowState = Callable[[Array, Array], Array]
"""states int64[m, fields] of the messages that m rows belong to, and each row's place in its message int64[m] -> the
state of each row's own message, int64[m, fields]."""


def membership(groups: Array, places: Array, counts: Array | int) -> Array:
    """What a Member gives: states int64[n, fields] of the groups, places int64[n], and how many members each has."""
    n, fields = groups.shape
    found = np.empty((n, fields + 2), np.int64)
    found[:, :fields], found[:, fields], found[:, fields + 1] = groups, places, counts
    return found


def members_of(found: Array, batch: Batch, schema: StateSchema, source: str) -> tuple[Array, Array, Array]:
    """Groups int64[n, fields], places and counts int64[n], of what the user's function `source` gave for a batch.

    Raises ValueError if it is no such thing.
    """
    fields = batch.states.shape[1]
    if found.shape != (len(batch), fields + 2):
        raise ValueError(f"{source} must give int64[{len(batch)}, {fields + 2}], not {found.dtype}{list(found.shape)}")
    schema.check(found[:, :fields], len(batch), source)
    return found[:, :fields], found[:, fields], found[:, fields + 1]


@final
@dataclass(frozen=True)
class GroupSpec(RoutingSpec):
    """Collects the messages of a group, and sends them on as one, their rows stacked in the order of their places.

    With `sums`, it is the sum of their rows instead, of which each message has one.
    """

    member: Member
    sums: bool = False

    @property
    def kind(self) -> str:
        return "group_sum" if self.sums else "group"

    @property
    def needs_structure(self) -> bool:
        return True

    def light(self, gathers: bool) -> frozenset[Direction]:
        # Ahead, members that have gathered are collected in fewer goes.
        return BACK if gathers else ALL_DIRECTIONS

    @property
    def outputs(self) -> tuple[Payload, ...]:
        return (self.inputs[0],)

    def cost(self, rows: int) -> tuple[Cost, Cost]:
        """Without sums none; with them that of `sum_rows`, of each array."""
        costs = [sum_rows_cost(rows, array) for array in self.inputs[0] if self.sums]
        return sum((forward for forward, _ in costs), Cost()), sum((backward for _, backward in costs), Cost())

    def build(self, setup: TrainingSetup, structures: StructureTable) -> Node:
        return Group(self, setup, structures)


@final
class Group(Node):
    """Remembers the members of each group until its gradient has come."""

    parameters = None

    def __init__(self, spec: GroupSpec, setup: TrainingSetup, structures: StructureTable) -> None:
        self.name, self._spec, self._structures = spec.name, spec, structures
        self._collector = Collector(setup.row_bytes(spec.inputs[0]))
        self._members = RowStore()

    def held(self) -> list[int]:
        return [*self._collector.waiting(), *self._members]

    @property
    def cached_bytes(self) -> int:
        return self._collector.size_bytes

    def answer(self, direction: Direction, port: int, batch: Batch) -> Answer:
        schema = self._spec.schema
        if direction is BACKWARD:
            members, (states, rows, came), _ = self._members.take(schema.keys(batch.states))
            payload = batch.payload
            if self._spec.sums:
                payload = tuple(np.repeat(array, members, axis=0) for array in payload)
            home = self._spec.home(0, Batch(states, rows, payload))
            if np.count_nonzero(came[1:] < came[:-1]):
                # As they came: whoever sent them finds what it has kept of them as it was put.
                home = home.select(came.argsort(kind="stable"))
            return Answer([Emission(direction, 0, home)], rows=len(states) if self._spec.sums else 0)
        found = self._spec.member(batch.states, self._structures.of(batch.states))
        groups, places, counts = members_of(found, batch, schema, "member")
        full = self._collector.add(schema.packed(groups), places, counts, batch)
        if full is None:
            return Answer()
        if direction is FORWARD:
            self._members.put(full.keys, full.members, (full.batch.states, full.batch.rows, full.came))
        if self._spec.sums:
            return self._sum(direction, groups[full.last], full)
        return Answer([Emission(direction, 0, Batch(groups[full.last], full.rows, full.batch.payload))])

    def _sum(self, direction: Direction, groups: Array, full: Full) -> Answer:
        if not are_single(full.batch.rows) and np.count_nonzero(full.batch.rows != 1):
            most = int(full.batch.rows.max())
            raise ValueError(f"a Group that sums takes messages of one row, and one has {most}: sum them before")
        sums = tuple(segment_sums(array, full.members) for array in full.batch.payload)
        together = Batch(groups, single_rows(len(groups)), sums)
        return Answer([Emission(direction, 0, together)], rows=len(full.batch))


Home = tuple[Array, Array, Array, Batch]
"""Parents of which all children's gradients are home: states, rows, members of each; the children in order."""


class _Spread:
    """What becomes of the children of messages: which parent each belongs to, until all their gradients are home."""

    def __init__(self, spec: NodeSpec, setup: TrainingSetup) -> None:
        self._schema = spec.schema
        self._collector = Collector(setup.row_bytes(gradients_of(spec.outputs[0])))
        self._children = RowStore()
        self._parents = RowStore()

    def held(self) -> list[int]:
        return [*self._collector.waiting(), *self._parents]

    @property
    def size_bytes(self) -> int:
        return self._collector.size_bytes

    def remember(self, parents: Array, numbers: Array, counts: Array, children: Array) -> None:
        """`children int64[m, fields]` come from the `parents int64[n, fields]` of `numbers int64[m]`, in that order;
        `counts int64[n]` of each parent."""
        if not len(children):
            return
        keys = self._schema.packed(parents)
        places = np.arange(len(numbers)) - np.repeat(np.cumsum(counts) - counts, counts)
        fertile = np.flatnonzero(counts)
        self._parents.put(keys[fertile].tolist(), single_rows(len(fertile)), (parents[fertile],))
        found = keys[numbers], places, counts[numbers]
        self._children.put(self._schema.keys(children), single_rows(len(numbers)), found)

    def collect(self, parents: Array, places: Array, counts: Array, batch: Batch) -> Home | None:
        """The same as `come_home`, where it is known whose the messages are: parents int64[n, fields] and so on."""
        full = self._collector.add(self._schema.packed(parents), places, counts, batch)
        return None if full is None else (parents[full.last], full.rows, full.members, full.batch)

    def come_home(self, batch: Batch) -> Home | None:
        """Parents of which all children's gradients are home."""
        _, (keys, places, counts), _ = self._children.take(self._schema.keys(batch.states))
        full = self._collector.add(keys, places, counts, batch)
        if full is None:
            return None
        _, (states,), _ = self._parents.take(full.keys)
        return states, full.rows, full.members, full.batch


@final
@dataclass(frozen=True)
class UngroupSpec(RoutingSpec):
    """One message in, a message for each of its rows out."""

    row_state: RowState

    def light(self, gathers: bool) -> frozenset[Direction]:
        # Back, gradients that have gathered are collected in fewer goes.
        return AHEAD if gathers else ALL_DIRECTIONS

    @property
    def outputs(self) -> tuple[Payload, ...]:
        return (self.inputs[0],)

    def build(self, setup: TrainingSetup, structures: StructureTable) -> Node:
        return Ungroup(self, setup)


@final
class Ungroup(Node):
    """Stacks the rows' gradients again."""

    parameters = None

    def __init__(self, spec: UngroupSpec, setup: TrainingSetup) -> None:
        self.name, self._spec = spec.name, spec
        self._spread = _Spread(spec, setup)

    def held(self) -> list[int]:
        return self._spread.held()

    @property
    def cached_bytes(self) -> int:
        return self._spread.size_bytes

    def answer(self, direction: Direction, port: int, batch: Batch) -> Answer:
        if direction is BACKWARD:
            home = self._spread.come_home(batch)
            if home is None:
                return Answer()
            states, rows, _, children = home
            return Answer([Emission(direction, 0, self._spec.home(0, Batch(states, rows, children.payload)))])
        numbers = np.repeat(np.arange(len(batch)), batch.rows)
        places = np.arange(len(numbers)) - np.repeat(np.cumsum(batch.rows) - batch.rows, batch.rows)
        states = self._spec.row_state(batch.states[numbers], places)
        self._spec.schema.check(states, len(numbers), "row_state")
        if direction is FORWARD:
            self._spread.remember(batch.states, numbers, batch.rows, states)
        return Answer([Emission(direction, 0, Batch(states, single_rows(len(numbers)), batch.payload))])


@final
@dataclass(frozen=True)
class FlatmapSpec(RoutingSpec):
    """One message in, a copy of it for each of its children out: none, one or several.

    With `parent`, the state of a copy tells whose it is, and nothing is remembered. With `label`, each row of a copy
    has an int beside it, which the copy's state tells: the last array of the payload.
    """

    children: Children
    parent: Member | None = None
    label: Select | None = None

    @property
    def needs_structure(self) -> bool:
        return True

    def light(self, gathers: bool) -> frozenset[Direction]:
        # Back, gradients that have gathered are collected in fewer goes.
        return AHEAD if gathers else ALL_DIRECTIONS

    @property
    def outputs(self) -> tuple[Payload, ...]:
        return (self.inputs[0] if self.label is None else (*self.inputs[0], LABELS),)

    def cost(self, rows: int) -> tuple[Cost, Cost]:
        """Of `rows` rows in all copies: copied forward, each with its label if it gets one, and added up backward."""
        values = sum(rows * array.row_values for array in self.inputs[0])
        size = sum(rows * array.row_bytes for array in self.inputs[0])
        return Cost(0, size, payload_bytes(self.outputs[0]) * rows), Cost(values, size, size)

    def build(self, setup: TrainingSetup, structures: StructureTable) -> Node:
        return Flatmap(self, setup, structures)


@final
class Flatmap(Node):
    """Sums the copies' gradients in the order of the copies; a message without children is answered with zeros."""

    parameters = None

    def __init__(self, spec: FlatmapSpec, setup: TrainingSetup, structures: StructureTable) -> None:
        self.name, self._spec, self._structures = spec.name, spec, structures
        self._spread = _Spread(spec, setup)
        self._label = spec.label if setup.arithmetic else None

    def held(self) -> list[int]:
        return self._spread.held()

    @property
    def cached_bytes(self) -> int:
        return self._spread.size_bytes

    def answer(self, direction: Direction, port: int, batch: Batch) -> Answer:
        if direction is BACKWARD:
            home = self._come_home(batch)
            return Answer() if home is None else Answer([self._sum(*home)], rows=total_rows(home[3].rows))
        numbers, states = self._spec.children(batch.states, self._structures.of(batch.states))
        check_numbers(numbers, len(states), len(batch), "children")
        self._spec.schema.check(states, len(numbers), "children")
        if (numbers[1:] < numbers[:-1]).any():
            raise ValueError(f"children must number its messages in their order, not {numbers.tolist()}")
        counts = np.bincount(numbers, minlength=len(batch))
        emissions, rows = [], 0
        if len(numbers):
            copies = batch.select(numbers)
            rows = total_rows(copies.rows)
            payload = copies.payload if self._label is None else (*copies.payload, self._labels(states, copies.rows))
            emissions.append(Emission(direction, 0, Batch(states, copies.rows, payload)))
        if direction is FORWARD:
            if self._spec.parent is None:
                self._spread.remember(batch.states, numbers, counts, states)
            childless = np.flatnonzero(counts == 0)
            if len(childless):
                parts = batch.select(childless)
                zeros = Batch(parts.states, parts.rows, tuple(np.zeros_like(array) for array in parts.payload))
                emissions.append(Emission(BACKWARD, 0, self._spec.home(0, zeros)))
        return Answer(emissions, rows=rows)

    def _labels(self, states: Array, rows: Array) -> Array:
        assert self._label is not None
        labels = self._label(states, self._structures.of(states))
        if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu" or labels.shape != (len(states),):
            raise ValueError(f"label must give int64[{len(states)}], not {labels!r}")
        labels = labels.astype(np.int64, copy=False)
        return labels if are_single(rows) else np.repeat(labels, rows)

    def _come_home(self, batch: Batch) -> Home | None:
        if self._spec.parent is None:
            return self._spread.come_home(batch)
        found = self._spec.parent(batch.states, self._structures.of(batch.states))
        return self._spread.collect(*members_of(found, batch, self._spec.schema, "parent"), batch)

    def _sum(self, states: Array, rows: Array, members: Array, children: Batch) -> Emission:
        rows_each = rows // members
        if (rows_each == 1).all():
            sums = tuple(segment_sums(array, members) for array in children.payload)
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
        return Emission(BACKWARD, 0, self._spec.home(0, Batch(states, rows_each, sums)))
