"""Starts device processes on this machine, and leaves none behind: see guard.py."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ampsim import blas
from ampsim.runtime import guard

GOODBYE_S = 2.0


class LocalLauncher:
    """Device processes in one process group under a guard. `close` ends them all and is safe to call twice.

    `sockets` is a private folder for ipc:// addresses. What a device prints goes to `logs/<name>.log` of the run.
    """

    def __init__(self, summary: Path, logs: Path) -> None:
        self.sockets = Path(tempfile.mkdtemp(prefix="ampsim-", dir=_short_temporary_folder()))
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
        environment = dict(os.environ)
        blas.configure(environment)
        self._logs.mkdir(exist_ok=True)
        with self._log(name).open("wb") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "ampsim", "device", "--controller", controller, "--name", name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                process_group=self._guard.pid,
            )

    def pids(self) -> Mapping[str, int]:
        """The process id of each device, and of the guard."""
        return {"guard": self._guard.pid, **{name: process.pid for name, process in self._processes.items()}}

    def ended(self) -> dict[str, str]:
        """Processes that have ended: name to what happened, in words."""
        everyone = {"guard": self._guard, **self._processes}
        return {name: _describe_end(process) for name, process in everyone.items() if process.poll() is not None}

    def printed(self, name: str) -> str:
        """The last that a device printed: most likely why it died."""
        try:
            return self._log(name).read_text(errors="replace").strip()[-4000:]
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

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"


def _short_temporary_folder() -> str | None:
    """The path of an ipc socket may have about 100 characters: fall back to /tmp where TMPDIR is long."""
    return None if len(tempfile.gettempdir()) < 60 else "/tmp"


def _describe_end(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    if code < 0:
        return f"its process (pid {process.pid}) was killed by {signal.Signals(-code).name}"
    return f"its process (pid {process.pid}) ended with exit code {code}"
