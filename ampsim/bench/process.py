"""One contender, once: a fresh process in a group of its own, with a time limit, that leaves nothing behind."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import IO

import ampsim
from ampsim import blas
from ampsim.bench.case import PYTHON, Contender
from ampsim.data.cache import find
from ampsim.data.sources import SOURCES
from ampsim.errors import DataError
from ampsim.runtime.signals import die_with_the_parent

GOODBYE_S = 5.0
TOLD_LINES = 12
"""Lines of the end of standard error that are told of a contender that failed."""


class ContenderFailed(Exception):
    """A contender ended badly, took too long, or printed no figures; the text says which, and what it said."""


@dataclass(frozen=True)
class Measured:
    """What one process told, and the seconds from its start to its end."""

    figures: dict[str, float]
    seconds: float


def why_left_out(contender: Contender) -> str:
    """What the contender needs and is not here, with the command that brings it; nothing if it can run."""
    modules = [module for module in contender.requires if not _is_installed(module)]
    if modules:
        cure = f": pip install 'ampsim[{contender.extra}]'" if contender.extra else ""
        return f"needs {', '.join(modules)}, which is not installed{cure}"
    sets = [name for name in contender.data if not _is_here(name)]
    if sets:
        return f"needs data that are not here: {' && '.join(f'ampsim data fetch {name}' for name in sets)}"
    return ""


def run_contender(contender: Contender, folder: Path, time_limit_s: float) -> Measured:
    """Run a contender to its end. Raises ContenderFailed; whatever is raised, its processes are gone then."""
    command = [sys.executable if part == PYTHON else part for part in contender.command]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        began_s = perf_counter()
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**_environment(), **contender.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                process_group=0,
                preexec_fn=die_with_the_parent,
            )
        except OSError as error:
            raise ContenderFailed(f"could not be started: {error}") from error
        try:
            code = process.wait(time_limit_s)
        except subprocess.TimeoutExpired:
            _end(process)
            raise ContenderFailed(f"took more than {time_limit_s:g} s and was ended{_tail(errors)}") from None
        except BaseException:
            _end(process)
            raise
        seconds = perf_counter() - began_s
        if code:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            raise ContenderFailed(f"{how}{_tail(errors)}")
        output.seek(0)
        return Measured(_figures(output.read().decode(errors="replace"), _tail(errors)), seconds)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _is_here(data: str) -> bool:
    if not SOURCES[data].files:
        return True
    try:
        return find(data) is not None
    except DataError:
        return False


def _environment() -> dict[str, str]:
    """The user's own, but that this very ampsim is found, installed or not."""
    environment = blas.without_choices(os.environ)
    root = str(Path(ampsim.__file__).parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
    return environment


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its group: first politely, since a run has devices in a group of their own to see to."""
    for number, patience_s in ((signal.SIGTERM, GOODBYE_S), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
            break
    # Its leader may have gone before the others of the group.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _tail(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return "".join(f"\n  {line}" for line in lines[-TOLD_LINES:])


def _figures(output: str, errors: str) -> dict[str, float]:
    last = next((line for line in reversed(output.splitlines()) if line.strip()), "")
    try:
        told = json.loads(last)
    except ValueError:
        told = None
    if not isinstance(told, dict) or not all(type(figure) in (int, float) for figure in told.values()):
        raise ContenderFailed(f"expected a JSON object of figures as its last line, found {last[:200]!r}{errors}")
    return {name: float(figure) for name, figure in told.items() if math.isfinite(figure)}
