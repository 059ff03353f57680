"""Worker processes with a run at a time each: hands out runs, takes answers, notices deaths, leaves nobody behind."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ampsim import portable
from ampsim.runtime.launcher import child_environment
from ampsim.sweep.directory import remove
from ampsim.sweep.plan import PlannedRun

GOODBYE_S = 0.5
PRINTED_BYTES = 2000
_READ_BYTES = 1 << 16


@dataclass(frozen=True)
class Answer:
    """How a run ended: with figures, or with an error; `wall_s` is what it took here."""

    run: PlannedRun
    figures: Mapping[str, Any] | None
    error: str | None
    wall_s: float


class Worker:
    """One process. It is started with the environment of its first run's arithmetic, and makes only such runs."""

    def __init__(self, number: int, folder: Path, pinned: bool) -> None:
        self.pinned = pinned
        self.run: PlannedRun | None = None
        self._out = folder / f"run-{number}"
        self._printed = folder / f"worker-{number}.log"
        self._began_s = 0.0
        self._answer = b""
        environment = child_environment()
        with self._printed.open("wb") as printed:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "ampsim.sweep.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=printed,
                env=portable.environment(environment) if pinned else environment,
                process_group=0,  # Ctrl-C is for the sweep, which stops its workers itself
                bufsize=0,
            )

    @property
    def descriptor(self) -> int:
        """Readable when there is (a part of) an answer, or the process has ended."""
        assert self.process.stdout
        return self.process.stdout.fileno()

    def begin(self, run: PlannedRun, config: str, metrics: Sequence[str]) -> None:
        """Hand out a run. A worker that has died since its last one is noticed when its answer is read."""
        self.run, self._began_s, self._answer = run, time.monotonic(), b""
        task = {
            "config": config,
            "overrides": run.overrides,
            "varied": run.varied,
            "metrics": list(metrics),
            "out": str(self._out),
            "config_hash": run.config_hash,
        }
        assert self.process.stdin
        try:
            self.process.stdin.write(json.dumps(task).encode() + b"\n")
        except BrokenPipeError:
            return

    def read(self) -> Answer | None:
        """The answer, if it is complete; an error if the process has ended instead."""
        assert self.run
        part = os.read(self.descriptor, _READ_BYTES)
        self._answer += part
        if part and not part.endswith(b"\n"):
            return None
        run, self.run = self.run, None
        took = time.monotonic() - self._began_s
        remove(self._out)
        if not part:
            return Answer(run, None, self._end(), took)
        answer = json.loads(self._answer)
        return Answer(run, answer.get("figures"), answer.get("error"), took)

    def stop(self) -> None:
        """Ask the process to end: its input closes, and a run that it is making is stopped."""
        if self.process.stdin:
            self.process.stdin.close()
        if self.run is not None:
            self.process.terminate()

    def wait(self, patience_s: float) -> None:
        """Wait until it has ended, and kill it if that takes longer."""
        try:
            self.process.wait(max(patience_s, 0.0))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def _end(self) -> str:
        """What became of a process that gave no answer."""
        code = self.process.wait()
        by = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        with self._printed.open("rb") as file:
            file.seek(max(0, self._printed.stat().st_size - PRINTED_BYTES))
            said = file.read().decode(errors="replace").strip().splitlines()
        last = f": {said[-1].strip()}" if said else ""
        return f"the worker process (pid {self.process.pid}) {by}{last}"


class Pool:
    """Up to `size` workers. On leaving the context all have ended, within a second also those with a run."""

    def __init__(self, size: int, folder: Path, config: str, metrics: Sequence[str]) -> None:
        self._slots: list[Worker | None] = [None] * size
        self._folder, self._config, self._metrics = folder, config, metrics

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        workers = [worker for worker in self._slots if worker]
        for worker in workers:
            worker.stop()
        deadline = time.monotonic() + GOODBYE_S
        for worker in workers:
            worker.wait(deadline - time.monotonic())

    @property
    def is_full(self) -> bool:
        """Whether every worker has a run."""
        return all(worker and worker.run for worker in self._slots)

    @property
    def is_idle(self) -> bool:
        """Whether no worker has a run."""
        return not any(worker and worker.run for worker in self._slots)

    def begin(self, run: PlannedRun) -> None:
        """Give a run to a worker that has none, starting one if need be. The pool must not be full."""
        number = next(number for number, worker in enumerate(self._slots) if not (worker and worker.run))
        worker = self._slots[number]
        if worker and (worker.pinned != run.portable or worker.process.poll() is not None):
            worker.stop()
            worker.wait(GOODBYE_S)
            worker = None
        if worker is None:
            worker = self._slots[number] = Worker(number, self._folder, run.portable)
        worker.begin(run, self._config, self._metrics)

    def wait(self, wake: int) -> list[Answer]:
        """Wait for answers, or until the descriptor `wake` is readable."""
        answers = []
        with selectors.DefaultSelector() as selector:
            selector.register(wake, selectors.EVENT_READ, None)
            for number, worker in enumerate(self._slots):
                if worker and worker.run:
                    selector.register(worker.descriptor, selectors.EVENT_READ, (number, worker))
            for key, _ in selector.select():
                if key.data is None:
                    continue
                number, worker = key.data
                answer = worker.read()
                if answer:
                    answers.append(answer)
                if worker.process.poll() is not None:
                    worker.wait(0.0)
                    self._slots[number] = None
        return answers
