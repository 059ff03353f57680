"""How fast a pass could have been at best, with what was placed where: what the run is to be held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


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

    def to_json(self, time_s: float) -> dict[str, Any]:
        """For a line of metrics or a summary; `fraction` is how much of the bound was reached in `time_s`."""
        return {**asdict(self), "bound_s": self.bound_s, "fraction": self.bound_s / time_s if time_s else 1.0}


def summed(bounds: Sequence[Bound]) -> Bound:
    """The bound of passes that follow each other: each part added up, named as in the pass where it was largest."""
    device = max(bounds, key=lambda bound: bound.device_s).device
    link = max(bounds, key=lambda bound: bound.link_s).link
    return Bound(
        device,
        sum(bound.device_s for bound in bounds),
        link,
        sum(bound.link_s for bound in bounds),
        sum(bound.critical_path_s for bound in bounds),
    )
