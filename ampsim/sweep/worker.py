"""A worker process of a sweep: one run after the other, as the lines of its standard input say.

A line is a JSON object: config, overrides, varied, metrics, out, and the hash that the config is to have. The answer is
one line on what was standard output: the figures of the row, or the error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ampsim.config.load import load
from ampsim.errors import AmpsimError, BadInput, Interrupted
from ampsim.runtime.run import Progress, run
from ampsim.runtime.signals import die_with_the_parent
from ampsim.sweep.plan import config_hash
from ampsim.sweep.rows import figures


class Unwatched:
    """Nobody watches the run."""

    def started(self, directory: Path) -> None:
        """The run directory is there."""

    def progress(self, progress: Progress) -> None:
        """Where the run stands."""

    def pass_ended(self, line: Mapping[str, Any]) -> None:
        """A pass has been recorded."""


def main() -> int:
    """Work until the input ends: 0, or 130 if a signal stopped a run."""
    die_with_the_parent()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a user's model prints is no answer
    while line := sys.stdin.readline():
        try:
            answer = answer_to(json.loads(line))
        except Interrupted:
            return Interrupted.exit_code
        print(json.dumps(answer), file=answers, flush=True)
    return 0


def answer_to(task: Mapping[str, Any]) -> dict[str, Any]:
    """Make one run: `{"figures": ...}` or `{"error": text}`. Raises Interrupted."""
    try:
        experiment = load(task["config"], task["overrides"], varied=task["varied"])
        if config_hash(experiment) != task["config_hash"]:
            raise BadInput("the config, or a file that it names, has changed since the sweep began")
        _, summary = run(experiment, Unwatched(), Path(task["out"]))
        return {"figures": figures(summary, task["metrics"])}
    except Interrupted:
        raise
    except AmpsimError as error:
        return {"error": str(error)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    sys.exit(main())
