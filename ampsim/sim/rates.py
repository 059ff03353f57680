"""Measured figures of a device, finer than peaks: what a node of one op takes, and what sending and receiving take."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Literal

from ampsim.ops.table import Cost

Way = Literal["forward", "backward", "inference", "update"]
"""What an op does; `update` is an optimizer's, and what ops that learn do for it."""


def kind_of(name: str) -> str:
    """The kind of a node in the name that a rate has: `cond` of `cond is_over`."""
    return name.partition(" ")[0]


@dataclass(frozen=True, slots=True)
class Rate:
    """The time of one batch at a node of one op, one way; every figure is 0 (or infinitely fast) unless measured.

    `batch` s for each batch, `call` s more if rows are computed on (a node that waits for partners does not), `message`
    s a message, `part` s for each batch that was queued by itself and is handled then, `row` s a row; `compute`
    FLOP/s, `memory_bandwidth` byte/s.
    """

    batch: float = 0.0
    call: float = 0.0
    message: float = 0.0
    part: float = 0.0
    row: float = 0.0
    compute: float = inf
    memory_bandwidth: float = inf

    def duration_s(self, cost: Cost, messages: int = 0, parts: int = 0, rows: int = 0) -> float:
        """Seconds: the sum of all that is measured, arithmetic and memory included (they are not told apart)."""
        return (
            self.batch
            + (self.call if rows else 0.0)
            + self.message * messages
            + self.part * parts
            + self.row * rows
            + cost.flops / self.compute
            + (cost.bytes_read + cost.bytes_written) / self.memory_bandwidth
        )


@dataclass(frozen=True)
class Update:
    """An update of a node's parameters: the `work` of the `optimizer`, after the gradients of `rows` rows are summed.

    These are the rows that the node went back for since its last update; `way_back` is what its cost rule counts there.
    """

    optimizer: str
    work: Cost
    rows: int = 0
    way_back: Cost = field(default_factory=Cost)


@dataclass(slots=True)
class Handed:
    """What goes to, or comes from, other processes: so many bundles, with so many batches, arrays and bytes in all.

    `structures` are those of the batches that carry structures of instances, and no messages.
    """

    bundles: int = 0
    batches: int = 0
    arrays: int = 0
    size: int = 0
    structures: int = 0

    def add(self, arrays: int, size: int, structures: int = 0) -> None:
        """Note a batch of so many arrays and bytes."""
        self.batches += 1
        self.arrays += arrays
        self.size += size
        self.structures += structures


@dataclass(frozen=True, slots=True)
class Handing:
    """The device's own time to hand out or take in what goes to, or comes from, another process.

    `bundle` s for all that one turn sends to one peer together, `batch` s for each batch in it, `array` s for each
    array of these (a batch has its states, its row counts and the payload's), `bandwidth` byte/s of copying;
    `structure` s more for a batch of structures.
    """

    bundle: float = 0.0
    batch: float = 0.0
    array: float = 0.0
    bandwidth: float = inf
    structure: float = 0.0

    def duration_s(self, handed: Handed) -> float:
        """Seconds for all of it."""
        return (
            self.bundle * handed.bundles
            + self.batch * handed.batches
            + self.array * handed.arrays
            + handed.size / self.bandwidth
            + self.structure * handed.structures
        )
