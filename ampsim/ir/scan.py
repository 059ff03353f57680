"""A loop over a sequence in one node: what a loop of an op and the nodes that route do with a message a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import ge
from typing import final

import numpy as np

from ampsim.ir.batch import BACKWARD, FORWARD, UPDATE, Batch, Direction
from ampsim.ir.node import Answer, Emission, Node, Payload, TrainingSetup
from ampsim.ir.op_node import OpNode, OpSpec
from ampsim.ir.store import RowStore
from ampsim.ir.structure import StructureTable
from ampsim.ops.saved import saved_bytes
from ampsim.ops.table import Array, Arrays

ELEMENTS, BEGINNING = 0, 1
"""Input ports."""


@final
@dataclass(frozen=True)
class ScanSpec(OpSpec):
    """A sequential op over whole sequences: `state = op(elements, state; parameters)`.

    The field `counter` of a state says which element a message has, from 0 on, and the field `length` how many there
    are, at least one. What the scan begins with comes with a counter of 0; what it ends with leaves with one of
    `length`.
    """

    counter: int = 1
    length: int = 2

    @property
    def variant(self) -> str:
        return "scan"

    @property
    def gathers(self) -> bool:
        return True

    @property
    def outputs(self) -> tuple[Payload, ...]:
        return (self.op.shape(*self.arrays, **self.options),)

    def problem(self) -> str | None:
        if not self.op.sequential:
            return "a scan is of an op that takes several steps at once (its row is `sequential`)"
        return super().problem()

    def build(self, setup: TrainingSetup, structures: StructureTable) -> Node:
        return Scan(self, setup)


@final
class Scan(OpNode):
    """Waits until a sequence is complete, then takes it from end to end; and back, once the gradient has come.

    Each element is a gradient of its own, as in a loop of messages. What is kept for the way back is kept under the
    state of the first.
    """

    def __init__(self, spec: ScanSpec, setup: TrainingSetup) -> None:
        super().__init__(spec, setup)
        self._spec = spec
        self._computes = setup.arithmetic
        self._waiting = [RowStore(setup.row_bytes(payload)) for payload in spec.inputs]
        self._left: dict[int, int] = {}
        """by the key of a sequence's first element: how many messages are still to come"""
        one = np.arange(len(spec.schema.fields)) == spec.counter
        self._step = spec.schema.packed(one[None].astype(np.int64)).item()
        """from the key of an element to that of the next"""
        self._cache = RowStore(*(() if setup.arithmetic else saved_bytes(spec.op, spec.arrays, spec.options)))

    def answer(self, direction: Direction, port: int, batch: Batch) -> Answer:
        if direction is UPDATE:
            return self._take_in(batch)
        if direction is not BACKWARD:
            return _together([self._forward(direction, states) for states in self._complete(port, batch)])
        if len(batch) == 1:
            return self._backward(batch)
        return _together([self._backward(batch.select(np.array([message]))) for message in range(len(batch))])

    def held(self) -> list[int]:
        return [*self._waiting[ELEMENTS], *self._waiting[BEGINNING], *self._cache]

    @property
    def cached_bytes(self) -> int:
        return sum([store.size_bytes for store in (*self._waiting, self._cache)]) + self._received_bytes

    def _complete(self, port: int, batch: Batch) -> list[Array]:
        """Keep messages; of each sequence that is complete with them, the states of its elements."""
        spec, keys = self._spec, self._spec.schema.keys(batch.states)
        counters, lengths = (batch.states[:, column].tolist() for column in (spec.counter, spec.length))
        # Elements have counters below the length; beginnings have 0, and so a length of at least 1.
        ends = lengths if port == ELEMENTS else [min(length, 1) for length in lengths]
        if any(map(ge, counters, ends)):
            raise ValueError(
                f"{spec.schema.fields[spec.counter].name} is {counters} of {lengths} steps: elements count from 0 to "
                "less than there are, and what a scan begins with has 0"
            )
        self._waiting[port].put(keys, batch.rows, batch.payload)
        complete = []
        for state, key, counter, length in zip(batch.states, keys, counters, lengths, strict=True):
            first = key - counter * self._step
            left = self._left.pop(first, length + 1) - 1
            if left:
                self._left[first] = left
            else:
                complete.append(self._elements(state))
        return complete

    def _elements(self, state: Array) -> Array:
        """int64[length, fields]: the states of the elements of a sequence, by the state of one or of its end."""
        states = np.repeat(state[None], state.item(self._spec.length), axis=0)
        states[:, self._spec.counter] = np.arange(len(states))
        return states

    def _forward(self, direction: Direction, states: Array) -> Answer:
        """Take a sequence from end to end: `states` are those of its elements."""
        spec, keys = self._spec, self._spec.schema.keys(states)
        rows, elements, _ = self._waiting[ELEMENTS].take(keys)
        each, state, _ = self._waiting[BEGINNING].take(keys[:1])
        if (rows != each).any():
            raise ValueError(f"elements of {rows.tolist()} rows, and a beginning of {each.item()}: all must agree")
        updates, news = self._update_before(states) if direction is FORWARD else (0, [])
        values, version = (self.parameters.values, self.parameters.version) if self.parameters is not None else ({}, 0)
        saved: Arrays = ()
        if self._computes:
            state, saved = spec.op.forward(values, *elements, *state, **spec.options, steps=len(keys))
        if direction is FORWARD:
            self._cache.put(keys[:1], len(keys) * each, saved, version)
        end = states[-1:].copy()
        end[0, spec.counter] = len(keys)
        return Answer(
            [Emission(direction, 0, Batch(end, each, state)), *news], rows=each.item() * len(keys), updates=updates
        )

    def _backward(self, batch: Batch) -> Answer:
        """Take the sequence that ended with this message back."""
        spec, parameters = self._spec, self.parameters
        states = self._elements(batch.states[0])
        rows, saved, version = self._cache.take(spec.schema.keys(states[:1]))
        of_elements: Array | None = None
        of_state: Array | None = None
        parameter_gradients: Mapping[str, Array] = {}
        if self._computes and self._learns:
            values = parameters.values if parameters is not None else {}
            (of_elements, of_state), parameter_gradients = spec.op.backward(
                values, saved, batch.payload, self._wanted, **spec.options, steps=len(states)
            )
        back = Batch(states, np.repeat(batch.rows, len(states)), () if of_elements is None else (of_elements,))
        begin = Batch(states[:1], batch.rows, () if of_state is None else (of_state,))
        emissions = [Emission(BACKWARD, ELEMENTS, back), Emission(BACKWARD, BEGINNING, begin)]
        computed = rows.item() if self._learns else 0
        if parameters is None:
            return Answer(emissions, rows=computed)
        count, staleness = len(states), parameters.version - version
        parameters.accumulate(parameter_gradients, count, states[:1, 0], rows)
        updates, news = self._update_after(states, under_way=not self._cache.empty)
        return Answer(emissions + news, None, computed, updates, count, staleness)


def _together(answers: Sequence[Answer]) -> Answer:
    """One answer that says what several do, or none at all."""
    if len(answers) < 2:
        return answers[0] if answers else Answer()
    return Answer(
        [emission for answer in answers for emission in answer.emissions],
        rows=sum(answer.rows for answer in answers),
        updates=sum(answer.updates for answer in answers),
        gradients=sum(answer.gradients for answer in answers),
        staleness=np.repeat([answer.staleness for answer in answers], [answer.gradients for answer in answers]),
    )
