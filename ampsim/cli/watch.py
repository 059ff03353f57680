"""Whoever watches a run: a live display on a terminal, plain lines elsewhere, or nobody."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ampsim.data.dataset import TRAIN, VALIDATION
from ampsim.report.tables import epoch_text, metrics_text, utilization_bar
from ampsim.runtime.run import Progress


class QuietWatcher:
    """Prints nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def started(self, directory: Path) -> None:
        """The run directory is there."""

    def progress(self, progress: Progress) -> None:
        """Where the run stands."""

    def pass_ended(self, line: Mapping[str, Any]) -> None:
        """A pass has been recorded."""


class PlainWatcher(QuietWatcher):
    """Prints a line per epoch."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._train: Mapping[str, Any] = {}

    def started(self, directory: Path) -> None:
        self._print(f"run directory: {directory}")

    def pass_ended(self, line: Mapping[str, Any]) -> None:
        if line["split"] == TRAIN:
            self._train = line
        elif line["split"] == VALIDATION:
            self._print(epoch_text(self._train, line))

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)


class LiveWatcher(PlainWatcher):
    """The plain lines, and below them where the run stands now, with a bar for each device."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live = Live(Text("starting the devices"), console=console, transient=True, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def progress(self, progress: Progress) -> None:
        head = Table.grid(padding=(0, 2))
        for _ in range(4):
            head.add_column(no_wrap=True)
        head.add_row(
            Text(f"epoch {progress.epoch}/{progress.epochs} {progress.split}", style="bold"),
            ProgressBar(total=progress.instances_expected, completed=progress.instances, width=24),
            f"{progress.instances_per_second:,.0f} instances/s",
            f"{progress.in_flight} in flight",
        )
        devices = Table.grid(padding=(0, 1))
        rows = self._console.height - 6
        for name, share in list(progress.utilization.items())[: max(rows, 1)]:
            devices.add_row(name, Text(utilization_bar(share, 24), style="cyan"), f"{share:4.0%} busy")
        self._live.update(Group(head, Text(metrics_text(progress.metrics)), devices), refresh=True)
