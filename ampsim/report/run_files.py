"""Reads a run directory, finished or not: a run that is going, was stopped or was killed is readable too."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname
from typing import Any

from ampsim.errors import BadInput
from ampsim.report.run_forms import Line, Summary, check


@dataclass(frozen=True)
class RunFiles:
    """A run's summary, and its lines of metrics."""

    path: Path
    summary: Mapping[str, Any]
    metrics: list[dict[str, Any]]

    @classmethod
    def read(cls, path: Path) -> RunFiles:
        """Read what is there. Raises BadInput if the directory holds no run, or one of its files is not readable."""
        summary = path / "summary.json"
        if not path.is_dir():
            raise BadInput(f"{path}: no such directory: give a run directory, such as runs/mnist-mlp-1")
        try:
            content = json.loads(summary.read_text())
        except FileNotFoundError:
            raise BadInput(f"{path}: holds no run (there is no summary.json)") from None
        except (OSError, ValueError) as error:
            raise BadInput(f"{summary}: cannot be read: {error}") from error
        if not isinstance(content, dict) or not isinstance(content.get("devices"), dict):
            raise BadInput(f"{summary}: is not the summary of a run")
        check(Summary, content, str(summary))
        metrics = path / "metrics.jsonl"
        lines = read_lines(metrics)
        for number, line in enumerate(lines, start=1):
            check(Line, line, f"{metrics}:{number}")
        return cls(path, _as_it_stands(content), lines)


def _as_it_stands(summary: dict[str, Any]) -> dict[str, Any]:
    """The summary; but a run of this machine that says it is running, and whose controller is gone, has failed."""
    pid = summary.get("pid")
    if summary.get("status") == "running" and summary.get("host") == gethostname() and isinstance(pid, int):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return {**summary, "status": "failed", "error": {"text": f"the controller (pid {pid}) is gone"}}
        except OSError:
            pass
    return summary


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a .jsonl file; a last line that was cut off while being written is left out.

    Raises BadInput for any other line that is not JSON.
    """
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: cannot be read: {error}") from error
    parsed = []
    for number, line in enumerate(lines, start=1):
        try:
            content = json.loads(line)
            if not isinstance(content, dict):
                raise ValueError("it is no object")
            parsed.append(content)
        except ValueError as error:
            if number == len(lines):
                break
            raise BadInput(f"{path}:{number}: is not a line of JSON: {error}") from error
    return parsed
