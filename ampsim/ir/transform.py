"""The payload transform: applies an op to its messages. With parameters it is the paper's PPT, without its NPT."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, final

import numpy as np

from ampsim.ir.batch import BACKWARD, FORWARD, UPDATE, Batch, Direction, single_rows, total_rows
from ampsim.ir.gradient_exchange import GradientFormat, Gradients
from ampsim.ir.node import ALL_DIRECTIONS, Answer, Emission, Node, NodeSpec, Payload, TrainingSetup, gradients_of
from ampsim.ir.parameters import DrawsAs, ParameterSet
from ampsim.ir.store import RowStore
from ampsim.ir.structure import StructureTable
from ampsim.ops.saved import saved_bytes
from ampsim.ops.table import Array, Arrays, ArraySpec, Cost, Op


@final
@dataclass(frozen=True)
class TransformSpec(NodeSpec):
    """`outputs = op(*inputs; parameters)`: the op sees the arrays of all input ports side by side.

    With several input ports it is the paper's Concat too, with `separate` outputs, a port for each, its Split.
    """

    op: Op
    options: dict[str, Any]
    separate: bool = False
    draws_as: DrawsAs | None = None
    """whose first parameters this node draws, if not its own: replicas start as equals"""
    gain: float = 1.0
    """what the op's first parameters are multiplied by"""
    siblings: int = 0
    """how many replicas of the node take in the gradients of its updates, and it those of theirs"""

    @property
    def arrays(self) -> tuple[ArraySpec, ...]:
        """The op's inputs: the arrays of all ports in order."""
        return tuple(spec for payload in self.inputs for spec in payload)

    @property
    def kind(self) -> str:
        return self.op.name

    @property
    def variant(self) -> str:
        """`first` of a node whose inputs could have gradients and want none: its cost rule counts them, and none is
        computed."""
        floats = any(np.issubdtype(array.dtype, np.floating) for array in self.arrays)
        return "first" if floats and not any(self.wanted) else ""

    def light(self, gathers: bool) -> frozenset[Direction]:
        return frozenset() if self.parameterised else ALL_DIRECTIONS

    @property
    def outputs(self) -> tuple[Payload, ...]:
        arrays = self.op.shape(*self.arrays, **self.options)
        return tuple((array,) for array in arrays) if self.separate else (arrays,)

    @property
    def parameter_values(self) -> int:
        specs = self.op.parameters(*self.arrays, **self.options)
        return sum(prod(spec.shape) for spec in specs.values())

    @property
    def parameterised(self) -> bool:
        return bool(self.op.parameters(*self.arrays, **self.options))

    @property
    def gradient_payload(self) -> Payload:
        return GradientFormat(self.op.parameters(*self.arrays, **self.options)).payload

    def cost(self, rows: int) -> tuple[Cost, Cost]:
        return self.op.cost(rows, *self.arrays, **self.options)

    def build(self, setup: TrainingSetup, structures: StructureTable) -> Node:
        return PayloadTransform(self, setup)


@final
class PayloadTransform(Node):
    """Caches under the state what the gradient needs; accumulates gradients and updates on its own.

    Where a state is the instance alone, a node gets one message of each, and updates at once when an update is due.
    Elsewhere it may get many, and an update in the midst of an instance would depend on which of them overtook which:
    there an update that is due is made when the first message of a later instance comes. So with max_active_keys 1 an
    instance sees one set of parameters from end to end (synchronous training), wherever the nodes are. A node that
    shares its gradients with replicas also updates when nothing is under way at it: the others wait for that.
    """

    def __init__(self, spec: TransformSpec, setup: TrainingSetup) -> None:
        self.name = spec.name
        self._spec = spec
        parameters = spec.op.parameters(*spec.arrays, **spec.options)
        draws_as = spec.draws_as or spec.name
        rules = setup.seed, setup.optimizer, setup.min_update_frequency, setup.learning_rate_decay
        self.parameters = (
            ParameterSet(draws_as, parameters, *rules, spec.gain, setup.arithmetic, spec.siblings > 0)
            if parameters
            else None
        )
        self._computes = setup.arithmetic
        self._segmented, self._options = spec.op.segmented, spec.options
        outputs = spec.outputs
        self._ports = len(outputs)
        self._join = setup.join(spec.inputs)
        self._join_back = setup.join([gradients_of(payload) for payload in outputs])
        self._joins = len(spec.inputs) > 1 or len(outputs) > 1
        saved = () if setup.arithmetic else saved_bytes(spec.op, spec.arrays, spec.options)
        self._cache = RowStore(*saved)
        self._between_instances = len(spec.schema.fields) > 1
        self._latest = -1
        self._wanted = tuple(
            wanted and np.issubdtype(array.dtype, np.floating)
            for payload, wanted in zip(spec.inputs, spec.wanted, strict=True)
            for array in payload
        )
        ends = np.cumsum([len(payload) for payload in spec.inputs]).tolist()
        self._slices = [slice(end - len(payload), end) for payload, end in zip(spec.inputs, ends, strict=True)]
        self._learns = self.parameters is not None or any(self._wanted)

    def answer(self, direction: Direction, port: int, batch: Batch) -> Answer:
        if direction is UPDATE:
            return self._take_in(batch)
        backward = direction is BACKWARD
        states, keys, rows, arrays = batch.states, self._spec.schema.keys(batch.states), batch.rows, batch.payload
        if self._joins:
            joined = (self._join_back if backward else self._join).add(port, states, keys, rows, arrays)
            if joined is None:
                return Answer()
            states, keys, rows, arrays = joined
        return (
            self._backward(states, keys, arrays) if backward else self._forward(direction, states, keys, rows, arrays)
        )

    def held(self) -> list[int]:
        return [*self._join.waiting(), *self._join_back.waiting(), *self._cache]

    @property
    def cached_bytes(self) -> int:
        joins = self._join.size_bytes + self._join_back.size_bytes if self._joins else 0
        received = self.parameters.received_bytes if self._spec.siblings and self.parameters else 0
        return joins + received + self._cache.size_bytes

    def _forward(self, direction: Direction, states: Array, keys: list[int], rows: Array, inputs: Arrays) -> Answer:
        spec, parameters = self._spec, self.parameters
        values, version, updates = {}, 0, 0
        if parameters is not None:
            if direction is FORWARD and self._between_instances:
                updates = self._update_before(states)
            values, version = parameters.values, parameters.version
        outputs: Arrays = ()
        saved: Arrays = ()
        if self._computes:
            options = {**self._options, "rows": rows} if self._segmented else self._options
            outputs, saved = spec.op.forward(values, *inputs, **options)
        if direction is FORWARD:
            self._cache.put(keys, rows, saved, version)
        left = single_rows(len(rows)) if self._segmented else rows
        if self._ports == 1:
            emissions = [Emission(direction, 0, Batch(states, left, outputs))]
        else:
            emissions = [
                Emission(direction, port, Batch(states, left, outputs[port : port + 1])) for port in range(self._ports)
            ]
        if updates and spec.siblings:
            emissions += self._to_siblings(states)
        return Answer(emissions, rows=total_rows(rows), updates=updates)

    def _backward(self, states: Array, keys: list[int], output_gradients: Arrays) -> Answer:
        spec, parameters = self._spec, self.parameters
        rows, saved, versions = self._cache.take(keys)
        gradients: tuple[Array | None, ...] = ()  # nothing upstream learns, or there is nothing to compute on
        parameter_gradients: Gradients = {}
        if self._computes and self._learns:
            options = {**self._options, "rows": rows} if self._segmented else self._options
            values = parameters.values if parameters is not None else {}
            gradients, parameter_gradients = spec.op.backward(values, saved, output_gradients, self._wanted, **options)
        emissions = [
            Emission(BACKWARD, port, Batch(states, rows, tuple([own for own in gradients[slice_] if own is not None])))
            for port, slice_ in enumerate(self._slices)
        ]
        computed = total_rows(rows) if self._learns else 0
        if parameters is None:
            return Answer(emissions, None, computed)
        count, staleness = len(keys), parameters.version - versions
        parameters.accumulate(parameter_gradients, count, computed)
        # What replicas wait for is not held back until a later instance comes, if none is under way here.
        at_once = not self._between_instances or (spec.siblings and self._cache.empty)
        updates = parameters.update_if_due() if at_once else 0
        if updates and spec.siblings:
            emissions += self._to_siblings(states)
        return Answer(emissions, None, computed, updates, count, staleness)

    def _update_before(self, states: Array) -> int:
        """Make the updates that wait for a later instance, if one of these messages is of such; how many they are."""
        assert self.parameters is not None
        if (latest := int(states[:, 0].max())) <= self._latest:
            return 0
        self._latest = latest
        received = self.parameters.apply_received() if self._spec.siblings else 0
        return received + self.parameters.update_if_due()

    def _to_siblings(self, states: Array) -> list[Emission]:
        """The gradients of the updates just made, for each replica; their state is the first of these messages."""
        assert self.parameters is not None
        return [
            Emission(UPDATE, port, Batch(states[:1], np.array([rows]), payload))
            for rows, payload in self.parameters.take_outgoing()
            for port in range(self._spec.siblings)
        ]

    def _take_in(self, batch: Batch) -> Answer:
        """The gradients of replicas' updates: kept until an update may be made here."""
        assert self.parameters is not None
        ends = np.cumsum(batch.rows).tolist()
        for rows, end in zip(batch.rows.tolist(), ends, strict=True):
            self.parameters.receive(rows, tuple(array[end - rows : end] for array in batch.payload))
        return Answer(updates=0 if self._between_instances else self.parameters.apply_received())
