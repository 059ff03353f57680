"""Runs an experiment under the eyes of whoever has the terminal, and shows what came of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO, cast

from rich.console import Console

from ampsim.cli.console import new_console
from ampsim.cli.stream import UnheardStream
from ampsim.cli.watch import LiveWatcher, PlainWatcher, QuietWatcher
from ampsim.config.load import Experiment
from ampsim.errors import BadInput
from ampsim.report.tables import bound_lines, device_table, outcome_text
from ampsim.runtime.recording import Recording
from ampsim.runtime.run import run


def run_and_show(
    experiment: Experiment, out: str | None, quiet: bool, in_process: bool, recording: Recording | None = None
) -> tuple[Console, Path]:
    """Train with progress, then print the per-device table (unless `quiet`) and the result; console and directory."""
    if out == "":
        raise BadInput("--out: expected a folder, found an empty text")
    console = new_console(cast(TextIO, UnheardStream(sys.stdout)))
    watcher = QuietWatcher() if quiet else LiveWatcher(console) if console.is_terminal else PlainWatcher(console)
    with watcher:
        directory, summary = run(experiment, watcher, Path(out) if out else None, in_process, recording)
    if not quiet:
        console.print("", device_table(summary["devices"]), "", sep="\n")
    for line in (outcome_text(summary), *bound_lines(summary), f"run directory: {directory}"):
        console.print(line, highlight=False, soft_wrap=True)
    return console, directory
