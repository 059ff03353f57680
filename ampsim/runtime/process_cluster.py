"""The cluster of device processes, as the controller sees it: launch, handshake, messages, failures, goodbye."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from time import monotonic, perf_counter
from typing import Any, Self

from ampsim.errors import DeviceFailed, Interrupted
from ampsim.ir.graph import CONTROLLER, Graph
from ampsim.ops.table import Array
from ampsim.runtime.cluster import ClusterEvent, Collected, Delivery, DeviceIdentity, Interval, OrderedCluster, Refused
from ampsim.runtime.controller_events import (
    ControllerEvent,
    DeviceEndedEpoch,
    DropStructure,
    Home,
    ReplicasCollected,
    SendStructures,
)
from ampsim.runtime.device_events import Report, Send
from ampsim.runtime.launcher import LocalLauncher
from ampsim.runtime.messages import (
    MESSAGES,
    ORDER,
    REPORT,
    PacketReader,
    order_from_packet,
    order_to_packet,
    parameter_packets,
    parameters_from_packets,
    structures_to_packet,
    to_packet,
)
from ampsim.runtime.schedule import Order
from ampsim.runtime.signals import StopSignals
from ampsim.runtime.sockets import ControllerSocket
from ampsim.runtime.spec import ClusterSpec
from ampsim.runtime.statistics import Edges, OnTheWay, WorkCounts
from ampsim.runtime.wire import Bundle, Packet, WireError

HANDSHAKE_S = 120.0
PROCESS_CHECK_S = 0.2


class ProcessCluster(OrderedCluster):
    """Each device a process of its own, over ZeroMQ.

    `names` maps each device to how it is called in messages to people. Entering starts the devices and shakes hands.
    """

    def __init__(
        self, spec: ClusterSpec, graph: Graph, names: Mapping[str, str], launcher: LocalLauncher, stop: StopSignals
    ) -> None:
        self._spec, self._graph, self._names, self._launcher, self._stop = spec, graph, names, launcher, stop
        self._reader = PacketReader(graph, (CONTROLLER,))
        self._address = launcher.address(CONTROLLER)
        self._socket = ControllerSocket(self._address, names)
        self._sentinels: list[int] = []
        self._early: list[Bundle] = []
        self._patience_s = 0.0
        self._identities: dict[str, DeviceIdentity] = {}
        self._edges: Edges = defaultdict(OnTheWay)

    @property
    def identities(self) -> Mapping[str, DeviceIdentity]:
        return self._identities

    def __enter__(self) -> Self:
        try:
            self._socket.watch(self._stop.descriptor)
            for name in self._names:
                self._launcher.start(name, self._address)
            self._watch_processes()
            self._shake_hands()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for name in self._names:
            self._socket.send(name, Bundle("bye", CONTROLLER))
        self._launcher.close(self._patience_s)
        self._socket.__exit__(None, None, None)
        for sentinel in self._sentinels:
            os.close(sentinel)
        self._sentinels = []

    def send(self, actions: Iterable[Delivery]) -> None:
        sent_s = perf_counter()  # the clock of the devices' meters
        packets: dict[str, list[Packet]] = defaultdict(list)
        dropped: dict[str, list[int]] = defaultdict(list)
        for action in actions:
            match action:
                case Send(device, target, batch):
                    packets[device].append(to_packet(target, batch))
                case SendStructures(devices, structures):
                    for device in devices:
                        packets[device].append(structures_to_packet(structures))
                case DropStructure(devices, instance):
                    for device in devices:
                        dropped[device].append(instance)
        for device in {**packets, **dropped}:
            body = dropped.get(device)
            self._socket.send(device, Bundle(MESSAGES, CONTROLLER, body, packets.get(device, ()), sent_s))

    def follow(self, device: str, order: Order) -> None:
        self._socket.send(device, Bundle(ORDER, CONTROLLER, None, [order_to_packet(order)]))

    def end_epoch(self) -> None:
        self._tell_all("end_epoch")

    def collect_replicas(self, device: str, nodes: Sequence[str], awaited: Mapping[str, int]) -> None:
        self._socket.send(device, Bundle("hand_out", CONTROLLER, {"nodes": list(nodes), "awaited": dict(awaited)}))

    def assign(self, device: str, values: Mapping[str, Array]) -> None:
        self._socket.send(device, Bundle("assign", CONTROLLER, None, parameter_packets(values)))

    def wait(self, timeout_s: float) -> list[ClusterEvent]:
        events: list[ClusterEvent] = []
        bundles = list(self._bundles(timeout_s))
        for bundle in bundles:
            events += self._events(bundle)
        received_s = perf_counter()
        for bundle in bundles:
            if bundle.sent_s is not None:
                self._edges[bundle.sender, CONTROLLER].add(len(bundle.packets), received_s - bundle.sent_s)
        count, texts = self._socket.refused.take()
        return [*events, Refused(count, texts)] if count else events

    def collect(self, timeout_s: float) -> Collected:
        self._tell_all("collect")
        intervals: list[Interval] = []
        parameters: dict[str, Array] = {}
        waiting_for = set(self._names)
        deadline = monotonic() + timeout_s
        while waiting_for and monotonic() < deadline:
            for bundle in self._bundles(min(PROCESS_CHECK_S, max(deadline - monotonic(), 0.0))):
                if bundle.kind == "parameters":
                    parameters.update(parameters_from_packets(bundle.packets))
                    waiting_for.discard(bundle.sender)
                else:
                    intervals += [event for event in self._events(bundle) if isinstance(event, Interval)]
        self._patience_s = 0.0 if waiting_for else 1.0
        return Collected(intervals, parameters, tuple(sorted(waiting_for)), edges=self._edges)

    def _shake_hands(self) -> None:
        welcomed = self._spec.to_wire()
        inboxes: dict[str, str] = {}
        pids: dict[str, int] = {}
        deadline = monotonic() + HANDSHAKE_S
        while len(inboxes) < len(self._names):
            for bundle in self._bundles(PROCESS_CHECK_S):
                if bundle.kind == "hello":
                    pids[bundle.sender] = bundle.body["pid"]
                    inbox = self._launcher.address(str(len(pids)))
                    self._socket.send(bundle.sender, Bundle("welcome", CONTROLLER, {"spec": welcomed, "inbox": inbox}))
                elif bundle.kind == "ready":
                    inboxes[bundle.sender] = bundle.body["inbox"]
                    arithmetic = bundle.body["arithmetic"]
                    self._identities[bundle.sender] = DeviceIdentity(pids[bundle.sender], arithmetic)
            if self._stop.received:
                raise Interrupted(f"interrupted by {self._stop.received} while the devices were starting")
            if monotonic() > deadline:
                missing = sorted(set(self._names) - set(inboxes))
                raise DeviceFailed(self._names[missing[0]], f"was not ready after {HANDSHAKE_S:.0f} s")
        self._tell_all("go", {"peers": inboxes})

    def _tell_all(self, kind: str, body: Any = None) -> None:
        for name in self._names:
            self._socket.send(name, Bundle(kind, CONTROLLER, body))

    def _bundles(self, timeout_s: float) -> Iterator[Bundle]:
        """What has come. Raises DeviceFailed for a device that says so or has died."""
        if not self._sentinels:
            timeout_s = min(timeout_s, PROCESS_CHECK_S)
        woken = self._socket.wait(timeout_s)
        if woken & {self._stop.descriptor}:
            self._socket.unwatch(self._stop.descriptor)
        bundles = self._socket.receive()
        for bundle in bundles:
            if bundle.kind == "failed":
                raise DeviceFailed(self._names[bundle.sender], bundle.body["text"], bundle.body["traceback"])
        yield from bundles
        if woken - {self._stop.descriptor} or not self._sentinels:
            self._raise_for_dead_processes()

    def _raise_for_dead_processes(self) -> None:
        for name, text in self._launcher.ended().items():
            # Its last words may have come in the meantime.
            for bundle in self._socket.receive():
                if bundle.kind == "failed":
                    raise DeviceFailed(self._names[bundle.sender], bundle.body["text"], bundle.body["traceback"])
            raise DeviceFailed(self._names[name], text, self._launcher.printed(name))

    def _watch_processes(self) -> None:
        """Wake up at once when a process ends, where the system can tell; elsewhere look every PROCESS_CHECK_S."""
        with contextlib.suppress(AttributeError, OSError):
            for pid in self._launcher.watched_pids():
                sentinel = os.pidfd_open(pid)
                self._sentinels.append(sentinel)
                self._socket.watch(sentinel)

    def _events(self, bundle: Bundle) -> Iterator[ControllerEvent | Interval]:
        match bundle.kind:
            case "messages":
                for packet in bundle.packets:
                    try:
                        target, batch = self._reader.read(packet)
                    except WireError as error:
                        self._socket.refused.add(f"from {bundle.sender}: {error}")
                    else:
                        yield Report(batch) if target == REPORT else Home(batch)
            case "epoch_ended":
                yield DeviceEndedEpoch(bundle.sender, bundle.body or {})
            case "handed_out":
                yield ReplicasCollected(bundle.sender, parameters_from_packets(bundle.packets))
            case "interval":
                body = bundle.body
                for sender, (packets, total_s) in body["came"].items():
                    self._edges[sender, bundle.sender].merge(OnTheWay(packets, total_s))
                yield Interval(
                    device=bundle.sender,
                    times=body["times"],
                    counts=WorkCounts.from_wire(body["counts"]),
                    bytes_sent=body["bytes_sent"],
                    bytes_received=body["bytes_received"],
                    spans=bundle.packets[0].arrays[0],
                    held=body["held"],
                    refused=tuple(body["refused"]),
                    refused_count=body["refused_count"],
                    order=order_from_packet(bundle.packets[1]),
                )
