"""Spans: when a device handled which batch. Compact records, bounded in number."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ampsim.ir.graph import Target
from ampsim.runtime.device_events import Handled

SPAN = np.dtype(
    [
        ("start_s", "<f8"),
        ("duration_s", "<f4"),
        ("node", "<u2"),
        ("direction", "u1"),
        ("unused", "u1"),
        ("messages", "<u4"),
    ]
)
"""One record of spans/<device>.bin; `node` is an index into the nodes of spans/index.json."""

MAX_SPANS = 200_000
"""Spans kept of each device in a run: 4 MB. Later ones are left out."""


class SpanRecorder:
    """Collects spans between two intervals; `ranks` number the nodes."""

    def __init__(self, ranks: Mapping[str, int]) -> None:
        self._index = ranks
        self._spans: list[tuple[float, float, int, int, int, int]] = []
        self._left = MAX_SPANS

    def add(self, began_s: float, ended_s: float, target: Target, messages: int) -> None:
        """Note that a batch was handled, unless there are MAX_SPANS already."""
        if self._left > 0:
            self._left -= 1
            node = self._index[target.node]
            self._spans.append((began_s, ended_s - began_s, node, int(target.direction), 0, messages))

    def add_turn(self, began_s: float, ended_s: float, handled: Handled) -> None:
        """Note the batches of a turn, of which each ended when the next one began."""
        index, note, batches = self._index, self._spans.append, handled.batches[: self._left]
        for work, until_s in zip(batches, (*handled.began, ended_s), strict=False):  # there may be no room for all
            node, _, direction = work.target
            note((began_s, until_s - began_s, index[node], direction, 0, work.messages))
            began_s = until_s
        self._left -= len(batches)

    def take(self) -> NDArray[np.uint8]:
        """The spans since the last call, as the bytes of SPAN records: `uint8[spans * SPAN.itemsize]`."""
        spans = np.array(self._spans, SPAN)
        self._spans = []
        return spans.view(np.uint8)
