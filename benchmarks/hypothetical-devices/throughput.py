"""Training throughput over the keys in flight, for each of the five models on a cluster of 1 TFLOP/s devices.

One epoch of each run on the simulated clock, no arithmetic. A message at a time, as in the paper; and where the
shipped config batches messages, with its `max_batch`, without and with its `inject_at_once`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from sweeping import BATCH, COLUMNS, HERE, KEYS, TOGETHER, Row, cluster, plot, sweep, write


@dataclass(frozen=True)
class Case:
    """A model: how its training set is limited, to how many examples one message at a time and batched."""

    limit: str
    examples: int
    examples_batched: int = 0
    others: tuple[str, ...] = ()
    settings: tuple[tuple[int, int], ...] = ((1, 1),)
    """max_batch and inject_at_once."""


CASES = {
    "mnist-mlp": Case("data.limit", 50_000),
    "list-reduction-rnn": Case("data.train", 20_000, others=("data.validation=100",)),
    "sst-tree-lstm": Case("data.limit", 150, 600, settings=((1, 1), (512, 1), (512, 16))),
    "babi15-ggsnn": Case("data.limit", 250, 2000, ("data.validation=50",), ((1, 1), (512, 1), (512, 8))),
    "qm9-ggsnn": Case("data.limit", 200, 1000, ("data.validation=10",), ((1, 1), (512, 1), (512, 16))),
}


def main() -> None:
    """Sweep each model, and write throughput.csv and a plot of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--keys", default="1,2,4,8,16,32,64", help="values of max_active_keys")
    parser.add_argument("--examples", type=int, help="to train on, instead of each model's own number")
    parser.add_argument("--out", type=Path, default=HERE, help="the folder for the rows and plots")
    options = parser.parse_args()
    rows: list[Row] = []
    for model in options.models:
        found = [row for batch, together in CASES[model].settings for row in measure(model, batch, together, options)]
        rows += found
        write(options.out / "throughput.csv", rows, ["model", KEYS, BATCH, TOGETHER, *COLUMNS])
        varied = [KEYS] if len(CASES[model].settings) == 1 else [KEYS, BATCH, TOGETHER]
        plot(options.out / f"throughput-{model}.svg", f"{model} on devices of 1 TFLOP/s", found, varied)


def measure(model: str, batch: int, together: int, options: argparse.Namespace) -> list[Row]:
    """One line of a plot. `inject_at_once` needs as many keys, so fewer are left out."""
    case = CASES[model]
    keys = ",".join(key for key in options.keys.split(",") if int(key) >= together)
    if not keys:
        return []
    examples = options.examples or (case.examples if batch == 1 else case.examples_batched)
    settings = [f"{case.limit}={examples}", *case.others, f"{BATCH}={batch}", f"{TOGETHER}={together}"]
    rows = sweep(cluster(model), settings, {KEYS: keys})
    return [{"model": model, BATCH: str(batch), TOGETHER: str(together), **row} for row in rows]


if __name__ == "__main__":
    main()
