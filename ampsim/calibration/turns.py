"""Times the batches of a training run on one device core: what each is, and how long the core takes over it.

Time is the thread's on the CPU: what else runs on the machine does not count as the core's work.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from time import thread_time

from ampsim.calibration.fit import ControllerSample, Sample
from ampsim.data.dataset import Dataset
from ampsim.ir.graph import CONTROLLER, Graph
from ampsim.ir.node import TrainingSetup
from ampsim.ops.table import Cost
from ampsim.runtime.controller_core import ControllerCore, Plan
from ampsim.runtime.controller_events import (
    ControllerAction,
    ControllerEvent,
    DeviceEndedEpoch,
    DropStructure,
    EndEpochOnDevices,
    Home,
    Injected,
    PassEnded,
    SendStructure,
    TrainingEnded,
)
from ampsim.runtime.device_core import (
    Deliver,
    DeliverStructure,
    DeviceCore,
    DropStructures,
    EndEpoch,
    EpochEnded,
    Handled,
    Report,
    Send,
    Turn,
)
from ampsim.runtime.simulated_cluster import WAYS

DEVICE = "d0"


def time_turns(
    graph: Graph, dataset: Dataset, setup: TrainingSetup, plan: Plan, max_batch: int
) -> tuple[list[Sample], list[ControllerSample]]:
    """Train on one core that hosts every node, and time each of its turns, and each event of the controller's."""
    return _Timed(graph, dataset, setup, plan, max_batch).run()


class _Timed:
    def __init__(self, graph: Graph, dataset: Dataset, setup: TrainingSetup, plan: Plan, max_batch: int) -> None:
        placement = dict.fromkeys(graph.nodes, DEVICE)
        self._graph, self._optimizer = graph, setup.optimizer.name
        self._core = DeviceCore(DEVICE, graph, placement, setup, max_batch)
        self._controller = ControllerCore(plan, graph, placement, dataset)
        self._events: deque[ControllerEvent] = deque()
        self._samples: list[Sample] = []
        self._controls: list[ControllerSample] = []
        self._ended = False

    def run(self) -> tuple[list[Sample], list[ControllerSample]]:
        self._perform(self._controller.next_pass())
        while not self._ended:
            if self._core.has_work:
                self._turn()
            while self._events:
                self._control(self._events.popleft())
        return self._samples, self._controls

    def _control(self, event: ControllerEvent) -> None:
        began_s = thread_time()
        actions = self._controller.handle(event)
        seconds = thread_time() - began_s
        if isinstance(event, Home | Report):
            sent = [(action.target, action.batch) for action in actions if isinstance(action, Send)]
            size = sum(self._graph.size_bytes(*batch) for batch in sent)
            instances = sum(action.instances for action in actions if isinstance(action, Injected))
            messages = sum(len(batch) for _, batch in sent)
            self._controls.append(ControllerSample(len(event.batch), instances, messages, size, seconds))
        self._perform(actions)

    def _turn(self) -> None:
        began_s = thread_time()
        actions = self._core.handle(Turn())
        seconds = thread_time() - began_s
        for action in actions:
            match action:
                case Handled():
                    self._samples.append(self._sample(action, seconds))
                case Send(device, _, batch) if device == CONTROLLER:
                    self._events.append(Home(batch))
                case Report():
                    self._events.append(action)

    def _sample(self, handled: Handled, seconds: float) -> Sample:
        node, _, direction = handled.target
        spec = self._graph.nodes[node]
        cost = spec.work(direction, handled.rows) if handled.rows else Cost()
        update = (self._optimizer, self._core.update_cost(node)) if handled.updates else None
        count = handled.messages, len(handled.parts)
        return Sample(spec.op_name, WAYS[direction], *count, handled.rows, cost, update, seconds)

    def _perform(self, actions: Iterable[ControllerAction]) -> None:
        core = self._core
        for action in actions:
            match action:
                case Send(_, target, batch):
                    core.handle(Deliver(target, batch, CONTROLLER))
                case SendStructure(_, instance, structure):
                    core.handle(DeliverStructure(instance, structure))
                case DropStructure(_, instance):
                    core.handle(DropStructures([instance]))
                case EndEpochOnDevices():
                    ended = core.handle(EndEpoch())
                    self._events += [DeviceEndedEpoch(DEVICE) for action in ended if isinstance(action, EpochEnded)]
                case PassEnded():
                    self._perform(self._controller.next_pass())
                case TrainingEnded():
                    self._ended = True
