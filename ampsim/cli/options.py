"""Options that several commands have."""

from __future__ import annotations

import click

overrides_option = click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Override a key: --set training.epochs=1. Repeatable.",
)
