"""A device's utilization log in simulated seconds: an interval ends when what happens next lies beyond it."""

from __future__ import annotations

from collections.abc import Callable

from ampsim.runtime.cluster import Interval
from ampsim.runtime.meter import Activity
from ampsim.runtime.spans import SpanRecorder
from ampsim.runtime.statistics import WorkCounts


class SimulatedMeter:
    """Busy time and bytes of one device, cut into intervals of `length_s`; a batch's counts go where it begins.

    Handing out and taking in are the network's work: a device is busy or idle.
    """

    def __init__(self, device: str, length_s: float, spans: SpanRecorder, counts: Callable[[], WorkCounts]) -> None:
        self._device, self._length_s, self._spans, self._counts = device, length_s, spans, counts
        self._number = 0
        self._busy_s = 0.0
        self._busy_from_s = self._busy_until_s = 0.0
        self.ends_s = length_s
        """when the current interval ends"""
        self.total_busy_s = 0.0
        self.bytes_sent = self.bytes_received = 0

    def work(self, from_s: float, until_s: float) -> None:
        """Note that the device is busy for a while; the intervals before `from_s` have been taken."""
        self._busy_s += min(self._busy_until_s, self.ends_s) - self._busy_from_s
        self._busy_from_s, self._busy_until_s = from_s, until_s
        self.total_busy_s += until_s - from_s

    def take_until(self, now_s: float) -> list[Interval]:
        """The intervals that have ended by `now_s`."""
        intervals = []
        while self.ends_s <= now_s:
            intervals.append(self._take(self.ends_s))
            self._number += 1
            self.ends_s = (self._number + 1) * self._length_s
        return intervals

    def take_rest(self, now_s: float) -> list[Interval]:
        """All that is left, the last interval being shorter."""
        intervals = self.take_until(now_s)
        return intervals if self._number * self._length_s == now_s else [*intervals, self._take(now_s)]

    def _take(self, end_s: float) -> Interval:
        start_s = self._number * self._length_s
        cut_s = min(self._busy_until_s, end_s)
        busy_s = self._busy_s + cut_s - self._busy_from_s
        self._busy_from_s, self._busy_s = cut_s, 0.0
        times = {"t0_s": start_s, "t1_s": end_s, **{activity.value: 0.0 for activity in Activity}}
        times[Activity.BUSY.value] = busy_s
        times[Activity.IDLE.value] = end_s - start_s - busy_s
        sent, received = self.bytes_sent, self.bytes_received
        self.bytes_sent = self.bytes_received = 0
        return Interval(self._device, times, self._counts(), sent, received, self._spans.take())
