"""`ampsim compare`: two run directories side by side."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.text import Text

from ampsim.cli.console import new_console
from ampsim.report.compare import Run
from ampsim.report.compare import compare as compare_runs
from ampsim.report.compare_tables import comparison


@click.command()
@click.argument("left", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("right", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON document.")
def compare(left: Path, right: Path, as_json: bool) -> None:
    """Show two run directories side by side: configs, outcomes, devices, and whether the weights are the same.

    The exit code is 0 whether or not they differ.
    """
    found = compare_runs(Run.read(left), Run.read(right))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    console = new_console()
    for number, part in enumerate(comparison(found)):
        if number:
            console.print()
        console.print(part, markup=False, highlight=False, soft_wrap=isinstance(part, Text))
