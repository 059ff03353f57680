"""`ampsim run`: train."""

from __future__ import annotations

import click

from ampsim.cli.options import overrides_option
from ampsim.cli.running import run_and_show
from ampsim.config.load import load


@click.command()
@click.argument("config")
@overrides_option
@click.option("--out", metavar="DIR", help="Run directory; by default runs/<name>-<number>.")
@click.option("--quiet", is_flag=True, help="Print only the result.")
@click.option("--in-process", is_flag=True, help="Run all devices in this process, turn by turn: the reference.")
def run(config: str, overrides: tuple[str, ...], out: str | None, quiet: bool, in_process: bool) -> None:
    """Train as CONFIG says: a file, or the name of a shipped config such as mnist-mlp."""
    run_and_show(load(config, overrides), out, quiet, in_process)
