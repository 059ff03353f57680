"""What a device core is told, and what it has done: its events and actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ampsim.ir.batch import Batch
from ampsim.ir.graph import Target
from ampsim.ir.structure import StructureBatch
from ampsim.ops.table import Array
from ampsim.runtime.queues import Entry
from ampsim.runtime.schedule import Order


class Deliver(NamedTuple):
    """Event: messages have arrived for a node of this device; those of one source in the order in which it sent them.

    `path_s` is for the simulated clock: see Entry.
    """

    target: Target
    batch: Batch
    source: str
    path_s: float = 0.0


@dataclass(frozen=True, slots=True)
class DeliverStructures:
    """Event: the structures of some instances have arrived, for the nodes that ask for them."""

    structures: StructureBatch


@dataclass(frozen=True, slots=True)
class DropStructures:
    """Event: these instances have retired."""

    instances: Sequence[int]


@dataclass(frozen=True, slots=True)
class Turn:
    """Event: handle the most urgent batch."""


@dataclass(frozen=True, slots=True)
class Follow:
    """Event: what is to be handled next is given."""

    order: Order


@dataclass(frozen=True, slots=True)
class EndEpoch:
    """Event: the pipeline has drained; update with what is left below min_update_frequency."""


@dataclass(frozen=True, slots=True)
class Collect:
    """Event: hand out the parameters as they are now."""


@dataclass(frozen=True, slots=True)
class HandOut:
    """Event: hand out the parameters of these replicas as the epoch leaves them.

    Not before each has received as many gradients of others, since the run began, as `awaited` says of it.
    """

    nodes: Sequence[str]
    awaited: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Assign:
    """Event: replace parameters, `node.parameter -> array`."""

    values: Mapping[str, Array]


class Send(NamedTuple):
    """Action: carry messages to a node of another device, or home to the controller."""

    device: str
    target: Target
    batch: Batch


@dataclass(frozen=True, slots=True)
class Report:
    """Action: carry a loss node's figures to the controller."""

    batch: Batch


class Work(NamedTuple):
    """A batch that was handled: `messages` to `target`, of `parts` entries of the queue.

    What was answered in the turn that made it is of none. `rows` were computed on, `updates` made.
    """

    target: Target
    messages: int
    parts: int
    rows: int
    updates: int


@dataclass(slots=True)
class Handled:
    """Action: note what a turn has just handled: batches in their order, of which the first was taken off the queue.

    `parts` are the entries that its messages were of, and `made` those that the turn put into the device's own queues.
    `began` is when each batch but the first began, if the core was given a clock.
    """

    batches: Sequence[Work]
    parts: Sequence[tuple[Entry, int]]
    made: Sequence[Entry]
    began: Sequence[float]

    @property
    def target(self) -> Target:
        """Where the batch was queued that was taken."""
        return self.batches[0].target


@dataclass(frozen=True, slots=True)
class EpochEnded:
    """Action: tell the controller that what the end of the epoch asked for has been carried out.

    `updated` nodes made an update for it. `shared` says how many gradients each node has sent to its replicas since
    the run began.
    """

    updated: Sequence[str] = ()
    shared: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HandedOut:
    """Action: hand `node.parameter -> array` of replicas to the controller; `updated` nodes made an update for it."""

    values: Mapping[str, Array]
    updated: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Parameters:
    """Action: hand `node.parameter -> array` to the controller."""

    values: Mapping[str, Array]


DeviceEvent = Deliver | DeliverStructures | DropStructures | Turn | Follow | EndEpoch | Collect | HandOut | Assign
DeviceAction = Send | Report | Handled | EpochEnded | HandedOut | Parameters
