"""Trains a workload with this runtime, as `ampsim run` does it, and prints the same figures as the peers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from ampsim import blas

if "--best" in sys.argv:
    os.environ.pop("OPENBLAS_CORETYPE", None)
blas.configure()

import numpy as np  # noqa: E402  (after the BLAS has been chosen)
from passes import MISSED, arguments, make_task, overrides_of  # noqa: E402

from ampsim.config.load import load  # noqa: E402
from ampsim.data.dataset import TRAIN, VALIDATION  # noqa: E402


def main() -> None:
    """Run, read the run directory, print."""
    parser = arguments(__doc__)
    parser.add_argument("--other", action="store_true", help="the other config: in copies, or a layer cut in two")
    parser.add_argument("--best", action="store_true", help="the kernel for this CPU, whatever OPENBLAS_CORETYPE says")
    parser.add_argument("--small-waves", action="store_true", help="an update a wave, where the config makes two")
    told = parser.parse_args()
    task = make_task(told)
    config = task.workload.other if told.other else task.workload.config
    # To the target it is the shipped config as it stands, on this machine's clock.
    settings = ["cluster.clock=wall"] if told.target else task.workload.settings
    waves = task.workload.one_update_a_wave(config) if told.small_waves else []
    summary, lines = run(config, [*settings, *waves, *overrides_of(told)])
    trained = [line for line in lines if line["split"] == TRAIN]
    updates = sum(device["updates"] for device in summary["devices"].values())
    keys = task.data.splits[TRAIN].keys * len(trained)
    graph = load(config, overrides_of(told)).graph
    # Each copy of the graph makes the updates of all.
    learning = sum(node.parameterised for node in graph.nodes.values())
    figures = {"keys_per_update": keys * learning / updates, "matmul_gflops": gflops()}
    if told.target:
        if "reached" not in summary:
            sys.exit(MISSED.format(len(trained)))
        seen = [line for line in lines if line["split"] == VALIDATION]
        all_s = sum(line["duration_s"] for line in (*trained, *seen))
        figures |= {"time_s": summary["time_s"], "all_s": all_s, "epochs": len(trained)}
        figures |= {"validation_loss": seen[-1]["loss"]}
    else:
        last = trained[-1]
        figures |= {"instances_per_s": last["instances"] / last["duration_s"]}
        figures |= {"loss_first": trained[0]["loss"], "loss_last": last["loss"]}
    print(json.dumps(figures))


def run(config: str, overrides: list[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """`ampsim run`; the summary, and the lines of metrics.jsonl."""
    settings = [f"--set={override}" for override in overrides]
    with tempfile.TemporaryDirectory(prefix="ampsim-bench-") as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-P", "-m", "ampsim", "run", config, *settings, f"--out={out}", "--quiet"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        lines = (out / "metrics.jsonl").read_text().splitlines()
        return json.loads((out / "summary.json").read_text()), [json.loads(line) for line in lines]


def gflops() -> float:
    """The perceptron's product, of 100 rows and 784 x 784, on one thread as in a device."""
    x, weight = (np.random.default_rng(0).random(shape, np.float32) for shape in ((100, 784), (784, 784)))
    times = []
    for _ in range(100):
        began_s = perf_counter()
        x @ weight
        times.append(perf_counter() - began_s)
    return 2 * 100 * 784 * 784 / sorted(times)[len(times) // 2] / 1e9


if __name__ == "__main__":
    main()
