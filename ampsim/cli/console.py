"""The console that commands print to."""

from __future__ import annotations

import os
import sys

from rich.console import Console

TABLE_WIDTH = 120
"""Columns of a table that goes to a file or a pipe."""


def new_console() -> Console:
    """The console of standard output: as wide as the terminal, or as a table in a file."""
    console = _Console()
    return console if console.is_terminal else _Console(width=TABLE_WIDTH)


class _Console(Console):
    """A console whose reader may leave (`ampsim run ... | head -1`): the run goes on, unheard."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
