"""How the times of batches vary about what a device's figures say, where that was measured."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random


class Variation:
    """Log-normal factors of mean 1, for one device one after the other: a function of the seed and its name alone.

    `spread` is the standard deviation of their logarithms. Where turns of one kind all took equally long, devices that
    wait for each other would fall into step, and a machine's do not.
    """

    def __init__(self, spread: float, seed: int, device: str) -> None:
        self._spread = spread
        self._random = Random(f"{seed} {device}")

    def of(self, seconds: Sequence[float]) -> list[float]:
        """What batches take that the figures say take so long; just that, if there is no spread."""
        spread = self._spread
        if not spread:
            return list(seconds)
        draw, mean = self._random.lognormvariate, -spread * spread / 2
        return [batch_s * draw(mean, spread) for batch_s in seconds]
