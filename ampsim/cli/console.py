"""Where the commands write: a terminal as wide as it is, or a file or a pipe of a fixed width."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console

TABLE_WIDTH = 120
"""Columns of a table that goes to a file or a pipe."""


def new_console(stream: TextIO | None = None) -> Console:
    """A console on `stream`, or on standard output."""
    console = Console(file=stream)
    return console if console.is_terminal else Console(file=stream, width=TABLE_WIDTH)
