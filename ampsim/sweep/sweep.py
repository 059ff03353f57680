"""Runs a sweep: hands its runs to workers, and keeps a row of each as it ends."""

from __future__ import annotations

import os
from typing import Protocol

from ampsim.errors import Interrupted, RunFailed
from ampsim.runtime.signals import StopSignals
from ampsim.sweep.directory import SweepDirectory
from ampsim.sweep.plan import Plan
from ampsim.sweep.pool import Answer, Pool
from ampsim.sweep.rows import FAILED, FINISHED, Row, as_text


class SweepObserver(Protocol):
    """Whoever watches a sweep."""

    def started(self, directory: SweepDirectory, missing: int, total: int) -> None:
        """The directory is there, and so many of all runs are to be made."""

    def run_ended(self, run: str, row: Row) -> None:
        """A row has been kept; `run` names its combination."""


def default_workers(plan: Plan) -> int:
    """As many as there are cores; one where runs are timed by this machine's clock, and would disturb each other."""
    return 1 if plan.wall_clock else len(os.sched_getaffinity(0))


def sweep(plan: Plan, directory: SweepDirectory, workers: int, observer: SweepObserver) -> None:
    """Make the runs that have no row yet. Must be called in the main thread.

    A run that fails is a row with status `failed`. Raises Interrupted if a signal stopped it: what has ended is kept.
    """
    waiting = directory.missing()[::-1]
    total = len(plan.runs)
    observer.started(directory, len(waiting), total)
    size = max(1, min(workers, len(waiting)))
    with StopSignals() as stop, directory, Pool(size, directory.working, plan.config, plan.metrics) as pool:
        while waiting or not pool.is_idle:
            while waiting and not pool.is_full:
                pool.begin(waiting.pop())
            for answer in pool.wait(stop.descriptor):
                observer.run_ended(str(answer.run.combination), directory.add(answer.run, _row(answer)))
            if stop.received is not None:
                raise Interrupted(
                    f"interrupted by {stop.received}: {len(directory.rows)} of {total} runs have a row in "
                    f"{directory.table}; the same command with --out {directory.path} makes the others"
                )


def raise_for_failures(directory: SweepDirectory) -> None:
    """Raise RunFailed if a row says that its run failed."""
    rows = directory.in_order()
    failed = sum(row["status"] == FAILED for row in rows)
    if failed:
        raise RunFailed(
            f"{failed} of {len(rows)} runs failed: the column error of {directory.table} says why, and the same "
            f"command with --out {directory.path} tries them again"
        )


def _row(answer: Answer) -> Row:
    if answer.figures is None:
        return {"status": FAILED, "wall_s": as_text(round(answer.wall_s, 3)), "error": as_text(answer.error)}
    return {"status": FINISHED, **{name: as_text(value) for name, value in answer.figures.items()}}
