"""A device of the simulation: its core, and what its turns take on simulated time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ampsim.errors import DeviceFailed
from ampsim.runtime.cluster import Interval
from ampsim.runtime.controller_events import ControllerEvent
from ampsim.runtime.device_core import DeviceCore, NodeFailed
from ampsim.runtime.device_events import DeviceAction, DeviceEvent, Handled, Turn
from ampsim.runtime.device_time import DeviceTime
from ampsim.runtime.schedule import OrderWriter
from ampsim.runtime.simulated_meter import SimulatedMeter
from ampsim.runtime.spans import SpanRecorder
from ampsim.runtime.statistics import Edges
from ampsim.sim.profile import DeviceProfile
from ampsim.sim.variation import Variation

TURN = Turn()


class Ongoing(NamedTuple):
    """A turn that has begun: what comes of it when it ends, and how long the chain of work is that leads there."""

    device: SimulatedDevice
    actions: Sequence[DeviceAction]
    path_s: float
    ends_s: float
    messages: int


@dataclass(slots=True)
class SimulatedDevice:
    """A device core with a clock that follows from its kind. `label` is what errors call it."""

    name: str
    label: str
    core: DeviceCore
    profile: DeviceProfile
    time: DeviceTime
    meter: SimulatedMeter
    spans: SpanRecorder
    order: OrderWriter | None
    variation: Variation
    busy: bool = False
    """in the midst of a turn"""
    pass_busy_s: float = 0.0
    receive_s: float = 0.0
    """what taking in all that has come since the last turn takes; the next turn begins with it"""
    lost_s: float = 0.0
    """what another process took of its core since the last turn; the next one is longer by it"""
    send_s: float = 0.0
    """what handing out takes of the turn; it ends with it"""
    come: list[tuple[str, float]] = field(default_factory=list)
    """what has come and was not taken in: from whom, and since when it was on the way"""
    _free_s: float = 0.0
    """when it has done all that it was given to do"""

    def handle(self, event: DeviceEvent | ControllerEvent) -> list[DeviceAction]:
        """What the core says. Raises DeviceFailed if a node raises."""
        try:
            return self.core.handle(event)  # type: ignore[arg-type]  # what travels to a device carries its events
        except NodeFailed as error:
            raise DeviceFailed(self.label, str(error), error.traceback) from error

    def begin_turn(self, now_s: float) -> Ongoing:
        """Handle what is most urgent. Raises DeviceFailed if a node raises, or the memory overflows."""
        actions = self.handle(TURN)
        handled = actions[0]
        assert isinstance(handled, Handled)  # the first action of a turn that had something to handle
        self.send_s = self.time.send_s(actions)
        batches_s = self.variation.of(self.time.batches_s(handled))
        batches_s[0] += self.profile.turn + self.receive_s + self.lost_s
        batches_s[-1] += self.send_s
        self.receive_s = self.lost_s = 0.0
        ends_s, messages = now_s, 0
        for work, batch_s in zip(handled.batches, batches_s, strict=True):
            self.spans.add(ends_s, ends_s := ends_s + batch_s, work.target, work.messages)
            messages += work.messages
        path_s = max([entry.path_s for entry, _ in handled.parts]) + (ends_s - now_s)
        for entry in handled.made:
            entry.path_s = path_s
        if self.order is not None:
            self.order.add(handled.target, handled.parts)
        if self.core.memory_bytes > self.profile.memory:
            raise DeviceFailed(self.label, self.core.describe_memory(self.profile.memory))
        self.meter.work(now_s, ends_s)
        self.busy, self._free_s = True, ends_s
        return Ongoing(self, actions, path_s, ends_s, messages)

    def work(self, now_s: float, duration_s: float) -> float:
        """Work on something else, from now or from the end of the turn that it is at; when that will be done."""
        began_s = max(now_s, self._free_s)
        self._free_s = began_s + duration_s
        self.meter.work(began_s, self._free_s)
        return self._free_s

    def take_in(self, now_s: float, edges: Edges) -> None:
        """Note how long what has come was on the way: a device takes it in between two turns."""
        taken_in_s = now_s + self.receive_s
        for source, sent_s in self.come:
            edges[source, self.name].add(1, taken_in_s - sent_s)
        self.come.clear()

    def catch_up(self, now_s: float) -> list[Interval]:
        """The lines of the utilization log that have ended by now."""
        return self.meter.take_until(now_s) if self.meter.ends_s <= now_s else []
