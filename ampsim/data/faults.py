"""The faults of a data file, one line each with its place; all are collected before one error is raised."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from ampsim.errors import DataError

SHOWN = 20
"""Faults of a file that are told one by one."""


class Faults:
    """What is wrong with one file. `place` is a line number of a text, or a name of what is at fault."""

    def __init__(self, file: Path | str) -> None:
        self.file = file
        self.lines: list[str] = []

    def add(self, place: int | str, text: str) -> None:
        """Note a fault: `file:17: text` for a line, `file: molecule 5: text` for anything else."""
        self.lines.append(f"{self.file}:{place}: {text}" if isinstance(place, int) else f"{self.file}: {place}: {text}")

    def raise_faults(self) -> None:
        """Raise DataError with the faults noted, if there are any; past the first 20 they are counted."""
        if self.lines:
            more = [f"{self.file}: and {len(self.lines) - SHOWN} more faults"] if len(self.lines) > SHOWN else []
            raise DataError("\n".join(self.lines[:SHOWN] + more))


def read_lines(file: Path) -> list[str]:
    """The lines of a gzip-compressed UTF-8 text, cut at `\\n` only. Raises DataError."""
    try:
        data = gzip.decompress(file.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{file}: damaged, or not compressed by gzip: {error}") from error
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{file}:{line}: not UTF-8: byte {data[error.start]:#04x}") from error
    if not text:
        raise DataError(f"{file}: the file is empty")
    return text.removesuffix("\n").split("\n")
