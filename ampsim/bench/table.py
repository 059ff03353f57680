"""What came of a case, as tables for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ampsim.bench.measure import Measurements
from ampsim.bench.statistics import noise, outcome, spread


def case_tables(name: str, done: Measurements) -> Iterator[RenderableType]:
    """The contenders with their spreads, the comparisons with their bars, and what failed or was left out."""
    yield Text(f"{name}: {done.case.title}", "bold")
    yield _contenders(done)
    if done.case.comparisons:
        yield _comparisons(done)
    for contender, why in done.left_out.items():
        yield Text(f"left out: {contender}: {why}")
    for failed, text in done.failures.items():
        yield Text(f"failed: {failed}: {text}", "red")


def number(value: float) -> str:
    """A figure with about four digits: 12,345 or 0.1234."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _contenders(done: Measurements) -> Table:
    table = _table("contender", done.case.unit, "min", "max", "rounds")
    for contender in (*(each.name for each in done.case.contenders), done.control):
        told = spread(done.by_round(contender, done.case.figure))
        if told:
            table.add_row(contender, *map(number, (told.median, told.least, told.most)), str(told.rounds))
    return table


def _comparisons(done: Measurements) -> Table:
    table = _table("comparison", "median", "min", "max", "bar", "")
    for comparison in done.case.comparisons:
        found = outcome(done, comparison)
        if found is None:
            table.add_row(comparison.name, "", "", "", comparison.bar, "not measured")
            continue
        several = len(comparison.peers) > 1
        title = f"{comparison.name} (best peer: {found.to})" if several else comparison.name
        met = Text() if found.met is None else Text("met", "green") if found.met else Text("not met", "yellow")
        of = found.spread
        table.add_row(title, *map(number, (of.median, of.least, of.most)), comparison.bar, met)
    control = noise(done)
    if control:
        table.add_row("control: first contender to itself", *map(number, (control.median, control.least, control.most)))
    return table


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if 0 < index < 4 else "left")
    return table
