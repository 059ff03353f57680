"""What a benchmark case is: contenders, each a command to run, and the ratios between them that matter.

A case is a folder `benchmarks/<case>/` with a README and a `case.py`, which has one function, `case(quick) -> Case`.
`case.py` is only read: what it measures is in scripts of its own, which run as processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

PYTHON = "{python}"
"""Stands in a command for the interpreter that runs the benchmark."""


@dataclass(frozen=True)
class Contender:
    """One way to do the work of a case.

    `command` is started as a fresh process, in the folder of the case. The last line of its standard output is a JSON
    object of figures, name to number: {"instances_per_s": 1234.5, "loss": 0.3}.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    """variables beside the user's own; BLAS and threads are as the user has them, unless set here"""
    requires: Sequence[str] = ()
    """modules that must be importable; else the contender is left out"""
    extra: str = ""
    """the extra of ampsim that brings them"""
    data: Sequence[str] = ()
    """data sets that must be here (`ampsim data`); else the contender is left out"""


@dataclass(frozen=True)
class Comparison:
    """The ratio of one contender's figure to another's, round by round; its median is held against a bar, if any.

    With several in `to`, the ratio is to the best of them by its median. With none, there is no ratio: the figure
    itself is held against the bar. `figure` is by default the case's own.
    """

    name: str
    of: str
    to: str | Sequence[str] = ()
    at_least: float | None = None
    at_most: float | None = None
    figure: str = ""

    @property
    def peers(self) -> tuple[str, ...]:
        """The contenders to compare with."""
        return (self.to,) if isinstance(self.to, str) else tuple(self.to)

    def is_met(self, value: float) -> bool:
        """Whether a ratio, or a figure, is within the bar."""
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    @property
    def bar(self) -> str:
        """The bar in words: `>= 0.5`; nothing if there is none."""
        least = [] if self.at_least is None else [f">= {self.at_least:g}"]
        return " and ".join(least + ([] if self.at_most is None else [f"<= {self.at_most:g}"]))


@dataclass(frozen=True)
class Case:
    """What is measured, and how often. `figure` is the main figure's name, `unit` what it is in.

    The first contender runs twice in each round: the second time as the control, which tells how noisy the machine is.
    Raises ValueError for a comparison with a contender that is not there.
    """

    title: str
    figure: str
    unit: str
    contenders: Sequence[Contender]
    comparisons: Sequence[Comparison] = ()
    rounds: int = 5
    higher_is_better: bool = True
    time_limit_s: float = 600.0
    """for one contender, once"""

    def __post_init__(self) -> None:
        names = [contender.name for contender in self.contenders]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"a case has contenders with a name of its own each, found {names}")
        for comparison in self.comparisons:
            for name in (comparison.of, *comparison.peers):
                if name not in names:
                    raise ValueError(f"comparison {comparison.name!r}: no contender {name!r}; there are: {names}")
