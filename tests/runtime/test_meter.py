from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.runtime.meter import Activity, Meter

BUSY, SEND, RECEIVE, IDLE = Activity


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


def test_each_activity_gets_the_time_until_the_next_one():
    clock = Clock()
    meter = Meter(clock)
    meter.start()
    for activity, seconds in ((BUSY, 4), (SEND, 1), (BUSY, 2), (RECEIVE, 0.5), (IDLE, 8)):
        meter.switch(activity)
        clock.now += seconds
    assert meter.take_interval() == {
        "t0_s": 0,
        "t1_s": 15.5,
        "busy_s": 6,
        "send_s": 1,
        "receive_s": 0.5,
        "idle_s": 8,
    }


# Sixteenths of a second, so that sums of floats are exact.
seconds = st.integers(0, 10**6).map(lambda sixteenths: sixteenths / 16)


@given(st.lists(st.lists(st.tuples(st.sampled_from(Activity), seconds), max_size=6), min_size=1, max_size=5))
def test_the_parts_add_up_to_the_whole_and_intervals_follow_each_other(intervals):
    clock = Clock()
    meter, end = Meter(clock), 0.0
    clock.now += 99
    meter.start()
    began = clock.now
    for steps in intervals:
        for activity, duration in steps:
            assert meter.switch(activity) == clock.now - began
            clock.now += duration
        taken = meter.take_interval()
        assert taken["t0_s"] == end
        end = taken["t1_s"]
        assert end == clock.now - began
        assert sum(taken[activity.value] for activity in Activity) == taken["t1_s"] - taken["t0_s"]


def test_what_was_before_the_start_does_not_count():
    clock = Clock()
    meter = Meter(clock)
    clock.now += 50
    meter.switch(BUSY)
    clock.now += 50
    meter.start()
    clock.now += 1
    taken = meter.take_interval()
    assert (taken["t0_s"], taken["t1_s"]) == (0, 1)


def test_an_activity_goes_on_over_the_end_of_an_interval():
    clock = Clock()
    meter = Meter(clock)
    meter.start()
    meter.switch(BUSY)
    clock.now += 3
    meter.take_interval()
    clock.now += 2
    assert meter.take_interval()["busy_s"] == 2


def test_the_length_of_the_interval_is_told_as_of_the_last_switch():
    clock = Clock()
    meter = Meter(clock)
    meter.start()
    clock.now += 3
    assert meter.interval_s == 0
    meter.switch(SEND)
    assert meter.interval_s == 3
    meter.take_interval()
    assert meter.interval_s == 0


def test_the_last_switch_is_told_on_the_clock_itself():
    clock = Clock()
    meter = Meter(clock)
    clock.now = 1010.0
    meter.start()
    clock.now = 1013.5
    assert meter.switch(SEND) == 3.5
    clock.now = 1020.0
    assert meter.switched_s == 1013.5


def test_without_a_clock_given_time_goes_on_by_itself():
    meter = Meter()
    meter.start()
    taken = meter.take_interval()
    assert taken["t1_s"] == pytest.approx(taken["idle_s"], abs=1e-9)
    assert taken["t1_s"] >= 0
