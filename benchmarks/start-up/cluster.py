"""How long a cluster of 4 devices takes to be ready, and to be gone, as anyone can see it from a run's directory.

Started is when the command is; ready when summary.json tells the process ids of all devices, which is after the last of
them has built its part of the model; done when summary.json has a status other than running; gone when the command has
ended. `ready_s` is counted from the run directory on, which the run makes once it knows its config.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

LOOK_S = 0.002
RUN = ["mnist-mlp", "--set=cluster.clock=wall", "--set=data.limit=100", "--set=training.epochs=1", "--quiet"]


def measure() -> dict[str, float]:
    """One run of a single minibatch."""
    with tempfile.TemporaryDirectory(prefix="ampsim-bench-") as folder:
        out = Path(folder) / "run"
        began_s = perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ampsim", "run", *RUN, f"--out={out}"], stdout=subprocess.DEVNULL
        )
        made_s = ready_s = done_s = 0.0
        while process.poll() is None:
            summary = _summary(out)
            now_s = perf_counter()
            if not made_s and out.exists():
                made_s = now_s
            if not ready_s and summary and all(device["pid"] for device in summary["devices"].values()):
                ready_s = now_s
            if not done_s and summary and summary["status"] != "running":
                done_s = now_s
            sleep(LOOK_S)
        gone_s = perf_counter()
        assert process.returncode == 0
        assert _summary(out)["status"] == "finished"
    return {
        "seconds": ready_s - made_s,
        "from_command_s": ready_s - began_s,
        "tear_down_s": gone_s - (done_s or gone_s),
    }


def _summary(out: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((out / "summary.json").read_text())
    except OSError:
        return {}
    return found


if __name__ == "__main__":
    print(json.dumps(measure()))
