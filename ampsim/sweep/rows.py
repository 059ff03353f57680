"""The rows of a sweep: what is taken from a run's summary, and the file that they are kept in."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ampsim.config.wording import printable
from ampsim.data.dataset import TRAIN
from ampsim.errors import BadInput

FINISHED, FAILED = "finished", "failed"

TIMES = ("status", "time_s", "instances", "instances_per_second", "epochs")
BEHAVIOUR = (
    "staleness_mean",
    "staleness_max",
    "utilization_mean",
    "utilization_max",
    "busiest_device",
    "bound_s",
    "bound_fraction",
    "messages",
    "bytes",
    "wall_s",
    "error",
    "config_hash",
)

Row = dict[str, str]
"""Column to text, as in the file: a figure that there is none of is an empty text."""


def columns(varied: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """The columns of a sweep over the keys `varied` whose runs report `metrics` (`validation.accuracy`)."""
    return [*varied, *TIMES, *metrics, *BEHAVIOUR]


def figures(summary: Mapping[str, Any], metrics: Sequence[str]) -> dict[str, Any]:
    """What a row has of a summary. Messages are those that devices handled, bytes those that devices sent."""
    devices: Mapping[str, Mapping[str, Any]] = summary["devices"]
    utilization = {name: device["utilization"] for name, device in devices.items()}
    busiest = max(utilization, key=lambda name: utilization[name])
    train = summary.get(TRAIN, {})
    bound = summary.get("bound") or {}
    found: dict[str, Any] = {
        "time_s": summary["time_s"],
        "instances": train.get("instances"),
        "instances_per_second": train.get("instances_per_second"),
        "epochs": summary["epochs"],
    }
    for column in metrics:
        split, _, metric = column.partition(".")
        found[column] = summary.get(split, {}).get(metric)
    return {
        **found,
        "staleness_mean": summary["staleness"]["mean"],
        "staleness_max": summary["staleness"]["max"],
        "utilization_mean": sum(utilization.values()) / len(utilization),
        "utilization_max": utilization[busiest],
        "busiest_device": busiest,
        "bound_s": bound.get("bound_s"),
        "bound_fraction": bound.get("fraction"),
        "messages": sum(device["forward_messages"] + device["backward_messages"] for device in devices.values()),
        "bytes": sum(device["bytes_sent"] for device in devices.values()),
        "wall_s": summary["wall_s"],
    }


class RowFile:
    """A CSV file of which every line is a whole row: appended to while runs end, put in order when all have."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path = path
        self.names = list(names)

    def read(self) -> list[Row]:
        """The rows that are there; a last line that was cut off is none. Raises BadInput if it holds no rows."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise BadInput(f"{self.path}: cannot be read: {error}") from error
        whole = text[: text.rfind("\n") + 1]
        try:
            reader = csv.DictReader(io.StringIO(whole, newline=""), strict=True)
            rows = list(reader)
        except csv.Error as error:
            raise BadInput(f"{self.path}:{reader.line_num}: is not a row of a sweep: {error}") from error
        for number, row in enumerate(rows, start=2):
            if None in row or None in row.values() or not {"status", "config_hash"} <= row.keys():
                text = f"{self.path}:{number}: is not a row of a sweep"
                raise BadInput(f"{text}: give another directory to --out, or remove the file")
        return rows

    def write(self, rows: Iterable[Mapping[str, str]]) -> None:
        """Replace what is there, as a whole, by these rows."""
        draft = self.path.with_name(f"{self.path.name}.part")
        draft.write_text(self._text([dict(zip(self.names, self.names, strict=True)), *rows]), encoding="utf-8")
        os.replace(draft, self.path)

    def add(self, row: Mapping[str, str]) -> None:
        """Append a row."""
        with self.path.open("ab", buffering=0) as file:
            file.write(self._text([row]).encode())

    def _text(self, rows: Iterable[Mapping[str, str]]) -> str:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([row.get(name, "") for name in self.names] for row in rows)
        return text.getvalue()


def as_text(value: Any) -> str:
    """A figure as the file has it: in one line, floats with all their digits, None as an empty text."""
    return "" if value is None else printable(" ".join(str(value).split("\n")))
