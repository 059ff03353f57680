"""QM9 on 16 devices of 1 TFLOP/s: the estimate by hand from FLOPs, bandwidth and overhead, beside the simulated figure.

Writes estimate.json (the hand calculation, and each run with the bound that its report told) and estimate.svg.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from math import log10
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from sweeping import HERE

from ampsim.data.qm9 import Qm9

CONFIG = HERE.parents[1] / "configs" / "qm9-ggsnn-16-devices.yaml"
H, STEPS, FREQUENCY, EDGE_TYPES = 100, 4, 64, 4
COMPUTE, MEMORY, OVERHEAD = 1e12, 480e9, 1e-6
HELD_OUT = 5
"""Molecules for validation, and for the test: their passes take time here, and none of the training's."""
MESSAGE = 3 * 8 + 8 + 4 * H
"""Bytes: three fields of the state, the number of rows, H values."""
ADAM_BYTES = 4 * 7
"""For each value that an update changes: four arrays read and three written."""
RUNS = {
    "1 message at a time": (1, "100 Gbit/s", True),
    "1 message, no overhead": (1, "100 Gbit/s", False),
    "1 message, no overhead, 10 Gbit/s": (1, "10 Gbit/s", False),
    "1 message, 1 Gbit/s": (1, "1 Gbit/s", True),
    "up to 512 messages": (512, "100 Gbit/s", True),
    "up to 512 messages, no overhead": (512, "100 Gbit/s", False),
}
"""max_batch, the links' bandwidth, and whether a batch has its overhead."""


def main() -> None:
    """Calculate, simulate, write both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--molecules", type=int, default=300, help="to train on in each run")
    parser.add_argument("--batched", type=int, default=2000, help="to train on where messages are batched")
    parser.add_argument("--averaged", type=int, help="molecules whose atoms and edges are averaged; by default all")
    parser.add_argument("--keys", type=int, default=64, help="training.max_active_keys")
    parser.add_argument("--runs", nargs="+", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--out", type=Path, default=HERE, help="the folder for estimate.json and estimate.svg")
    options = parser.parse_args()
    atoms, edges = averages(options.averaged)
    estimate = by_hand(atoms, edges)
    runs = {}
    for name in options.runs:
        batch, bandwidth, overhead = RUNS[name]
        molecules = options.molecules if batch == 1 else options.batched
        runs[name] = simulate(molecules, options.keys, batch, bandwidth, overhead)
        print(f"{name}: {runs[name]['molecules_per_second']:,.0f} molecules/s")
    options.out.mkdir(parents=True, exist_ok=True)
    result = {"atoms": atoms, "edges_by_type": edges, "by_hand": estimate, "simulated": runs}
    (options.out / "estimate.json").write_text(json.dumps(result, indent=2) + "\n")
    (options.out / "estimate.svg").write_text(bars(estimate["molecules_per_second"], runs))


def averages(limit: int | None) -> tuple[float, list[float]]:
    """Atoms, and directed edges of each type, of a training molecule with implicit hydrogens."""
    data = Qm9(0, validation=HELD_OUT, test=HELD_OUT, hydrogens="implicit", limit=limit)
    molecules, atoms, edges = 0, 0, [0] * EDGE_TYPES
    for instance in data.instances("train", 1):
        assert instance.structure is not None
        molecules += 1
        atoms += int(instance.structure["nodes"][0])
        for kind in instance.structure["type"].tolist():
            edges[kind] += 1
    return atoms / molecules, [number / molecules for number in edges]


def by_hand(atoms: float, edges: list[float]) -> dict[str, dict[str, float]]:
    """Seconds a molecule costs the part of the cluster that each thing keeps busiest, and molecules/s from it."""
    atom_turns, edge_turns = STEPS * atoms, STEPS * sum(edges)
    # A product of a row with an i x u weight: 2iu flops forward, twice that backward. The weight is read both ways,
    # its gradient written.
    gru, single = 2 * H * 3 * H, H * H
    seconds = {
        "compute: gru": atom_turns * 6 * gru / COMPUTE,
        "compute: edge0": STEPS * edges[0] * 6 * single / COMPUTE,
        "memory: gru": atom_turns * 12 * gru / MEMORY,
        "memory: edge0": STEPS * edges[0] * 12 * single / MEMORY,
        "memory: updates of gru": atom_turns / FREQUENCY * ADAM_BYTES * (gru + 3 * H) / MEMORY,
        "network: link to by_type, 100 Gbit/s": 2 * edge_turns * MESSAGE / 12.5e9,
        "network: link to by_type, 10 Gbit/s": 2 * edge_turns * MESSAGE / 1.25e9,
        "network: link to by_type, 1 Gbit/s": 2 * edge_turns * MESSAGE / 0.125e9,
        "overhead: gru": 3 * atom_turns * OVERHEAD,
        "overhead: by_type": 2 * edge_turns * OVERHEAD,
    }
    seconds["overhead and memory: gru"] = sum(
        seconds[part] for part in ("overhead: gru", "memory: gru", "memory: updates of gru")
    )
    return {"seconds": seconds, "molecules_per_second": {name: 1 / value for name, value in seconds.items()}}


def simulate(molecules: int, keys: int, batch: int, bandwidth: str, overhead: bool) -> dict[str, Any]:
    """One epoch of so many molecules on the simulated clock alone."""
    text = CONFIG.read_text()
    if not overhead:
        text = text.replace("kind: fpga-1tflops", f"kind: {HERE / 'clusters' / 'fpga-no-overhead.yaml'}")
    settings = {
        "cluster.numerics": "off",
        "cluster.max_batch": batch,
        "cluster.network.bandwidth": bandwidth,
        "data.limit": molecules,
        "data.validation": HELD_OUT,
        "data.test": HELD_OUT,
        "training.max_active_keys": keys,
        "training.epochs": 1,
        "training.stop_at": "{}",
    }
    with tempfile.TemporaryDirectory() as folder:
        config, out = Path(folder) / "qm9.yaml", Path(folder) / "run"
        config.write_text(text)
        command = [sys.executable, "-m", "ampsim", "run", str(config), "--quiet", f"--out={out}"]
        command += [f"--set={key}={value}" for key, value in settings.items()]
        subprocess.run(command, check=True, stdout=sys.stderr)
        summary = json.loads((out / "summary.json").read_text())
    return {
        "molecules": molecules,
        "molecules_per_second": summary["train"]["instances_per_second"],
        "time_s": summary["time_s"],
        "bound": summary["bound"],
        "staleness": summary["staleness"],
        "wall_s": summary["wall_s"],
    }


def bars(estimate: dict[str, float], runs: dict[str, Any]) -> str:
    """Molecules/s, the hand calculation's above the simulated ones, each run with its bound, on a logarithmic scale."""
    rows: list[tuple[str, float, float, str]] = [(name, value, 0.0, "#97bbf5") for name, value in estimate.items()]
    for name, run in runs.items():
        bound = run["molecules_per_second"] / run["bound"]["fraction"]
        rows.append((name, run["molecules_per_second"], bound, "#ff725c"))
    return "\n".join((*_bars(rows, len(estimate)), "</svg>", ""))


def _bars(rows: list[tuple[str, float, float, str]], first: int) -> Iterator[str]:
    left, width, low = 270, 480, 3.0
    high = max(6.0, log10(max(max(value, bound) for _, value, bound, _ in rows)))
    height = 24 * len(rows) + 130
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 {height}" width="900" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#333">'
    )
    yield '<rect width="100%" height="100%" fill="white"/>'
    yield '<text x="16" y="26" font-size="16" font-weight="bold">QM9 on 16 devices of 1 TFLOP/s: molecules/s</text>'

    def place(value: float) -> float:
        return left + max(0.0, log10(value) - low) / (high - low) * width

    for power in range(int(low), int(high) + 1):
        x = place(10.0**power)
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="44" y2="{height - 30}" stroke="#ddd"/>'
        yield f'<text x="{x:.1f}" y="{height - 12}" text-anchor="middle">{10**power:,}</text>'
    y = 44
    for number, (name, value, bound, colour) in enumerate(rows):
        if number in (0, first):
            title = "by hand: what would bound it" if number == 0 else "simulated (the line: the report's bound)"
            yield f'<text x="16" y="{y + 16}" font-weight="bold">{title}</text>'
            y += 26
        yield f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>'
        end = place(value)
        yield f'<rect x="{left}" y="{y}" width="{max(1.0, end - left):.1f}" height="17" fill="{colour}"/>'
        if bound:
            x = place(bound)
            yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 2}" y2="{y + 19}" stroke="#333" stroke-width="2"/>'
        yield f'<text x="{max(end, place(bound or 1)) + 6:.1f}" y="{y + 13}">{value:,.0f}</text>'
        y += 24


if __name__ == "__main__":
    main()
