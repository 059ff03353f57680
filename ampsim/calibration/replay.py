"""What each turn of a timed run was: its order of work once more, on shapes alone, all devices in this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ampsim.calibration.cluster import TimedRun
from ampsim.calibration.fit import Sample
from ampsim.data.dataset import Dataset
from ampsim.errors import RunFailed
from ampsim.ir.batch import Batch
from ampsim.ir.graph import CONTROLLER, Graph
from ampsim.ops.table import Cost
from ampsim.runtime.controller_core import ControllerCore, Plan
from ampsim.runtime.controller_events import (
    ControllerAction,
    ControllerEvent,
    DeviceEndedEpoch,
    DropStructure,
    EndEpochOnDevices,
    Home,
    InjectionsKnown,
    PassEnded,
    SendStructures,
    TrainingEnded,
)
from ampsim.runtime.device_core import DeviceCore
from ampsim.runtime.device_events import (
    Deliver,
    DeliverStructures,
    DropStructures,
    EndEpoch,
    EpochEnded,
    Follow,
    Handled,
    Report,
    Send,
    Turn,
    Work,
)
from ampsim.runtime.device_time import WAYS, RowsGoneBack, report_bytes, update_of
from ampsim.runtime.schedule import ScheduledQueues
from ampsim.runtime.spans import SPAN
from ampsim.runtime.spec import ClusterSpec
from ampsim.sim.rates import Handed


@dataclass
class DeviceWork:
    """What a device did: its turns, their batches in order without their time, what it handed out and took in."""

    turns: int = 0
    batches: list[Sample] = field(default_factory=list)
    sent: Handed = field(default_factory=Handed)
    received: Handed = field(default_factory=Handed)


def replay(spec: ClusterSpec, graph: Graph, dataset: Dataset, plan: Plan, run: TimedRun) -> dict[str, DeviceWork]:
    """What each device did in a run that was timed. Raises RunFailed if its order of work leads nowhere."""
    return _Replay(spec, graph, dataset, plan, run).work()


def timed(work: DeviceWork, run: TimedRun, device: str) -> list[Sample]:
    """A device's batches with the seconds that each took, as its spans tell."""
    told = [interval.spans for interval in run.intervals[device] if interval.spans is not None]
    seconds = np.concatenate(told).view(SPAN)["duration_s"].tolist() if told else []
    # There are fewer spans than batches in a run that is longer than what is kept.
    return [
        Sample(one.op, one.way, one.messages, one.parts, one.rows, one.cost, one.update, took_s)
        for one, took_s in zip(work.batches, seconds, strict=False)
    ]


class _Replay:
    def __init__(self, spec: ClusterSpec, graph: Graph, dataset: Dataset, plan: Plan, run: TimedRun) -> None:
        setup = spec.setup(arithmetic=False)
        self._graph, self._optimizer = graph, setup.optimizer
        self._cores, self._gone_back = {}, RowsGoneBack()
        self._work = {name: DeviceWork() for name in run.intervals}
        for name, intervals in run.intervals.items():
            queues = ScheduledQueues(graph.targets, spec.processes)
            self._cores[name] = DeviceCore(name, graph, spec.placement, setup, spec.max_batch, queues)
            for order in (interval.order for interval in intervals if interval.order is not None):
                self._cores[name].handle(Follow(order))
            self._work[name].received = run.sent[name]
        self._controller = ControllerCore(plan, graph, spec.placement, dataset, follows=True)
        self._events: deque[ControllerEvent] = deque([InjectionsKnown(run.injections)])
        self._ended = False

    def work(self) -> dict[str, DeviceWork]:
        self._perform(self._controller.next_pass())
        while not self._ended:
            moved = bool(self._events)
            while self._events:
                self._perform(self._controller.handle(self._events.popleft()))
            for name, core in self._cores.items():
                while core.has_work:
                    self._turn(name, core)
                    moved = True
            if not moved:
                raise RunFailed("calibrate: what the devices said they did cannot have been: please report this")
        return self._work

    def _turn(self, name: str, core: DeviceCore) -> None:
        self._work[name].turns += 1
        sent, peers = self._work[name].sent, set[str]()
        for action in core.handle(Turn()):
            match action:
                case Handled():
                    self._work[name].batches += map(self._sample, action.batches)
                case Send(device, target, batch):
                    arrays, size = 2 + len(self._graph.payload(target) or ()), self._graph.size_bytes(target, batch)
                    peers.add(device)
                    sent.add(arrays, size)
                    if device == CONTROLLER:
                        self._events.append(Home(batch))
                    else:
                        self._work[device].received.add(arrays, size)
                        self._cores[device].handle(Deliver(target, batch, name))
                case Report(batch):
                    peers.add(CONTROLLER)
                    sent.add(3, report_bytes(batch))
                    self._events.append(action)
        sent.bundles += len(peers)
        for device in peers - {CONTROLLER}:
            self._work[device].received.bundles += 1

    def _sample(self, handled: Work) -> Sample:
        node, _, direction = handled.target
        spec = self._graph.nodes[node]
        cost = spec.work(direction, handled.rows) if handled.rows else Cost()
        summed = self._gone_back.summed_by(handled)
        update = update_of(spec, self._optimizer, summed) if handled.updates else None
        count = handled.messages, handled.parts
        return Sample(spec.op_name, WAYS[direction], *count, handled.rows, cost, update, 0.0)

    def _perform(self, actions: Iterable[ControllerAction]) -> None:
        for action in actions:
            match action:
                case Send(device, target, batch):
                    shapes = Batch(batch.states, batch.rows, ())
                    self._cores[device].handle(Deliver(target, shapes, CONTROLLER))
                case SendStructures(devices, structures):
                    for device in devices:
                        self._cores[device].handle(DeliverStructures(structures))
                case DropStructure(devices, instance):
                    for device in devices:
                        self._cores[device].handle(DropStructures([instance]))
                case EndEpochOnDevices():
                    for name, core in self._cores.items():
                        ended = core.handle(EndEpoch())
                        self._events += [DeviceEndedEpoch(name) for one in ended if isinstance(one, EpochEnded)]
                case PassEnded():
                    self._perform(self._controller.next_pass())
                case TrainingEnded():
                    self._ended = True
