"""What waits at a device: backward before forward, and messages of one port merged up to a limit, `max_batch`.

With the limit 1 (a message at a time, as in the paper) the oldest instance goes first: a device with several layers
takes one instance through all of them before it begins the next, which hands it on sooner, keeps fewer activations,
and keeps the gradients fresher. With a higher limit the node goes first that is nearest to where messages come from:
the inputs on the way forward, the loss on the way back. So a device works in waves, and what is to go together has
gathered at a port when its turn comes.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from itertools import count

from ampsim.ir.batch import Batch, Direction, concatenate
from ampsim.ir.graph import Target

_Age = tuple[int, int]
"""The instance of a batch's first message, and a number that counts arrivals: no two batches have the same age."""


class _Port:
    """Batches that wait at one port, oldest instance first; ports of a lower `rank` go first."""

    def __init__(self, rank: int) -> None:
        self._batches: list[tuple[_Age, Batch]] = []
        self.rank = rank

    def __bool__(self) -> bool:
        return bool(self._batches)

    @property
    def age(self) -> _Age:
        return self._batches[0][0]

    def put(self, batch: Batch, arrival: int) -> None:
        heappush(self._batches, ((int(batch.states[0, 0]), arrival), batch))

    def take(self, max_batch: int) -> Batch:
        """The oldest batch with those after it, as far as max_batch goes; a larger batch is split."""
        (_, arrival), first = heappop(self._batches)
        if len(first) > max_batch:
            first, rest = first.split(max_batch)
            self.put(rest, arrival)
        taken, messages = [first], len(first)
        while self._batches and messages + len(self._batches[0][1]) <= max_batch:
            _, batch = heappop(self._batches)
            taken.append(batch)
            messages += len(batch)
        return concatenate(taken)


class MessageQueues:
    """The messages that a device has received and not yet handled; `nodes` are in the order of the way forward."""

    def __init__(self, nodes: Iterable[str]) -> None:
        self._ranks = {name: rank for rank, name in enumerate(nodes)}
        self._backward: dict[Target, _Port] = {}
        self._others: dict[Target, _Port] = {}
        self._arrivals = count()
        self.messages = 0
        self.size_bytes = 0

    def put(self, target: Target, batch: Batch) -> None:
        """Queue a batch."""
        back = target.direction is Direction.BACKWARD
        lane = self._backward if back else self._others
        if target not in lane:
            rank = self._ranks[target.node]
            lane[target] = _Port(-rank if back else rank)
        lane[target].put(batch, next(self._arrivals))
        self.messages += len(batch)
        self.size_bytes += batch.size_bytes

    def take(self, max_batch: int) -> tuple[Target, Batch] | None:
        """The most urgent messages of one target, at most `max_batch`; None if nothing waits."""
        lane = self._backward or self._others
        if not lane:
            return None
        if max_batch == 1:
            target = min(lane, key=lambda at: lane[at].age)
        else:
            target = min(lane, key=lambda at: (lane[at].rank, lane[at].age))
        batch = lane[target].take(max_batch)
        if not lane[target]:
            del lane[target]
        self.messages -= len(batch)
        self.size_bytes -= batch.size_bytes
        return target, batch
