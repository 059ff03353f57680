"""`ampsim check` and `ampsim schema`: what a config says, and what it may say; both start nothing."""

from __future__ import annotations

import json

import click

from ampsim.cli.console import new_console
from ampsim.cli.listing import check_text
from ampsim.cli.options import overrides_option
from ampsim.config.json_schema import json_schema
from ampsim.config.load import load
from ampsim.config.resolved import to_yaml


@click.command()
@click.argument("config")
@overrides_option
@click.option("--resolved", is_flag=True, help="Print the config with every default filled in and nodes placed.")
def check(config: str, overrides: tuple[str, ...], resolved: bool) -> None:
    """Check CONFIG and say where its nodes would go; starts nothing."""
    experiment = load(config, overrides)
    if resolved:
        click.echo(to_yaml(experiment), nl=False)
    else:
        new_console().print(check_text(experiment), highlight=False)


@click.command()
def schema() -> None:
    """Print the JSON Schema of the config, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))
