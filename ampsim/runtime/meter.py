"""Where a device's time goes: it is always doing exactly one thing, so the parts add up to the whole."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from time import perf_counter


class Activity(Enum):
    """What a device is doing: handling messages, handing out or taking in bundles, or waiting."""

    BUSY = "busy_s"
    SEND = "send_s"
    RECEIVE = "receive_s"
    IDLE = "idle_s"

    # Each is there once; an enum's own hash, a Python function, costs more than the look-up.
    __hash__ = object.__hash__


class Meter:
    """A stopwatch with one hand: `switch` ends one activity and begins the next.

    `clock` gives seconds; times are told from `start`, the moment the run began.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._activity = Activity.IDLE
        self._spent = dict.fromkeys(Activity, 0.0)
        self._zero = self._since = self._interval_start = clock()

    def start(self) -> None:
        """Begin to count, at time 0."""
        self._zero = self._since = self._interval_start = self._clock()
        self._spent = dict.fromkeys(Activity, 0.0)

    def switch(self, activity: Activity) -> float:
        """From now on `activity`; the time now."""
        now = self._clock()
        self._spent[self._activity] += now - self._since
        self._activity = activity
        self._since = now
        return now - self._zero

    def now_s(self) -> float:
        """The time now, as `switch` tells it."""
        return self._clock() - self._zero

    @property
    def switched_s(self) -> float:
        """When the last switch was, by the clock: as it is by default, all processes of a host can tell that time."""
        return self._since

    @property
    def interval_s(self) -> float:
        """Seconds since the interval began, as of the last switch."""
        return self._since - self._interval_start

    def take_interval(self) -> dict[str, float]:
        """The interval that ends now: `t0_s`, `t1_s` and the seconds of each activity, which add up to t1_s - t0_s."""
        self.switch(self._activity)
        interval = {"t0_s": self._interval_start - self._zero, "t1_s": self._since - self._zero}
        interval.update((activity.value, seconds) for activity, seconds in self._spent.items())
        self._spent = dict.fromkeys(Activity, 0.0)
        self._interval_start = self._since
        return interval
