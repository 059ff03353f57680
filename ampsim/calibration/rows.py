"""What a validation has found, as a table, as a sentence, and as a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich import box
from rich.table import Table

from ampsim.calibration.validate import Row, median_errors, order_kept

COLUMNS = ("placement", "what", "unit", "measured", "predicted", "error")


def lines(rows: Sequence[Row]) -> Iterator[tuple[str, str, str, float, float, float]]:
    """A line for each figure, in the order of COLUMNS."""
    for row in rows:
        yield row.name, "throughput", "1/s", row.measured_rate, row.predicted_rate, row.rate_error
        for device, error in row.device_errors.items():
            yield row.name, device, "s", row.measured_device_s[device], row.predicted_device_s[device], error
        for edge, error in row.edge_errors.items():
            yield row.name, edge, "ms", 1e3 * row.measured_edge_s[edge], 1e3 * row.predicted_edge_s[edge], error


def validation_table(rows: Sequence[Row]) -> Table:
    """Measured against predicted, a line for each figure."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("placement", "what", "unit") else "right", no_wrap=True)
    for placement, what, unit, measured, predicted, error in lines(rows):
        table.add_row(placement, what, unit, f"{measured:,.4g}", f"{predicted:,.4g}", f"{error:+.1%}")
    return table


def verdict(rows: Sequence[Row]) -> str:
    """The median errors, and whether the order of the placements is kept."""
    rate, devices, edges = median_errors(rows)
    kept = "kept" if order_kept(rows) else "not kept"
    order = f"; order of the {len(rows)} placements {kept}" if len(rows) > 1 else ""
    return f"median error: throughput {rate:.1%}, device time {devices:.1%}, time on the way {edges:.1%}{order}"


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """All rows as .json, with placements and every repetition, or as .csv, a line for each figure."""
    if path.suffix == ".json":
        content = {
            "rows": [row.to_json() for row in rows],
            "median_errors": dict(zip(("throughput", "device_time", "on_the_way"), median_errors(rows), strict=True)),
            "order_kept": order_kept(rows),
        }
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(lines(rows))
