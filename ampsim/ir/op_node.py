"""What nodes that apply an op have in common: the op's options and cost, and parameters that update themselves."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ampsim.ir.batch import UPDATE, Batch
from ampsim.ir.gradient_exchange import GradientFormat
from ampsim.ir.node import Answer, Emission, Node, NodeSpec, Payload, TrainingSetup
from ampsim.ir.parameters import DrawsAs, ParameterSet
from ampsim.ops.table import Array, ArraySpec, Cost, Op


@dataclass(frozen=True)
class OpSpec(NodeSpec):
    """Applies an op: it sees the arrays of all input ports side by side."""

    op: Op
    options: dict[str, Any]
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
    def parameter_values(self) -> int:
        specs = self.op.parameters(*self.arrays, **self.options)
        return sum(prod(spec.shape) for spec in specs.values())

    @property
    def parameterised(self) -> bool:
        return bool(self.op.parameters(*self.arrays, **self.options))

    @property
    def gradient_payload(self) -> Payload:
        return GradientFormat(self.op.parameters(*self.arrays, **self.options)).payload

    def problem(self) -> str | None:
        """Why the op is none for such a node, if so. Raises TypeError or ValueError for options that are wrong."""
        if self.op.metric is not None:
            return f"{self.op.name!r} is a loss: add it with loss(...)"
        self.cost(1)
        return None

    def cost(self, rows: int) -> tuple[Cost, Cost]:
        return self.op.cost(rows, *self.arrays, **self.options)


class OpNode(Node):
    """Accumulates the gradients of its parameters, if it has any, and updates them on its own.

    Where a state is the instance alone, a node gets one message of each, and updates at once when an update is due.
    Elsewhere it may get many, and an update in the midst of an instance would depend on which of them overtook which:
    there an update that is due is made when the first message of a later instance comes. So with max_active_keys 1 an
    instance sees one set of parameters from end to end (synchronous training), wherever the nodes are. A node that
    shares its gradients with replicas also updates when nothing is under way at it: the others wait for that.
    """

    def __init__(self, spec: OpSpec, setup: TrainingSetup) -> None:
        self.name = spec.name
        self._siblings = spec.siblings
        parameters = spec.op.parameters(*spec.arrays, **spec.options)
        draws_as = spec.draws_as or spec.name
        rules = setup.seed, setup.optimizer, setup.min_update_frequency, setup.learning_rate_decay
        self.parameters = (
            ParameterSet(
                draws_as,
                parameters,
                *rules,
                spec.gain,
                setup.arithmetic,
                spec.siblings > 0,
                setup.instances_per_update,
            )
            if parameters
            else None
        )
        self._between_instances = len(spec.schema.fields) > 1
        self._latest = -1
        self._wanted = tuple(
            wanted and np.issubdtype(array.dtype, np.floating)
            for payload, wanted in zip(spec.inputs, spec.wanted, strict=True)
            for array in payload
        )
        self._learns = self.parameters is not None or any(self._wanted)

    @property
    def _received_bytes(self) -> int:
        return self.parameters.received_bytes if self._siblings and self.parameters else 0

    def _update_before(self, states: Array) -> tuple[int, list[Emission]]:
        """Make the updates that wait for a later instance, if one of these messages is of such: how many they are, and
        what is to be told replicas."""
        if self.parameters is None or not self._between_instances:
            return 0, []
        if (latest := int(states[:, 0].max())) <= self._latest:
            return 0, []
        self._latest = latest
        received = self.parameters.apply_received() if self._siblings else 0
        own = self.parameters.update_if_due()
        return received + own, self._to_siblings(states) if received + own else []

    def _update_after(self, states: Array, under_way: bool) -> tuple[int, list[Emission]]:
        """Make an update that is due, if it need not wait for a later instance; `under_way` if the node still has
        something of one. As `_update_before`."""
        assert self.parameters is not None
        # What replicas wait for is not held back until a later instance comes, if none is under way here.
        at_once = not self._between_instances or (self._siblings and not under_way)
        updates = self.parameters.update_if_due() if at_once else 0
        return updates, self._to_siblings(states) if updates else []

    def _to_siblings(self, states: Array) -> list[Emission]:
        """The gradients of the updates just made, for each replica; their state is the first of these messages."""
        assert self.parameters is not None
        if not self._siblings:
            return []
        return [
            Emission(UPDATE, port, Batch(states[:1], np.array([rows]), payload))
            for rows, payload in self.parameters.take_outgoing()
            for port in range(self._siblings)
        ]

    def _take_in(self, batch: Batch) -> Answer:
        """The gradients of replicas' updates: kept until an update may be made here."""
        assert self.parameters is not None
        ends = np.cumsum(batch.rows).tolist()
        for rows, end in zip(batch.rows.tolist(), ends, strict=True):
            self.parameters.receive(rows, tuple(array[end - rows : end] for array in batch.payload))
        return Answer(updates=0 if self._between_instances else self.parameters.apply_received())
