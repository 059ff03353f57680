"""The figures as JSON, a document per line: what was measured, with what, and on which machine."""

from __future__ import annotations

import json
import os
import platform
from importlib import metadata
from typing import Any, TextIO

from ampsim import __version__, blas
from ampsim.bench.measure import CONTROL
from ampsim.bench.process import Measured

PACKAGES = {"numpy": "numpy", "pyzmq": "pyzmq", "torch": "torch", "dynet": "dyNET38"}
"""What a row tells the version of, and the package of each."""


class RowWriter:
    """Writes a row for each process that was run, as soon as it has ended."""

    def __init__(self, stream: TextIO, quick: bool) -> None:
        self._stream = stream
        self._common = {
            "quick": quick,
            "versions": versions(),
            "arithmetic": blas.record(),
            "machine": {"cpu": blas.record()["cpu"], "cores": cores(), "system": platform.system()},
        }

    def add(self, case: str, contender: str, round_number: int, measured: Measured) -> None:
        """One contender, in one round; `control` is true for the second run of the first one."""
        row = {
            "case": case,
            "contender": contender.removesuffix(CONTROL),
            "control": contender.endswith(CONTROL),
            "round": round_number,
            "figures": measured.figures,
            "seconds": measured.seconds,
            **self._common,
        }
        self._stream.write(json.dumps(row) + "\n")
        self._stream.flush()


def versions() -> dict[str, Any]:
    """Versions of ampsim, Python and the packages that matter; None for one that is not installed."""
    found: dict[str, Any] = {"ampsim": __version__, "python": platform.python_version()}
    for name, package in PACKAGES.items():
        try:
            found[name] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
