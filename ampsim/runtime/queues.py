"""What waits at a device: backward before forward, oldest instance first, batches of one port merged up to a limit.

Oldest instance, not oldest message: a device with several layers then takes one instance through all of them before
it begins the next, which hands the instance on sooner, keeps fewer activations, and keeps the gradients fresher.
"""

from __future__ import annotations

from collections import defaultdict
from heapq import heappop, heappush
from itertools import count

from ampsim.ir.batch import Batch, Direction, concatenate
from ampsim.ir.graph import Target

_Age = tuple[int, int]
"""The instance of a batch's first message, and a number that counts arrivals: no two batches have the same age."""


class _Lane:
    """Batches of one urgency: all ages in one heap, and the batches of each target in a heap of their own."""

    def __init__(self) -> None:
        self._ages: list[tuple[_Age, Target]] = []
        self._batches: dict[Target, list[tuple[_Age, Batch]]] = defaultdict(list)
        self._merged: set[_Age] = set()

    def put(self, target: Target, batch: Batch, arrival: int) -> None:
        age = (int(batch.states[0, 0]), arrival)
        heappush(self._ages, (age, target))
        heappush(self._batches[target], (age, batch))

    def take(self, max_batch: int) -> tuple[Target, Batch] | None:
        """The oldest batch with what else its target has, as far as max_batch goes; a larger batch is split."""
        while self._ages:
            age, target = heappop(self._ages)
            if age in self._merged:
                self._merged.remove(age)
            else:
                return target, self._merge(target, max_batch)
        return None

    def _merge(self, target: Target, max_batch: int) -> Batch:
        waiting = self._batches[target]
        (_, arrival), first = heappop(waiting)
        if len(first) > max_batch:
            first, rest = first.split(max_batch)
            self.put(target, rest, arrival)
        taken, messages = [first], len(first)
        while waiting and messages + len(waiting[0][1]) <= max_batch:
            age, batch = heappop(waiting)
            self._merged.add(age)
            taken.append(batch)
            messages += len(batch)
        return concatenate(taken)


class MessageQueues:
    """The messages that a device has received and not yet handled."""

    def __init__(self) -> None:
        self._backward, self._other = _Lane(), _Lane()
        self._arrivals = count()
        self.messages = 0
        self.size_bytes = 0

    def put(self, target: Target, batch: Batch) -> None:
        """Queue a batch."""
        lane = self._backward if target.direction is Direction.BACKWARD else self._other
        lane.put(target, batch, next(self._arrivals))
        self.messages += len(batch)
        self.size_bytes += batch.size_bytes

    def take(self, max_batch: int) -> tuple[Target, Batch] | None:
        """The most urgent messages of one target, at most `max_batch`; None if nothing waits."""
        taken = self._backward.take(max_batch) or self._other.take(max_batch)
        if taken is not None:
            self.messages -= len(taken[1])
            self.size_bytes -= taken[1].size_bytes
        return taken
