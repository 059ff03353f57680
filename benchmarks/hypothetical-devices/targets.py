"""Simulated seconds and epochs to a model's target, by keys in flight: the arithmetic is done, time is simulated.

Each run adds its epochs to targets.csv, in place of those of the same model and keys, and redraws the model's plot:
the validation metric over epochs and over simulated seconds of training.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from curves import picture
from sweeping import HERE, KEYS, Row, cluster, read, write


@dataclass(frozen=True)
class Target:
    """The metric on validation and what it must reach; what is set beside the cluster's config."""

    metric: str
    value: float
    settings: tuple[str, ...] = ()


TARGETS = {
    "mnist-mlp": Target("accuracy", 0.97),
    "babi15-ggsnn": Target("accuracy", 1.0, ("cluster.max_batch=512",)),
    "list-reduction-rnn": Target("accuracy", 0.97),
    "list-reduction-rnn-4-replicas": Target("accuracy", 0.97),
    "sst-tree-lstm": Target("accuracy", 0.807, ("cluster.max_batch=512",)),
    "qm9-ggsnn": Target("mae", 0.70, ("cluster.max_batch=512", "data.limit=20000", "data.validation=2000")),
}
COLUMNS = ["model", "keys", "epoch", "time_s", "train_loss", "validation_loss", "metric", "reached"]
COLUMNS += ["staleness_mean", "staleness_max", "wall_s"]


def main() -> None:
    """Run each model with each number of keys."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--keys", nargs="+", type=int, default=[1, 4, 16], help="values of max_active_keys")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as of ampsim run")
    parser.add_argument("--out", type=Path, default=HERE, help="the folder for the rows and plots")
    options = parser.parse_args()
    file = options.out / "targets.csv"
    for model in options.models:
        for keys in options.keys:
            found = run(model, keys, options.set)
            rows = [row for row in read(file) if (row["model"], row["keys"]) != (model, str(keys))] + found
            models = list(TARGETS)
            rows.sort(key=lambda row: (models.index(row["model"]), int(row["keys"]), int(row["epoch"])))
            write(file, rows, COLUMNS)
            target = TARGETS[model]
            drawn = [row for row in rows if row["model"] == model]
            title = f"{model}, devices of 1 TFLOP/s: validation {target.metric}"
            (options.out / f"targets-{model}.svg").write_text(picture(title, drawn, target.value))
            last = found[-1]
            print(
                f"{model}, {keys} keys: {last['metric']} after {last['epoch']} epochs, {last['time_s']} s", flush=True
            )


def run(model: str, keys: int, settings: list[str]) -> list[Row]:
    """A row for each epoch of one run in process: the bits are those of device processes."""
    target = TARGETS[model]
    stop = f"training.stop_at={{validation.{target.metric}: {target.value}}}"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "ampsim", "run", str(cluster(model)), "--in-process", "--quiet"]
        command += [f"--set={setting}" for setting in (stop, f"{KEYS}={keys}", *target.settings, *settings)]
        subprocess.run([*command, f"--out={out}"], check=True, stdout=sys.stderr)
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        summary = json.loads((out / "summary.json").read_text())
    loss = {line["epoch"]: line["loss"] for line in lines if line["split"] == "train"}
    rows = []
    for line in lines:
        if line["split"] == "validation":
            value = line[target.metric]
            reached = value <= target.value if target.metric == "mae" else value >= target.value
            row = {
                "model": model,
                "keys": keys,
                "epoch": line["epoch"],
                "time_s": f"{line['time_s']:.6g}",
                "train_loss": f"{loss[line['epoch']]:.4f}",
                "validation_loss": f"{line['loss']:.4f}",
                "metric": f"{value:.4f}",
                "reached": reached,
                "staleness_mean": f"{summary['staleness']['mean']:.3f}",
                "staleness_max": summary["staleness"]["max"],
                "wall_s": f"{line['wall_s']:.1f}",
            }
            rows.append({name: str(value) for name, value in row.items()})
    return rows


if __name__ == "__main__":
    main()
