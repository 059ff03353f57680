"""The learning curves of run directories, side by side, as a table in Markdown.

`python benchmarks/curve.py RUN [RUN ...]`: for each epoch the training loss, and the validation loss and metric, of
each run; the column heads are the names of the folders.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def main(folders: list[Path]) -> None:
    """Print the table."""
    runs = {folder.name: read(folder) for folder in folders}
    metric = next(name for row in next(iter(runs.values())).values() for name in row["validation"] if name in METRICS)
    heads = [f"{name}: {what}" for name in runs for what in ("train loss", "validation loss", f"validation {metric}")]
    print("| epoch | " + " | ".join(heads) + " |")
    print("|---:" * (len(heads) + 1) + "|")
    for epoch in range(1, max(max(run) for run in runs.values()) + 1):
        cells = [str(epoch)]
        for run in runs.values():
            if epoch in run:
                train, validation = run[epoch]["train"], run[epoch]["validation"]
                cells += [f"{value:.4f}" for value in (train["loss"], validation["loss"], validation[metric])]
            else:
                cells += ["", "", ""]
        print("| " + " | ".join(cells) + " |")


METRICS = ("accuracy", "mae")


def read(folder: Path) -> dict[int, dict[str, Row]]:
    """The lines of metrics.jsonl by epoch and split; epochs that have both."""
    found: dict[int, dict[str, Row]] = {}
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        row: Row = json.loads(line)
        found.setdefault(row["epoch"], {})[row["split"]] = row
    return {epoch: splits for epoch, splits in found.items() if {"train", "validation"} <= splits.keys()}


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
