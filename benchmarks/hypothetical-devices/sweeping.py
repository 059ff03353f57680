"""What the cases share: making a sweep of one of the clusters, and reading and writing rows."""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ampsim.report.sweep_plot import svg

HERE = Path(__file__).parent
KEYS = "training.max_active_keys"
BATCH = "cluster.max_batch"
BANDWIDTH = "cluster.network.bandwidth"
TOGETHER = "training.inject_at_once"
COLUMNS = [
    *("status", "time_s", "instances", "instances_per_second", "staleness_mean", "staleness_max"),
    *("utilization_mean", "utilization_max", "busiest_device", "bound_s", "bound_fraction"),
    *("messages", "bytes", "wall_s"),
]

Row = dict[str, str]


def cluster(name: str) -> Path:
    """The config of a hypothetical cluster."""
    return HERE / "clusters" / f"{name}.yaml"


def sweep(config: Path, settings: Sequence[str], varied: Mapping[str, str]) -> list[Row]:
    """The rows of `ampsim sweep` with one epoch of training, one run at a time; its progress goes to stderr."""
    command = [sys.executable, "-m", "ampsim", "sweep", str(config), "--workers=1"]
    command += [f"--set={setting}" for setting in ("training.epochs=1", "training.stop_at={}", *settings)]
    command += [f"--vary={path}={values}" for path, values in varied.items()]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "sweep"
        subprocess.run([*command, f"--out={out}"], check=True, stdout=sys.stderr)
        return read(out / "rows.csv")


def read(file: Path) -> list[Row]:
    """The rows of a CSV file; none if there is no file."""
    if not file.exists():
        return []
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def write(file: Path, rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> None:
    """Write these columns of the rows."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def plot(file: Path, title: str, rows: Sequence[Mapping[str, str]], varied: Sequence[str]) -> None:
    """Throughput over the first of the keys `varied`, a line for each combination of the others."""
    picture = svg(title, rows, varied)
    if picture is None:
        raise SystemExit(f"{file}: no run has a throughput to be shown")
    file.write_text(picture)
