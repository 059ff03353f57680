"""Standard output that may fail without taking the run with it."""

from __future__ import annotations

import io
import os
from typing import Any, TextIO


class UnheardStream:
    """A stream whose reader may leave (`| head -1`), whose terminal may close, whose disk may be full.

    From the first error on what is written goes nowhere: that nobody listens is no reason to lose a run.
    """

    def __init__(self, stream: TextIO | None) -> None:
        # A process may be started with its standard output closed.
        self._heard = stream is not None
        self._stream = stream or io.StringIO()

    def write(self, text: str) -> int:
        """Write, if anybody listens."""
        if self._heard:
            try:
                return self._stream.write(text)
            except OSError:
                self._give_up()
        return len(text)

    def flush(self) -> None:
        """Flush, if anybody listens."""
        if self._heard:
            try:
                self._stream.flush()
            except OSError:
                self._give_up()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _give_up(self) -> None:
        self._heard = False
        # What the stream still holds would fail again when the interpreter ends.
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), self._stream.fileno())
