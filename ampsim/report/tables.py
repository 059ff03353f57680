"""A run as text: the sentence that says how it ended, the passes, and the per-device table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from ampsim.units import format_quantity

BAR_WIDTH = 10
MEASURES = ("loss", "accuracy", "mae")


def utilization_bar(share: float, width: int = BAR_WIDTH) -> str:
    """`share` (0 to 1) as a bar of `width` characters."""
    filled = round(max(0.0, min(1.0, share)) * width)
    return "█" * filled + "░" * (width - filled)


def size(count: float) -> str:
    """Bytes as a person reads them, in powers of 1000: `376 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def metrics_text(metrics: Mapping[str, Any]) -> str:
    """`loss 0.1994, accuracy 0.9397` out of a line of metrics, a pass of a summary or a core's means."""
    return ", ".join(f"{name} {_figure(metrics[name])}" for name in MEASURES if name in metrics)


def _figure(value: float | None) -> str:
    """A metric; in a file, None is what one that is not finite was written as."""
    return "nan" if value is None else f"{value:.4f}"


def epoch_text(train: Mapping[str, Any], validation: Mapping[str, Any]) -> str:
    """One epoch in one line, from its two lines of metrics."""
    rate = train["instances"] / train["duration_s"] if train["duration_s"] else 0.0
    return (
        f"epoch {train['epoch']}: train {metrics_text(train)} | validation {metrics_text(validation)} | "
        f"{rate:,.0f} instances/s | {seconds(validation['time_s'])}"
    )


def outcome_text(summary: Mapping[str, Any]) -> str:
    """How a run ended, or stands, in one line."""
    parts = [f"{summary['name']}: {summary['status']}"]
    if summary.get("reached"):
        targets = ", ".join(f"{name} {value:g}" for name, value in summary["reached"].items())
        parts.append(f"reached {targets}")
    epochs = summary.get("epochs", 0)
    parts.append(f"{epochs} epoch{'' if epochs == 1 else 's'}")
    figures = {split: metrics_text(summary.get(split, {})) for split in ("validation", "test")}
    parts += [f"{split} {text}" for split, text in figures.items() if text]
    if summary.get("numerics") == "off":
        parts.append("the clock alone")
    losses = [summary[split]["loss"] for split in ("train", "validation", "test") if "loss" in summary.get(split, ())]
    if not all(loss is not None and isfinite(loss) for loss in losses):
        parts.append("the loss is not finite: training diverged; lower learning_rate or max_active_keys")
    if "train" in summary:
        parts.append(
            f"{seconds(summary['time_s'])} of {'simulated ' if summary.get('clock') == 'simulated' else ''}training, "
            f"{summary['train']['instances_per_second']:,.0f} instances/s"
        )
    return "; ".join(parts)


def bound_lines(summary: Mapping[str, Any]) -> list[str]:
    """What bounds a simulated run, and how much of that it reached; nothing for others."""
    bound = summary.get("bound")
    if not bound:
        return []
    parts = {
        f"the work of {bound['device']}, the busiest device": bound["device_s"],
        f"the work of {bound['link']}, the busiest link": bound["link_s"],
        "the critical path": bound["critical_path_s"],
    }
    largest = max(parts, key=lambda what: parts[what])
    others = "; ".join(f"{what} is {seconds(time_s)}" for what, time_s in parts.items() if what != largest)
    return [
        f"bound: {largest} is {seconds(bound['bound_s'])} of {seconds(summary['time_s'])} of training: "
        f"{bound['fraction']:.0%} of the bound was reached ({others})"
    ]


def seconds(value: float) -> str:
    """A time as a person reads it: `12.3 s`, `250 ms`."""
    return f"{value:.1f} s" if value >= 1 else format_quantity(value, "s")


def error_lines(summary: Mapping[str, Any]) -> list[str]:
    """What went wrong in a run that failed or was stopped; nothing for others."""
    error = summary.get("error")
    if not error:
        return []
    who = f"device {error['device']}: " if "device" in error else ""
    return [f"{who}{error['text']}", *error.get("traceback", "").splitlines()]


def passes_table(metrics: Sequence[Mapping[str, Any]]) -> Table:
    """All passes of a run, a line each."""
    measures = [name for name in MEASURES if any(name in line for line in metrics)]
    table = new_table(("epoch", "split"), (*measures, "instances", "training s", "wall s"))
    for line in metrics:
        figures = [_figure(line[name]) if name in line else "" for name in measures]
        table.add_row(
            str(line["epoch"]),
            line["split"],
            *figures,
            f"{line['instances']:,}",
            f"{line['time_s']:.1f}" if line["time_s"] >= 1 else f"{line['time_s']:.4g}",
            f"{line['wall_s']:.1f}",
        )
    return table


def device_table(devices: Mapping[str, Mapping[str, Any]]) -> Table:
    """The per-device table of a summary."""
    table = new_table(
        ("device", "utilization"),
        ("busy s", "forward", "backward", "updates", "staleness", "sent", "received", "memory"),
    )
    for name, device in devices.items():
        table.add_row(
            f"{name} ({device['kind']})",
            f"{utilization_bar(device['utilization'])} {device['utilization']:4.0%}",
            f"{device['busy_s']:.2f}",
            f"{device['forward_messages']:,}",
            f"{device['backward_messages']:,}",
            f"{device['updates']:,}",
            f"{device['staleness_mean']:.2f} ≤ {device['staleness_max']}",
            size(device["bytes_sent"]),
            size(device["bytes_received"]),
            size(device["peak_memory_bytes"]),
        )
    return table


def new_table(left: Iterable[str], right: Iterable[str]) -> Table:
    """An empty table with columns of these headings, at the left and at the right of their cells."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    for heading in left:
        table.add_column(Text(heading), no_wrap=True)
    for heading in right:
        table.add_column(Text(heading), justify="right", no_wrap=True)
    return table
