"""What a device counts about its work and about what comes, per interval of its utilization log, and over a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeAlias

from ampsim.ops.table import Array


@dataclass
class Staleness:
    """Updates between the forward and the backward pass of each gradient: number of gradients, sum, largest."""

    gradients: int = 0
    total: int = 0
    maximum: int = 0

    def add(self, gradients: int, staleness: int | Array) -> None:
        """Count so many gradients, of one staleness or of `staleness int64[gradients]`."""
        self.gradients += gradients
        if isinstance(staleness, int):
            self.total += gradients * staleness
            if staleness > self.maximum:
                self.maximum = staleness
        else:
            self.total += int(staleness.sum())
            self.maximum = max(self.maximum, int(staleness.max()))

    def merge(self, other: Staleness) -> None:
        """Add another count to this one."""
        self.gradients += other.gradients
        self.total += other.total
        self.maximum = max(self.maximum, other.maximum)

    @property
    def mean(self) -> float:
        """Mean over the gradients; 0 if there were none."""
        return self.total / self.gradients if self.gradients else 0.0


@dataclass
class OnTheWay:
    """Packets that came from one sender: how many, and how long they were on the way in all, in s."""

    packets: int = 0
    total_s: float = 0.0

    def add(self, packets: int, seconds: float) -> None:
        """Count packets that came together, each of which took so long."""
        self.packets += packets
        self.total_s += packets * seconds

    def merge(self, other: OnTheWay) -> None:
        """Add another count to this one."""
        self.packets += other.packets
        self.total_s += other.total_s

    @property
    def mean_s(self) -> float:
        """Mean over the packets; 0 if there were none."""
        return self.total_s / self.packets if self.packets else 0.0


Edges: TypeAlias = dict[tuple[str, str], OnTheWay]
"""What was on the way, by sender and receiver."""


@dataclass
class NodeCounts:
    """What one parameterised node did."""

    updates: int = 0
    staleness: Staleness = field(default_factory=Staleness)

    def merge(self, other: NodeCounts) -> None:
        """Add another count to this one."""
        self.updates += other.updates
        self.staleness.merge(other.staleness)


@dataclass
class WorkCounts:
    """What a device did in an interval; the last three are levels: the largest seen."""

    forward_messages: int = 0
    backward_messages: int = 0
    batches: int = 0
    queue_max: int = 0
    cached_bytes: int = 0
    peak_memory_bytes: int = 0
    nodes: dict[str, NodeCounts] = field(default_factory=dict)

    def node(self, name: str) -> NodeCounts:
        """The counts of a node, made on first use."""
        counts = self.nodes.get(name)
        if counts is None:
            counts = self.nodes[name] = NodeCounts()
        return counts

    @property
    def updates(self) -> int:
        """Updates of all nodes."""
        return sum(node.updates for node in self.nodes.values())

    @property
    def staleness(self) -> Staleness:
        """Staleness over the gradients of all nodes."""
        merged = Staleness()
        for node in self.nodes.values():
            merged.merge(node.staleness)
        return merged

    def merge(self, other: WorkCounts) -> None:
        """Add a later interval to this one: counts add up, levels keep the largest."""
        self.forward_messages += other.forward_messages
        self.backward_messages += other.backward_messages
        self.batches += other.batches
        self.queue_max = max(self.queue_max, other.queue_max)
        self.cached_bytes = max(self.cached_bytes, other.cached_bytes)
        self.peak_memory_bytes = max(self.peak_memory_bytes, other.peak_memory_bytes)
        for name, counts in other.nodes.items():
            self.node(name).merge(counts)

    def to_wire(self) -> dict[str, Any]:
        """Plain types, for a message."""
        return asdict(self)

    @classmethod
    def from_wire(cls, plain: dict[str, Any]) -> WorkCounts:
        """The counts that `to_wire` wrote."""
        values = {f.name: plain[f.name] for f in fields(cls)}
        values["nodes"] = {
            name: NodeCounts(counts["updates"], Staleness(**counts["staleness"]))
            for name, counts in plain["nodes"].items()
        }
        return cls(**values)
