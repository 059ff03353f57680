"""Cores that simulated devices share with the controller, as processes of one machine do."""

from __future__ import annotations

from collections.abc import Collection

from ampsim.runtime.simulated_device import SimulatedDevice


class SharedCores:
    """So many cores for all devices and the controller; None: each has one of its own.

    The controller works when it has something to do. While as many devices are at work as there are cores, it takes its
    time from that of them which has lost least, and which finds its next turn so much longer. That devices take from
    each other, where there are more of them than cores, is not told.
    """

    def __init__(self, cores: int | None, devices: Collection[SimulatedDevice]) -> None:
        self._cores, self._devices = cores, devices
        self._lost_s = {device.name: 0.0 for device in devices}

    def controller_works(self, taken_s: float) -> None:
        """Note that the controller works for a while from now on."""
        if self._cores is None or not taken_s:
            return
        at_work = [device for device in self._devices if device.busy]
        if len(at_work) >= self._cores:
            device = min(at_work, key=lambda device: self._lost_s[device.name])
            self._lost_s[device.name] += taken_s
            device.lost_s += taken_s
