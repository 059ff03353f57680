"""A whole run on shapes alone, ahead of the run that does the arithmetic: what each device is to handle, and when.

The controller core and the device cores are those of any run; only what the losses come to is not known here. So where
training may stop early, the simulation waits at the end of an epoch for word from the run that follows it.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import replace
from time import perf_counter

from ampsim.data.dataset import TEST, VALIDATION
from ampsim.runtime.cluster import Collected, Delivery, Interval, PassTiming
from ampsim.runtime.controller_core import ControllerCore
from ampsim.runtime.controller_events import (
    AssignParameters,
    CollectReplicas,
    ControllerAction,
    DropStructure,
    EndEpochOnDevices,
    Injected,
    Injection,
    PassEnded,
    SendStructures,
    StartPass,
    TrainingEnded,
)
from ampsim.runtime.device_events import Send
from ampsim.runtime.schedule import Order
from ampsim.runtime.simulated_cluster import SimulatedCluster

UNHURRIED_S = 100e-6
"""How long the simulation goes on at a time while it is well ahead; then others of this machine go first."""


class Simulation:
    """Runs a simulated cluster on shapes, at most `ahead` instances ahead of the run that follows.

    `may_stop_early`: the end of training depends on figures that only the other run has. `ahead` is to be more than
    max_active_keys: then all that is to be done for the instances that the other run has in flight is known.
    """

    def __init__(self, core: ControllerCore, cluster: SimulatedCluster, ahead: int, may_stop_early: bool) -> None:
        self._core, self._cluster, self._ahead, self._may_stop_early = core, cluster, ahead, may_stop_early
        self._injections: list[Injection] = []
        self._intervals: list[Interval] = []
        self._injected = 0
        self._awaits_word = self._finished = False
        self.timings: deque[PassTiming] = deque()
        """of the passes that have ended and have not been taken"""
        self._cluster.send(self._perform(self._core.next_pass()))

    @property
    def now_s(self) -> float:
        """Simulated seconds."""
        return self._cluster.now_s

    def advance(self, injected: int, host_s: float) -> bool:
        """Simulate on, for so much of the host's time; False if it is far enough ahead, over, or waits for word.

        While the devices know what to do, they go first: where one has to wait for a processor until this process has
        used up its share, the others soon wait for that device.
        """
        deadline = perf_counter() + host_s
        looked = False
        while not self._finished and not self._awaits_word and (lead := self._injected - injected) < self._ahead:
            looked = True
            if lead < self._ahead // 4:
                self.run_on(host_s)
            else:
                self.run_on(UNHURRIED_S)
                os.sched_yield()
            if perf_counter() > deadline:
                break
        return looked

    def run_on(self, host_s: float) -> None:
        """Simulate until something happens at the controller, or so much of the host's time is over."""
        deliveries: list[Delivery] = []
        for event in self._cluster.wait(host_s):
            if isinstance(event, Interval):
                self._intervals.append(event)
            else:
                deliveries += self._perform(self._core.handle(event))  # type: ignore[arg-type]  # nothing is refused
        self._cluster.send(deliveries)

    def take_intervals(self) -> list[Interval]:
        """Lines of the utilization logs that were not taken yet."""
        intervals, self._intervals = self._intervals, []
        return intervals

    def pass_started(self, split: str) -> None:
        """Word from the run that follows: it has begun a pass, and so knows whether training has stopped."""
        if self._awaits_word:
            self._awaits_word = False
            self._cluster.send(self._perform(self._core.next_pass(stop=split == TEST)))

    def injections(self) -> list[Injection]:
        """The next injections, as far as they are known and were not told yet."""
        known, self._injections = self._injections, []
        return known

    def orders(self) -> list[tuple[str, Order]]:
        """What devices are to handle next, as far as it is known and was not told yet."""
        return [(name, writer.take()) for name, writer in self._cluster.orders()]

    def rest(self) -> Collected:
        """The last lines of the utilization logs, and the links."""
        return replace(rest := self._cluster.collect(0.0), intervals=self.take_intervals() + rest.intervals)

    def _perform(self, actions: list[ControllerAction]) -> list[Delivery]:
        deliveries: list[Delivery] = []
        for action in actions:
            match action:
                case Send() | SendStructures() | DropStructure():
                    deliveries.append(action)
                case EndEpochOnDevices():
                    self._cluster.end_epoch()
                case CollectReplicas(device, nodes, awaited):
                    self._cluster.collect_replicas(device, nodes, awaited)
                case AssignParameters(device, values):
                    self._cluster.assign(device, values)
                case StartPass(epoch, split):
                    self._cluster.start_pass(epoch, split)
                case Injected(injection):
                    self._cluster.injected(injection.instances)
                    self._injections.append(injection)
                    self._injected += injection.instances
                case PassEnded(_, split):
                    self.timings.append(self._cluster.end_pass())
                    if self._may_stop_early and split == VALIDATION:
                        self._awaits_word = True
                    else:
                        deliveries += self._perform(self._core.next_pass())
                case TrainingEnded():
                    self._finished = True
        return deliveries
