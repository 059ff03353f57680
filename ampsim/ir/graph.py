"""The static graph of IR nodes: what the nodes are, and which port leads to which."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple

from ampsim.ir.batch import BACKWARD, FORWARD, INFERENCE, UPDATE, Batch, Direction, total_rows
from ampsim.ir.loss import LossSpec
from ampsim.ir.node import NodeSpec, Payload, gradients_of, payload_bytes
from ampsim.ir.state import StateSchema
from ampsim.ops.table import Cost

CONTROLLER = "controller"
"""Stands in ports and targets for the process that injects instances; no node may be called so."""


class Port(NamedTuple):
    """A port of a node: an input or an output port, as the place where it stands says.

    The controller's output ports are the graph's inputs, in their order.
    """

    node: str
    number: int


class Target(NamedTuple):
    """Where a message goes: FORWARD and INFERENCE to an input port, BACKWARD to an output port, UPDATE to a replica,
    which numbers the others that stand for the same node."""

    node: str
    port: int
    direction: Direction


@dataclass(frozen=True)
class Graph:
    """A checked model: build one with `GraphBuilder`.

    `inputs` names what the controller injects; `nodes` is in topological order (but for the edges that go back);
    `edges` leads from output ports to input ports, one to one. `replicas` are groups of nodes that stand for one, each
    for some of the instances: their parameters are averaged at the end of an epoch. With `shares`, each also
    takes in the gradient of every update of the others. A whole graph may stand there in several `copies`, one after
    the other, each with all the inputs.
    """

    inputs: tuple[str, ...]
    nodes: Mapping[str, NodeSpec]
    edges: Mapping[Port, Port]
    schema: StateSchema
    replicas: tuple[tuple[str, ...], ...] = ()
    shares: bool = False
    copies: int = 1
    _sources: dict[Port, Port] = field(init=False, repr=False, compare=False, default_factory=dict)
    _payloads: dict[Target, Payload] = field(init=False, repr=False, compare=False, default_factory=dict)
    _targets: dict[tuple[str, int, Direction], Target] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )
    _row_bytes: dict[Target, int] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._sources.update((target, source) for source, target in self.edges.items())
        for name, spec in self.nodes.items():
            for port, payload in enumerate(spec.inputs):
                self._payloads[Target(name, port, FORWARD)] = payload
                self._payloads[Target(name, port, INFERENCE)] = payload
            for port, payload in enumerate(spec.outputs):
                learns = spec.parameterised or any(spec.wanted)
                self._payloads[Target(name, port, BACKWARD)] = gradients_of(payload) if learns else ()
        for name, others in self._siblings.items():
            for port in range(len(others)):
                self._payloads[Target(name, port, UPDATE)] = self.nodes[name].gradient_payload
        self._row_bytes.update((target, payload_bytes(payload)) for target, payload in self._payloads.items())

    def target(self, node: str, direction: Direction, port: int) -> Target:
        """Where a message goes that leaves `node` by `port` in `direction`."""
        found = self._targets.get((node, port, direction))
        if found is None:
            if direction is UPDATE:
                to = self._siblings[node][port]
                leads_to = Port(to, self._siblings[to].index(node))
            else:
                leads_to = (self._sources if direction is BACKWARD else self.edges)[Port(node, port)]
            found = self._targets[node, port, direction] = Target(*leads_to, direction)
        return found

    @property
    def sharing(self) -> Collection[str]:
        """The nodes that send the gradients of their updates to replicas."""
        return self._siblings.keys()

    @cached_property
    def _siblings(self) -> dict[str, list[str]]:
        """Of each node that shares its gradients, the others that stand for the same."""
        groups = self.replicas if self.shares else ()
        return {name: [other for other in group if other != name] for group in groups for name in group}

    def payload(self, target: Target) -> Payload | None:
        """The arrays of a message to `target`; None if there is no such port."""
        return self._payloads.get(target)

    @cached_property
    def entries(self) -> tuple[str, ...]:
        """The controller's output ports: the input that goes out by each, with the number of the copy, if any."""
        if self.copies == 1:
            return self.inputs
        return tuple(f"{name}_{copy}" for copy in range(self.copies) for name in self.inputs)

    def nodes_of_copy(self, copy: int) -> Sequence[str]:
        """The nodes of one of the graph's copies."""
        size = len(self.nodes) // self.copies
        return list(self.nodes)[copy * size : (copy + 1) * size]

    @cached_property
    def ranks(self) -> Mapping[str, int]:
        """The number of each node on the way forward."""
        return {name: rank for rank, name in enumerate(self.nodes)}

    @cached_property
    def targets(self) -> Mapping[Target, int]:
        """Where messages can go, numbered in an order that is the same in every process."""
        return {target: number for number, target in enumerate(self._payloads)}

    def size_bytes(self, target: Target, batch: Batch) -> int:
        """Bytes of a batch to `target`, by its shape: states and row counts of 8 bytes a value, and the payload's rows.

        The same as `batch.size_bytes`, also where there are no arrays. What goes home has no payload.
        """
        state_bytes: int = 8 * (batch.states.size + len(batch.rows))
        row_bytes = self._row_bytes.get(target)
        return state_bytes + row_bytes * total_rows(batch.rows) if row_bytes else state_bytes

    @property
    def metrics(self) -> tuple[str, ...]:
        """What the loss nodes report: `loss`, and the metric of each."""
        found = {spec.op.metric for spec in self.nodes.values() if isinstance(spec, LossSpec)}
        return ("loss", *sorted(metric for metric in found if metric))

    def costs(self, rows: int) -> dict[str, tuple[Cost, Cost]]:
        """Each node's work for one forward and one backward batch of `rows` rows."""
        return {name: spec.cost(rows) for name, spec in self.nodes.items()}

    @property
    def fingerprint(self) -> str:
        """Equal for equal graphs, in every process: by it a device knows that it built the controller's graph."""
        text = repr(
            (
                self.inputs,
                [_describe(spec) for spec in self.nodes.values()],
                sorted(self.edges.items()),
                self.replicas,
                self.shares,
                self.copies,
            )
        )
        return sha256(text.encode()).hexdigest()


def _describe(spec: NodeSpec) -> tuple[object, ...]:
    op, options = getattr(spec, "op", None), getattr(spec, "options", {})
    return (
        type(spec).__name__,
        spec.name,
        spec.inputs,
        spec.wanted,
        op.name if op else "",
        sorted(options.items()),
        getattr(spec, "gain", None),
        spec.schema,
    )
