"""What nodes are given and pass on, for tests in which neither batches nor their order may matter."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

from ampsim.ir.batch import Batch, concatenate
from ampsim.ir.node import Emission


def plain(emissions: Iterable[Emission]) -> list[Any]:
    """What is sent, message by message, whatever the order."""
    sent = []
    for direction, port, batch in emissions:
        while len(batch):
            one, batch = batch.split(1)
            values = [array.tolist() for array in one.payload]
            sent.append((int(direction), port, one.states.tolist(), one.rows.tolist(), values))
    return sorted(sent)


def in_any_batches(random: Random, messages: list[Batch]) -> list[Batch]:
    """The messages in batches of any sizes and any order."""
    left, batches = random.sample(messages, len(messages)), []
    while left:
        size = random.randrange(len(left)) + 1
        batches.append(concatenate(left[:size]))
        left = left[size:]
    return batches
