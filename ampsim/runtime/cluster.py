"""What a cluster of devices is to the controller, however it is run: in processes of its own, or all in one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Self

from ampsim.ops.table import Array
from ampsim.runtime.controller_events import ControllerEvent, DropStructure, SendStructures
from ampsim.runtime.device_events import Send
from ampsim.runtime.schedule import Order
from ampsim.runtime.statistics import Edges, WorkCounts
from ampsim.sim.bound import Bound

Delivery = Send | SendStructures | DropStructure
"""What the controller has delivered to devices."""


@dataclass(frozen=True)
class Interval:
    """A line of a device's utilization log, and what came with it.

    `times` has t0_s, t1_s and the seconds of each activity; `spans` the bytes of SPAN records; `held` what idle nodes
    wait for (None on the simulated clock); `refused` the first refused messages of `refused_count`; `order` what it has
    handled, where that is recorded.
    """

    device: str
    times: Mapping[str, float]
    counts: WorkCounts
    bytes_sent: int = 0
    bytes_received: int = 0
    spans: Array | None = None
    held: Mapping[str, list[str]] | None = None
    refused: tuple[str, ...] = ()
    refused_count: int = 0
    order: Order | None = None


@dataclass(frozen=True)
class Heartbeat:
    """What a device has done in the host's time, where that is not what the run's clock tells."""

    interval: Interval


@dataclass(frozen=True)
class Refused:
    """Messages to the controller that were refused: how many, and what was wrong with the first of them."""

    count: int
    texts: list[str]


ClusterEvent = ControllerEvent | Interval | Heartbeat | Refused
"""What comes of a cluster."""


@dataclass(frozen=True)
class DeviceIdentity:
    """Which process a device is, and what its arithmetic runs on (`ampsim.blas.record`)."""

    pid: int
    arithmetic: Mapping[str, Any]


@dataclass(frozen=True)
class Collected:
    """What the devices handed out at the end: `parameters` by `node.parameter`; `missing` devices did not.

    `links` says of the busiest links of a simulated network what they carried, `edges` how long packets were on the way
    from one process to another (see docs/protocol.md; none in one process).
    """

    intervals: list[Interval]
    parameters: dict[str, Array]
    missing: tuple[str, ...] = ()
    links: Mapping[str, Any] = field(default_factory=dict)
    edges: Edges = field(default_factory=dict)


@dataclass(frozen=True)
class PassTiming:
    """How long a pass took on the run's clock; on the simulated clock, also what bounds it (see Bound)."""

    duration_s: float
    bound: Bound | None = None


class Cluster(ABC):
    """Devices that are ready to go; leaving the context ends them all, whatever happened.

    Every method may raise DeviceFailed.
    """

    follows = False
    """whether the controller is told how many instances it injects together"""
    _pass_began_s = 0.0

    @property
    @abstractmethod
    def identities(self) -> Mapping[str, DeviceIdentity]:
        """Which process each device is; known once the context is entered."""

    @property
    def now_s(self) -> float:
        """The time on the run's clock."""
        return perf_counter()

    def start_pass(self, epoch: int, split: str) -> None:
        """Note that a pass begins."""
        self._pass_began_s = self.now_s

    def end_pass(self) -> PassTiming:
        """Note that the pass has ended, and say how long it took."""
        return PassTiming(self.now_s - self._pass_began_s)

    def injected(self, instances: int) -> None:  # noqa: B027 (a hook: few have to note it)
        """Note that so many instances have been injected together."""

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(self, *exception: object) -> None: ...

    @abstractmethod
    def send(self, actions: Iterable[Delivery]) -> None:
        """Deliver the controller's messages and structures."""

    @abstractmethod
    def end_epoch(self) -> None:
        """Tell every device that the pipeline has drained."""

    @abstractmethod
    def collect_replicas(self, device: str, nodes: Sequence[str], awaited: Mapping[str, int]) -> None:
        """Ask a device for the parameters of replicas, as HandOut does; `wait` gives its answer."""

    @abstractmethod
    def assign(self, device: str, values: Mapping[str, Array]) -> None:
        """Have a device replace parameters; `wait` gives its word that it has."""

    @abstractmethod
    def wait(self, timeout_s: float) -> list[ClusterEvent]:
        """What has come, as soon as something has; nothing after `timeout_s`, or when a signal asks to stop."""

    @abstractmethod
    def collect(self, timeout_s: float) -> Collected:
        """Each device's last interval, and its parameters, as far as they come in time."""


class OrderedCluster(Cluster):
    """A cluster whose devices can be given their order of work."""

    @abstractmethod
    def follow(self, device: str, order: Order) -> None:
        """Append to a device's order."""
