from __future__ import annotations

import pytest

from ampsim.errors import Stalled
from ampsim.ir.state import Field, StateSchema
from ampsim.runtime import stall
from ampsim.runtime.cluster import Interval
from ampsim.runtime.stall import IDLE_INTERVALS, PATIENCE_S, StallWatch
from ampsim.runtime.statistics import WorkCounts

SCHEMA = StateSchema((Field("instance", 40), Field("t", 8)))


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(stall, "monotonic", clock)
    return clock


@pytest.fixture
def watch(clock):
    return StallWatch(SCHEMA, ["d0", "d1"])


def log(watch, device, batches=0, held=None, times=1):
    for _ in range(times):
        watch.note(Interval(device, {}, WorkCounts(batches=batches), held=held))


def idle(watch, *devices, held=None):
    for device in devices:
        log(watch, device, held=held, times=IDLE_INTERVALS)


def test_a_run_has_stalled_when_nothing_came_for_long_and_every_device_was_idle(watch, clock):
    idle(watch, "d0", "d1")
    clock.now += PATIENCE_S
    with pytest.raises(Stalled, match="nothing has moved for 10 s; instances in flight: 3, 5; "):
        watch.check([3, 5])


def test_with_nothing_in_flight_there_is_nothing_to_wait_for(watch, clock):
    idle(watch, "d0", "d1")
    clock.now += 100 * PATIENCE_S
    assert watch.check([]) is None


def test_a_message_gives_the_run_its_patience_back(watch, clock):
    idle(watch, "d0", "d1")
    clock.now += PATIENCE_S - 0.5
    watch.moved()
    idle(watch, "d0", "d1")
    clock.now += PATIENCE_S - 0.5
    assert watch.check([3]) is None
    clock.now += 0.5
    with pytest.raises(Stalled):
        watch.check([3])


def test_what_devices_logged_before_a_message_does_not_count(watch, clock):
    idle(watch, "d0", "d1")
    watch.moved()
    clock.now += 2 * PATIENCE_S
    assert watch.check([3]) is None


def test_a_device_that_works_long_is_no_stall(watch, clock):
    idle(watch, "d0")
    log(watch, "d1", times=IDLE_INTERVALS - 1)
    clock.now += 100 * PATIENCE_S
    assert watch.check([3]) is None


def test_a_batch_handled_makes_a_device_busy_again(watch, clock):
    idle(watch, "d0", "d1")
    log(watch, "d1", batches=1)
    clock.now += 100 * PATIENCE_S
    assert watch.check([3]) is None
    idle(watch, "d1")
    with pytest.raises(Stalled):
        watch.check([3])


def test_a_stall_tells_which_node_holds_what(watch, clock):
    idle(watch, "d0", held={"loss": ["instance 3, t 0", "instance 5, t 1"]})
    idle(watch, "d1", held={"linear2": ["instance 3, t 0"]})
    clock.now += PATIENCE_S
    with pytest.raises(Stalled) as raised:
        watch.check([3, 5])
    assert "loss on d0 holds instance 3, t 0; instance 5, t 1" in str(raised.value)
    assert "linear2 on d1 holds instance 3, t 0" in str(raised.value)


def test_a_stall_tells_what_is_held_now_and_not_what_was_held_once(watch, clock):
    idle(watch, "d0", held={"loss": ["instance 3, t 0"]})
    idle(watch, "d0", "d1")
    clock.now += PATIENCE_S
    with pytest.raises(Stalled, match="no node holds anything: a message was lost or refused"):
        watch.check([3])


def test_of_many_instances_in_flight_the_first_are_told(watch, clock):
    idle(watch, "d0", "d1")
    clock.now += PATIENCE_S
    with pytest.raises(Stalled, match=r"in flight: 0, 1, 2, 3, 4, 5, 6, 7, \.\.\.; "):
        watch.check(range(9))
    with pytest.raises(Stalled, match=r"in flight: 0, 1, 2, 3, 4, 5, 6, 7; "):
        watch.check(range(8))
