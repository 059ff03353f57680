"""The rows of a sweep as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ampsim.config.wording import shorten
from ampsim.report.tables import new_table, seconds

MOST_ROWS = 40
LONGEST_LABEL = 40
ENDLESS = 10_000
LEAST = ("wall s", "staleness", "bound", "busy", "busiest")
"""Columns that a narrow console goes without, the first of them first."""


def sweep_table(rows: Sequence[Mapping[str, str]], varied: Sequence[str], console: Console) -> Table:
    """The first MOST_ROWS rows, with as many columns as the console has room for."""
    for dropped in range(len(LEAST) + 1):
        table = _table(rows[:MOST_ROWS], varied, LEAST[:dropped])
        if Measurement.get(console, console.options.update_width(ENDLESS), table).maximum <= console.width:
            break
    return table


def _table(rows: Sequence[Mapping[str, str]], varied: Sequence[str], without: Sequence[str]) -> Table:
    """Of the keys only what tells them apart, and the metrics of the validation pass."""
    shown = [_cells(row) for row in rows]
    figures = [name for name in dict.fromkeys(name for cells in shown for name in cells) if name not in without]
    table = new_table((*short_names(varied), "status"), figures)
    for row, cells in zip(rows, shown, strict=True):
        labels = [Text(shorten(row[path], LONGEST_LABEL)) for path in varied]
        table.add_row(*labels, row["status"], *(cells.get(name, "") for name in figures))
    return table


def _cells(row: Mapping[str, str]) -> dict[str, str]:
    """The figures of a row by their headings; of a run that failed only what it took."""
    took = {"wall s": _number(row, "wall_s", ".2f")}
    if row["status"] != "finished":
        return took
    return {
        "instances/s": _number(row, "instances_per_second", ",.0f"),
        "training": seconds(float(row["time_s"])),
        **{name: _number(row, name, ".4f") for name in row if name.startswith("validation.")},
        "staleness": f"{float(row['staleness_mean']):.2f} ≤ {row['staleness_max']}",
        "busy": _number(row, "utilization_mean", ".0%"),
        "busiest": f"{row['busiest_device']} {_number(row, 'utilization_max', '.0%')}",
        "bound": _number(row, "bound_fraction", ".0%"),
        **took,
    }


def short_names(paths: Sequence[str]) -> list[str]:
    """Each path from its last part on, as far as that tells it from the others."""
    short = []
    for path in paths:
        parts = path.split(".")
        names = [".".join(parts[start:]) for start in range(len(parts) - 1, -1, -1)]
        unique = [name for name in names if sum(f".{other}".endswith(f".{name}") for other in paths) == 1]
        short.append(unique[0] if unique else path)
    return short


def _number(row: Mapping[str, str], column: str, form: str) -> str:
    return format(float(row[column]), form) if row.get(column) else ""
