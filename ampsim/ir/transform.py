"""The payload transform: applies an op to its messages. With parameters it is the paper's PPT, without its NPT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from ampsim.ir.batch import BACKWARD, FORWARD, UPDATE, Batch, Direction, single_rows, total_rows
from ampsim.ir.node import ALL_DIRECTIONS, Answer, Emission, Node, Payload, TrainingSetup, gradients_of
from ampsim.ir.op_node import OpNode, OpSpec
from ampsim.ir.store import RowStore
from ampsim.ir.structure import StructureTable
from ampsim.ops.saved import saved_bytes
from ampsim.ops.table import Array, Arrays


@final
@dataclass(frozen=True)
class TransformSpec(OpSpec):
    """`outputs = op(*inputs; parameters)`.

    With several input ports it is the paper's Concat too, with `separate` outputs, a port for each, its Split.
    """

    separate: bool = False

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

    def build(self, setup: TrainingSetup, structures: StructureTable) -> Node:
        return PayloadTransform(self, setup)


@final
class PayloadTransform(OpNode):
    """Caches under the state what the gradient needs."""

    def __init__(self, spec: TransformSpec, setup: TrainingSetup) -> None:
        super().__init__(spec, setup)
        self._spec = spec
        self._computes = setup.arithmetic
        self._segmented, self._options = spec.op.segmented, spec.options
        ends = np.cumsum([len(payload) for payload in spec.inputs]).tolist()
        self._slices = [slice(end - len(payload), end) for payload, end in zip(spec.inputs, ends, strict=True)]
        outputs = spec.outputs
        self._ports = len(outputs)
        self._join = setup.join(spec.inputs)
        self._join_back = setup.join([gradients_of(payload) for payload in outputs])
        self._joins = len(spec.inputs) > 1 or len(outputs) > 1
        saved = () if setup.arithmetic else saved_bytes(spec.op, spec.arrays, spec.options)
        self._cache = RowStore(*saved)

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
        return joins + self._received_bytes + self._cache.size_bytes

    def _forward(self, direction: Direction, states: Array, keys: list[int], rows: Array, inputs: Arrays) -> Answer:
        spec, parameters = self._spec, self.parameters
        updates, news = self._update_before(states) if direction is FORWARD else (0, [])
        values, version = (parameters.values, parameters.version) if parameters is not None else ({}, 0)
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
        return Answer(emissions + news, rows=total_rows(rows), updates=updates)

    def _backward(self, states: Array, keys: list[int], output_gradients: Arrays) -> Answer:
        spec, parameters = self._spec, self.parameters
        rows, saved, versions = self._cache.take(keys)
        gradients: tuple[Array | None, ...] = ()  # nothing upstream learns, or there is nothing to compute on
        parameter_gradients: Mapping[str, Array] = {}
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
        parameters.accumulate(parameter_gradients, count, states[:, 0], rows)
        updates, news = self._update_after(states, under_way=not self._cache.empty)
        return Answer(emissions + news, None, computed, updates, count, staleness)
