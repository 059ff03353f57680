"""Medians, spreads and ratios. A ratio is taken within a round: a machine whose speed drifts changes it little."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from ampsim.bench.case import Comparison
from ampsim.bench.measure import Measurements


@dataclass(frozen=True)
class Spread:
    """Median, least and most of some measurements."""

    median: float
    least: float
    most: float
    rounds: int


@dataclass(frozen=True)
class Outcome:
    """What came of a comparison: `to` is the peer that it was with, empty for a bare figure."""

    comparison: Comparison
    to: str
    spread: Spread

    @property
    def met(self) -> bool | None:
        """Whether the median is within the bar; None without one."""
        return self.comparison.is_met(self.spread.median) if self.comparison.bar else None


def spread(values: Mapping[int, float]) -> Spread | None:
    """The spread of some rounds' values; None if there are none."""
    if not values:
        return None
    told = list(values.values())
    return Spread(median(told), min(told), max(told), len(told))


def ratios(of: Mapping[int, float], to: Mapping[int, float]) -> dict[int, float]:
    """Ratios of the rounds that both have."""
    return {number: value / to[number] for number, value in of.items() if to.get(number)}


def outcome(done: Measurements, comparison: Comparison) -> Outcome | None:
    """What came of a comparison; None where one of its contenders has no figures."""
    figure = comparison.figure or done.case.figure
    values = done.by_round(comparison.of, figure)
    best = ""
    if comparison.peers:
        peers = {name: rounds for name in comparison.peers if (rounds := done.by_round(name, figure))}
        if not peers:
            return None
        choose = max if done.case.higher_is_better else min
        best = choose(peers, key=lambda name: median(peers[name].values()))
        values = ratios(values, peers[best])
    told = spread(values)
    return None if told is None else Outcome(comparison, best, told)


def noise(done: Measurements) -> Spread | None:
    """The ratio of the first contender to itself: 1 but for what else the machine does."""
    figure = done.case.figure
    return spread(ratios(done.by_round(done.control, figure), done.by_round(done.case.contenders[0].name, figure)))
