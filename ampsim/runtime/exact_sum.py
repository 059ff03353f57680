"""A running sum of floats that is the same in whatever order they come, and keeps none of them."""

from __future__ import annotations

from math import fsum, isfinite


class ExactSum:
    """The sum so far, without rounding, as floats that do not overlap (Shewchuk, Discrete Comput. Geom. 18, 1997)."""

    def __init__(self) -> None:
        self._parts: list[float] = []
        self._beyond = 0.0

    def add(self, value: float) -> None:
        """Add a number; infinities and NaN are added as floats are."""
        if not isfinite(value):
            self._beyond += value
            return
        parts = []
        for part in self._parts:
            if abs(value) < abs(part):
                value, part = part, value
            total = value + part
            lost = part - (total - value)
            if lost:
                parts.append(lost)
            value = total
        parts.append(value)
        self._parts = parts

    @property
    def value(self) -> float:
        """The sum, rounded once."""
        return fsum(self._parts) + self._beyond
