"""Ctrl-C and SIGTERM as something that a loop can wait for, instead of an exception at any point."""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Self

PR_SET_PDEATHSIG = 1
_WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """While the context lasts, the first signal is noted and makes `descriptor` readable; a second one raises.

    Must be entered in the main thread. `received` is the signal's name, or None.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self.descriptor = -1

    def __enter__(self) -> Self:
        self.descriptor, self._wake = os.pipe()
        # Under nohup the terminal's end is not to matter.
        watched = [number for number in _WATCHED if not _is_ignored_hangup(number)]
        self._previous = {number: signal.signal(number, self._note) for number in watched}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        os.close(self.descriptor)
        os.close(self._wake)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name
        os.write(self._wake, b"!")


def die_with_the_parent() -> None:
    """Ask Linux to kill this process when its parent dies: a device's guard may be gone too, and a node may hang."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _is_ignored_hangup(number: signal.Signals) -> bool:
    return number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN
