"""What waits at a device: backward before forward, and messages of one port merged up to a limit, `max_batch`.

With the limit 1 (a message at a time, as in the paper) the oldest instance goes first: a device with several layers
takes one instance through all of them before it begins the next, which hands it on sooner, keeps fewer activations,
and keeps the gradients fresher. With a higher limit the node goes first that is nearest to where messages come from:
the inputs on the way forward, the loss on the way back. So a device works in waves, and what is to go together has
gathered at a port when its turn comes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from ampsim.ir.batch import Batch, Direction, concatenate
from ampsim.ir.graph import Target

_Age = tuple[int, int]
"""The instance of a batch's first message, and a number that counts arrivals: no two batches have the same age."""


@dataclass(slots=True)
class Entry:
    """A batch as it came to a device: number `number` of those that `source` sent to its target.

    The same in every run that handles messages in the same order, so that an order can be told by entries. `path_s` is
    for the simulated clock: the length of the longest chain of work that led here.
    """

    source: str
    number: int
    path_s: float = 0.0


class Taken(NamedTuple):
    """What a turn handles: the messages of one target, and of which entries they are, with how many of each."""

    target: Target
    batch: Batch
    parts: list[tuple[Entry, int]]


class Queues(ABC):
    """What a device has received and not yet handled; `messages` counts them."""

    messages: int = 0

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether there is something to handle now."""

    @abstractmethod
    def put(self, target: Target, batch: Batch, entry: Entry) -> None:
        """Queue a batch."""

    @abstractmethod
    def take(self, max_batch: int) -> Taken | None:
        """What is to be handled next; None if nothing is ready."""


class _Port:
    """Batches that wait at one port, oldest instance first; ports of a lower `rank` go first."""

    def __init__(self, rank: int) -> None:
        self._batches: list[tuple[_Age, Batch, Entry]] = []
        self.rank = rank

    def __bool__(self) -> bool:
        return bool(self._batches)

    @property
    def age(self) -> _Age:
        return self._batches[0][0]

    @property
    def urgency(self) -> tuple[int, _Age]:
        return self.rank, self._batches[0][0]

    def put(self, batch: Batch, entry: Entry, arrival: int) -> None:
        heappush(self._batches, ((int(batch.states[0, 0]), arrival), batch, entry))

    def take(self, max_batch: int) -> tuple[Batch, list[tuple[Entry, int]]]:
        """The oldest batch with those after it, as far as max_batch goes; a larger batch is split."""
        (_, arrival), first, entry = heappop(self._batches)
        if len(first) > max_batch:
            first, rest = first.split(max_batch)
            self.put(rest, entry, arrival)
        messages = len(first)
        taken, parts = [first], [(entry, messages)]
        while self._batches and messages + len(self._batches[0][1]) <= max_batch:
            _, batch, entry = heappop(self._batches)
            taken.append(batch)
            parts.append((entry, len(batch)))
            messages += len(batch)
        return concatenate(taken), parts


class MessageQueues(Queues):
    """Chooses by the rules above; `ranks` number the nodes on the way forward."""

    def __init__(self, ranks: Mapping[str, int]) -> None:
        self._ranks = ranks
        self._backward: dict[Target, _Port] = {}
        self._others: dict[Target, _Port] = {}
        self._arrivals = count()

    @property
    def ready(self) -> bool:
        return self.messages > 0

    def put(self, target: Target, batch: Batch, entry: Entry) -> None:
        back = target.direction is Direction.BACKWARD
        lane = self._backward if back else self._others
        port = lane.get(target)
        if port is None:
            rank = self._ranks[target.node]
            port = lane[target] = _Port(-rank if back else rank)
        port.put(batch, entry, next(self._arrivals))
        self.messages += len(batch)

    def take(self, max_batch: int) -> Taken | None:
        """The most urgent messages of one target, at most `max_batch`; None if nothing waits."""
        lane = self._backward or self._others
        if not lane:
            return None
        if len(lane) == 1:
            target, port = next(iter(lane.items()))
        elif max_batch == 1:
            target, port = min(lane.items(), key=_age)
        else:
            target, port = min(lane.items(), key=_urgency)
        batch, parts = port.take(max_batch)
        if not port:
            del lane[target]
        self.messages -= len(batch)
        return Taken(target, batch, parts)


def _age(item: tuple[Target, _Port]) -> _Age:
    return item[1].age


def _urgency(item: tuple[Target, _Port]) -> tuple[int, _Age]:
    return item[1].urgency
