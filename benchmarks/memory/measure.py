"""Resident size of every process of a run over time: it must stay flat, however many instances have passed.

Runs `ampsim run` with the given arguments and looks at its processes once a second (`--interval`). Training instances
are counted by the times in metrics.jsonl, as if they came at an even pace within an epoch.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic, sleep

import psutil
from rich import box
from rich.console import Console
from rich.table import Table

MIB = 2**20
LOG_INTERVAL_S = 0.1


def main() -> None:
    """Run, sample, and print a table of each process: resident MiB after so many instances."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--warm", type=int, default=1000, help="instances before the first figure")
    parser.add_argument("--steps", type=int, default=6, help="figures after it")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between two looks")
    parser.add_argument("--out", type=Path, help="where the run directory goes; nowhere to stay unless given")
    parser.add_argument("arguments", nargs="+", help="what `ampsim run` gets, behind --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = options.out or Path(folder) / "run"
        samples = sample(options.arguments, out, options.interval)
        total, times = training_progress(out)
    marks = [options.warm + (total - options.warm) * step // options.steps for step in range(options.steps + 1)]
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("process", *(f"{mark:,}" for mark in marks), "growth"):
        table.add_column(heading, justify="right")
    for process, seen in sorted(samples.items()):
        sizes = [size_at(seen, time_of(mark, times)) for mark in marks]
        table.add_row(process, *(f"{size / MIB:.1f}" for size in sizes), f"{max(sizes) / sizes[0] - 1:+.1%}")
    Console(width=120).print(table)


def sample(arguments: list[str], out: Path, interval_s: float) -> dict[str, list[tuple[float, int]]]:
    """Of each process of the run: seconds on the run's clock, to the interval, and resident bytes."""
    command = [sys.executable, "-m", "ampsim", "run", *arguments, f"--set=cluster.log_interval={LOG_INTERVAL_S} s"]
    zero = None
    samples: dict[str, list[tuple[float, int]]] = {}
    with subprocess.Popen([*command, f"--out={out}", "--quiet"], stdout=sys.stderr) as run:
        controller = psutil.Process(run.pid)
        while run.poll() is None:
            sleep(interval_s)
            if zero is None:
                # The first line of a device's log comes a log interval after the clock began.
                logged = any(file.stat().st_size for file in out.glob("devices/*.jsonl"))
                zero = monotonic() - LOG_INTERVAL_S if logged else None
                continue
            for process in [controller, *controller.children(recursive=True)]:
                try:
                    line, size = process.cmdline(), process.memory_info().rss
                except psutil.Error:
                    continue
                if "--name" in line:
                    name = line[line.index("--name") + 1]
                else:
                    name = "controller" if process.pid == run.pid else ""
                if name:
                    samples.setdefault(name, []).append((monotonic() - zero, size))
    if run.returncode:
        raise SystemExit(run.returncode)
    return samples


def training_progress(out: Path) -> tuple[int, list[tuple[float, float, int]]]:
    """Training instances in all, and of each epoch: when it began and ended, in wall seconds, and its instances."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    epochs = [
        (line["wall_s"] - line["duration_s"], line["wall_s"], line["instances"])
        for line in lines
        if line["split"] == "train"
    ]
    return sum(instances for *_, instances in epochs), epochs


def time_of(instance: int, epochs: list[tuple[float, float, int]]) -> float:
    """When so many instances had been trained on."""
    for began, ended, instances in epochs:
        if instance <= instances:
            return began + (ended - began) * instance / instances
        instance -= instances
    return epochs[-1][1]


def size_at(samples: list[tuple[float, int]], time_s: float) -> int:
    """The resident size at the first look from that time on."""
    return next((size for seen, size in samples if seen >= time_s), samples[-1][1])


if __name__ == "__main__":
    main()
