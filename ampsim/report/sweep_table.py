"""The rows of a sweep as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from ampsim.config.wording import shorten
from ampsim.report.tables import new_table, seconds

MOST_ROWS = 40


def sweep_table(rows: Sequence[Mapping[str, str]], varied: Sequence[str]) -> Table:
    """The first MOST_ROWS rows; of the keys only what tells them apart, and the metrics of the validation pass."""
    metrics = [name for name in rows[0] if name.startswith("validation.")] if rows else []
    names = short_names(varied)
    figures = ("instances/s", "training", "staleness", "busy", "busiest", "bound", *metrics, "wall s")
    table = new_table((*names, "status"), figures)
    for row in rows[:MOST_ROWS]:
        labels = [Text(shorten(row[path], 40)) for path in varied]
        if row["status"] != "finished":
            table.add_row(*labels, row["status"], *("" for _ in figures[:-1]), _number(row, "wall_s", ".2f"))
            continue
        table.add_row(
            *labels,
            row["status"],
            _number(row, "instances_per_second", ",.0f"),
            seconds(float(row["time_s"])),
            f"{float(row['staleness_mean']):.2f} ≤ {row['staleness_max']}",
            _number(row, "utilization_mean", ".0%"),
            f"{row['busiest_device']} {_number(row, 'utilization_max', '.0%')}",
            _number(row, "bound_fraction", ".0%"),
            *(_number(row, name, ".4f") for name in metrics),
            _number(row, "wall_s", ".2f"),
        )
    return table


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
