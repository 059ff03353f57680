"""A counted loop's head in one node: what a Phi, a Cond and an Isu do in three (PAPER.md, "The IR nodes")."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from ampsim.ir.batch import BACKWARD, Batch, Direction
from ampsim.ir.node import AHEAD, ALL_DIRECTIONS, Answer, Emission, Node, Payload, RoutingSpec, TrainingSetup
from ampsim.ir.routing import Select, partition
from ampsim.ir.state import check_numbers
from ampsim.ir.structure import StructureTable
from ampsim.ops.table import Array

ENTRY, BACK_EDGE = 0, 1
"""Input ports."""
BODY, EXIT = 0, 1
"""Output ports."""


@final
@dataclass(frozen=True)
class LoopSpec(RoutingSpec):
    """Sends what enters, and what has been round, round again, or where `over` gives 1 out of the loop.

    The column `counter` of a state counts the rounds: 0 at the entry, one more with each message that comes back. So
    the state of a gradient tells where its message came from, and nothing is remembered. `over` is asked before the
    first round, too.
    """

    counter: int
    over: Select
    structured: bool

    @property
    def needs_structure(self) -> bool:
        return self.structured

    def light(self, gathers: bool) -> frozenset[Direction]:
        # Back, what has gathered is parted by origin into fuller batches.
        return AHEAD if gathers else ALL_DIRECTIONS

    @property
    def outputs(self) -> tuple[Payload, ...]:
        return (self.inputs[ENTRY],) * 2

    @cached_property
    def a_round(self) -> Array:
        """int64[fields]: what a round adds to a state."""
        step = np.zeros(len(self.schema.fields), np.int64)
        step[self.counter] = 1
        return step

    def build(self, setup: TrainingSetup, structures: StructureTable) -> Node:
        return Loop(self, structures)


@final
class Loop(Node):
    """Keeps nothing: a state's counter tells whether its message entered or had been round."""

    parameters = None
    cached_bytes = 0

    def __init__(self, spec: LoopSpec, structures: StructureTable) -> None:
        self.name, self._spec, self._structures = spec.name, spec, structures

    def held(self) -> list[int]:
        return []

    def answer(self, direction: Direction, port: int, batch: Batch) -> Answer:
        spec = self._spec
        if direction is BACKWARD:
            origins = (batch.states[:, spec.counter] > 0).astype(np.int64)
            return Answer([self._home(origin, part) for origin, part in partition(batch, origins)])
        if port == BACK_EDGE:
            batch = Batch(batch.states + spec.a_round, batch.rows, batch.payload)
            spec.schema.check(batch.states, len(batch), "a round")
        elif batch.states[:, spec.counter].any():
            raise ValueError(
                f"a message enters with {spec.schema.fields[spec.counter].name} above 0, which counts the rounds: "
                "let it be 0 there"
            )
        over = spec.over(batch.states, self._structures.of(batch.states))
        check_numbers(over, len(batch), 2, "over")
        return Answer([Emission(direction, way, part) for way, part in partition(batch, over)])

    def _home(self, origin: int, batch: Batch) -> Emission:
        """Gradients to where their messages came from, in the state that these came with."""
        if origin == BACK_EDGE:
            batch = Batch(batch.states - self._spec.a_round, batch.rows, batch.payload)
        return Emission(BACKWARD, origin, self._spec.home(origin, batch))
