"""Everything that ampsim raises on purpose, and the exit code that each ends the command line with.

AmpsimError
├── BadInput            2   the user's input is wrong; nothing was started
│   ├── ConfigError         a list of faults, each with its place in the file
│   ├── GraphError          every problem of a model's graph at once
│   └── DataError           a data set is missing or malformed
├── RunFailed           1   a run that had started could not go on
│   ├── DeviceFailed        a device raised or died: which, where, and its remote traceback
│   └── Stalled             instances are in flight and nothing moves
├── FetchFailed         1   a data set could not be fetched, or what came was not it
└── Interrupted       130   Ctrl-C or SIGTERM
"""

from __future__ import annotations

from dataclasses import dataclass


class AmpsimError(Exception):
    """Base of all errors that ampsim raises on purpose; `str()` is fit to be shown to a person."""

    exit_code = 1


class BadInput(AmpsimError):
    """The user's input is wrong, and nothing was started."""

    exit_code = 2


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that is wrong with a config: `where` is `file:line` or `--set key=value`."""

    line: int
    where: str
    path: str
    text: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.path, self.text) if part)


class ConfigError(BadInput):
    """All the faults of a config, in the order of their lines."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = sorted(set(faults))
        super().__init__("\n".join(str(fault) for fault in self.faults))


class GraphError(BadInput):
    """All the problems of a graph, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


class DataError(BadInput):
    """A data set is missing or malformed; the text names the file, the place and the cure."""


class RunFailed(AmpsimError):
    """A run that had started could not go on."""


class DeviceFailed(RunFailed):
    """A device raised or died.

    `device` is its name, `text` one line that says what happened, `traceback` the remote one (empty if
    the process died without a word).
    """

    def __init__(self, device: str, text: str, traceback: str = "") -> None:
        self.device, self.text, self.traceback = device, text, traceback
        super().__init__(f"device {device}: {text}")


class Stalled(RunFailed):
    """Instances are in flight, every device is idle, and nothing moves."""


class FetchFailed(AmpsimError):
    """A data set could not be fetched, or what came was not it; nothing of it was kept."""


class Interrupted(AmpsimError):
    """The user asked the run to stop."""

    exit_code = 130
