"""What is on its way in the simulation, hop by hop, and the agenda of all that is to happen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

from ampsim.ir.graph import Graph
from ampsim.ir.structure import STRUCTURE_ARRAYS
from ampsim.runtime.controller_events import ControllerEvent
from ampsim.runtime.device_events import Deliver, DeliverStructures, DeviceEvent
from ampsim.sim.network import Link, Network
from ampsim.sim.rates import Handed


class Agenda:
    """What happens when; of what happens at one time, what was put in first comes first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Any]] = []
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, time_s: float, what: Any) -> None:
        """Let something happen at `time_s`."""
        self._sequence += 1
        heappush(self._heap, (time_s, self._sequence, what))

    @property
    def next_s(self) -> float:
        """When the next thing happens. Raises IndexError if nothing is to."""
        return self._heap[0][0]

    def take(self, time_s: float) -> Any:
        """What happens next, if it does at `time_s`; else None."""
        heap = self._heap
        return heappop(heap)[2] if heap and heap[0][0] == time_s else None


@dataclass(slots=True)
class Transfer:
    """Something on its way over the links of a route; `path_s` grows by what each takes without a queue."""

    route: Sequence[Link]
    size: int
    source: str
    destination: str
    event: DeviceEvent | ControllerEvent
    path_s: float
    handed: Handed | None
    """what it adds to what its receiver takes in; a bundle, if it is the first of those of one turn; None: not counted
    """
    sent_s: float | None
    """when its sender began to hand out; None for what is not of a pass"""
    hop: int = 0

    @property
    def arrived(self) -> bool:
        """Whether it is at its destination."""
        return self.hop == len(self.route)


class Transfers:
    """Sends things on their way. If it is `counted`, what handing over costs by arrays and bundles is asked for."""

    def __init__(self, agenda: Agenda, network: Network, graph: Graph, counted: bool) -> None:
        self._agenda, self._network, self._graph, self._counted = agenda, network, graph, counted

    def send(
        self,
        source: str,
        destination: str,
        size: int,
        event: DeviceEvent | ControllerEvent,
        path_s: float,
        now_s: float,
        leaves_s: float,
        sent_s: float | None = None,
        reached: set[str] | None = None,
    ) -> None:
        """Send something on its way, now or later; `reached` are the peers that a bundle of the turn is open for."""
        handed = None
        if self._counted:
            handed = self._handed(event, size)
            handed.bundles = int(reached is None or destination not in reached)
            if reached is not None:
                reached.add(destination)
        route = self._network.route(source, destination)
        transfer = Transfer(route, size, source, destination, event, path_s, handed, sent_s)
        if leaves_s > now_s:
            self._agenda.put(leaves_s, transfer)
        else:
            self.hop(transfer, now_s)

    def hop(self, transfer: Transfer, now_s: float) -> None:
        """On to the next link of the route."""
        link = transfer.route[transfer.hop]
        transfer.hop += 1
        transfer.path_s += transfer.size / link.bandwidth + link.latency
        self._agenda.put(link.carry(transfer.size, now_s), transfer)

    def _handed(self, event: DeviceEvent | ControllerEvent, size: int) -> Handed:
        """What something is that travels; how many arrays does not matter for what is no part of training."""
        handed = Handed()
        match event:
            case Deliver(target, _, _, _):
                handed.add(2 + len(self._graph.payload(target) or ()), size)
            case DeliverStructures():
                handed.add(STRUCTURE_ARRAYS, size, 1)
            case _:
                handed.add(2, size)
        return handed
