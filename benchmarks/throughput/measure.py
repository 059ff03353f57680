"""Training throughput of the main job: a bare NumPy loop, in process, and on 1, 2 and 4 devices.

Each contender runs in a fresh process, in turn, several times over; ratios are taken within a round, so that a machine
whose speed drifts changes them little.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table

CONTROL = "plain NumPy loop"
CONTENDERS = {
    "in process": ["mnist-mlp-1-device", "--in-process"],
    "1 device": ["mnist-mlp-1-device"],
    "2 devices": ["mnist-mlp-2-devices"],
    "4 devices": ["mnist-mlp"],
}


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=20_000, help="training images of each run")
    options = parser.parse_args()
    rates: dict[str, list[float]] = {name: [] for name in (CONTROL, *CONTENDERS)}
    for _ in range(options.rounds):
        rates[CONTROL].append(run_control(options.limit))
        for name, arguments in CONTENDERS.items():
            rates[name].append(run_contender(arguments, options.limit))
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("contender", "instances/s (median)", "min", "max", "ratio to the loop"):
        table.add_column(heading)
    for name, measured in rates.items():
        ratio = median(rate / control for rate, control in zip(measured, rates[CONTROL], strict=True))
        table.add_row(name, *(f"{f(measured):,.0f}" for f in (median, min, max)), f"{ratio:.2f}")
    Console(width=100).print(table)


def run_control(limit: int) -> float:
    """Instances per second of the bare loop."""
    script = Path(__file__).with_name("plain_numpy.py")
    finished = subprocess.run(
        [sys.executable, str(script), str(limit)], check=True, capture_output=True, text=True, timeout=300
    )
    return float(finished.stdout)


def run_contender(arguments: list[str], limit: int) -> float:
    """Instances per second of one `ampsim run`, as its summary says."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        # What is to be told is this machine's speed, and the shipped perceptrons run on the simulated clock.
        settings = ["--set=cluster.clock=wall", f"--set=data.limit={limit}", "--set=training.epochs=1"]
        command = [sys.executable, "-m", "ampsim", "run", *arguments, *settings, f"--out={out}", "--quiet"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300)
        return float(json.loads((out / "summary.json").read_text())["train"]["instances_per_second"])


if __name__ == "__main__":
    main()
