"""What the controller core is told, and what it has done: its events and actions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ampsim.ir.batch import Batch
from ampsim.ir.structure import StructureBatch
from ampsim.ops.table import Array
from ampsim.runtime.device_events import Report, Send


@dataclass(frozen=True, slots=True)
class Home:
    """Event: backward messages have come back to the controller."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class DeviceEndedEpoch:
    """Event: a device has carried out what the end of the epoch asked of it.

    `shared` says how many gradients each node has sent to its replicas since the run began.
    """

    device: str
    shared: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReplicasCollected:
    """Event: a device has handed out the parameters of the replicas that it hosts."""

    device: str
    values: Mapping[str, Array]


class Injection(NamedTuple):
    """So many instances that are injected together, and the copy of the graph that they go to."""

    instances: int
    copy: int


@dataclass(frozen=True, slots=True)
class InjectionsKnown:
    """Event: what the next injections are (for a controller that follows)."""

    injections: Sequence[Injection]


@dataclass(frozen=True, slots=True)
class Injected:
    """Action: note an injection; its messages are the actions behind it."""

    injection: Injection


@dataclass(frozen=True, slots=True)
class StartPass:
    """Action: note that a pass begins."""

    epoch: int
    split: str


@dataclass(frozen=True, slots=True)
class EndEpochOnDevices:
    """Action: tell every device that the pipeline has drained."""


@dataclass(frozen=True, slots=True)
class CollectReplicas:
    """Action: ask a device for the parameters of these nodes, once they have received so many gradients of others."""

    device: str
    nodes: Sequence[str]
    awaited: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AssignParameters:
    """Action: have a device replace parameters, `node.parameter -> array`."""

    device: str
    values: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class PassEnded:
    """Action: record a pass. `metrics` has `loss` and the model's own metric; `instances` counts examples."""

    epoch: int
    split: str
    metrics: Mapping[str, float]
    instances: int


@dataclass(frozen=True, slots=True)
class TrainingEnded:
    """Action: everything is done; `reached` has the `stop_at` targets that were met, if that ended it early."""

    reached: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SendStructures:
    """Action: carry the structures of some instances to the devices whose nodes ask for them."""

    devices: Collection[str]
    structures: StructureBatch


@dataclass(frozen=True, slots=True)
class DropStructure:
    """Action: tell those devices that the instance has retired."""

    devices: Collection[str]
    instance: int


ControllerEvent = Home | Report | DeviceEndedEpoch | ReplicasCollected | InjectionsKnown
ControllerAction = (
    Send
    | SendStructures
    | DropStructure
    | Injected
    | StartPass
    | EndEpochOnDevices
    | CollectReplicas
    | AssignParameters
    | PassEnded
    | TrainingEnded
)
