"""A device's hardware profile, and the time that work takes on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ampsim.ops.table import Cost
from ampsim.sim.rates import Handing, Rate, Update, Way, kind_of

NOTHING = Handing()


@dataclass(frozen=True)
class DeviceProfile:
    """A kind of device, as its YAML file in devices/ describes it.

    `compute` in FLOP/s, `memory_bandwidth` in byte/s, `memory` in bytes, `overhead` in seconds per batch of
    messages handled. The rest is for kinds that were measured: `message_overhead` in seconds per message of a batch,
    `turn` in seconds for what goes on around the batches of a turn, `send` and `receive` the time of handing out and
    taking in, and `rates` by op (or optimizer) and way, which stand in place of all the plain figures where there are
    some; `spread` is how much the times of batches vary: the standard deviation of their logarithms.
    """

    kind: str
    summary: str
    compute: float
    memory_bandwidth: float
    memory: float
    overhead: float
    message_overhead: float = 0.0
    turn: float = 0.0
    send: Handing = NOTHING
    receive: Handing = NOTHING
    rates: Mapping[str, Mapping[Way, Rate]] = field(default_factory=dict, hash=False)
    spread: float = 0.0

    def duration_s(self, cost: Cost) -> float:
        """Seconds for one batch by the plain figures: overhead + max(flops / compute, bytes / memory_bandwidth)."""
        return self.overhead + self.work_s(cost)

    def work_s(self, cost: Cost) -> float:
        """Seconds for the arithmetic alone: max(flops / compute, bytes / memory_bandwidth)."""
        moved = cost.bytes_read + cost.bytes_written
        return max(cost.flops / self.compute, moved / self.memory_bandwidth)

    def rate(self, op: str, way: Way) -> Rate | None:
        """What was measured of an op, or else of its kind; a pass without a backward one is as its forward one, unless
        it was measured, too."""
        for name in (op, kind_of(op)):
            ways = self.rates.get(name, {})
            if found := ways.get(way, ways.get("forward") if way == "inference" else None):
                return found
        return None

    def batch_s(
        self, op: str, way: Way, cost: Cost, messages: int, parts: int, rows: int, update: Update | None
    ) -> float:
        """Seconds for one batch of `messages`, queued as `parts`, at a node of an op that computes on `rows` rows.

        `update` is the one that the batch brings about, if any. Where nothing was measured its work is part of the
        batch's.
        """
        rate, update_s = self.rate(op, way), 0.0
        if update is not None:
            measured_s = self._measured_s(op, update)
            if measured_s is not None:
                update_s = measured_s
            elif rate is None:
                cost += update.work
            else:
                update_s = self.work_s(update.work)
        if rate is None:
            return self.duration_s(cost) + self.message_overhead * messages + update_s
        return rate.duration_s(cost, messages, parts, rows) + update_s

    def update_s(self, op: str, update: Update) -> float:
        """Seconds for an update that no batch brings about, at a node of an op."""
        measured_s = self._measured_s(op, update)
        return self.duration_s(update.work) if measured_s is None else measured_s

    def _measured_s(self, op: str, update: Update) -> float | None:
        """Seconds for an update by the rates of the optimizer and of the op's gradients; None without the first."""
        of_optimizer, of_op = self.rate(update.optimizer, "update"), self.rate(op, "update")
        if of_optimizer is None:
            return None
        gradients_s = of_op.duration_s(update.way_back, rows=update.rows) if of_op else 0.0
        return of_optimizer.duration_s(update.work) + gradients_s

    @property
    def counts_messages(self) -> bool:
        """Whether a batch's time depends on how many messages it has, and not on its rows alone."""
        return bool(self.message_overhead or self.rates)

    @property
    def balance(self) -> float:
        """FLOP per byte moved at which arithmetic and memory take equally long; with more, arithmetic is the limit."""
        return self.compute / self.memory_bandwidth
