"""What a node is: it answers one event with messages out, and knows nothing of where its neighbours live.

The invariant that every node keeps (PAPER.md, "The algorithm"): for every FORWARD message it receives on an
input port it sends exactly one BACKWARD message with the same state on that port, sooner or later; and it
receives exactly one for every FORWARD message it sends. An INFERENCE message is passed on and forgotten.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple

from ampsim.ir.batch import BACKWARD, FORWARD, INFERENCE, Batch, Direction
from ampsim.ir.parameters import ParameterSet
from ampsim.ir.state import StateSchema
from ampsim.ir.store import Join, Tags
from ampsim.ir.structure import StructureTable
from ampsim.ops.optimizers import Optimizer
from ampsim.ops.table import ArraySpec, Cost

Payload = tuple[ArraySpec, ...]
"""What a port carries: the specs of its arrays."""

AHEAD = frozenset({FORWARD, INFERENCE})
BACK = frozenset({BACKWARD})
ALL_DIRECTIONS = AHEAD | BACK


def payload_bytes(payload: Payload) -> int:
    """Bytes of one row of a port."""
    return sum(array.row_bytes for array in payload)


def gradients_of(payload: Payload) -> Payload:
    """What goes the other way on a port: a gradient for each array of floats."""
    return tuple(array for array in payload if array.dtype.startswith("float"))


class Emission(NamedTuple):
    """Messages that leave a node: FORWARD and INFERENCE by an output port, BACKWARD by an input port."""

    direction: Direction
    port: int
    batch: Batch


@dataclass(slots=True)
class Answer:
    """What a node does about one event.

    `emissions` may be none (it waits), one, or several on any ports. `report` holds a loss node's figures for the
    controller: one message per state, payload `float64[n, 3]` of loss summed over rows, metric summed over rows,
    rows. `rows` is how many rows were computed on (0 where nothing was). `updates` counts updates of the node's own
    parameters, `gradients` is how many were accumulated, and `staleness` the updates between the forward and the
    backward pass of each of them: one number for all, or int64[gradients].
    """

    emissions: Sequence[Emission] = ()
    report: Batch | None = None
    rows: int = 0
    updates: int = 0
    gradients: int = 0
    staleness: Tags = 0


@dataclass(frozen=True)
class TrainingSetup:
    """What a node must know of the training.

    Without `arithmetic` nodes work on shapes alone: messages have states and row counts and no payload, and all that
    follows from these (what is sent where, which updates are made, what is kept) is as it would be.
    """

    seed: int
    optimizer: Optimizer
    min_update_frequency: int = 1
    learning_rate_decay: float = 1.0
    arithmetic: bool = True
    instances_per_update: int = 0

    def row_bytes(self, payload: Payload) -> int:
        """What a kept row of a port counts beside its arrays: its size on shapes alone, or nothing."""
        return 0 if self.arithmetic else payload_bytes(payload)

    def join(self, ports: Sequence[Payload]) -> Join:
        """What matches the messages of some ports."""
        return Join(len(ports), None if self.arithmetic else [payload_bytes(payload) for payload in ports])


class Node(ABC):
    """A live node on a device: caches, and parameters if it has any."""

    name: str
    parameters: ParameterSet | None

    @abstractmethod
    def answer(self, direction: Direction, port: int, batch: Batch) -> Answer:
        """Answer a batch: FORWARD and INFERENCE come in by an input port, BACKWARD by an output port."""

    @abstractmethod
    def held(self) -> list[int]:
        """Keys of the states that the node keeps something for; empty when nothing is in flight."""

    @property
    @abstractmethod
    def cached_bytes(self) -> int:
        """Bytes kept for messages in flight."""


@dataclass(frozen=True)
class NodeSpec(ABC):
    """A node as the graph describes it: `inputs` has the payload of each input port.

    `wanted` says for each input port whether its sender wants gradients; the answer on the others carries none.
    """

    name: str
    inputs: tuple[Payload, ...]
    wanted: tuple[bool, ...]
    schema: StateSchema = field(repr=False)

    @property
    def needs_structure(self) -> bool:
        """Whether the node asks for its instances' structure."""
        return False

    @property
    def gathers(self) -> bool:
        """Whether the node waits until all messages of something have come: then those that came together are handled
        together, also where others are handled one at a time."""
        return False

    def light(self, gathers: bool) -> frozenset[Direction]:
        """The directions in which a batch from the node's own device is answered in the turn that made it.

        For what the way through the queue would cost more than it is good for. `gathers` says whether messages are
        handled together that have gathered there: some nodes make fuller batches of these.
        """
        return frozenset()

    @property
    def op_name(self) -> str:
        """What the node does, as a device's measured rates name it: its kind, and its variant if it has one."""
        return f"{self.kind} {self.variant}".rstrip()

    @property
    def kind(self) -> str:
        """The op that it applies, or for a node that routes what kind of node it is."""
        return type(self).__name__.removesuffix("Spec").lower()

    @property
    def variant(self) -> str:
        """What makes it take another time than others of its kind."""
        return ""

    @property
    @abstractmethod
    def outputs(self) -> tuple[Payload, ...]:
        """The payload of each output port."""

    @property
    @abstractmethod
    def parameterised(self) -> bool:
        """Whether the node has parameters of its own."""

    @abstractmethod
    def cost(self, rows: int) -> tuple[Cost, Cost]:
        """Work of one forward and of one backward batch of `rows` rows."""

    @property
    def gradient_payload(self) -> Payload:
        """What the gradient of an update carries to a replica."""
        return ()

    @property
    def parameter_values(self) -> int:
        """How many numbers the node's parameters have together."""
        return 0

    def work(self, direction: Direction, rows: int) -> Cost:
        """Work of one batch that computes on `rows` rows; INFERENCE is the same as FORWARD."""
        return self.cost(rows)[direction is BACKWARD]

    @abstractmethod
    def build(self, setup: TrainingSetup, structures: StructureTable) -> Node:
        """The live node, with its first parameters; `structures` is its device's table."""


@dataclass(frozen=True)
class RoutingSpec(NodeSpec):
    """A node without parameters that only sends messages on; unless it says otherwise, it computes nothing."""

    @property
    def variant(self) -> str:
        """The function of the model that it asks: the name of the first that has one."""
        names = [getattr(getattr(self, part.name), "__name__", "").lstrip("_") for part in fields(self)]
        return next((name for name in names if name.isidentifier()), "")

    @property
    def parameterised(self) -> bool:
        return False

    def cost(self, rows: int) -> tuple[Cost, Cost]:
        """No arithmetic: the device's overhead is all it takes."""
        return Cost(), Cost()

    def home(self, port: int, batch: Batch) -> Batch:
        """A backward batch as the sender at `port` wants it: without a payload if it wants no gradient."""
        return batch if self.wanted[port] else Batch(batch.states, batch.rows, ())
