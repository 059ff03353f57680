"""Times a training run on two device processes, as a config's would be, and repeats it on the simulated clock.

A device notes when it handled what, and in which order; what a batch computed on follows from the order on shapes
alone (replay.py). So everything is timed where it counts: between waiting and sending, beside another device and the
controller.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from ampsim.calibration.fit import ControllerSample
from ampsim.calibration.machine import cores_of_this_machine
from ampsim.data.dataset import Dataset
from ampsim.errors import DeviceFailed, Interrupted
from ampsim.ir.graph import Graph
from ampsim.ir.structure import STRUCTURE_ARRAYS
from ampsim.runtime.cluster import Cluster, Delivery, Heartbeat, Interval, Refused
from ampsim.runtime.controller_core import ControllerCore, Plan
from ampsim.runtime.controller_events import (
    ControllerAction,
    ControllerEvent,
    DropStructure,
    EndEpochOnDevices,
    Home,
    Injected,
    Injection,
    PassEnded,
    SendStructures,
    TrainingEnded,
)
from ampsim.runtime.device_events import Report, Send
from ampsim.runtime.launcher import LocalLauncher
from ampsim.runtime.process_cluster import ProcessCluster
from ampsim.runtime.signals import StopSignals
from ampsim.runtime.simulated_cluster import SimulatedCluster
from ampsim.runtime.spec import ClusterSpec
from ampsim.runtime.statistics import Edges
from ampsim.sim.network import Network, NetworkPlan
from ampsim.sim.profile import DeviceProfile
from ampsim.sim.rates import Handed

WAIT_S = 0.2
PATIENCE_S = 60.0


@dataclass
class TimedRun:
    """What a run has told: the devices' intervals, the controller's events, its injections, and what it sent.

    `edges` says how long packets were on the way.
    """

    intervals: dict[str, list[Interval]]
    controls: list[ControllerSample] = field(default_factory=list)
    injections: list[Injection] = field(default_factory=list)
    sent: dict[str, Handed] = field(default_factory=dict)
    edges: Edges = field(default_factory=dict)

    def spent_s(self, device: str, activity: str) -> float:
        """A device's seconds of one activity."""
        return float(sum(interval.times[activity] for interval in self.intervals[device]))


def time_cluster(spec: ClusterSpec, graph: Graph, dataset: Dataset, plan: Plan) -> TimedRun:
    """Train on processes, the devices noting their order of work. Must be called in the main thread.

    Raises DeviceFailed, and Interrupted.
    """
    names = _devices(spec)
    with tempfile.TemporaryDirectory(prefix="ampsim-calibrate-") as folder, StopSignals() as stop:
        launcher = LocalLauncher(Path(folder) / "summary.json", Path(folder) / "logs")
        try:
            core = ControllerCore(plan, graph, spec.placement, dataset)
            return _Timed(core, graph, names).run(ProcessCluster(spec, graph, names, launcher, stop), stop)
        finally:
            launcher.close()


def predict_edges(
    spec: ClusterSpec, graph: Graph, dataset: Dataset, plan: Plan, profile: DeviceProfile, network: tuple[float, float]
) -> Edges:
    """How long packets would be on the way by the simulated clock, devices and controller being of a profile.

    `network` is latency in s and bandwidth in byte/s between any two.
    """
    names = _devices(spec)
    links = Network(NetworkPlan("full", list(names), *network))
    profiles = dict.fromkeys(names, profile)
    cluster = SimulatedCluster(
        spec, graph, profiles, names, links, arithmetic=False, controller=profile, cores=cores_of_this_machine()
    )
    core = ControllerCore(plan, graph, spec.placement, dataset)
    with StopSignals() as stop:
        return _Timed(core, graph, names).run(cluster, stop).edges


def _devices(spec: ClusterSpec) -> dict[str, str]:
    """Each device's name, and what errors call it."""
    return {name: name for name in dict.fromkeys(spec.placement.values())}


class _Timed:
    def __init__(self, core: ControllerCore, graph: Graph, names: Sequence[str] | dict[str, str]) -> None:
        self._core, self._graph = core, graph
        self._timed = TimedRun({name: [] for name in names}, sent={name: Handed() for name in names})
        self._ended = False

    def run(self, cluster: Cluster, stop: StopSignals) -> TimedRun:
        with cluster:
            self._send(cluster, self._perform(self._core.next_pass(), cluster))
            while not self._ended:
                deliveries: list[Delivery] = []
                for event in cluster.wait(WAIT_S):
                    if isinstance(event, Interval):
                        self._timed.intervals[event.device].append(event)
                    elif not isinstance(event, Heartbeat | Refused):
                        deliveries += self._control(event, cluster)
                self._send(cluster, deliveries)
                if stop.received:
                    raise Interrupted(f"interrupted by {stop.received}")
            collected = cluster.collect(PATIENCE_S)
            if collected.missing:
                raise DeviceFailed(collected.missing[0], f"did not end within {PATIENCE_S:.0f} s")
            for interval in collected.intervals:
                self._timed.intervals[interval.device].append(interval)
            self._timed.edges = collected.edges
        return self._timed

    def _control(self, event: ControllerEvent, cluster: Cluster) -> list[Delivery]:
        began_s = perf_counter()
        actions = self._core.handle(event)
        seconds = perf_counter() - began_s
        if isinstance(event, Home | Report):
            sent = [(action.target, action.batch) for action in actions if isinstance(action, Send)]
            size = sum(self._graph.size_bytes(*batch) for batch in sent)
            instances = sum(action.injection.instances for action in actions if isinstance(action, Injected))
            messages = sum(len(batch) for _, batch in sent)
            self._timed.controls.append(ControllerSample(len(event.batch), instances, messages, size, seconds))
        return self._perform(actions, cluster)

    def _perform(self, actions: list[ControllerAction], cluster: Cluster) -> list[Delivery]:
        deliveries: list[Delivery] = []
        for action in actions:
            match action:
                case Send() | SendStructures() | DropStructure():
                    deliveries.append(action)
                case Injected(injection):
                    cluster.injected(injection.instances)
                    self._timed.injections.append(injection)
                case EndEpochOnDevices():
                    cluster.end_epoch()
                case PassEnded():
                    deliveries += self._perform(self._core.next_pass(), cluster)
                case TrainingEnded():
                    self._ended = True
        return deliveries

    def _send(self, cluster: Cluster, deliveries: list[Delivery]) -> None:
        peers = set[str]()
        for action in deliveries:
            match action:
                case Send(device, target, batch):
                    peers.add(device)
                    self._timed.sent[device].add(2 + len(batch.payload), self._graph.size_bytes(target, batch))
                case SendStructures(devices, structures):
                    for device in devices:
                        peers.add(device)
                        self._timed.sent[device].add(STRUCTURE_ARRAYS, structures.size_bytes, 1)
        for device in peers:
            self._timed.sent[device].bundles += 1
        cluster.send(deliveries)
