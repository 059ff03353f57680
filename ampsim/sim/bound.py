"""How fast a pass could have been at best, with what was placed where: what the run is to be held against."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bound:
    """Times that no order of work could have gone below, in seconds.

    `device_s` is the work of the busiest device and `link_s` of the busiest link; `critical_path_s` the longest chain
    of work and transfers of which each waits for the one before it.
    """

    device: str
    device_s: float
    link: str
    link_s: float
    critical_path_s: float

    @property
    def bound_s(self) -> float:
        """The largest of the three."""
        return max(self.device_s, self.link_s, self.critical_path_s)
