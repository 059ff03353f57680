"""An order of work that is given: what a device handles, turn by turn, told by the entries that it has received.

A simulation makes such orders, and runs on the wall clock record theirs. A device that follows one handles the same
batches in the same order, and so comes to the same parameters, however fast each of its peers is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from ampsim.ir.batch import Batch, Direction, concatenate
from ampsim.ir.graph import Target
from ampsim.ops.table import Array
from ampsim.runtime.queues import Entry, Queues, Taken


class Order(NamedTuple):
    """A stretch of a device's order, as it travels and is kept.

    `turns int32[k, 2]`: for each turn the number of its target (in `Graph.targets`) and of its parts; `parts
    int32[m, 3]`: source (its number among the processes), number and messages of each part, turn after turn.
    """

    turns: Array
    parts: Array


class OrderWriter:
    """Notes turns as they are made; `targets` are those of the graph, `sources` the processes of the run, numbered."""

    def __init__(self, targets: Mapping[Target, int], sources: Mapping[str, int]) -> None:
        self._targets, self._sources = targets, sources
        self._turns: list[tuple[int, int]] = []
        self._parts: list[tuple[int, int, int]] = []

    def __len__(self) -> int:
        """Turns noted since the last `take`."""
        return len(self._turns)

    def add(self, target: Target, parts: Iterable[tuple[Entry, int]]) -> None:
        """Note a turn."""
        before, sources = len(self._parts), self._sources
        self._parts += [(sources[entry.source], entry.number, messages) for entry, messages in parts]
        self._turns.append((self._targets[target], len(self._parts) - before))

    def take(self) -> Order:
        """What was noted since the last call."""
        order = Order(np.array(self._turns, np.int32).reshape(-1, 2), np.array(self._parts, np.int32).reshape(-1, 3))
        self._turns, self._parts = [], []
        return order


_Place = tuple[Target, str, int]
"""Target, source and number of an entry."""


class _GivenTurn(NamedTuple):
    """A turn of the order: its parts are so many messages of each of these entries."""

    target: Target
    places: list[_Place]
    messages: list[int]


class ScheduledQueues(Queues):
    """Hands out what the order says, and nothing until all of it has come."""

    def __init__(self, targets: Mapping[Target, int], sources: Mapping[str, int]) -> None:
        self._targets, self._sources = list(targets), list(sources)
        self._waiting: dict[_Place, tuple[Batch, Entry]] = {}
        self._orders: deque[Order] = deque()
        self._turns: deque[_GivenTurn] = deque()
        self._missing: set[_Place] = set()
        """what the next turn still waits for"""

    def follow(self, order: Order) -> None:
        """Append to the order. Raises ValueError for a target or a source that there is not."""
        turns, parts = order
        if not len(turns):
            return
        if turns[:, 1].min() < 1 or turns[:, 1].sum() != len(parts) or parts[:, 2].min() < 1:
            raise ValueError(f"an order of {len(turns)} turns has {len(parts)} parts, or some without messages")
        if turns[:, 0].min() < 0 or turns[:, 0].max() >= len(self._targets):
            raise ValueError(f"an order names a target beyond the {len(self._targets)} that there are")
        if parts[:, 0].min() < 0 or parts[:, 0].max() >= len(self._sources):
            raise ValueError(f"an order names a source beyond the {len(self._sources)} that there are")
        self._orders.append(order)
        if not self._turns:
            self._look_ahead()

    @property
    def ready(self) -> bool:
        return bool(self._turns) and not self._missing

    @property
    def next_up(self) -> tuple[Direction, int] | None:
        if not self.ready:
            return None
        target, (place, *_), _ = self._turns[0]
        return target.direction, self._waiting[place][0].states.item(0)

    def _look_ahead(self) -> None:
        """Find out what the next turn waits for, if there is one."""
        if not self._turns and self._orders:
            self._spell_out(self._orders.popleft())
        self._missing = (
            {place for place in self._turns[0].places if place not in self._waiting} if self._turns else set()
        )

    def _spell_out(self, order: Order) -> None:
        """Make turns of the next stretch: not before it is needed, since these take more memory."""
        start = 0
        parts = order.parts.tolist()
        for number, count in order.turns.tolist():
            target = self._targets[number]
            own = parts[start : start + count]
            places = [(target, self._sources[source], entry) for source, entry, _ in own]
            self._turns.append(_GivenTurn(target, places, [messages for _, _, messages in own]))
            start += count

    def put(self, target: Target, batch: Batch, entry: Entry) -> None:
        place = target, entry.source, entry.number
        self._waiting[place] = batch, entry
        self._missing.discard(place)
        self.messages += len(batch)

    def take(self) -> Taken | None:
        """The next turn of the order. Raises ValueError if an entry has fewer messages than the order takes."""
        if not self.ready:
            return None
        target, places, counts = self._turns.popleft()
        batches, taken = [], []
        for place, messages in zip(places, counts, strict=True):
            batch, entry = self._waiting.pop(place, (None, None))
            if batch is None or entry is None or messages > len(batch):
                raise ValueError(
                    f"the order takes {messages} messages to {target.node} out of {len(batch or ())} that came "
                    f"from {place[1]}: it is of another run, config or data"
                )
            if messages < len(batch):
                batch, rest = batch.split(messages)
                self._waiting[place] = rest, entry
            batches.append(batch)
            taken.append((entry, messages))
        together = concatenate(batches)
        self.messages -= len(together)
        self._look_ahead()
        return Taken(target, together, taken)
