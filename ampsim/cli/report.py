"""`ampsim report`: the tables of a run directory."""

from __future__ import annotations

from pathlib import Path

import click

from ampsim.cli.console import new_console
from ampsim.report.run_files import RunFiles
from ampsim.report.tables import bound_lines, device_table, error_lines, outcome_text, passes_table


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
def report(run: Path) -> None:
    """Show a run directory: its passes, its devices, and how it ended."""
    files = RunFiles.read(run)
    console = new_console()
    console.print(passes_table(files.metrics), "", device_table(files.summary["devices"]), "", sep="\n")
    for line in (outcome_text(files.summary), *bound_lines(files.summary)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for line in error_lines(files.summary):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
