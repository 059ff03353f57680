"""The controller's own time on the simulated clock, where its kind was measured: it does one thing at a time.

taking in    receive + batch + message * messages                     rates: controller: backward
injecting    send + batch + part * instances + message * messages     rates: controller: forward
             + bytes / memory_bandwidth
"""

from __future__ import annotations

from collections.abc import Sequence

from ampsim.ir.graph import Graph
from ampsim.ir.structure import STRUCTURE_ARRAYS
from ampsim.ops.table import Cost
from ampsim.runtime.cluster import Delivery
from ampsim.runtime.controller_events import SendStructures
from ampsim.runtime.device_events import Send
from ampsim.sim.profile import DeviceProfile
from ampsim.sim.rates import Handed, Rate

NAME = "controller"
"""What a device file's rates call the controller's work: forward is injecting, backward taking in."""


class ControllerTime:
    """When the controller has done what it was given; `free_s` is that time on the simulated clock."""

    def __init__(self, profile: DeviceProfile) -> None:
        self._profile = profile
        self._forward = profile.rate(NAME, "forward") or Rate()
        self._backward = profile.rate(NAME, "backward") or Rate()
        self._injected = 0
        self.free_s = 0.0
        self.busy_s = 0.0
        self.handing_s = 0.0
        """when it last began to hand out, its work on what it hands out being done"""
        self.taken_in_s = 0.0
        """when it had last taken something in, and began to work on it"""

    def injected(self, instances: int) -> None:
        """Note that so many instances are injected with what is sent next."""
        self._injected += instances

    def receive(self, messages: int, handed: Handed, now_s: float) -> float:
        """Take in what has come now, with so many messages. The seconds that it takes."""
        receive_s = self._profile.receive.duration_s(handed)
        self.taken_in_s = max(now_s, self.free_s) + receive_s
        return self._work(receive_s + self._backward.duration_s(Cost(), messages), now_s)

    def send(self, actions: Sequence[Delivery], now_s: float, graph: Graph) -> float:
        """Make and hand out what is to be sent now; it leaves at `free_s`. The seconds that it takes."""
        peers, handed, messages = set[str](), Handed(), 0
        for action in actions:
            match action:
                case Send(device, target, batch):
                    peers.add(device)
                    handed.add(2 + len(graph.payload(target) or ()), graph.size_bytes(target, batch))
                    messages += len(batch)
                case SendStructures(devices, structures):
                    peers.update(devices)
                    for _ in devices:
                        handed.add(STRUCTURE_ARRAYS, structures.size_bytes, 1)
        if not handed.batches:
            return 0.0
        handed.bundles = len(peers)
        taken_s = send_s = self._profile.send.duration_s(handed)
        if self._injected:
            taken_s += self._forward.duration_s(Cost(bytes_read=handed.size), messages, self._injected)
        self._injected = 0
        self._work(taken_s, now_s)
        self.handing_s = self.free_s - send_s
        return taken_s

    def _work(self, taken_s: float, now_s: float) -> float:
        self.free_s = max(now_s, self.free_s) + taken_s
        self.busy_s += taken_s
        return taken_s
