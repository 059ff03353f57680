"""`python -m ampsim.bench.train CONFIG [--set ...]`: a contender that trains as a user would, and tells its figures.

Arguments are those of `ampsim run` but for `--out` and `--quiet`. The figures are those of the run's summary:
instances_per_s, loss, and validation_loss if there was a validation pass, of training on the run's own clock; wall_s,
what training took on the wall clock; total_s, from the start of the command to its end.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any


def train(arguments: Sequence[str]) -> tuple[dict[str, Any], float]:
    """Run `ampsim run` with these arguments; the summary, and the seconds that the command took.

    Raises CalledProcessError if it fails.
    """
    with tempfile.TemporaryDirectory(prefix="ampsim-bench-") as folder:
        out = Path(folder) / "run"
        began_s = perf_counter()
        command = [sys.executable, "-P", "-m", "ampsim", "run", *arguments, f"--out={out}", "--quiet"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        took_s = perf_counter() - began_s
        summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return summary, took_s


def figures(summary: dict[str, Any], total_s: float) -> dict[str, float]:
    """The figures of a run that matter to a benchmark."""
    told = {
        "instances_per_s": summary["train"]["instances_per_second"],
        "loss": summary["train"].get("loss"),
        "validation_loss": (summary.get("validation") or {}).get("loss"),
        "time_s": summary["time_s"],
        "wall_s": summary["wall_s"],
        "total_s": total_s,
    }
    return {name: figure for name, figure in told.items() if figure is not None}


if __name__ == "__main__":
    try:
        print(json.dumps(figures(*train(sys.argv[1:]))))
    except subprocess.CalledProcessError as failed:
        # What was wrong stands on standard error.
        sys.exit(failed.returncode)
