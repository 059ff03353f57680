"""What waits at a device: backward before forward, oldest first, batches of one port merged up to a limit."""

from __future__ import annotations

from collections import defaultdict, deque

from ampsim.ir.batch import Batch, Direction, concatenate
from ampsim.ir.graph import Target


class _Lane:
    """Batches of one urgency. `_order` has an entry for every batch, in order of arrival."""

    def __init__(self) -> None:
        self._order: deque[Target] = deque()
        self._batches: dict[Target, deque[Batch]] = defaultdict(deque)
        self._merged: dict[Target, int] = defaultdict(int)

    def __bool__(self) -> bool:
        return bool(self._order)

    def put(self, target: Target, batch: Batch) -> None:
        self._order.append(target)
        self._batches[target].append(batch)

    def take(self, max_batch: int) -> tuple[Target, Batch]:
        target = self._order.popleft()
        waiting = self._batches[target]
        taken = [waiting.popleft()]
        count = len(taken[0])
        if count > max_batch:
            taken[0], rest = taken[0].split(max_batch)
            waiting.appendleft(rest)
            self._order.appendleft(target)
        while waiting and count + len(waiting[0]) <= max_batch:
            taken.append(waiting.popleft())
            count += len(taken[-1])
            self._merged[target] += 1
        # The entries of merged batches are behind the one just used: drop them as they come to the front.
        while self._order and self._merged[self._order[0]]:
            self._merged[self._order.popleft()] -= 1
        return target, concatenate(taken)


class MessageQueues:
    """The messages that a device has received and not yet handled."""

    def __init__(self) -> None:
        self._backward, self._other = _Lane(), _Lane()
        self.messages = 0
        self.size_bytes = 0

    def put(self, target: Target, batch: Batch) -> None:
        """Queue a batch behind all others of its urgency."""
        lane = self._backward if target.direction is Direction.BACKWARD else self._other
        lane.put(target, batch)
        self.messages += len(batch)
        self.size_bytes += batch.size_bytes

    def take(self, max_batch: int) -> tuple[Target, Batch] | None:
        """The most urgent messages of one target, at most `max_batch`; None if nothing waits."""
        lane = self._backward or self._other
        if not lane:
            return None
        target, batch = lane.take(max_batch)
        self.messages -= len(batch)
        self.size_bytes -= batch.size_bytes
        return target, batch
