"""`ampsim data`: which data sets there are, where they are, and how to get them."""

from __future__ import annotations

import click
from rich.table import Table
from rich.text import Text

from ampsim.cli.console import new_console
from ampsim.cli.listing import plain_table
from ampsim.config.wording import did_you_mean
from ampsim.data.cache import CACHE_VARIABLE, DATA_VARIABLE, cache_folder, data_folder, find
from ampsim.data.fetch import fetch as fetch_set
from ampsim.data.sources import SOURCES
from ampsim.errors import BadInput, DataError


@click.group(invoke_without_command=True)
@click.pass_context
def data(context: click.Context) -> None:
    """List the data sets: what each is, whether it is there, and how to get it."""
    if context.invoked_subcommand is not None:
        return
    own = data_folder()
    console = new_console()
    console.print(_sets_table())
    for line in (
        f"folder of your own: {own} ({DATA_VARIABLE})"
        if own
        else f"folder of your own: none ({DATA_VARIABLE} is not set)",
        f"cache: {cache_folder()} ({CACHE_VARIABLE} names another)",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


@data.command()
@click.argument("name")
def fetch(name: str) -> None:
    """Get the data set NAME into the cache, its hash checked."""
    if name not in SOURCES:
        raise BadInput(f"no data set {name!r}{did_you_mean(name, SOURCES)}")
    console = new_console()
    fetch_set(name, lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True))


def _sets_table() -> Table:
    table = plain_table("data set", "what it is", "licence", "where it is")
    for name, source in SOURCES.items():
        table.add_row(*(Text(cell) for cell in (name, source.summary, source.licence, _where(name))))
    return table


def _where(name: str) -> str:
    source = SOURCES[name]
    if not source.files:
        return source.origin
    try:
        folder = find(name)
    except DataError:
        return f"{DATA_VARIABLE} has a part of it only"
    if folder is None:
        return f"not here ({source.origin}): ampsim data fetch {name}"
    return f"in {DATA_VARIABLE}" if folder == data_folder() else "in the cache"
