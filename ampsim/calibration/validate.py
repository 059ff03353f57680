"""Runs a config on the wall clock and on the simulated one, placement by placement, and compares the two."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

from ampsim.calibration.machine import cores_of_this_machine
from ampsim.calibration.placements import Placement, placements
from ampsim.config.load import Experiment, load
from ampsim.ir.graph import CONTROLLER
from ampsim.runtime.run import Observer, run

SPENT = ("busy_s", "send_s", "receive_s")
"""What a device's own time goes to on the wall clock; on the simulated one all of it is busy."""


@dataclass(frozen=True)
class Row:
    """One placement: what was measured, the median over the repetitions, and what was predicted.

    `rate` in examples of training per second, `device_s` each device's own time in the whole run, `edge_s` how long a
    packet was on the way from one process to another, on average (docs/protocol.md: "On the way").
    """

    name: str
    placement: Mapping[str, Sequence[str]]
    measured_rate: float
    predicted_rate: float
    measured_device_s: Mapping[str, float]
    predicted_device_s: Mapping[str, float]
    measured_edge_s: Mapping[str, float]
    predicted_edge_s: Mapping[str, float]
    measured_rates: Sequence[float]

    @property
    def rate_error(self) -> float:
        """Of the throughput: predicted / measured - 1."""
        return self.predicted_rate / self.measured_rate - 1

    @property
    def device_errors(self) -> dict[str, float]:
        """Of each device's own time: predicted / measured - 1, for those that did anything."""
        return _errors(self.measured_device_s, self.predicted_device_s)

    @property
    def edge_errors(self) -> dict[str, float]:
        """Of each edge's time on the way: predicted / measured - 1."""
        return _errors(self.measured_edge_s, self.predicted_edge_s)

    def to_json(self) -> dict[str, Any]:
        """Plain types, the errors included."""
        errors = {"rate_error": self.rate_error, "device_errors": self.device_errors, "edge_errors": self.edge_errors}
        return {**asdict(self), **errors}


def _errors(measured: Mapping[str, float], predicted: Mapping[str, float]) -> dict[str, float]:
    return {name: predicted[name] / measured_s - 1 for name, measured_s in measured.items() if measured_s > 0}


def order_kept(rows: Sequence[Row], tie: float = 0.05) -> bool:
    """Whether the faster placement of any two is the one that was predicted to be.

    Two that were measured within `tie` of each other have no order that could be kept.
    """
    return all(
        (one.predicted_rate - other.predicted_rate) * (one.measured_rate - other.measured_rate) > 0
        for one, other in combinations(rows, 2)
        if abs(one.measured_rate / other.measured_rate - 1) > tie
    )


def median_errors(rows: Sequence[Row]) -> tuple[float, float, float]:
    """The medians of |error| of throughput, of the devices' own time, and of the edges' time on the way."""
    devices = [abs(error) for row in rows for error in row.device_errors.values()]
    edges = [abs(error) for row in rows for error in row.edge_errors.values()]
    return median(abs(row.rate_error) for row in rows), median(devices or [0.0]), median(edges or [0.0])


def validate(
    config: str,
    overrides: Sequence[str],
    kind: Path,
    network: Mapping[str, Any],
    count: int,
    repeats: int,
    observer: Observer,
    tell: Callable[[str], None],
) -> list[Row]:
    """A row for each placement. `kind` is the calibrated device file, `network` a config's section.

    Raises ConfigError for a faulty config, and what a run raises.
    """
    base = [*overrides, "training.stop_at={}", "cluster.record=false"]
    wall = [*base, "cluster.clock=wall"]
    simulated = [
        *base,
        "cluster.clock=simulated",
        "cluster.numerics=off",
        f"cluster.network={json.dumps(network)}",
        f"cluster.controller={json.dumps(str(kind.resolve()))}",
        f"cluster.cores={cores_of_this_machine()}",
    ]
    experiment = load(config, wall)
    names = list(experiment.devices)
    kinds = {name: device.kind for name, device in experiment.devices.items()}
    calibrated = dict.fromkeys(names, str(kind.resolve()))
    order = list(experiment.graph.nodes)
    chosen = _placements(experiment, load(config, [*simulated, _devices(names, calibrated, None, experiment)]), count)
    measured: list[list[dict[str, Any]]] = [[] for _ in chosen]
    for repeat in range(repeats):
        for number, placement in enumerate(chosen):
            tell(f"wall clock, placement {number + 1} of {len(chosen)}, run {repeat + 1} of {repeats}")
            ready = load(config, [*wall, _devices(names, kinds, placement, experiment)])
            measured[number].append(_summary(ready, observer))
    rows = []
    for number, placement in enumerate(chosen):
        tell(f"simulated clock, placement {number + 1} of {len(chosen)}")
        ready = load(config, [*simulated, _devices(names, calibrated, placement, experiment)])
        predicted = _summary(ready, observer)
        edges = _edges([predicted, *measured[number]])
        rates = [summary["train"]["instances_per_second"] for summary in measured[number]]
        rows.append(
            Row(
                experiment.config.name + (" (own)" if number == 0 else f" ({number + 1})"),
                {name: sorted(nodes, key=order.index) for name, nodes in zip(names, placement, strict=True)},
                median(rates),
                predicted["train"]["instances_per_second"],
                {name: median(_spent_s(summary, name) for summary in measured[number]) for name in names},
                {name: _spent_s(predicted, name) for name in names},
                {edge: median(_on_the_way_s(one, edge) for one in measured[number]) for edge in edges},
                {edge: _on_the_way_s(predicted, edge) for edge in edges},
                rates,
            )
        )
    return rows


def _placements(experiment: Experiment, calibrated: Experiment, count: int) -> list[Placement]:
    """The placements to compare, balanced by what the calibrated kind says of typical messages."""
    rows = experiment.dataset.spec.rows
    profile = next(iter(calibrated.devices.values())).profile
    work_s = {}
    for node, (forward, backward) in experiment.graph.costs(rows).items():
        op = experiment.graph.nodes[node].op_name
        work_s[node] = profile.batch_s(op, "forward", forward, 1, 1, rows, None)
        work_s[node] += profile.batch_s(op, "backward", backward, 1, 1, rows, None)
    own = tuple(device.nodes for device in experiment.devices.values())
    return placements(own, work_s, count)


def _devices(
    names: Sequence[str], kinds: Mapping[str, str], placement: Placement | None, experiment: Experiment
) -> str:
    """The override that puts nodes on devices of these kinds; by default where the config has them."""
    nodes = placement or tuple(device.nodes for device in experiment.devices.values())
    listed = {name: {"kind": kinds[name], "nodes": list(mine)} for name, mine in zip(names, nodes, strict=True)}
    return f"cluster.devices={json.dumps(listed)}"


def _summary(experiment: Experiment, observer: Observer) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="ampsim-validate-") as folder:
        return run(experiment, observer, Path(folder) / "run")[1]


def _spent_s(summary: Mapping[str, Any], device: str) -> float:
    return float(sum(summary["devices"][device][part] for part in SPENT))


def _edges(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The edges of which all summaries tell: the controller's first, then the devices' in the order of their names."""
    edges = set.intersection(*[set(summary["edges"]) for summary in summaries])
    return sorted(edges, key=lambda edge: (CONTROLLER not in edge.split(" -> "), edge))


def _on_the_way_s(summary: Mapping[str, Any], edge: str) -> float:
    return float(summary["edges"][edge]["mean_s"])
