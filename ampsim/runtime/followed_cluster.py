"""Devices that follow orders of work which are known beforehand: from a simulation, or from a recording.

The cluster is any whose devices can follow (in processes, or all in one), and the controller core follows too: it
injects as many instances together as it is told. So the same batches are handled in the same order, and the parameters
come out the same to the bit, however fast each process is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Protocol, Self

from ampsim.ops.table import Array
from ampsim.runtime.cluster import (
    Cluster,
    ClusterEvent,
    Collected,
    Delivery,
    DeviceIdentity,
    Heartbeat,
    Interval,
    OrderedCluster,
    PassTiming,
)
from ampsim.runtime.controller_events import Injection, InjectionsKnown
from ampsim.runtime.schedule import Order
from ampsim.runtime.simulation import Simulation

SLICE_S = 0.005
"""Host time that the simulation gets before the devices are looked after again."""


class Forecast(Protocol):
    """Whoever knows the order of work before it is done."""

    def advance(self, injected: int, host_s: float) -> bool:
        """Find out more, given that so many instances have been injected; False if nothing more is needed yet."""

    def injections(self) -> Sequence[Injection]:
        """The next injections, as far as they are known and were not told yet."""

    def orders(self) -> Iterable[tuple[str, Order]]:
        """What devices are to handle next, as far as it is known and was not told yet."""


class FollowingCluster(Cluster):
    """Passes on to `cluster` what the controller wants, and to both of them what the forecast says."""

    follows = True

    def __init__(self, cluster: OrderedCluster, forecast: Forecast) -> None:
        self._cluster, self._forecast = cluster, forecast
        self._injected = 0

    @property
    def identities(self) -> Mapping[str, DeviceIdentity]:
        return self._cluster.identities

    def __enter__(self) -> Self:
        self._cluster.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._cluster.__exit__(*exception)

    def injected(self, instances: int) -> None:
        self._injected += instances

    def send(self, actions: Iterable[Delivery]) -> None:
        self._cluster.send(actions)

    def end_epoch(self) -> None:
        self._cluster.end_epoch()

    def collect_replicas(self, device: str, nodes: Sequence[str], awaited: Mapping[str, int]) -> None:
        self._cluster.collect_replicas(device, nodes, awaited)

    def assign(self, device: str, values: Mapping[str, Array]) -> None:
        self._cluster.assign(device, values)

    def wait(self, timeout_s: float) -> list[ClusterEvent]:
        """Look ahead as far as is needed while nothing comes from the devices; then wait for them."""
        deadline = perf_counter() + timeout_s
        while True:
            looked = self._forecast.advance(self._injected, SLICE_S)
            for device, order in self._forecast.orders():
                self._cluster.follow(device, order)
            known = self._forecast.injections()
            events: list[ClusterEvent] = [InjectionsKnown(known)] if known else []
            left_s = max(deadline - perf_counter(), 0.0)
            events += self._cluster.wait(0.0 if looked or events else left_s)
            if events or left_s == 0.0:
                return events

    def collect(self, timeout_s: float) -> Collected:
        return self._cluster.collect(timeout_s)


class SimulatedTime(FollowingCluster):
    """Follows a simulation, which also tells the time: its utilization logs are the run's, in simulated seconds."""

    def __init__(self, cluster: OrderedCluster, simulation: Simulation) -> None:
        super().__init__(cluster, simulation)
        self._simulation = simulation

    @property
    def now_s(self) -> float:
        return self._simulation.now_s

    def start_pass(self, epoch: int, split: str) -> None:
        self._simulation.pass_started(split)

    def end_pass(self) -> PassTiming:
        """The simulation's: it ended the pass before the devices could, or does so now."""
        while not self._simulation.timings:
            self._simulation.run_on(SLICE_S)
        return self._simulation.timings.popleft()

    def wait(self, timeout_s: float) -> list[ClusterEvent]:
        """What comes of the devices' own intervals, in host time, is only that they are alive."""
        events = [Heartbeat(event) if isinstance(event, Interval) else event for event in super().wait(timeout_s)]
        return [*self._simulation.take_intervals(), *events]

    def collect(self, timeout_s: float) -> Collected:
        collected = self._cluster.collect(timeout_s)
        return replace(self._simulation.rest(), parameters=collected.parameters, missing=collected.missing)
