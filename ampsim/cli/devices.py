"""`ampsim devices`: the catalogue."""

from __future__ import annotations

import click

from ampsim.cli.console import new_console
from ampsim.cli.listing import kind_text, kinds_listing
from ampsim.config.catalogue import device_profiles


@click.command()
@click.argument("kind", required=False)
def devices(kind: str | None) -> None:
    """List the catalogue of device kinds, or show one KIND and where its figures come from.

    KIND is a name of the catalogue, or the path of a device file of your own, which ends in .yaml.
    """
    if kind is None:
        console = new_console()
        console.print(kinds_listing(device_profiles(), console), highlight=False)
    else:
        click.echo(kind_text(kind), nl=False)
