"""Calibrates this machine, validates five models on it, and prints all rows as Markdown.

Machines drift: each round calibrates anew, runs every placement once and predicts it by that calibration, and what
counts are the medians over the rounds of what was measured and of what was predicted. Leave the machine alone
meanwhile. How many cores others used is told for each model: rows that were measured beside other work say little.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from statistics import median
from time import perf_counter

from ampsim.calibration.rows import write_rows
from ampsim.calibration.validate import Row, median_errors, order_kept

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
    parser.add_argument("--rounds", type=int, default=5, help="calibrations, and runs on the wall clock of a placement")
    parser.add_argument("--out", type=Path, default=Path("validation"), help="folder for the rows as JSON")
    parser.add_argument("--only", choices=MODELS, nargs="+", default=list(MODELS), help="the configs to validate")
    parser.add_argument("--limit", type=int, help="examples of each split, for those configs that have data.limit")
    options = parser.parse_args()
    options.out.mkdir(exist_ok=True)
    rounds: dict[str, list[list[Row]]] = {config: [] for config in options.only}
    used: dict[str, list[float]] = {config: [] for config in options.only}
    for number in range(1, options.rounds + 1):
        kind = options.kind or options.out / "this-machine.yaml"
        if options.kind is None:
            others = run([*AMPSIM, "calibrate", "--out", str(kind)])
            print(
                f"round {number} of {options.rounds}: calibrated; others used {others:.2f} cores meanwhile", flush=True
            )
        for config in options.only:
            sets = MODELS[config] if options.limit is None else [f"data.limit={options.limit}"]
            rows, others = validated(config, kind, options.placements, [*sets, "training.epochs=1"])
            rounds[config].append(rows)
            used[config].append(others)
    found = {}
    for config, several in rounds.items():
        rows = [over_rounds(ones) for ones in zip(*several, strict=True)]
        write_rows(options.out / f"{config}.json", rows)
        found[config] = rows, median(used[config])
    print("\n".join(["", *table(found)]))


def validated(config: str, kind: Path, placements: int, sets: list[str]) -> tuple[list[Row], float]:
    """The rows of `ampsim validate` with one run of each placement, and how many CPUs others used meanwhile."""
    with tempfile.TemporaryDirectory(prefix="ampsim-validation-") as folder:
        out = Path(folder) / "rows.json"
        overrides = [f"--set={text}" for text in sets]
        command = [*AMPSIM, "validate", config, "--kind", str(kind), f"--placements={placements}", "--repeats=1"]
        others = run([*command, *overrides, "--out", str(out)])
        told = json.loads(out.read_text())["rows"]
    return [Row(**{field.name: row[field.name] for field in fields(Row)}) for row in told], others


def over_rounds(rows: Sequence[Row]) -> Row:
    """One placement: the medians over the rounds. What is balanced by a calibration may differ from round to round:
    the placement that most of them had counts, and the rounds that had it.
    """
    placements = [row.placement for row in rows]
    usual = max(placements, key=placements.count)
    rows = [row for row in rows if row.placement == usual]

    def medians(name: str) -> dict[str, float]:
        keys = set.intersection(*(set(getattr(row, name)) for row in rows))
        return {key: median(getattr(row, name)[key] for row in rows) for key in getattr(rows[0], name) if key in keys}

    return replace(
        rows[0],
        measured_rate=median(row.measured_rate for row in rows),
        predicted_rate=median(row.predicted_rate for row in rows),
        measured_rates=[row.measured_rate for row in rows],
        **{name: medians(name) for name in ("measured_device_s", "predicted_device_s")},
        **{name: medians(name) for name in ("measured_edge_s", "predicted_edge_s")},
    )


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


def table(found: Mapping[str, tuple[list[Row], float]]) -> Iterator[str]:
    """All rows as Markdown, and the medians."""
    headings = "throughput measured, 1/s | predicted | error | device time measured, s | predicted | error"
    yield f"| config | placement | {headings} |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    for config, (rows, _) in found.items():
        for number, row in enumerate(rows, start=1):
            measured, predicted, errors = row.measured_device_s, row.predicted_device_s, row.device_errors
            yield (
                f"| `{config}` | {'own' if number == 1 else number} | {row.measured_rate:,.0f} | "
                f"{row.predicted_rate:,.0f} | {row.rate_error:+.0%} | "
                f"{', '.join(f'{measured[name]:.2f}' for name in errors)} | "
                f"{', '.join(f'{predicted[name]:.2f}' for name in errors)} | "
                f"{', '.join(f'{error:+.0%}' for error in errors.values())} |"
            )
    yield ""
    yield from edge_table({config: rows for config, (rows, _) in found.items()})
    yield ""
    headings = "throughput, median error | device time, median error | time on the way, median error"
    yield f"| config | {headings} | order kept | others used, cores |"
    yield "|---|---:|---:|---:|---|---:|"
    for config, (rows, others) in found.items():
        errors = " | ".join(f"{error:.0%}" for error in median_errors(rows))
        yield f"| `{config}` | {errors} | {'yes' if order_kept(rows) else 'no'} | {others:.2f} |"
    errors = " | ".join(f"{error:.0%}" for error in median_errors([row for rows, _ in found.values() for row in rows]))
    yield f"| all | {errors} | | |"


def edge_table(found: Mapping[str, list[Row]]) -> Iterator[str]:
    """How long packets were on the way, a column for each edge: measured, predicted, error."""
    edges = list(dict.fromkeys(edge for rows in found.values() for row in rows for edge in row.edge_errors))
    yield f"| config | placement | {' | '.join(f'{edge}, ms' for edge in edges)} |"
    yield f"|---|---|{'---:|' * len(edges)}"
    for config, rows in found.items():
        for number, row in enumerate(rows, start=1):
            cells = [
                f"{1e3 * row.measured_edge_s[edge]:.2f}, {1e3 * row.predicted_edge_s[edge]:.2f}: "
                f"{row.edge_errors[edge]:+.0%}"
                if edge in row.edge_errors
                else ""
                for edge in edges
            ]
            yield f"| `{config}` | {'own' if number == 1 else number} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
