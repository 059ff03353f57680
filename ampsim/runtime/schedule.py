"""An order of work that is given: what a device handles, turn by turn, told by the entries that it has received.

A simulation makes such orders, and runs on the wall clock record theirs. A device that follows one handles the same
batches in the same order, and so comes to the same parameters, however fast each of its peers is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from ampsim.ir.batch import Batch, concatenate
from ampsim.ir.graph import Target
from ampsim.ops.table import Array
from ampsim.runtime.queues import Entry, Queues, Taken


class Part(NamedTuple):
    """So many messages of one entry: number `number` of those that `source` sent to the target."""

    source: int
    number: int
    messages: int


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
        self._parts: list[Part] = []

    def __len__(self) -> int:
        """Turns noted since the last `take`."""
        return len(self._turns)

    def add(self, target: Target, parts: Iterable[tuple[Entry, int]]) -> None:
        """Note a turn."""
        before = len(self._parts)
        self._parts += [Part(self._sources[entry.source], entry.number, messages) for entry, messages in parts]
        self._turns.append((self._targets[target], len(self._parts) - before))

    def take(self) -> Order:
        """What was noted since the last call."""
        order = Order(np.array(self._turns, np.int32).reshape(-1, 2), np.array(self._parts, np.int32).reshape(-1, 3))
        self._turns, self._parts = [], []
        return order


_NOTHING: tuple[Batch | None, Entry | None] = None, None


class ScheduledQueues(Queues):
    """Hands out what the order says, and nothing until all of it has come."""

    def __init__(self, targets: Mapping[Target, int], sources: Mapping[str, int]) -> None:
        self._targets, self._sources = list(targets), list(sources)
        self._waiting: dict[tuple[Target, str, int], tuple[Batch, Entry]] = {}
        self._orders: deque[Order] = deque()
        self._turns: deque[tuple[Target, list[Part]]] = deque()

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

    @property
    def ready(self) -> bool:
        if not self._turns:
            if not self._orders:
                return False
            self._spell_out(self._orders.popleft())
        target, parts = self._turns[0]
        return all((target, self._sources[part.source], part.number) in self._waiting for part in parts)

    def _spell_out(self, order: Order) -> None:
        """Make turns of the next stretch: not before it is needed, since these take more memory."""
        start = 0
        parts = [Part(*part) for part in order.parts.tolist()]
        for target, count in order.turns.tolist():
            self._turns.append((self._targets[target], parts[start : start + count]))
            start += count

    def put(self, target: Target, batch: Batch, entry: Entry) -> None:
        self._waiting[target, entry.source, entry.number] = batch, entry
        self.messages += len(batch)

    def take(self) -> Taken | None:
        """The next turn of the order. Raises ValueError if an entry has fewer messages than the order takes."""
        if not self.ready:
            return None
        target, parts = self._turns.popleft()
        batches, taken = [], []
        for part in parts:
            source = self._sources[part.source]
            place = target, source, part.number
            batch, entry = self._waiting.pop(place, _NOTHING)
            if batch is None or entry is None or part.messages > len(batch):
                raise ValueError(
                    f"the order takes {part.messages} messages to {target.node} out of {len(batch or ())} that came "
                    f"from {source}: it is of another run, config or data"
                )
            if part.messages < len(batch):
                batch, rest = batch.split(part.messages)
                self._waiting[place] = rest, entry
            batches.append(batch)
            taken.append((entry, part.messages))
        together = concatenate(batches)
        self.messages -= len(together)
        return Taken(target, together, taken)
