"""`ampsim bench`: the benchmark suite."""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import TextIO, cast

import click
from rich import box
from rich.console import Console
from rich.table import Table

from ampsim.bench.cases import CaseFolder, find_cases
from ampsim.bench.measure import measure
from ampsim.bench.process import Measured
from ampsim.bench.rows import RowWriter
from ampsim.bench.table import case_tables
from ampsim.cli.console import new_console
from ampsim.cli.stream import UnheardStream
from ampsim.errors import BadInput, RunFailed


@click.command()
@click.argument("cases", nargs=-1, metavar="[CASE]...")
@click.option("--quick", is_flag=True, help="At a small size: does it run at all?")
@click.option("--rounds", type=click.IntRange(min=1), metavar="N", help="How often; by default as the case says.")
@click.option("--json", "rows", metavar="FILE", help="Write the figures of each process to FILE, a JSON row each.")
def bench(cases: tuple[str, ...], quick: bool, rounds: int | None, rows: str | None) -> None:
    """Measure CASEs of the benchmark suite, or `all`; without one, list them.

    Each contender of a case runs in a fresh process, all by turns and several times over; ratios are taken within a
    round. A bar that is not met is told, and is no error: the machine may have other things to do.
    """
    console = new_console(cast(TextIO, UnheardStream(sys.stdout)))
    if not cases:
        console.print(_listing(find_cases()))
        return
    chosen = [(folder, folder.load(quick)) for folder in find_cases(cases)]
    failed = []
    with ExitStack() as leaving:
        writer = RowWriter(leaving.enter_context(_open(rows)), quick) if rows is not None else None
        _stop_on_signals()
        for folder, case in chosen:
            with _Watcher(console, folder, writer) as watcher:
                done = measure(folder, case, rounds or case.rounds, watcher)
            for part in case_tables(folder.name, done):
                console.print(part, soft_wrap=not isinstance(part, Table), highlight=False)
            console.print()
            failed += [f"{folder.name}: {contender}" for contender in done.failures]
    if failed:
        raise RunFailed(f"these contenders failed: {', '.join(failed)}")


class _Watcher:
    """Shows on a terminal what is being run, and writes the rows."""

    def __init__(self, console: Console, folder: CaseFolder, writer: RowWriter | None) -> None:
        self._case, self._writer = folder.name, writer
        self._status = console.status(self._case)

    def __enter__(self) -> _Watcher:
        self._status.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._status.stop()

    def started(self, contender: str, round_number: int, rounds: int) -> None:
        """A contender begins."""
        self._status.update(f"{self._case}, round {round_number} of {rounds}: {contender}")

    def measured(self, contender: str, round_number: int, measured: Measured) -> None:
        """A contender has ended."""
        if self._writer:
            self._writer.add(self._case, contender, round_number, measured)


def _listing(folders: list[CaseFolder]) -> Table:
    table = Table("case", "what it measures", box=box.SIMPLE_HEAD, pad_edge=False)
    for folder in folders:
        table.add_row(folder.name, folder.load(quick=False).title)
    return table


def _open(path: str) -> TextIO:
    try:
        return Path(path).open("w", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"--json {path}: cannot be written: {error.strerror}") from error


def _stop_on_signals() -> None:
    """Let SIGTERM and a closed terminal end the suite as Ctrl-C does, which ends the contender at work as well."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)
