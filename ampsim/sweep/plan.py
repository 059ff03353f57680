"""What a sweep is going to run: every combination is loaded and checked before any of them is started."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from math import prod
from typing import Any

from ampsim.config.catalogue import find_config
from ampsim.config.load import Experiment, load
from ampsim.config.tree import read_value
from ampsim.config.wording import shorten
from ampsim.data.dataset import SPLITS
from ampsim.errors import BadInput, ConfigError, Fault
from ampsim.sweep.grid import Axis, Combination, Grid, read_grid

HASH_DIGITS = 16
MOST_TOLD = 3


@dataclass(frozen=True)
class PlannedRun:
    """One run: what is overridden, and the hash of the config that comes of it."""

    combination: Combination
    overrides: tuple[str, ...]
    varied: tuple[str, ...]
    portable: bool
    config_hash: str


@dataclass(frozen=True)
class Plan:
    """A sweep: its config as it was given, the `--set` overrides, the runs in the order of the grid, and its figures.

    `metrics` names what the losses report (`validation.accuracy`), empty where none of the runs computes losses.
    `wall_clock`: some run is timed by this machine's clock.
    """

    name: str
    config: str
    overrides: tuple[str, ...]
    numerics: str | None
    grid: Grid
    runs: tuple[PlannedRun, ...]
    metrics: tuple[str, ...]
    wall_clock: bool


def make_plan(config: str, varied: Sequence[str], overrides: Sequence[str], numerics: str | None) -> Plan:
    """The sweep of `config` over `varied` (`path=value,value,...`), after `overrides` (`path=value`).

    Each combination runs on the simulated clock unless it sets `cluster.clock`, there with `numerics`, by default
    `off`. Raises ConfigError with every fault of every combination, and in which combinations it is; BadInput if the
    config is not a file, or data are missing.
    """
    given = {path.strip(): text for path, _, text in (override.partition("=") for override in overrides)}
    grid = read_grid(varied, given)
    if numerics and "cluster.numerics" in {*given, *(axis.path for axis in grid.axes)}:
        raise BadInput("--numerics: cluster.numerics is given as well: leave one of the two out")
    path = find_config(config)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise BadInput(f"{config}: a sweep reads its config anew for each run: give a file")
    set_values = {path: read_value(text, text)[0] for path, text in given.items()}
    runs: list[PlannedRun] = []
    metrics: dict[str, None] = {}
    faults: dict[Fault, list[Combination]] = {}
    data: set[str] = set()
    clocks: set[str] = set()
    names: dict[str, None] = {}
    for combination in grid:
        chosen = (*combination.overrides, *_defaults({**set_values, **combination.values}, numerics))
        try:
            experiment = load(config, overrides, varied=chosen)
            if (choice := str(experiment.config.data)) not in data:
                data.add(choice)
                _ = experiment.dataset.splits
        except ConfigError as error:
            for fault in error.faults:
                faults.setdefault(fault, []).append(combination)
            continue
        except BadInput as error:
            faults.setdefault(Fault(0, "", "", str(error)), []).append(combination)
            continue
        cluster = experiment.config.cluster
        pinned = cluster.numerics == "portable"
        runs.append(PlannedRun(combination, tuple(overrides), chosen, pinned, config_hash(experiment)))
        clocks.add(cluster.clock)
        names[experiment.config.name] = None
        if cluster.numerics != "off":
            metrics.update(dict.fromkeys(experiment.graph.metrics))
    if faults:
        merged = _merged(faults, grid, numerics)
        raise ConfigError([_located(fault, where, grid) for fault, where in merged.items()])
    figures = tuple(f"{split}.{metric}" for split in SPLITS for metric in metrics)
    return Plan(next(iter(names)), config, tuple(overrides), numerics, grid, tuple(runs), figures, "wall" in clocks)


def config_hash(experiment: Experiment) -> str:
    """The first digits of a sha256 over the resolved config, the figures of its devices and the model's graph."""
    config = json.dumps(experiment.config.model_dump(mode="json", by_alias=True), sort_keys=True)
    profiles = sorted({repr(device.profile) for device in experiment.devices.values()})
    text = "\n".join((config, *profiles, experiment.graph.fingerprint))
    return sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:HASH_DIGITS]


def _defaults(values: Mapping[str, Any], numerics: str | None) -> list[str]:
    """What a sweep sets by itself, where the user has not: the simulated clock, and no arithmetic there."""
    clock = _given(values, "clock")
    overrides = [] if clock else ["cluster.clock=simulated"]
    if numerics:
        overrides.append(f"cluster.numerics={numerics}")
    elif clock in (None, "simulated") and not _given(values, "numerics"):
        overrides.append("cluster.numerics=off")
    return overrides


def _given(values: Mapping[str, Any], key: str) -> Any:
    """The value of a key of `cluster`, given by itself or with all of the cluster."""
    whole = values.get("cluster")
    return values.get(f"cluster.{key}", whole.get(key) if isinstance(whole, dict) else None)


def _merged(
    faults: Mapping[Fault, list[Combination]], grid: Grid, numerics: str | None
) -> dict[Fault, list[Combination]]:
    """The faults, of which one that all values of a key share is told once, and each is told of what the user wrote."""
    merged: dict[Fault, list[Combination]] = {}
    shared: dict[tuple[str, str, str], list[Fault]] = {}
    values = {f"--vary {shorten(f'{axis.path}={text}', 100)}": axis for axis in grid.axes for text in axis.texts}
    for fault in faults:
        if fault.where in values:
            shared.setdefault((values[fault.where].path, fault.path, fault.text), []).append(fault)
    for fault, where in faults.items():
        axis = values.get(fault.where)
        if axis and 1 < len(axis.texts) == len(shared[axis.path, fault.path, fault.text]):
            fault = replace(fault, where=f"--vary {axis.path}")
        elif numerics and not axis and fault.where == f"--vary cluster.numerics={numerics}":
            fault = replace(fault, where=f"--numerics {numerics}")
        merged.setdefault(fault, []).extend(where)
    return merged


def _located(fault: Fault, where: Sequence[Combination], grid: Grid) -> Fault:
    """A fault that says in which combinations it is, unless it is in all of them, or says so already."""
    if len(where) == len(grid):
        return fault
    scope = _scope(where, grid)
    if fault.where == f"--vary {scope}":
        return fault
    return Fault(fault.line, fault.where, fault.path, f"{fault.text} (with {scope})")


def _scope(where: Sequence[Combination], grid: Grid) -> str:
    """Which combinations these are: by the keys that matter, if others don't, else the first few of them."""
    used = [sorted({combination.places[axis] for combination in where}) for axis in range(len(grid.axes))]
    if prod(map(len, used)) == len(where):
        return ", ".join(
            f"{axis.path}={_some(axis, places)}"
            for axis, places in zip(grid.axes, used, strict=True)
            if len(places) < len(axis.labels)
        )
    told = "; ".join(str(combination) for combination in where[:MOST_TOLD])
    return f"{told}; and {len(where) - MOST_TOLD} more" if len(where) > MOST_TOLD else told


def _some(axis: Axis, places: Sequence[int]) -> str:
    told = [shorten(axis.labels[place]) for place in places[:MOST_TOLD]]
    rest = f" or {len(places) - MOST_TOLD} others" if len(places) > MOST_TOLD else ""
    return " or ".join(told) + rest
