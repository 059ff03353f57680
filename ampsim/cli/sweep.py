"""`ampsim sweep`: one config over a grid of values, in parallel."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO, cast

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ampsim.cli.console import new_console
from ampsim.cli.options import overrides_option
from ampsim.cli.stream import UnheardStream
from ampsim.errors import BadInput
from ampsim.report.sweep_plot import svg
from ampsim.report.sweep_table import MOST_ROWS, sweep_table
from ampsim.report.tables import seconds
from ampsim.sweep.directory import SweepDirectory
from ampsim.sweep.plan import Plan, make_plan
from ampsim.sweep.sweep import default_workers, raise_for_failures
from ampsim.sweep.sweep import sweep as run_sweep


@click.command()
@click.argument("config")
@click.option(
    "--vary",
    "varied",
    metavar="KEY=VALUE,VALUE,...",
    multiple=True,
    help="Vary a key: --vary training.max_active_keys=1,2,4. Repeatable: all combinations are run.",
)
@overrides_option
@click.option("--out", metavar="DIR", help="Where the rows go; by default sweeps/<name>-<number>.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Runs at a time; by default one per core.")
@click.option(
    "--numerics",
    type=click.Choice(["off", "native", "portable"]),
    help="off runs the clock alone (the default); the others train as well, and the rows have losses.",
)
@click.option("--quiet", is_flag=True, help="Print only where the rows are.")
def sweep(
    config: str,
    varied: tuple[str, ...],
    overrides: tuple[str, ...],
    out: str | None,
    workers: int | None,
    numerics: str | None,
    quiet: bool,
) -> None:
    """Run CONFIG on the simulated clock with every combination of the values given to --vary.

    Values are split at commas outside quotes and brackets. A second call with the same --out makes the runs that have
    no row yet. The figures of each run are a row of DIR/rows.csv; DIR/plot.svg shows the throughput.
    """
    if out == "":
        raise BadInput("--out: expected a folder, found an empty text")
    console = new_console(cast(TextIO, UnheardStream(sys.stdout)))
    plan = make_plan(config, varied, overrides, numerics)
    directory = SweepDirectory(plan, Path(out) if out else None)
    watcher = QuietWatcher() if quiet else LiveWatcher(console) if console.is_terminal else PlainWatcher(console)
    try:
        with watcher:
            run_sweep(plan, directory, workers or default_workers(plan), watcher)
    finally:
        picture = svg(plan.name, directory.in_order(), [axis.path for axis in plan.grid.axes])
        directory.write_plot(picture)
    if not quiet:
        _print_table(console, plan, directory)
    _say(console, f"rows: {directory.table}")
    if picture:
        _say(console, f"plot: {directory.plot}")
    raise_for_failures(directory)


def _print_table(console: Console, plan: Plan, directory: SweepDirectory) -> None:
    rows = directory.in_order()
    console.print("", sweep_table(rows, [axis.path for axis in plan.grid.axes], console), "", sep="\n")
    if len(rows) > MOST_ROWS:
        _say(console, f"... and {len(rows) - MOST_ROWS:,} rows more")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


class QuietWatcher:
    """Prints nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def started(self, directory: SweepDirectory, missing: int, total: int) -> None:
        """The sweep begins."""

    def run_ended(self, run: str, row: Mapping[str, str]) -> None:
        """A run has ended."""


class PlainWatcher(QuietWatcher):
    """Prints a line for each run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._done = self._missing = 0

    def started(self, directory: SweepDirectory, missing: int, total: int) -> None:
        self._missing = missing
        there = f", {total - missing} of them are there" if missing < total else ""
        _say(self._console, f"sweep directory: {directory.path} ({total:,} run{'s' if total > 1 else ''}{there})")

    def run_ended(self, run: str, row: Mapping[str, str]) -> None:
        self._done += 1
        if row["status"] == "finished":
            told = f"{float(row['instances_per_second'] or 0):,.0f} instances/s, {seconds(float(row['time_s']))}"
        else:
            told = f"{row['status']}: {row['error']}"
        _say(self._console, f"[{self._done}/{self._missing}] {run}: {told}")


class LiveWatcher(PlainWatcher):
    """The plain lines, and below them how many runs are done, and about how long the others take."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._progress = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("runs,"),
            TimeElapsedColumn(),
            TextColumn("gone,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def started(self, directory: SweepDirectory, missing: int, total: int) -> None:
        super().started(directory, missing, total)
        self._bar = self._progress.add_task("", total=missing)
        self._progress.start()

    def run_ended(self, run: str, row: Mapping[str, str]) -> None:
        super().run_ended(run, row)
        self._progress.advance(self._bar)
