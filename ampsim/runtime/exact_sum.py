"""A running sum of floats that is the same in whatever order they come, and keeps none of them."""

from __future__ import annotations

from collections.abc import Iterable
from math import fsum, isfinite


class ExactSum:
    """The sum so far, without rounding, as floats whose sum it is: the rounded sum, what that lost, and so on."""

    def __init__(self) -> None:
        self._parts: list[float] = []
        self._beyond = 0.0

    def add(self, values: Iterable[float]) -> None:
        """Add some numbers; infinities and NaN are added as floats are."""
        items = [*self._parts, *values]
        if not isfinite(sum(items)):
            self._beyond += sum(item for item in items if not isfinite(item))
            items = [item for item in items if isfinite(item)]
        self._parts = []
        while rounded := fsum(items):  # math.fsum rounds once, so that what is left gets smaller each time
            self._parts.append(rounded)
            items.append(-rounded)

    @property
    def value(self) -> float:
        """The sum, rounded once."""
        return fsum(self._parts) + self._beyond
