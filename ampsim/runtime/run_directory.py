"""Writes a run directory as the run goes: nothing is written only at the end. docs/design.md, "Run directory"."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import IO, Any

import numpy as np
from safetensors.numpy import save

from ampsim.errors import BadInput
from ampsim.ir.graph import CONTROLLER
from ampsim.ops.table import Array
from ampsim.runtime.cluster import Interval
from ampsim.runtime.controller_events import Injection
from ampsim.runtime.recording import INDEX, ORDERS, RULES, encode_injections, encode_order
from ampsim.runtime.spans import MAX_SPANS, SPAN
from ampsim.runtime.spec import ClusterSpec

RUNS = Path("runs")
CONFIG, METRICS, SUMMARY, PARAMETERS = "config.yaml", "metrics.jsonl", "summary.json", "parameters.safetensors"
MOST_OPEN = 128
DEVICES, SPANS, LOGS = "devices", "spans", "logs"


class RunDirectory:
    """One run's files. Lines are flushed as they are written; whole files are replaced at once.

    Raises BadInput if the directory holds a run already, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: dict[str, IO[bytes]] = {}

    @classmethod
    def create(cls, name: str, out: Path | None, config: str) -> RunDirectory:
        """`out`, or a new `runs/<name>-<number>`, with the resolved config in it."""
        try:
            path = out or next_free(RUNS, name)
            path.mkdir(parents=True, exist_ok=True)
            if any((path / file).exists() for file in (CONFIG, SUMMARY)):
                raise BadInput(f"{path}: holds a run already: give another directory to --out, or remove it")
            with (path / CONFIG).open("x") as file:  # of two runs at the same moment, one fails here
                file.write(config)
            return cls(path)
        except OSError as error:
            where = out or RUNS
            raise BadInput(f"{where}: cannot make a run directory there: {error.strerror or error}") from error

    @property
    def summary(self) -> Path:
        """The summary's path."""
        return self.path / SUMMARY

    @property
    def logs(self) -> Path:
        """Where what the devices print goes."""
        return self.path / LOGS

    def write_summary(self, content: Mapping[str, Any]) -> None:
        """The summary as of now."""
        self._replace(SUMMARY, _json(content, indent=2))

    def write_span_index(self, nodes: list[str]) -> None:
        """How to read the span files: numpy.fromfile(spans/<device>.bin, dtype)."""
        description = {"dtype": SPAN.descr, "nodes": nodes, "direction": ["forward", "backward", "inference"]}
        (self.path / SPANS).mkdir(exist_ok=True)
        self._replace(f"{SPANS}/index.json", _json({**description, "at_most": MAX_SPANS}))

    def write_order_index(self, spec: ClusterSpec) -> None:
        """What the files in orders/ are of, and where the user's own modules were found."""
        (self.path / ORDERS).mkdir(exist_ok=True)
        index = {
            "processes": list(spec.processes),
            "fingerprint": spec.fingerprint,
            "import_paths": spec.import_paths,
            "rules": RULES,
        }
        self._replace(f"{ORDERS}/{INDEX}", _json(index))

    def write_parameters(self, parameters: Mapping[str, Array]) -> str:
        """`node.parameter -> float32[...]`; their sha256 (see `parameters_sha256`)."""
        arrays = {name: np.asarray(parameters[name], order="C") for name in sorted(parameters)}
        self._replace(PARAMETERS, save(arrays))
        return parameters_sha256(arrays)

    def add_metrics(self, line: Mapping[str, Any]) -> None:
        """A line of metrics.jsonl."""
        self._append(METRICS, _json(line))

    def add_interval(self, interval: Interval) -> None:
        """A line of devices/<name>.jsonl, its spans, and a line of its log for every refused message."""
        counts = interval.counts
        line = {
            **interval.times,
            "forward_messages": counts.forward_messages,
            "backward_messages": counts.backward_messages,
            "batches": counts.batches,
            "updates": counts.updates,
            "bytes_sent": interval.bytes_sent,
            "bytes_received": interval.bytes_received,
            "queue_max": counts.queue_max,
            "cached_bytes": counts.cached_bytes,
            "staleness_mean": counts.staleness.mean,
            "staleness_max": counts.staleness.maximum,
        }
        self._append(f"{DEVICES}/{interval.device}.jsonl", _json(line))
        if interval.spans is not None and len(interval.spans):
            self._append(f"{SPANS}/{interval.device}.bin", interval.spans.tobytes())
        if interval.order is not None and len(interval.order.turns):
            self._append(f"{ORDERS}/{interval.device}.bin", encode_order(interval.order))
        self.add_refusals(interval.device, interval.times["t1_s"], interval.refused)

    def add_injections(self, injections: Sequence[Injection]) -> None:
        """What was injected, time after time."""
        self._append(f"{ORDERS}/{CONTROLLER}.bin", encode_injections(injections))

    def add_refusals(self, process: str, time_s: float, texts: Iterable[str]) -> None:
        """A line of logs/<process>.refused.log for each refused message that is told of."""
        for text in texts:
            self._append(f"{LOGS}/{process}.refused.log", f"{time_s:.3f} s: {text}\n".encode())

    def close(self) -> None:
        """Close the files that lines were added to."""
        for file in self._files.values():
            file.close()
        self._files = {}

    def _append(self, name: str, content: bytes) -> None:
        if name not in self._files:
            if len(self._files) >= MOST_OPEN:  # a process may not have thousands of files open
                self._files.pop(next(iter(self._files))).close()
            (self.path / name).parent.mkdir(exist_ok=True)
            self._files[name] = (self.path / name).open("ab")
        self._files[name].write(content)
        self._files[name].flush()

    def _replace(self, name: str, content: bytes) -> None:
        draft = self.path / f"{name}.part"
        draft.write_bytes(content)
        os.replace(draft, self.path / name)


def parameters_sha256(parameters: Mapping[str, Array]) -> str:
    """sha256 over each name (UTF-8) and its array's little-endian bytes, in the order of the sorted names."""
    digest = sha256()
    for name in sorted(parameters):
        array = np.ascontiguousarray(parameters[name])
        digest.update(name.encode())
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()


def _json(content: Mapping[str, Any], indent: int | None = None) -> bytes:
    """One document, with a line end. A number that is not finite becomes null: JSON has no other way to say it."""
    return (json.dumps(_finite(content), indent=indent, allow_nan=False) + "\n").encode()


def _finite(value: Any) -> Any:
    match value:
        case float() if not isfinite(value):
            return None
        case Mapping():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
    return value


def next_free(folder: Path, name: str) -> Path:
    """A new folder `<name>-<number>` in `folder`. Raises OSError if it cannot be made."""
    folder.mkdir(parents=True, exist_ok=True)
    pattern = re.compile(re.escape(name) + r"-(\d+)")
    taken = [int(match[1]) for entry in folder.iterdir() if (match := pattern.fullmatch(entry.name))]
    number = max(taken, default=0) + 1
    while True:
        path = folder / f"{name}-{number}"
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path
