"""Builds a graph node by node, and checks it whole: every problem is collected and told at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ampsim.errors import GraphError
from ampsim.ir.check import structural_problems
from ampsim.ir.graph import CONTROLLER, Graph, Port
from ampsim.ir.loss import LossSpec
from ampsim.ir.node import NodeSpec, Payload
from ampsim.ir.state import StateSchema
from ampsim.ir.transform import TransformSpec
from ampsim.ops import OPS
from ampsim.ops.table import ArraySpec, Op

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Wire:
    """An output port while the graph is being built.

    `payload` has the specs of its arrays, or is None behind a node that has a problem of its own. `trainable`: some
    node upstream has parameters, so that a gradient is wanted here.
    """

    port: Port
    payload: Payload | None
    trainable: bool = False


class GraphBuilder:
    """Collects nodes and edges; `graph()` checks them all.

    `inputs` are the arrays that the controller injects, by name (`DataSpec.inputs`). Nothing raises before `graph()`,
    so that one run of the check names every problem.
    """

    def __init__(self, inputs: Mapping[str, ArraySpec], schema: StateSchema | None = None) -> None:
        self._schema = schema or StateSchema()
        self._inputs = {
            name: Wire(Port(CONTROLLER, index), (spec,)) for index, (name, spec) in enumerate(inputs.items())
        }
        self._nodes: dict[str, NodeSpec | None] = {}
        self._connections: list[tuple[Port, Port]] = []
        self._problems: list[str] = []

    def input(self, name: str) -> Wire:
        """The wire on which the controller injects the input `name`."""
        if name in self._inputs:
            return self._inputs[name]
        self._problems.append(f"the data have no input {name!r}{_nearest(name, list(self._inputs))}")
        return Wire(Port(CONTROLLER, -1), None)

    def transform(self, name: str, op: str | Op, *inputs: Wire, **options: Any) -> Wire:
        """A node that applies `op`, a registered name or an `Op`, to the wires' arrays side by side."""
        return self._add(name, op, inputs, options, TransformSpec, _check_transform)

    def loss(self, name: str, op: str | Op, prediction: Wire, target: Wire, **options: Any) -> None:
        """A loss node: the mean of `op(prediction, target)` over the rows of each message."""
        self._add(name, op, (prediction, target), options, LossSpec, _check_loss)

    def graph(self) -> Graph:
        """The finished graph. Raises GraphError with every problem found."""
        nodes = {name: spec for name, spec in self._nodes.items() if spec is not None}
        losses = [name for name, spec in nodes.items() if isinstance(spec, LossSpec)]
        outputs = {name: len(spec.outputs) for name, spec in nodes.items()}
        problems = self._problems + structural_problems(tuple(self._inputs), outputs, self._connections)
        if len(losses) > 1:
            problems.append(f"there are {len(losses)} loss nodes ({', '.join(losses)}): a graph has one")
        if not losses and not self._problems:
            problems.append("there is no loss node, so nothing can be learnt: end the graph with loss(...)")
        if problems:
            raise GraphError(problems)
        return Graph(tuple(self._inputs), nodes, dict(self._connections), self._schema)

    def _add(
        self,
        name: str,
        op: str | Op,
        inputs: tuple[Wire, ...],
        options: dict[str, Any],
        kind: type[TransformSpec] | type[LossSpec],
        check: Callable[[Any], str | None],
    ) -> Wire:
        port = Port(name, 0)
        problems = self._name_problems(name)
        if isinstance(op, str) and op not in OPS:
            problems.append(f"{name}: there is no op {op!r}{_nearest(op, list(OPS))}")
        if not inputs:
            problems.append(f"{name}: a node needs at least one input")
        if name not in self._nodes:
            self._connections += [
                (wire.port, Port(name, index)) for index, wire in enumerate(inputs) if wire.port.number >= 0
            ]
            self._nodes[name] = None
        payloads = [wire.payload for wire in inputs]
        if not problems and all(payload is not None for payload in payloads):
            row = OPS[op] if isinstance(op, str) else op
            known = tuple(payload for payload in payloads if payload is not None)
            trainable = tuple(wire.trainable for wire in inputs)
            try:
                spec: TransformSpec | LossSpec = kind(name, known, trainable, self._schema, row, options)
                problem = check(spec)
                outputs = spec.outputs
            except (TypeError, ValueError) as error:
                problem = str(error)
            if not problem:
                self._nodes[name] = spec
                return Wire(port, outputs[0] if outputs else (), any(trainable) or spec.parameterised)
            problems.append(f"{name} ({row.name}): {problem}")
        self._problems += problems
        return Wire(port, None)

    def _name_problems(self, name: str) -> list[str]:
        if not NAME.fullmatch(name):
            return [f"{name!r} is no name for a node: a letter, then letters, digits, '_' or '-'"]
        if name == CONTROLLER:
            return [f"no node may be called {CONTROLLER!r}: the name stands for the process that injects instances"]
        if name in self._nodes:
            return [f"there are two nodes named {name!r}"]
        return []


def _check_transform(spec: TransformSpec) -> str | None:
    if spec.op.metric is not None:
        return f"{spec.op.name!r} is a loss: add it with loss(...)"
    spec.op.cost(1, *spec.arrays, **spec.options)
    return None


def _check_loss(spec: LossSpec) -> str | None:
    if spec.op.metric is None:
        return f"{spec.op.name!r} is not a loss (its row has no metric): add it with transform(...)"
    spec.op.shape(*(array for payload in spec.inputs for array in payload), **spec.options)
    return None


def _nearest(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f" ({hint}there are: {', '.join(sorted(known))})"
