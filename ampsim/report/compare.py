"""Two runs side by side: what was asked, what came of it, and why the weights may differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ampsim.config.tree import read
from ampsim.errors import BadInput
from ampsim.report.parameter_files import differences, read_parameters
from ampsim.report.run_files import RunFiles
from ampsim.report.tables import MEASURES

Pair = tuple[Any, Any]
"""A value of the left run and of the right one; None where a run has none."""

Parameters = Mapping[str, np.ndarray[Any, Any]]

OUTCOME = ("status", "clock", "epochs", "time_s", "validation_time_s", "wall_s")
DEVICE_FIGURES = (
    "kind",
    "utilization",
    "busy_s",
    "forward_messages",
    "backward_messages",
    "updates",
    "staleness_mean",
    "staleness_max",
    "bytes_sent",
    "bytes_received",
)
SPLITS = ("train", "validation", "test")
# What bits depend on; the CPU's name and what the user asked for do not matter by themselves.
_DECISIVE = {
    "numpy": "NumPy's version",
    "blas": "the BLAS or its kernel",
    "simd": "the CPU features that NumPy uses",
    "libc": "the C library",
    "libc_features": "the CPU features that the C library uses",
}


@dataclass(frozen=True)
class Run:
    """A run that has ended: its files, its config, and its final parameters, if it came to have any."""

    files: RunFiles
    config: Mapping[str, Any]
    parameters: Parameters | None

    @classmethod
    def read(cls, path: Path) -> Run:
        """The run in a directory. Raises BadInput if there is none, it is still going, or a file is not readable."""
        files = RunFiles.read(path)
        if files.summary.get("status") == "running":
            raise BadInput(f"{path}: the run is still going: compare it once it has ended")
        config = read(path / "config.yaml", str(path / "config.yaml"))
        config.raise_faults()
        return cls(files, config.tree, read_parameters(path / "parameters.safetensors"))

    @property
    def parameters_sha256(self) -> str | None:
        """The hash of the final parameters, if the run has any: without arithmetic there are none."""
        sha256: str | None = self.at("parameters_sha256")
        return None if self.parameters == {} else sha256

    def at(self, *keys: str) -> Any:
        """A value of the summary, or None."""
        value: Any = self.files.summary
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value


def compare(left: Run, right: Run) -> dict[str, Any]:
    """Everything that is to be said, of JSON's types; where values are paired, the left run's comes first.

    `runs` and `sha256` are pairs. `config` and `arithmetic` map what differs to its pair, `outcome` measures to pairs,
    `devices` names to figures to pairs. `passes` is a list of epoch, split and pairs, `parameters` one of what differs,
    the farthest first (parameter_files.py), `notes` one of sentences.
    """
    config = _differing(dict(_flat(left.config)), dict(_flat(right.config)))
    arithmetic = _differing(_arithmetic(left), _arithmetic(right))
    sha256 = (left.parameters_sha256, right.parameters_sha256)
    equal = sha256[0] == sha256[1] if None not in sha256 else None
    told = left.parameters is not None and right.parameters is not None and equal is False
    return {
        "runs": (str(left.files.path), str(right.files.path)),
        "config": config,
        "outcome": dict(_outcome(left, right)),
        "passes": _passes(left.files.metrics, right.files.metrics),
        "devices": _devices(left, right),
        "sha256": sha256,
        "parameters_equal": equal,
        "parameters": differences(left.parameters or {}, right.parameters or {}) if told else [],
        "arithmetic": arithmetic,
        "notes": [*_notes_on_parameters(left, right, equal), *_notes_on_arithmetic(arithmetic, equal)],
    }


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every leaf; a list is a leaf, and an empty mapping too."""
    if isinstance(value, Mapping) and (value or not path):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _differing(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Pair]:
    pairs = {key: (left.get(key), right.get(key)) for key in {**left, **right}}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _arithmetic(run: Run) -> dict[str, Any]:
    """What can be compared of `arithmetic` in the summary; each library's account in a line."""
    known = {key: run.at("arithmetic", key) for key in ("numerics", *_DECISIVE, "cpu")}
    if known["blas"] is not None:
        known["blas"] = [
            " ".join(str(library.get(key)) for key in ("library", "version", "kernel")) for library in known["blas"]
        ]
    return known


def _outcome(left: Run, right: Run) -> Iterator[tuple[str, Pair]]:
    for measure in OUTCOME:
        yield measure, (left.at(measure), right.at(measure))
    for split in SPLITS:
        for measure in (*MEASURES, "instances_per_second"):
            pair = (left.at(split, measure), right.at(split, measure))
            if pair != (None, None):
                yield f"{split}.{measure}", pair


def _passes(left: list[dict[str, Any]], right: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Metrics of each epoch and split, in the order in which they came."""
    by_pass = [{(line["epoch"], line["split"]): line for line in lines} for lines in (left, right)]
    passes = []
    for epoch, split in sorted({**by_pass[0], **by_pass[1]}, key=lambda key: key[0]):
        lines = [lines.get((epoch, split), {}) for lines in by_pass]
        pairs = {
            measure: (lines[0].get(measure), lines[1].get(measure))
            for measure in (*MEASURES, "time_s")
            if any(measure in line for line in lines)
        }
        passes.append({"epoch": epoch, "split": split, **pairs})
    return passes


def _devices(left: Run, right: Run) -> dict[str, dict[str, Pair]]:
    names = {**left.files.summary["devices"], **right.files.summary["devices"]}
    return {
        name: {
            figure: (left.at("devices", name, figure), right.at("devices", name, figure)) for figure in DEVICE_FIGURES
        }
        for name in names
    }


def _notes_on_parameters(left: Run, right: Run, equal: bool | None) -> Iterator[str]:
    for run in (left, right):
        if run.parameters == {}:
            yield f"{run.files.path}: has no parameters: it ran the clock alone (cluster.numerics: off)."
        elif run.parameters_sha256 is None:
            yield f"{run.files.path}: has no final parameters; its status is {run.at('status')!r}."
        elif run.parameters is None and equal is False:
            yield f"{run.files.path}: parameters.safetensors is gone, so the parameters cannot be told apart."
    if equal is False and any(_is_asynchronous(run) for run in (left, right)):
        yield (
            "The weights may differ because of the wall clock alone: with several instances in flight, the order in "
            "which devices handle their messages is not the same from run to run."
        )


def _is_asynchronous(run: Run) -> bool:
    """Whether the order in which devices handled their messages was up to the machine."""
    training = run.config.get("training")
    keys = training.get("max_active_keys") if isinstance(training, Mapping) else None
    several = isinstance(keys, int) and keys > 1
    pids = {run.at("devices", name, "pid") for name in run.files.summary["devices"]}
    in_process = pids == {run.at("pid")}
    return run.at("clock") == "wall" and several and not in_process


def _notes_on_arithmetic(differing: Mapping[str, Pair], equal: bool | None) -> Iterator[str]:
    # What an older run did not record is not known to differ.
    causes = [words for key, words in _DECISIVE.items() if key in differing and None not in differing[key]]
    if not causes:
        return
    told = ", ".join(causes[:-1]) + (" and " if causes[1:] else "") + causes[-1]
    if equal:
        yield f"The arithmetic is not the same ({told}), and yet the weights are."
    else:
        yield (
            f"The weights may differ because of the arithmetic alone: {told} {'differ' if causes[1:] else 'differs'}. "
            "With cluster.numerics: portable, kernel and CPU features are the same on every x86-64 machine."
        )
