"""All devices in one process, turn by turn: the reference that every other way of running is held against."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter
from typing import Self

from ampsim import blas
from ampsim.errors import DeviceFailed, Stalled
from ampsim.ir.graph import CONTROLLER, Graph
from ampsim.ops.table import Array
from ampsim.runtime.cluster import ClusterEvent, Collected, Delivery, DeviceIdentity, Interval, OrderedCluster
from ampsim.runtime.controller_events import (
    DeviceEndedEpoch,
    DropStructure,
    Home,
    ReplicasCollected,
    SendStructures,
)
from ampsim.runtime.device_core import DeviceCore, NodeFailed
from ampsim.runtime.device_events import (
    Assign,
    Collect,
    Deliver,
    DeliverStructures,
    DeviceAction,
    DeviceEvent,
    DropStructures,
    EndEpoch,
    EpochEnded,
    Follow,
    HandedOut,
    Handled,
    HandOut,
    Parameters,
    Report,
    Send,
    Turn,
)
from ampsim.runtime.meter import Activity, Meter
from ampsim.runtime.schedule import Order, OrderWriter, ScheduledQueues
from ampsim.runtime.spans import SpanRecorder
from ampsim.runtime.spec import ClusterSpec


class InProcessCluster(OrderedCluster):
    """The same cores without processes, sockets or threads. In each round every device with work takes one turn."""

    def __init__(self, spec: ClusterSpec, graph: Graph, names: dict[str, str]) -> None:
        setup = spec.setup()
        self._spec, self._names = spec, names
        self._meters = {name: Meter() for name in names}
        self._cores = {
            name: DeviceCore(
                name,
                graph,
                spec.placement,
                setup,
                spec.max_batch,
                ScheduledQueues(graph.targets, spec.processes) if spec.follows else None,
                wave=spec.wave,
                clock=self._meters[name].now_s,
            )
            for name in names
        }
        self._orders = {name: OrderWriter(graph.targets, spec.processes) for name in names}
        self._spans = {name: SpanRecorder(graph.ranks) for name in names}
        self._events: deque[ClusterEvent] = deque()
        self._parameters: dict[str, Array] = {}
        arithmetic = blas.record(spec.numerics)
        self._identities = {name: DeviceIdentity(os.getpid(), arithmetic) for name in names}

    @property
    def identities(self) -> Mapping[str, DeviceIdentity]:
        return self._identities

    def __enter__(self) -> Self:
        for meter in self._meters.values():
            meter.start()
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def send(self, actions: Iterable[Delivery]) -> None:
        for action in actions:
            match action:
                case Send(device, target, batch):
                    self._cores[device].handle(Deliver(target, batch, CONTROLLER))
                case SendStructures(devices, structures):
                    for device in devices:
                        self._cores[device].handle(DeliverStructures(structures))
                case DropStructure(devices, instance):
                    for device in devices:
                        self._cores[device].handle(DropStructures([instance]))

    def follow(self, device: str, order: Order) -> None:
        self._cores[device].handle(Follow(order))

    def end_epoch(self) -> None:
        for name in self._cores:
            self._act(name, self._handle(name, EndEpoch()))

    def collect_replicas(self, device: str, nodes: Sequence[str], awaited: Mapping[str, int]) -> None:
        self._act(device, self._handle(device, HandOut(nodes, awaited)))

    def assign(self, device: str, values: Mapping[str, Array]) -> None:
        self._act(device, self._cores[device].handle(Assign(values)))

    def wait(self, timeout_s: float) -> list[ClusterEvent]:
        """Run rounds until something is there for the controller, or the time is up. Raises Stalled."""
        deadline = perf_counter() + timeout_s
        while not self._events and perf_counter() < deadline:
            if not any(core.has_work for core in self._cores.values()):
                if self._spec.follows:
                    break  # what is to be done next is not known yet
                held = {node: states for core in self._cores.values() for node, states in core.held().items()}
                raise Stalled(f"no device has anything to do, and these nodes wait for messages: {held}")
            for name, core in self._cores.items():
                if core.has_work:
                    self._turn(name)
        events = list(self._events)
        self._events.clear()
        return events

    def collect(self, timeout_s: float) -> Collected:
        intervals = [self._interval(name) for name in self._cores]
        for name, core in self._cores.items():
            self._act(name, core.handle(Collect()))
        return Collected(intervals, self._parameters)

    def _handle(self, name: str, event: DeviceEvent) -> list[DeviceAction]:
        try:
            return self._cores[name].handle(event)
        except NodeFailed as error:
            raise DeviceFailed(self._names[name], str(error), error.traceback) from error

    def _turn(self, name: str) -> None:
        meter = self._meters[name]
        began_s = meter.switch(Activity.BUSY)
        actions = self._handle(name, Turn())
        ended_s = meter.switch(Activity.IDLE)
        self._act(name, actions, began_s, ended_s)
        if meter.interval_s >= self._spec.log_interval_s:
            self._events.append(self._interval(name))

    def _act(self, name: str, actions: Iterable[DeviceAction], began_s: float = 0.0, ended_s: float = 0.0) -> None:
        for action in actions:
            match action:
                case Send(device, target, batch):
                    if device == CONTROLLER:
                        self._events.append(Home(batch))
                    else:
                        self._cores[device].handle(Deliver(target, batch, name))
                case Report():
                    self._events.append(action)
                case Handled():
                    self._spans[name].add_turn(began_s, ended_s, action)
                    if self._spec.records:
                        self._orders[name].add(action.target, action.parts)
                case EpochEnded(_, shared):
                    self._events.append(DeviceEndedEpoch(name, shared))
                case HandedOut(values):
                    self._events.append(ReplicasCollected(name, values))
                case Parameters(values):
                    self._parameters.update(values)

    def _interval(self, name: str) -> Interval:
        counts = self._cores[name].take_counts()
        times, spans = self._meters[name].take_interval(), self._spans[name].take()
        return Interval(name, times, counts, spans=spans, held={}, order=self._orders[name].take())
