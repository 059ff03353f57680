"""The directory of a sweep: `rows.csv`, `sweep.json` that says what is swept, and a folder for the runs under way."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ampsim import __version__
from ampsim.config.wording import enumerated, shorten
from ampsim.errors import BadInput, RunFailed
from ampsim.runtime.run_directory import next_free
from ampsim.sweep.plan import Plan, PlannedRun
from ampsim.sweep.rows import FINISHED, Row, RowFile, columns

SWEEPS = Path("sweeps")
ROWS, SWEEP, WORKING, PLOT = "rows.csv", "sweep.json", "working", "plot.svg"
GONE_S = 1.0


class SweepDirectory:
    """A new sweep's directory, or that of an earlier call of the same sweep, locked against others.

    `rows` has the row of each run that has ended, by the labels of its combination. Raises BadInput if the directory
    holds another sweep, is in use, or cannot be written.
    """

    def __init__(self, plan: Plan, out: Path | None) -> None:
        self._plan = plan
        self._paths = [axis.path for axis in plan.grid.axes]
        try:
            self.path = out or next_free(SWEEPS, plan.name)
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise BadInput(f"{out or SWEEPS}: cannot make a directory there: {error.strerror or error}") from error
        self._file = RowFile(self.path / ROWS, columns(self._paths, plan.metrics))
        self.rows: dict[tuple[str, ...], Row] = {}
        try:
            self._take()
        except OSError as error:
            os.close(self._lock)
            raise BadInput(f"{self.path}: cannot be written: {error.strerror or error}") from error
        except BadInput:
            os.close(self._lock)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the rows in the order of the grid, and leave nothing of the runs themselves."""
        with _writing(self.table):
            self._file.write(self.in_order())
        # The guard of a run that was killed may still be putting its summary straight.
        deadline = time.monotonic() + GONE_S
        while self.working.exists() and time.monotonic() < deadline:
            shutil.rmtree(self.working, ignore_errors=True)
        os.close(self._lock)

    @property
    def working(self) -> Path:
        """Where the runs under way have their run directories."""
        return self.path / WORKING

    @property
    def plot(self) -> Path:
        """The plot's path."""
        return self.path / PLOT

    @property
    def table(self) -> Path:
        """The path of the rows."""
        return self._file.path

    def missing(self) -> list[PlannedRun]:
        """The runs that are to be made: those without a row, and those that failed."""
        return [run for run in self._plan.runs if self.rows.get(run.combination.labels, {}).get("status") != FINISHED]

    def in_order(self) -> list[Row]:
        """The rows so far, in the order of the grid."""
        labels = (run.combination.labels for run in self._plan.runs)
        return [self.rows[key] for key in labels if key in self.rows]

    def add(self, run: PlannedRun, row: Row) -> Row:
        """Keep the row of a run; the row with all that identifies it."""
        labels = run.combination.labels
        whole = {**dict(zip(self._paths, labels, strict=True)), **row, "config_hash": run.config_hash}
        self.rows[labels] = whole
        with _writing(self.table):
            self._file.add(whole)
        return whole

    def write_plot(self, picture: str | None) -> None:
        """Replace the plot; without one there is nothing to be seen."""
        with _writing(self.plot):
            if picture is None:
                self.plot.unlink(missing_ok=True)
            else:
                draft = self.plot.with_name(f"{PLOT}.part")
                draft.write_text(picture, encoding="utf-8")
                os.replace(draft, self.plot)

    def _take(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(f"{self.path}: another sweep is writing there: wait for it, or give another --out") from None
        found = self._file.read()
        self._compare(found)
        planned = {run.combination.labels: run for run in self._plan.runs}
        for number, row in enumerate(found, start=2):
            labels = tuple(row.get(path, "") for path in self._paths)
            where = f"{self._file.path}:{number}: the row of {self._named(labels)}"
            if labels not in planned:
                raise BadInput(f"{where} is not among --vary now: add its values, or give another directory to --out")
            if row["config_hash"] != planned[labels].config_hash:
                raise BadInput(
                    f"{where} was made with another config (what a file says has changed since): give another "
                    "directory to --out"
                )
            if row["status"] == FINISHED:
                self.rows[labels] = row
        draft = self.path / f"{SWEEP}.part"
        draft.write_text(json.dumps(self._identity(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(draft, self.path / SWEEP)
        shutil.rmtree(self.working, ignore_errors=True)  # what a sweep that was killed has left
        self.working.mkdir()
        self._file.write(self.in_order())

    def _identity(self) -> dict[str, Any]:
        plan = self._plan
        return {
            "ampsim": __version__,
            "name": plan.name,
            "config": plan.config,
            "set": list(plan.overrides),
            "numerics": plan.numerics,
            "vary": {axis.path: list(axis.labels) for axis in plan.grid.axes},
        }

    def _compare(self, found: list[Row]) -> None:
        """Raise BadInput if there is another sweep: rows tell of the config itself, this of what was asked for."""
        try:
            known = json.loads((self.path / SWEEP).read_text(encoding="utf-8"))
        except FileNotFoundError:
            known = None
        except ValueError:
            known = {}
        if known is None and not found and not self._file.path.exists():
            return
        if not isinstance(known, dict) or not isinstance(known.get("vary"), dict):
            raise BadInput(f"{self.path}: holds files that are not of a sweep: give another directory to --out")
        now = self._identity()
        differing = [key for key in ("ampsim", "name", "set", "numerics") if known.get(key) != now[key]]
        told = [f"{key} was {shorten(_said(known.get(key)))} and is {shorten(_said(now[key]))}" for key in differing]
        if sorted(known["vary"]) != sorted(now["vary"]):
            told.append(f"what varies was {enumerated(known['vary'])} and is {enumerated(now['vary'])}")
        if told:
            raise BadInput(
                f"{self.path}: holds a sweep of another config or other overrides ({'; '.join(told)}): give another "
                "directory to --out"
            )

    def _named(self, labels: tuple[str, ...]) -> str:
        return ", ".join(f"{path}={shorten(label)}" for path, label in zip(self._paths, labels, strict=True))


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """What cannot be written while a sweep goes, as an error for people."""
    try:
        yield
    except OSError as error:
        raise RunFailed(f"{path}: cannot be written: {error.strerror or error}") from error


def remove(folder: Path) -> None:
    """Remove a run directory."""
    with suppress(OSError):
        shutil.rmtree(folder)


def _said(value: Any) -> str:
    match value:
        case None | []:
            return "not given"
        case list():
            return " ".join(map(str, value))
    return str(value)
