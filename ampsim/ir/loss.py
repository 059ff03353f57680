"""The loss node: matches prediction and target by state, reports to the controller, starts the backward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from ampsim.ir.batch import BACKWARD, INFERENCE, Batch, Direction, single_rows, total_rows
from ampsim.ir.node import Answer, Emission, Node, NodeSpec, Payload, TrainingSetup
from ampsim.ir.store import Joined
from ampsim.ir.structure import StructureTable
from ampsim.ops.table import Array, Cost, Op

PREDICTION, TARGET = 0, 1
"""The input ports of a loss node."""


@final
@dataclass(frozen=True)
class LossSpec(NodeSpec):
    """A loss on (prediction, target): the mean over the rows of each message, whatever batch it comes in.

    A segmented loss gives one value for the rows of a message together.
    """

    op: Op
    options: dict[str, Any]

    @property
    def kind(self) -> str:
        return self.op.name

    @property
    def outputs(self) -> tuple[Payload, ...]:
        return ()

    @property
    def parameterised(self) -> bool:
        return False

    def problem(self) -> str | None:
        """Why the op is none for such a node, if so. Raises TypeError or ValueError for options that are wrong."""
        if self.op.metric is None:
            return f"{self.op.name!r} is not a loss (its row has no metric): add it with transform(...)"
        self.op.shape(*(array for payload in self.inputs for array in payload), **self.options)
        return None

    def cost(self, rows: int) -> tuple[Cost, Cost]:
        """All of it falls to the forward batch, which does both; no backward batch ever comes."""
        forward, backward = self.op.cost(rows, *(spec for payload in self.inputs for spec in payload), **self.options)
        return forward + backward, Cost()

    def work(self, direction: Direction, rows: int) -> Cost:
        """A forward batch does both ways; one that is passed forward only, the first."""
        if direction is INFERENCE:
            return self.op.cost(rows, *(spec for payload in self.inputs for spec in payload), **self.options)[0]
        return super().work(direction, rows)

    def build(self, setup: TrainingSetup, structures: StructureTable) -> Node:
        return Loss(self, setup)


@final
class Loss(Node):
    """Holds nothing but the messages that wait for their partner."""

    def __init__(self, spec: LossSpec, setup: TrainingSetup) -> None:
        self.name = spec.name
        self.parameters = None
        self._spec = spec
        self._computes = setup.arithmetic
        self._join = setup.join(spec.inputs)

    def held(self) -> list[int]:
        return self._join.waiting()

    @property
    def cached_bytes(self) -> int:
        return self._join.size_bytes

    def answer(self, direction: Direction, port: int, batch: Batch) -> Answer:
        keys = self._spec.schema.keys(batch.states)
        joined = self._join.add(port, batch.states, keys, batch.rows, batch.payload)
        if joined is None:
            return Answer()
        if not self._computes:
            return self._answer_shapes(direction, joined)
        op, options, rows = self._spec.op, self._spec.options, joined.rows
        counts = single_rows(len(rows)) if op.segmented else rows
        if op.segmented:
            options = {**options, "rows": rows}
        (loss, metric), saved = op.forward({}, *joined.arrays, **options)
        report = _report(joined.states, counts, loss, metric)
        if direction is INFERENCE:
            return Answer(report=report, rows=total_rows(rows))
        loss_gradient = np.repeat(1.0 / counts, counts).astype(loss.dtype)
        wanted = (self._spec.wanted[PREDICTION], False)
        (gradient, _), _ = op.backward({}, saved, (loss_gradient, None), wanted, **options)
        payloads = (() if gradient is None else (gradient,), ())
        return Answer(
            [Emission(BACKWARD, port, Batch(joined.states, rows, payload)) for port, payload in enumerate(payloads)],
            report,
            total_rows(rows),
        )

    def _answer_shapes(self, direction: Direction, joined: Joined) -> Answer:
        """The same without a payload: a report of no figures, and gradients of no values."""
        states, rows = joined.states, joined.rows
        back = [Emission(BACKWARD, port, Batch(states, rows, ())) for port in (PREDICTION, TARGET)]
        report = Batch(states, single_rows(len(states)), ())
        return Answer(() if direction is INFERENCE else back, report, total_rows(rows))


def _report(states: Array, rows: Array, loss: Array, metric: Array) -> Batch:
    starts = np.concatenate([[0], np.cumsum(rows)[:-1]])
    figures = np.stack(
        [
            np.add.reduceat(loss, starts, dtype=np.float64),
            np.add.reduceat(metric, starts, dtype=np.float64),
            rows.astype(np.float64),
        ],
        axis=1,
    )
    return Batch(states, single_rows(len(states)), (figures,))
