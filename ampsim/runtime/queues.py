"""What waits at a device: backward before forward, the fullest batch first, and among equals the oldest instance.

Messages of one port are merged up to a limit. With the limit 1 (a message at a time, as in the paper) all batches are
equally full, so that the oldest instance goes first: a device with several layers takes one instance through all of
them before it begins the next, which hands it on sooner, keeps fewer activations, and keeps the gradients fresher.
With a higher limit the messages of many instances gather at a port and go together, which is what the limit is for;
every OLDEST_EVERY-th turn goes to the oldest instance all the same, so that none is left behind.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count

from ampsim.ir.batch import Batch, Direction, concatenate
from ampsim.ir.graph import Target

OLDEST_EVERY = 8

_Age = tuple[int, int]
"""The instance of a batch's first message, and a number that counts arrivals: no two batches have the same age."""


class _Port:
    """Batches that wait at one port, oldest first."""

    def __init__(self) -> None:
        self._batches: list[tuple[_Age, Batch]] = []
        self.messages = 0

    @property
    def age(self) -> _Age:
        return self._batches[0][0]

    def put(self, batch: Batch, arrival: int) -> None:
        heappush(self._batches, ((int(batch.states[0, 0]), arrival), batch))
        self.messages += len(batch)

    def take(self, max_batch: int) -> Batch:
        """The oldest batch with those after it, as far as max_batch goes; a larger batch is split."""
        (_, arrival), first = heappop(self._batches)
        self.messages -= len(first)
        if len(first) > max_batch:
            first, rest = first.split(max_batch)
            self.put(rest, arrival)
        taken, messages = [first], len(first)
        while self._batches and messages + len(self._batches[0][1]) <= max_batch:
            _, batch = heappop(self._batches)
            taken.append(batch)
            messages += len(batch)
        self.messages -= messages - len(first)
        return concatenate(taken)


class MessageQueues:
    """The messages that a device has received and not yet handled."""

    def __init__(self) -> None:
        self._backward: dict[Target, _Port] = {}
        self._others: dict[Target, _Port] = {}
        self._arrivals = count()
        self._turns = 0
        self.messages = 0
        self.size_bytes = 0

    def put(self, target: Target, batch: Batch) -> None:
        """Queue a batch."""
        lane = self._backward if target.direction is Direction.BACKWARD else self._others
        if target not in lane:
            lane[target] = _Port()
        lane[target].put(batch, next(self._arrivals))
        self.messages += len(batch)
        self.size_bytes += batch.size_bytes

    def take(self, max_batch: int) -> tuple[Target, Batch] | None:
        """The most urgent messages of one target, at most `max_batch`; None if nothing waits."""
        lane = self._backward or self._others
        if not lane:
            return None
        self._turns += 1
        if self._turns % OLDEST_EVERY:
            target = min(lane, key=lambda at: (-min(lane[at].messages, max_batch), lane[at].age))
        else:
            target = min(lane, key=lambda at: lane[at].age)
        batch = lane[target].take(max_batch)
        if not lane[target].messages:
            del lane[target]
        self.messages -= len(batch)
        self.size_bytes -= batch.size_bytes
        return target, batch
