"""The network of the simulated clock: links as first-come queues, and the routes over them. Pure.

A transfer of b bytes that reaches a link at time t

    begins     at  s = max(t, free)         free: when the link has sent what came before
    occupies   it until  s + b / bandwidth
    arrives    at  s + b / bandwidth + latency

so latency delays what is sent, and does not occupy the link. On a route of several links it is stored and forwarded:
it reaches the next link when it has arrived whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ampsim.ir.graph import CONTROLLER
from ampsim.sim.topology import Full, Grid, Listed, Star, Topology, TopologyName, nearest_to_a_square

SWITCH = "(switch)"
"""The vertex in the middle of topology `switch`: no device's name has brackets."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A pair of links, one each way, of `latency` in s and `bandwidth` in byte/s each way."""

    between: tuple[str, str]
    latency: float
    bandwidth: float


@dataclass(frozen=True)
class NetworkPlan:
    """What a network is made of; `latency` in s and `bandwidth` in byte/s are those of each link that is not listed.

    `shape` is rows and columns of a mesh or torus, by default as near to a square as can be. `switches` and
    `connections` are those of topology `links`.
    """

    topology: TopologyName
    devices: Sequence[str]
    latency: float
    bandwidth: float
    shape: tuple[int, int] | None = None
    switches: Sequence[str] = ()
    connections: Sequence[Connection] = ()


@dataclass(slots=True, eq=False)
class Link:
    """A link from one vertex to another, and what it has carried; prints as `d0 -> d1`.

    `latency` in s, `bandwidth` in byte/s. `free_s` is when it has sent all that came so far, `busy_s` how long it has
    been sending in all.
    """

    source: str
    destination: str
    latency: float
    bandwidth: float
    free_s: float = 0.0
    bytes: int = 0
    busy_s: float = 0.0
    transfers: int = 0

    def carry(self, size: int, now_s: float) -> float:
        """When a transfer of `size` bytes that reaches the link at `now_s` arrives at the other end, in s.

        Transfers are to be handed over in the order in which they reach the link.
        """
        sending_s = size / self.bandwidth
        self.free_s = max(now_s, self.free_s) + sending_s
        self.bytes += size
        self.busy_s += sending_s
        self.transfers += 1
        return self.free_s + self.latency

    def __str__(self) -> str:
        return f"{self.source} -> {self.destination}"


class Network:
    """Devices, controller and switches, and the links between them, which are made when they are first used.

    Raises ValueError if the plan contradicts itself, LookupError if a connection names what is not there; the plan of
    a config has been checked.
    """

    def __init__(self, plan: NetworkPlan) -> None:
        self.plan = plan
        if plan.topology != "links" and (plan.switches or plan.connections):
            raise ValueError(f"switches and connections are listed for topology 'links', found {plan.topology!r}")
        switches = (SWITCH,) if plan.topology == "switch" else tuple(plan.switches)
        self._vertices = (*plan.devices, CONTROLLER, *switches)
        self._numbers = {name: number for number, name in enumerate(self._vertices)}
        if len(self._numbers) < len(self._vertices):
            raise ValueError("expected a name of its own for each device and switch, and none called 'controller'")
        self._listed: dict[tuple[int, int], Connection] = {}
        for connection in plan.connections:
            one, other = map(self._number, connection.between)
            if one == other or (one, other) in self._listed:
                raise ValueError(f"expected two vertices, and each two once, found {connection.between}")
            self._listed[one, other] = self._listed[other, one] = connection
        self.topology = self._topology()
        self._links: dict[tuple[int, int], Link] = {}
        self._routes: dict[tuple[str, str], tuple[Link, ...]] = {}

    def route(self, source: str, destination: str) -> tuple[Link, ...]:
        """The links from one vertex to another in their order: the fewest; none from a vertex to itself.

        Raises LookupError if there is no way, or no such vertex.
        """
        route = self._routes.get((source, destination))
        if route is None:
            route = self._routes[source, destination] = self._find(source, destination)
        return route

    def delay(self, source: str, destination: str, size: int) -> float:
        """Seconds for `size` bytes where nothing is in the way: the sum of size / bandwidth + latency over the route.

        Raises LookupError as `route` does.
        """
        arrival_s = 0.0
        for link in self.route(source, destination):  # added in the order in which `carry` adds: the same to the bit
            arrival_s = arrival_s + size / link.bandwidth + link.latency
        return arrival_s

    @property
    def used(self) -> list[Link]:
        """The links that have carried anything, ordered by their ends: devices, then controller, then switches."""
        return [link for _, link in sorted(self._links.items()) if link.transfers]

    @property
    def latencies(self) -> tuple[float, float]:
        """The least and the greatest latency of a link, in s."""
        found = [one.latency for one in self.plan.connections] or [self.plan.latency]
        return min(found), max(found)

    @property
    def bandwidths(self) -> tuple[float, float]:
        """The least and the greatest bandwidth of a link, in byte/s."""
        found = [one.bandwidth for one in self.plan.connections] or [self.plan.bandwidth]
        return min(found), max(found)

    def _find(self, source: str, destination: str) -> tuple[Link, ...]:
        start, end = self._number(source), self._number(destination)
        path = [start] if start == end else self.topology.path(start, end)
        if path is None:
            raise LookupError(f"no route leads from {source} to {destination}")
        return tuple(self._link(*ends) for ends in pairwise(path))

    def _number(self, name: str) -> int:
        if name not in self._numbers:
            raise LookupError(f"the network has no vertex {name!r}")
        return self._numbers[name]

    def _link(self, source: int, destination: int) -> Link:
        link = self._links.get((source, destination))
        if link is None:
            of = self._listed.get((source, destination), self.plan)
            link = Link(self._vertices[source], self._vertices[destination], of.latency, of.bandwidth)
            self._links[source, destination] = link
        return link

    def _topology(self) -> Topology:
        count = len(self.plan.devices)
        match self.plan.topology:
            case "full":
                return Full(count + 1)
            case "switch":
                return Star(count + 1)
            case "ring":
                return Grid(1, count, wraps=True)
            case "links":
                return Listed(len(self._vertices), [ends for ends in self._listed if ends[0] < ends[1]])
        rows, columns = self.plan.shape or nearest_to_a_square(count)
        if rows * columns != count:
            raise ValueError(f"a grid of {rows} x {columns} has {rows * columns} devices, found {count}")
        return Grid(rows, columns, wraps=self.plan.topology == "torus")
