"""The rounds of a case: all contenders by turns, forward and backward, the first one twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ampsim.bench.case import Case, Contender
from ampsim.bench.cases import CaseFolder
from ampsim.bench.process import ContenderFailed, Measured, run_contender, why_left_out

CONTROL = " (again)"
"""Added to the name of the first contender for its second run of a round, which is the control."""


@dataclass
class Measurements:
    """What came of a case: figures of each contender by round, what failed and what was left out, in words."""

    case: Case
    rounds: dict[str, dict[int, Mapping[str, float]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def control(self) -> str:
        """The name under which the control is found."""
        return self.case.contenders[0].name + CONTROL

    def by_round(self, contender: str, figure: str) -> dict[int, float]:
        """A figure of a contender, by round; rounds without it are left out."""
        return {r: figures[figure] for r, figures in self.rounds.get(contender, {}).items() if figure in figures}


class Observer(Protocol):
    """Whoever watches a case being measured."""

    def started(self, contender: str, round_number: int, rounds: int) -> None:
        """A contender begins."""

    def measured(self, contender: str, round_number: int, measured: Measured) -> None:
        """A contender has ended and told its figures."""


def measure(folder: CaseFolder, case: Case, rounds: int, observer: Observer) -> Measurements:
    """Run `rounds` rounds of a case. A contender that fails is not run again; the others go on."""
    done = Measurements(case)
    done.left_out = {c.name: why for c in case.contenders if (why := why_left_out(c))}
    turns = [(c.name, c) for c in case.contenders if c.name not in done.left_out]
    if turns and turns[0][1] is case.contenders[0]:
        turns.append((done.control, turns[0][1]))
    for number in range(1, rounds + 1):
        for name, contender in _in_order(turns, number):
            if contender.name in done.failures:
                continue
            observer.started(name, number, rounds)
            try:
                measured = run_contender(contender, folder.path, case.time_limit_s)
            except ContenderFailed as error:
                done.failures[contender.name] = str(error)
                continue
            done.rounds.setdefault(name, {})[number] = measured.figures
            observer.measured(name, number, measured)
    return done


def _in_order(turns: Sequence[tuple[str, Contender]], number: int) -> Sequence[tuple[str, Contender]]:
    """Every other round goes backward, so that what comes first does not always find a cold machine."""
    return turns if number % 2 else turns[::-1]
