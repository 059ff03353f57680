"""Notices a run in which nothing can happen any more, and says what it waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import monotonic

from ampsim.errors import Stalled
from ampsim.ir.state import StateSchema
from ampsim.runtime.cluster import Interval

PATIENCE_S = 10.0
IDLE_INTERVALS = 3


class StallWatch:
    """A run has stalled when instances are in flight, the controller has heard no message for PATIENCE_S, and every
    device has logged IDLE_INTERVALS intervals in a row without handling or receiving anything but its log's making.
    """

    def __init__(self, schema: StateSchema, devices: Sequence[str]) -> None:
        self._schema = schema
        self._idle = dict.fromkeys(devices, 0)
        self._held: dict[str, Mapping[str, list[str]]] = {}
        self._moved_s = monotonic()

    def moved(self) -> None:
        """Something has happened: instances were injected, or a message has come to the controller."""
        self._moved_s = monotonic()
        self._idle = dict.fromkeys(self._idle, 0)

    def note(self, interval: Interval) -> None:
        """A device has logged an interval."""
        self._idle[interval.device] = 0 if interval.counts.batches else self._idle[interval.device] + 1
        self._held[interval.device] = interval.held or {}

    def check(self, in_flight: Sequence[int]) -> None:
        """Raises Stalled, with the instances in flight and which node holds what."""
        if not in_flight or monotonic() - self._moved_s < PATIENCE_S or min(self._idle.values()) < IDLE_INTERVALS:
            return
        instances = ", ".join(map(str, in_flight[:8])) + (", ..." if len(in_flight) > 8 else "")
        holders = [
            f"{node} on {device} holds {'; '.join(states)}"
            for device, nodes in self._held.items()
            for node, states in nodes.items()
        ]
        raise Stalled(
            f"nothing has moved for {PATIENCE_S:.0f} s; instances in flight: {instances}; "
            + ("; ".join(holders) or "no node holds anything: a message was lost or refused (see logs/ of the run)")
        )
