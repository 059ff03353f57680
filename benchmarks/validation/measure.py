"""Calibrates this machine, validates five models on it, and prints all rows as Markdown.

Leave the machine alone meanwhile. How many cores others used is told for each model: rows that were measured beside
other work say little.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

MODELS = {
    "mnist-mlp-2-devices": ["data.limit=10000"],
    "list-reduction-rnn": ["data.train=20000", "data.validation=2000", "data.test=2000"],
    "sst-tree-lstm": ["data.limit=1000"],
    "babi15-ggsnn": ["data.limit=2000"],
    "qm9-ggsnn": ["data.limit=1500"],
}
AMPSIM = [sys.executable, "-m", "ampsim"]


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--kind", type=Path, help="a calibrated device file; by default this machine is calibrated first"
    )
    parser.add_argument("--placements", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3, help="runs on the wall clock of each placement")
    parser.add_argument("--out", type=Path, default=Path("validation"), help="folder for the rows as JSON")
    parser.add_argument("--only", choices=MODELS, nargs="+", default=list(MODELS), help="the configs to validate")
    parser.add_argument("--limit", type=int, help="examples of each split, for those configs that have data.limit")
    options = parser.parse_args()
    options.out.mkdir(exist_ok=True)
    kind = options.kind or options.out / "this-machine.yaml"
    if options.kind is None:
        others = run([*AMPSIM, "calibrate", "--out", str(kind)])
        print(f"calibrated; others used {others:.2f} cores meanwhile\n")
    found = {}
    for config in options.only:
        sets = MODELS[config] if options.limit is None else [f"data.limit={options.limit}"]
        out = options.out / f"{config}.json"
        counts = [f"--placements={options.placements}", f"--repeats={options.repeats}"]
        overrides = [f"--set={text}" for text in (*sets, "training.epochs=1")]
        others = run([*AMPSIM, "validate", config, "--kind", str(kind), *counts, *overrides, "--out", str(out)])
        found[config] = (json.loads(out.read_text()), others)
    print("\n".join(table(found)))


def run(command: list[str]) -> float:
    """Run a command; how many CPUs others used meanwhile, on average."""
    began_s, used_s, own_s = perf_counter(), cpu_s(), children_s()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (cpu_s() - used_s - (children_s() - own_s)) / (perf_counter() - began_s)


def cpu_s() -> float:
    """Seconds that all CPUs have worked since the machine was started (Linux)."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def children_s() -> float:
    """Seconds of CPU time of processes that this one has started, and theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(found: dict[str, tuple[dict[str, Any], float]]) -> Iterator[str]:
    """All rows as Markdown, and the medians."""
    headings = "throughput measured, 1/s | predicted | error | device time measured, s | predicted | error"
    yield f"| config | placement | {headings} |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    rates, devices, edges = [], [], []
    for config, (validation, _) in found.items():
        for number, row in enumerate(validation["rows"], start=1):
            rates.append(abs(row["rate_error"]))
            devices += [abs(error) for error in row["device_errors"].values()]
            measured, predicted = row["measured_device_s"], row["predicted_device_s"]
            errors = row["device_errors"]
            names = list(errors)
            yield (
                f"| `{config}` | {'own' if number == 1 else number} | {row['measured_rate']:,.0f} | "
                f"{row['predicted_rate']:,.0f} | {row['rate_error']:+.0%} | "
                f"{', '.join(f'{measured[name]:.2f}' for name in names)} | "
                f"{', '.join(f'{predicted[name]:.2f}' for name in names)} | "
                f"{', '.join(f'{errors[name]:+.0%}' for name in names)} |"
            )
    yield ""
    yield from edge_table(found)
    yield ""
    headings = "throughput, median error | device time, median error | time on the way, median error"
    yield f"| config | {headings} | order kept | others used, cores |"
    yield "|---|---:|---:|---:|---|---:|"
    for config, (validation, others) in found.items():
        rate, device, edge = validation["median_errors"].values()
        kept = "yes" if validation["order_kept"] else "no"
        yield f"| `{config}` | {rate:.0%} | {device:.0%} | {edge:.0%} | {kept} | {others:.2f} |"
        edges += [abs(error) for row in validation["rows"] for error in row["edge_errors"].values()]
    yield f"| all | {median(rates):.0%} | {median(devices):.0%} | {median(edges):.0%} | | |"


def edge_table(found: dict[str, tuple[dict[str, Any], float]]) -> Iterator[str]:
    """How long packets were on the way, a column for each edge: measured, predicted, error."""
    edges = list(dict.fromkeys(edge for one, _ in found.values() for row in one["rows"] for edge in row["edge_errors"]))
    yield f"| config | placement | {' | '.join(f'{edge}, ms' for edge in edges)} |"
    yield f"|---|---|{'---:|' * len(edges)}"
    for config, (validation, _) in found.items():
        for number, row in enumerate(validation["rows"], start=1):
            cells = [
                f"{1e3 * row['measured_edge_s'][edge]:.2f}, {1e3 * row['predicted_edge_s'][edge]:.2f}: "
                f"{row['edge_errors'][edge]:+.0%}"
                if edge in row["edge_errors"]
                else ""
                for edge in edges
            ]
            yield f"| `{config}` | {'own' if number == 1 else number} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
