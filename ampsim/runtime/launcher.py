"""Starts device processes on this machine, and leaves none behind: see guard.py."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import ampsim
from ampsim import blas
from ampsim.errors import RunFailed
from ampsim.runtime import guard

GOODBYE_S = 2.0
PRINTED_BYTES = 4000


class LocalLauncher:
    """Device processes in one process group under a guard. `close` ends them all and is safe to call twice.

    `sockets` is a private folder for ipc:// addresses. What a device prints goes to `logs/<name>.log` of the run.
    """

    def __init__(self, summary: Path, logs: Path) -> None:
        self.sockets = Path(tempfile.mkdtemp(prefix="ampsim-", dir=short_temporary_folder()))
        self._logs = logs
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, str(summary.resolve()), str(self.sockets)],
            stdin=subprocess.PIPE,
            process_group=0,
        )
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def address(self, name: str) -> str:
        """An address for a socket of this run; `name` is short."""
        return f"ipc://{self.sockets / name}"

    def start(self, name: str, controller: str) -> None:
        """Start the process of one device."""
        environment = child_environment()
        self._logs.mkdir(exist_ok=True)
        self._raise_for_lost_guard()
        with self._log(name).open("wb") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-P", "-m", "ampsim", "device", "--controller", controller, "--name", name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                process_group=self._guard.pid,
            )

    def watched_pids(self) -> list[int]:
        """Processes whose end is to be noticed: the devices and the guard."""
        return [self._guard.pid, *(process.pid for process in self._processes.values())]

    def ended(self) -> dict[str, str]:
        """Devices that have ended: name to what happened, in words. Raises RunFailed if the guard has."""
        self._raise_for_lost_guard()
        return {name: _describe_end(process) for name, process in self._processes.items() if process.poll() is not None}

    def printed(self, name: str) -> str:
        """The last that a device printed: most likely why it died."""
        try:
            with self._log(name).open("rb") as log:
                log.seek(max(0, self._log(name).stat().st_size - PRINTED_BYTES))
                return log.read().decode(errors="replace").strip()
        except OSError:
            return ""

    def close(self, patience_s: float = 0.0) -> None:
        """Give the devices `patience_s` to end by themselves, then let the guard end the group; wait for all."""
        for process in self._processes.values():
            try:
                process.wait(patience_s)
            except subprocess.TimeoutExpired:
                patience_s = 0.0
        if self._guard.stdin:
            self._guard.stdin.close()
        try:
            self._guard.wait(GOODBYE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._guard.pid, signal.SIGKILL)
        for process in (self._guard, *self._processes.values()):
            if process.poll() is None:
                process.kill()
            process.wait()
        shutil.rmtree(self.sockets, ignore_errors=True)
        for name in self._processes:
            if self._log(name).exists() and not self._log(name).stat().st_size:
                self._log(name).unlink()
        if self._logs.exists() and not any(self._logs.iterdir()):
            self._logs.rmdir()

    def _raise_for_lost_guard(self) -> None:
        if self._guard.poll() is not None:
            raise RunFailed(f"the guard of the run is gone: {_describe_end(self._guard)}")

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"


def child_environment() -> dict[str, str]:
    """For a Python that runs ampsim: its BLAS is chosen here, and it must find this very package, installed or not.

    Otherwise it imports nothing from the current folder (-P), where a user may have a file called like a library.
    """
    environment = dict(os.environ)
    blas.configure(environment)
    root = str(Path(ampsim.__file__).parent.parent)
    if root == sys.path[0]:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
    return environment


def short_temporary_folder() -> str | None:
    """The path of an ipc socket may have about 100 characters: fall back to /tmp where TMPDIR is long."""
    return None if len(tempfile.gettempdir()) < 60 else "/tmp"


def _describe_end(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    if code < 0:
        return f"its process (pid {process.pid}) was killed by {signal.Signals(-code).name}"
    return f"its process (pid {process.pid}) ended with exit code {code}"
