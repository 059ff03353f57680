"""The recurrent network with 1, 2 and 4 replicas of its heavy linear node, on devices of 1 TFLOP/s: throughput.

Each replica has a device. The light nodes share one more, as in the shipped configs, or are spread over four, with
links as in the other cases or four times as fast.
One epoch of each run on the simulated clock, no arithmetic.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sweeping import BANDWIDTH, COLUMNS, HERE, KEYS, Row, cluster, plot, sweep, write

KIND = "fpga-1tflops"
LIGHT = {
    1: [["embed", "first", "loop", "concat1", "choose", "join", "relu1", "step", "leave", "linear2", "loss"]],
    4: [["embed", "first"], ["loop", "concat1", "choose"], ["join", "relu1", "step"], ["leave", "linear2", "loss"]],
}
"""The nodes on each of the devices for light nodes, by their number; `choose` and `join` only with replicas."""
LAYOUTS = ((1, "100 Gbit/s"), (4, "100 Gbit/s"), (4, "400 Gbit/s"))
"""How many devices the light nodes have, and the links' bandwidth."""


def main() -> None:
    """Sweep every combination, and write replicas.csv and replicas.svg."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", default="1,2,4,8,16,32,64", help="values of max_active_keys")
    parser.add_argument("--examples", type=int, default=20_000, help="lists to train on")
    parser.add_argument("--out", type=Path, default=HERE, help="the folder for the rows and the plot")
    options = parser.parse_args()
    rows: list[Row] = []
    for light, bandwidth in LAYOUTS:
        for replicas in (1, 2, 4):
            settings = [
                f"data.train={options.examples}",
                "data.validation=100",
                f"model.replicas={replicas}",
                f"{BANDWIDTH}={bandwidth}",
                f"cluster.devices={json.dumps(devices(replicas, light))}",
            ]
            found = sweep(cluster("list-reduction-rnn"), settings, {KEYS: options.keys})
            about = {"replicas": str(replicas), "devices for light nodes": str(light), BANDWIDTH: bandwidth}
            rows += [{**about, **row} for row in found]
    varied = [KEYS, *about]
    write(options.out / "replicas.csv", rows, [*varied, *COLUMNS])
    plot(options.out / "replicas.svg", "list-reduction-rnn with replicas, devices of 1 TFLOP/s", rows, varied)


def devices(replicas: int, light: int) -> dict[str, object]:
    """`cluster.devices` for so many replicas, and so many devices for the light nodes."""
    heavy = [f"linear1_{number}" for number in range(replicas)] if replicas > 1 else ["linear1"]
    names = {"choose": "linear1_choose", "join": "linear1_join"}
    nodes = {f"heavy{number}": [node] for number, node in enumerate(heavy)}
    for number, group in enumerate(LIGHT[light]):
        nodes[f"light{number}"] = [names.get(node, node) for node in group if replicas > 1 or node not in names]
    return {name: {"kind": KIND, "nodes": listed} for name, listed in nodes.items()}


if __name__ == "__main__":
    main()
