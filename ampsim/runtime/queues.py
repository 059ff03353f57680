"""What waits at a device, and which of it goes first.

What a replica has learnt goes first (UPDATE): it takes little time, and is wanted fresh. Then:

A message at a time, as in the paper: backward before forward, and among these the oldest instance. A device with
several layers takes one instance through all of them before it begins the next, which hands it on sooner, keeps fewer
activations, and keeps the gradients fresher.

Where messages are handled together, the node goes first that is nearest to where messages come from: the inputs on the
way forward, the loss on the way back. So what is to go together has gathered at a port when its turn comes. Instances
that were injected together are a wave, which is not mixed with others: the oldest wave goes first, and in it forward
before backward, so that all of it turns round together, while another wave keeps the other devices busy. Without waves,
each instance being injected by itself, backward goes before forward here too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from ampsim.ir.batch import BACKWARD, FORWARD, INFERENCE, UPDATE, Batch, Direction, concatenate
from ampsim.ir.graph import Target


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

    @property
    @abstractmethod
    def next_up(self) -> tuple[Direction, int] | None:
        """Direction and first instance of what is to be handled next; None if nothing is ready."""

    @abstractmethod
    def put(self, target: Target, batch: Batch, entry: Entry) -> None:
        """Queue a batch."""

    @abstractmethod
    def take(self) -> Taken | None:
        """What is to be handled next; None if nothing is ready."""


_PRECEDENCE = {UPDATE: 0, BACKWARD: 1, FORWARD: 2, INFERENCE: 2}

_BEFORE_ALL_WAVES = -1
"""The wave of what replicas have learnt: it belongs to none of this device."""


class SingleMessages(Queues):
    """A message at a time; at the nodes that are `gathering`, what came in one batch of one instance."""

    def __init__(self, gathering: Collection[str] = ()) -> None:
        self._gathering = gathering
        self._heap: list[tuple[int, int, int, Target, Batch, Entry]] = []
        self._arrivals = count()

    @property
    def ready(self) -> bool:
        return bool(self._heap)

    @property
    def next_up(self) -> tuple[Direction, int] | None:
        if not self._heap:
            return None
        _, instance, _, target, _, _ = self._heap[0]
        return target.direction, instance

    def put(self, target: Target, batch: Batch, entry: Entry) -> None:
        self.messages += len(batch.rows)
        place = _PRECEDENCE[target.direction]
        heappush(self._heap, (place, batch.states.item(0), next(self._arrivals), target, batch, entry))

    def take(self) -> Taken | None:
        """The most urgent message; None if nothing waits."""
        if not self._heap:
            return None
        place, instance, arrival, target, batch, entry = heappop(self._heap)
        messages = 1
        if len(batch.rows) > 1 and target.node in self._gathering:
            messages = _leading(batch, instance)
        if len(batch.rows) > messages:
            batch, rest = batch.split(messages)
            heappush(self._heap, (place, rest.states.item(0), arrival, target, rest, entry))
        self.messages -= messages
        return Taken(target, batch, [(entry, messages)])


def _leading(batch: Batch, instance: int) -> int:
    """How many messages of a batch there are before the first of another instance."""
    others = batch.states[:, 0] != instance
    return int(others.argmax()) or len(others)


class _Port:
    """What waits of one wave for one target: batches, oldest instance first."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._batches: list[tuple[int, int, Batch, Entry]] = []

    def __bool__(self) -> bool:
        return bool(self._batches)

    @property
    def first_instance(self) -> int:
        """The oldest that something waits of."""
        return self._batches[0][0]

    def put(self, batch: Batch, entry: Entry, arrival: int) -> None:
        heappush(self._batches, (batch.states.item(0), arrival, batch, entry))

    def take(self, max_batch: int) -> tuple[Batch, list[tuple[Entry, int]]]:
        """The oldest batch with those after it, as far as max_batch goes; a larger batch is split."""
        _, arrival, first, entry = heappop(self._batches)
        if len(first) > max_batch:
            first, rest = first.split(max_batch)
            self.put(rest, entry, arrival)
        messages = len(first)
        taken, parts = [first], [(entry, messages)]
        while self._batches and messages + len(self._batches[0][2]) <= max_batch:
            _, _, batch, entry = heappop(self._batches)
            taken.append(batch)
            parts.append((entry, len(batch)))
            messages += len(batch)
        return concatenate(taken), parts


_Place = tuple[bool, int, Direction, int]
"""Whether it comes second, rank of the node on the way, direction, port: no two targets share it."""

_Urgency = tuple[int, _Place]
"""Wave, and a target's place in it."""


class Waves(Queues):
    """Up to `max_batch` messages of one target and wave together.

    `ranks` number the nodes on the way forward. A wave is `wave` instances that follow each other; where each is
    injected by itself (1), all that are there are one wave.
    """

    def __init__(self, ranks: Mapping[str, int], max_batch: int, wave: int = 1) -> None:
        self._ranks, self._max_batch, self._wave = ranks, max_batch, wave
        self._waves = wave > 1
        self._places: dict[Target, _Place] = {}
        self._ports: dict[_Urgency, _Port] = {}
        self._heap: list[_Urgency] = []
        self._arrivals = count()

    @property
    def ready(self) -> bool:
        return bool(self._heap)

    @property
    def next_up(self) -> tuple[Direction, int] | None:
        if not self._heap:
            return None
        port = self._ports[self._heap[0]]
        return port.target.direction, port.first_instance

    def put(self, target: Target, batch: Batch, entry: Entry) -> None:
        wave = self._wave_of(target, batch)
        urgency = wave, self._places.get(target) or self._place(target)
        port = self._ports.get(urgency)
        if port is None:
            port = self._ports[urgency] = _Port(target)
            heappush(self._heap, urgency)
        port.put(batch, entry, next(self._arrivals))
        self.messages += len(batch)

    def _wave_of(self, target: Target, batch: Batch) -> int:
        if target.direction is UPDATE:
            return _BEFORE_ALL_WAVES
        return batch.states.item(0) // self._wave if self._waves else 0

    def _place(self, target: Target) -> _Place:
        backward = target.direction is BACKWARD
        rank = self._ranks[target.node]
        place = backward == self._waves, -rank if backward else rank, target.direction, target.port
        self._places[target] = place
        return place

    def take(self) -> Taken | None:
        """The most urgent messages; None if nothing waits."""
        if not self._heap:
            return None
        port = self._ports[self._heap[0]]
        batch, parts = port.take(self._max_batch)
        if not port:
            del self._ports[heappop(self._heap)]
        self.messages -= len(batch)
        return Taken(port.target, batch, parts)


def message_queues(ranks: Mapping[str, int], max_batch: int, wave: int = 1, gathering: Collection[str] = ()) -> Queues:
    """What a device handles by, that may handle so many messages together: see SingleMessages and Waves."""
    return SingleMessages(gathering) if max_batch == 1 else Waves(ranks, max_batch, wave)
