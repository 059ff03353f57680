"""The benchmarks run: at a small size, so that none rots."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_throughput_measures_the_loop_and_every_way_to_run() -> None:
    script = ROOT / "benchmarks" / "throughput" / "measure.py"
    command = [sys.executable, str(script), "--rounds", "1", "--limit", "300"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    for contender in ("plain NumPy loop", "in process", "1 device", "2 devices", "4 devices"):
        assert contender in done.stdout
