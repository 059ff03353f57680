"""A comparison of two runs as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ampsim.report.compare import DEVICE_FIGURES, Pair
from ampsim.report.tables import size

MOST_PARAMETERS = 20
_SIDES = ("left", "right")
_ABSENT = "-"


def comparison(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    """What `compare` found, part by part; each part has its heading."""
    yield Text("\n".join(f"{side}: {run}" for side, run in zip(_SIDES, found["runs"], strict=True)))
    if found["config"]:
        yield _pairs_table("config", found["config"], _setting)
    else:
        yield Text("config: the same")
    yield _pairs_table("outcome", found["outcome"], _figure)
    if found["passes"]:
        yield _passes_table(found["passes"])
    yield _devices_table(found["devices"])
    yield _parameters(found)
    if found["arithmetic"]:
        yield _pairs_table("arithmetic", found["arithmetic"], _setting)
    elif found["notes"]:
        yield Text("arithmetic: the same")
    for note in found["notes"]:
        yield Text(note)


def _pairs_table(heading: str, pairs: Mapping[str, Pair], show: Any) -> Table:
    table = _table(heading)
    for side in _SIDES:
        table.add_column(side, overflow="fold", justify="right" if show is _figure else "left")
    for key, pair in pairs.items():
        table.add_row(Text(key), *(Text(show(value)) for value in pair))
    return table


def _passes_table(passes: list[dict[str, Any]]) -> Table:
    table = _table("epoch", "split")
    measures = list(dict.fromkeys(key for line in passes for key in line if key not in ("epoch", "split")))
    for measure in measures:
        for side in _SIDES:
            table.add_column(f"{measure} {side}", justify="right", no_wrap=True)
    for line in passes:
        figures = [_figure(value) for measure in measures for value in line.get(measure, (None, None))]
        table.add_row(str(line["epoch"]), str(line["split"]), *figures)
    return table


def _devices_table(devices: Mapping[str, Mapping[str, Pair]]) -> Table:
    """Two lines for each device, the left run's above the right one's."""
    table = _table("device", "run")
    headings = ("utilization", "busy s", "forward", "backward", "updates", "staleness", "sent", "received")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, figures in devices.items():
        for number, side in enumerate(_SIDES):
            own = {figure: figures[figure][number] for figure in DEVICE_FIGURES}
            label = f"{name} ({own['kind']})" if own["kind"] is not None else name
            table.add_row(Text(label), side, *(_device_cells(own) if own["kind"] is not None else [_ABSENT] * 8))
    return table


def _device_cells(device: Mapping[str, Any]) -> list[str]:
    known = {figure: 0 if value is None else value for figure, value in device.items()}
    return [
        f"{known['utilization']:.1%}",
        f"{known['busy_s']:.2f}",
        *(f"{known[figure]:,}" for figure in ("forward_messages", "backward_messages", "updates")),
        f"{known['staleness_mean']:.2f} ≤ {known['staleness_max']}",
        size(known["bytes_sent"]),
        size(known["bytes_received"]),
    ]


def _parameters(found: Mapping[str, Any]) -> RenderableType:
    if found["parameters_equal"]:
        return Text(f"parameters: the same bits (sha256 {found['sha256'][0]})")
    if found["parameters_equal"] is None:
        return Text("parameters: not compared")
    if not found["parameters"]:
        return Text("parameters: they differ")
    table = _table("parameter")
    for heading in ("relative difference", "largest difference"):
        table.add_column(heading, justify="right", no_wrap=True)
    for entry in found["parameters"][:MOST_PARAMETERS]:
        if "only" in entry:
            words = "another shape" if entry["only"] == "shape" else f"only in the {entry['only']} run"
            table.add_row(Text(entry["name"]), words, _ABSENT)
        else:
            table.add_row(Text(entry["name"]), *(_distance(entry[key]) for key in ("relative", "largest")))
    left = len(found["parameters"]) - MOST_PARAMETERS
    if left > 0:
        table.add_row(f"... and {left} more", "", "")
    return table


def _distance(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"


def _figure(value: Any) -> str:
    if value is None:
        return _ABSENT
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


def _setting(value: Any) -> str:
    """A value of the config, or of what was recorded, on one line."""
    if value is None:
        return _ABSENT
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value) or "none"
    return value if isinstance(value, str) else json.dumps(value)


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
