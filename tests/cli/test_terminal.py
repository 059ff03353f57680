"""`ampsim run` on a terminal: where the run stands, with a bar for each device."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from select import select

import pytest

RUN = (
    "run",
    "mnist-mlp",
    "--set",
    "data.limit=1000",
    "--set",
    "model.hidden=[32,32,32]",
    "--set",
    "training.stop_at={}",
)


class Terminal:
    """`ampsim run` in a folder, with a terminal of so many columns as its controlling terminal."""

    def __init__(self, folder: Path, columns: int, *arguments: str) -> None:
        self.shown = b""
        self._deadline = time.monotonic() + 30
        self.code: int | None = None
        command = [sys.executable, "-m", "ampsim", *RUN, *arguments, "--out", str(folder / "here")]
        environment = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        for name in ("NO_COLOR", "COLUMNS", "LINES", "CI"):
            environment.pop(name, None)
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            os.execve(sys.executable, command, environment)

    def read_until(self, text: bytes | None) -> None:
        """Read until `text` was shown; to the end if it is None."""
        while text is None or text not in self.shown:
            if not select([self.descriptor], [], [], max(self._deadline - time.monotonic(), 0))[0]:
                pytest.fail(f"{text!r} is not shown: {self.shown[-2000:].decode(errors='replace')}")
            try:
                part = os.read(self.descriptor, 65536)
            except OSError:
                part = b""
            if not part:
                assert text is None, f"the run ended without showing {text!r}: {self.shown.decode(errors='replace')}"
                return
            self.shown += part

    def type(self, keys: bytes) -> None:
        os.write(self.descriptor, keys)

    def wait(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def close(self) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        os.close(self.descriptor)


@pytest.fixture(params=[120, 40], ids=["120 columns", "40 columns"])
def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(
        tmp_path, request.param, "--set", "training.epochs=100000", "--set", "cluster.log_interval=100 ms"
    )
    yield opened
    opened.close()


def test_bars_are_shown_and_typing_ctrl_c_stops_the_run(terminal: Terminal) -> None:
    for text in ("epoch", "d0", "d3", "░░░", "% busy", "loss"):
        terminal.read_until(text.encode())
    terminal.type(b"\x03")
    began = time.monotonic()
    terminal.read_until(None)
    assert terminal.wait() == 130
    print(f"stopped after {time.monotonic() - began:.2f} s")
    shown = terminal.shown.decode()
    assert "interrupted by SIGINT" in shown
    assert "Traceback" not in shown
    assert "\x1b[?25h" in shown, "the cursor stays hidden"


def test_the_result_of_a_run_that_ends_stays_on_the_terminal(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, 120, "--set", "training.epochs=1")
    try:
        terminal.read_until(None)
        assert terminal.wait() == 0
    finally:
        terminal.close()
    shown = terminal.shown.decode()
    assert "epoch 1: train loss" in shown
    assert "mnist-mlp: finished; 1 epoch" in shown
    assert "d3 (cpu-core)" in shown
