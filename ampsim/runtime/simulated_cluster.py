"""The simulated clock: all devices, links and queues as one sequential discrete-event simulation.

The cores are those of every other run. What a turn takes follows from its device's profile and the cost rules, what a
transfer takes from the network; no host clock is read. A turn's messages leave when it ends. Of what happens at one
time, arrivals come before the choice of the next batch, in the order in which they were sent on their way. With
arithmetic it is the reference that processes are held against; on shapes alone it is the clock of a simulated run.
"""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any, Self

from ampsim import blas
from ampsim.errors import Stalled
from ampsim.ir.batch import Batch
from ampsim.ir.graph import CONTROLLER, Graph
from ampsim.ops.table import Array
from ampsim.runtime.cluster import (
    Cluster,
    ClusterEvent,
    Collected,
    Delivery,
    DeviceIdentity,
    Interval,
    PassTiming,
)
from ampsim.runtime.controller_events import (
    ControllerEvent,
    DeviceEndedEpoch,
    DropStructure,
    Home,
    ReplicasCollected,
    SendStructures,
)
from ampsim.runtime.controller_time import ControllerTime
from ampsim.runtime.device_core import DeviceCore
from ampsim.runtime.device_events import (
    Assign,
    Collect,
    Deliver,
    DeliverStructures,
    DeviceEvent,
    DropStructures,
    EndEpoch,
    EpochEnded,
    HandedOut,
    HandOut,
    Parameters,
    Report,
    Send,
)
from ampsim.runtime.device_time import DeviceTime, report_bytes
from ampsim.runtime.schedule import OrderWriter
from ampsim.runtime.shared_cores import SharedCores
from ampsim.runtime.simulated_device import Ongoing, SimulatedDevice
from ampsim.runtime.simulated_meter import SimulatedMeter
from ampsim.runtime.simulated_transfers import Agenda, Transfer, Transfers
from ampsim.runtime.spans import SpanRecorder
from ampsim.runtime.spec import ClusterSpec
from ampsim.runtime.statistics import Edges, OnTheWay
from ampsim.sim.bound import Bound
from ampsim.sim.network import Network
from ampsim.sim.profile import NOTHING, DeviceProfile
from ampsim.sim.rates import Handed
from ampsim.sim.variation import Variation

MOST_LINKS = 64
"""Links of which the summary tells: the busiest."""


class SimulatedCluster(Cluster):
    """Runs the cores on simulated time. `profiles` are the devices' in the config's order; if it is `followed`, the
    devices' orders of work are noted, to be taken.

    The controller takes no time, unless its profile is given; then it may share so many `cores` with the devices.

    Raises DeviceFailed, also for a device whose memory overflows, and Stalled if nothing moves.
    """

    def __init__(
        self,
        spec: ClusterSpec,
        graph: Graph,
        profiles: Mapping[str, DeviceProfile],
        names: Mapping[str, str],
        network: Network,
        arithmetic: bool,
        followed: bool = False,
        controller: DeviceProfile | None = None,
        cores: int | None = None,
    ) -> None:
        setup = spec.setup(arithmetic)
        self._arithmetic = arithmetic
        self._graph, self._network = graph, network
        self._parameter_bytes: dict[str, int] = {}
        self._devices: dict[str, SimulatedDevice] = {}
        times = {id(profile): DeviceTime(graph, setup.optimizer, profile) for profile in profiles.values()}
        for name, profile in profiles.items():
            hosted = spec.hosted.get(name, ())
            core = DeviceCore(name, graph, spec.placement, setup, spec.max_batch, hosted=hosted, wave=spec.wave)
            spans = SpanRecorder(graph.ranks)
            meter = SimulatedMeter(name, spec.log_interval_s, spans, core.take_counts)
            order = OrderWriter(graph.targets, spec.processes) if followed else None
            time = times[id(profile)]
            variation = Variation(profile.spread, spec.seed, name)
            self._devices[name] = SimulatedDevice(
                name, names[name], core, profile, time, meter, spans, order, variation
            )
        self._agenda = Agenda()
        hands = controller is not None or any(profile.receive != NOTHING for profile in profiles.values())
        self._transfers = Transfers(self._agenda, network, graph, hands)
        self._time_s = 0.0
        self._events: deque[ClusterEvent] = deque()
        self._woken: list[SimulatedDevice] = []
        self._controller = ControllerTime(controller) if controller else None
        self._cores = SharedCores(cores, self._devices.values())
        self._controller_path_s = 0.0
        self._pass_path_s = 0.0
        self._parameters: dict[str, Array] = {}
        self._edges: Edges = defaultdict(OnTheWay)
        arithmetic_record = blas.record(spec.numerics)
        self._identities = {name: DeviceIdentity(os.getpid(), arithmetic_record) for name in profiles}
        self.messages_handled = 0
        """Messages that all devices have handled so far."""

    @property
    def identities(self) -> Mapping[str, DeviceIdentity]:
        return self._identities

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    @property
    def now_s(self) -> float:
        return self._time_s

    def start_pass(self, epoch: int, split: str) -> None:
        super().start_pass(epoch, split)
        self._controller_path_s = self._pass_path_s = self._time_s
        for device in self._devices.values():
            device.pass_busy_s = device.meter.total_busy_s
        self._link_busy_s = {id(link): link.busy_s for link in self._network.used}

    def end_pass(self) -> PassTiming:
        device = max(self._devices.values(), key=lambda device: device.meter.total_busy_s - device.pass_busy_s)
        link_s, link = max(
            ((link.busy_s - self._link_busy_s.get(id(link), 0.0), link) for link in self._network.used),
            key=lambda found: found[0],
            default=(0.0, None),
        )
        bound = Bound(
            device.name,
            device.meter.total_busy_s - device.pass_busy_s,
            str(link) if link else "",
            link_s,
            self._pass_path_s - self._pass_began_s,
        )
        return PassTiming(self._time_s - self._pass_began_s, bound)

    def injected(self, instances: int) -> None:
        if self._controller:
            self._controller.injected(instances)

    def send(self, actions: Iterable[Delivery]) -> None:
        path_s, reached = self._controller_path_s, set[str]()
        if self._controller:
            actions = list(actions)
            taken_s = self._controller.send(actions, self._time_s, self._graph)
            path_s += taken_s
            self._cores.controller_works(taken_s)
        for action in actions:
            match action:
                case Send(device, target, batch):
                    size = self._graph.size_bytes(target, batch)
                    if not self._arithmetic:
                        batch = Batch(batch.states, batch.rows, ())
                    self._carry(CONTROLLER, device, size, Deliver(target, batch, CONTROLLER), path_s, reached)
                case SendStructures(devices, structures):
                    for device in self._in_order(devices):
                        event = DeliverStructures(structures)
                        self._carry(CONTROLLER, device, structures.size_bytes, event, path_s, reached)
                case DropStructure(devices, instance):
                    for device in devices:
                        self._devices[device].core.handle(DropStructures([instance]))

    def end_epoch(self) -> None:
        """The updates that are left take the devices' time; being told to make them does not."""
        for device in self._devices.values():
            for action in device.handle(EndEpoch()):
                if isinstance(action, EpochEnded):
                    ended_s = self._work(device, device.time.left_s(action.updated))
                    self._agenda.put(ended_s, DeviceEndedEpoch(device.name, action.shared))

    def collect_replicas(self, device: str, nodes: Sequence[str], awaited: Mapping[str, int]) -> None:
        self._parameter_bytes[device] = self._devices[device].core.parameter_bytes(nodes)
        for action in self._devices[device].handle(HandOut(nodes, awaited)):
            if isinstance(action, HandedOut):
                self._hand_out(self._devices[device], action, self._controller_path_s)

    def _hand_out(self, device: SimulatedDevice, action: HandedOut, path_s: float) -> None:
        """Parameters leave when the updates are made that were left."""
        duration_s = device.time.left_s(action.updated)
        ended_s = self._work(device, duration_s)
        event = ReplicasCollected(device.name, action.values)
        size = self._parameter_bytes[device.name]
        self._carry(device.name, CONTROLLER, size, event, path_s + duration_s, leaves_s=ended_s)

    def assign(self, device: str, values: Mapping[str, Array]) -> None:
        self._carry(CONTROLLER, device, self._parameter_bytes[device], Assign(values), self._controller_path_s)

    def wait(self, timeout_s: float) -> list[ClusterEvent]:
        """Simulate until something is there for the controller, or so much of the host's time is over."""
        deadline = perf_counter() + timeout_s
        while not self._events and perf_counter() < deadline:
            if not self._agenda:
                held = {
                    node: states for device in self._devices.values() for node, states in device.core.held().items()
                }
                raise Stalled(f"no device has anything to do, and these nodes wait for messages: {held}")
            self._step()
        events = list(self._events)
        self._events.clear()
        return events

    def collect(self, timeout_s: float) -> Collected:
        intervals = [event for event in self._events if isinstance(event, Interval)]
        for device in self._devices.values():
            intervals += device.meter.take_rest(self._time_s)
            for action in device.core.handle(Collect()):
                if isinstance(action, Parameters):
                    self._parameters.update(action.values)
        return Collected(intervals, self._parameters, links=self._links(), edges=self._edges)

    def _links(self) -> dict[str, Any]:
        """What the busiest links have carried."""
        used = sorted(self._network.used, key=lambda link: -link.busy_s)[:MOST_LINKS]
        return {
            str(link): {
                "bytes": link.bytes,
                "transfers": link.transfers,
                "busy_s": link.busy_s,
                "utilization": link.busy_s / self._time_s if self._time_s else 0.0,
            }
            for link in used
        }

    def orders(self) -> Iterable[tuple[str, OrderWriter]]:
        """What each device has been found to handle, since its order was last taken."""
        return [
            (device.name, device.order)
            for device in self._devices.values()
            if device.order is not None and len(device.order)
        ]

    def _in_order(self, devices: Iterable[str]) -> list[str]:
        wanted = frozenset(devices)
        return [name for name in self._devices if name in wanted] if len(wanted) > 1 else list(wanted)

    def _step(self) -> None:
        """All that happens at the next time at which something happens; then every device that can begins a turn."""
        agenda = self._agenda
        self._time_s = now_s = agenda.next_s
        while (what := agenda.take(now_s)) is not None:
            if isinstance(what, Transfer):
                self._arrive(what)
            elif isinstance(what, Ongoing):
                self._finish(what)
            else:
                self._events.append(what)
        woken, self._woken = self._woken, []
        for device in woken:
            if device.busy:
                continue
            if device.come:
                device.take_in(now_s, self._edges)
            if device.core.has_work:
                self._begin(device)

    def _carry(
        self,
        source: str,
        destination: str,
        size: int,
        event: DeviceEvent | ControllerEvent,
        path_s: float,
        reached: set[str] | None = None,
        leaves_s: float = 0.0,
    ) -> None:
        """Send something on its way, now or later; `reached` are the peers that a bundle of the turn is open for."""
        now_s = self._time_s
        if source != CONTROLLER:
            self._devices[source].meter.bytes_sent += size
        elif self._controller:
            leaves_s = self._controller.free_s  # when it has sent it
        sent_s = None if reached is None else self._handing_s(source)
        self._transfers.send(source, destination, size, event, path_s, now_s, leaves_s, sent_s, reached)

    def _handing_s(self, source: str) -> float:
        """When who sends now began to hand out."""
        if source != CONTROLLER:
            return self._time_s - self._devices[source].send_s
        return self._controller.handing_s if self._controller else self._time_s

    def _arrive(self, transfer: Transfer) -> None:
        if not transfer.arrived:
            self._transfers.hop(transfer, self._time_s)
            return
        if transfer.destination == CONTROLLER:
            self._come_home(transfer)
            return
        device = self._devices[transfer.destination]
        self._catch_up(device)
        device.meter.bytes_received += transfer.size
        if transfer.handed:  # or it is not counted, and taking in takes nothing
            device.receive_s += device.profile.receive.duration_s(transfer.handed)
        if transfer.sent_s is not None:
            device.come.append((transfer.source, transfer.sent_s))
        event = transfer.event
        if isinstance(event, Deliver):
            device.core.handle(Deliver(event.target, event.batch, event.source, transfer.path_s))
        else:
            for action in device.handle(event):
                if isinstance(action, EpochEnded):
                    self._events.append(DeviceEndedEpoch(device.name))
        self._woken.append(device)

    def _come_home(self, transfer: Transfer) -> None:
        taken_in_s = self._time_s
        if self._controller:
            event = transfer.event
            messages = len(event.batch) if isinstance(event, Home | Report) else 0
            taken_s = self._controller.receive(messages, transfer.handed or Handed(), self._time_s)
            transfer.path_s += taken_s
            self._cores.controller_works(taken_s)
            taken_in_s = self._controller.taken_in_s
            self._agenda.put(self._controller.free_s, event)
        else:
            self._events.append(transfer.event)  # type: ignore[arg-type]  # a transfer to it carries its events
        if transfer.sent_s is not None:
            self._edges[transfer.source, CONTROLLER].add(1, taken_in_s - transfer.sent_s)
        self._controller_path_s = self._pass_path_s = max(self._pass_path_s, transfer.path_s)

    def _begin(self, device: SimulatedDevice) -> None:
        """A turn: the core says what comes of it, and it comes when the time that the turn takes is over."""
        self._catch_up(device)
        turn = device.begin_turn(self._time_s)
        self.messages_handled += turn.messages
        self._agenda.put(turn.ends_s, turn)

    def _finish(self, turn: Ongoing) -> None:
        device, path_s = turn.device, turn.path_s
        device.busy = False
        self._woken.append(device)
        reached = set[str]()
        for action in turn.actions:
            if isinstance(action, Send):
                destination, target, batch = action
                size = self._graph.size_bytes(target, batch)
                event: DeviceEvent | ControllerEvent = (
                    Home(batch) if destination == CONTROLLER else Deliver(target, batch, device.name)
                )
                self._carry(device.name, destination, size, event, path_s, reached)
            elif isinstance(action, Report):
                self._carry(device.name, CONTROLLER, report_bytes(action.batch), action, path_s, reached)
            elif isinstance(action, HandedOut):
                self._hand_out(device, action, path_s)

    def _work(self, device: SimulatedDevice, duration_s: float) -> float:
        """Let a device work on what is no turn; when it will have done."""
        self._catch_up(device)
        return device.work(self._time_s, duration_s)

    def _catch_up(self, device: SimulatedDevice) -> None:
        self._events += device.catch_up(self._time_s)
