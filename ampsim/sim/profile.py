"""A device's hardware profile, and the time that work takes on it."""

from __future__ import annotations

from dataclasses import dataclass

from ampsim.ops.table import Cost


@dataclass(frozen=True)
class DeviceProfile:
    """A kind of device, as its YAML file in devices/ describes it.

    `compute` in FLOP/s, `memory_bandwidth` in byte/s, `memory` in bytes, `overhead` in seconds per batch of
    messages handled.
    """

    kind: str
    summary: str
    compute: float
    memory_bandwidth: float
    memory: float
    overhead: float

    def duration_s(self, cost: Cost) -> float:
        """Seconds for one batch: overhead + max(flops / compute, bytes / memory_bandwidth)."""
        moved = cost.bytes_read + cost.bytes_written
        return self.overhead + max(cost.flops / self.compute, moved / self.memory_bandwidth)

    @property
    def balance(self) -> float:
        """FLOP per byte moved at which arithmetic and memory take equally long; with more, arithmetic is the limit."""
        return self.compute / self.memory_bandwidth
