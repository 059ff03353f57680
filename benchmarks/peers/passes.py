"""Passes over the data as every peer makes them: only the time of training counts, and the last line is the figures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

from workload import WORKLOADS, Task

from ampsim.data.dataset import TRAIN, VALIDATION, Instance

MISSED = "the target was not reached in {} epochs: there is no time to it"


@dataclass
class Told:
    """What a pass comes to: the loss and the metric summed over `rows`, and the examples and seconds that it took."""

    loss: float = 0.0
    metric: float = 0.0
    rows: int = 0
    instances: int = 0
    seconds: float = 0.0

    @property
    def mean(self) -> float:
        """The mean loss."""
        return self.loss / self.rows

    @property
    def rate(self) -> float:
        """Instances per second."""
        return self.instances / self.seconds


class Peer(Protocol):
    """A model in another library, and how it is trained."""

    def train(self, group: list[Instance]) -> Callable[[], tuple[float, float, int]]:
        """Update once; gives what tells loss, metric (both summed) and rows, to be asked when the clock has stopped."""

    def evaluate(self, group: list[Instance]) -> Callable[[], tuple[float, float, int]]:
        """The same without an update."""

    def decay(self, factor: float) -> None:
        """Lower the learning rate."""

    def gflops(self) -> float:
        """What the library's own matrix product does here."""


def one_pass(step: Callable[[list[Instance]], Callable], groups: Iterable[list[Instance]]) -> Told:
    """Go through all updates; making the instances is not timed, all that is made of them is."""
    told, answers = Told(), []
    for group in groups:
        began_s = perf_counter()
        answers.append(step(group))
        told.seconds += perf_counter() - began_s
        told.instances += sum(instance.size for instance in group)
    began_s = perf_counter()
    for answer in answers:
        loss, metric, rows = answer()
        told.loss, told.metric, told.rows = told.loss + loss, told.metric + metric, told.rows + rows
    told.seconds += perf_counter() - began_s
    return told


def throughput(peer: Peer, task: Task) -> dict[str, float]:
    """Two passes: the first warms up, the second is timed; the mean loss of each."""
    first, last = (one_pass(peer.train, task.updates(TRAIN, epoch)) for epoch in (1, 2))
    return {"instances_per_s": last.rate, "loss_first": first.mean, "loss_last": last.mean}


def to_target(peer: Peer, task: Task) -> dict[str, float]:
    """Epochs, each with a validation pass, until the config's targets are reached; seconds of training, and of all.

    Exits with a sentence if they are not.
    """
    training = task.config.training
    seconds = all_s = 0.0
    for epoch in range(1, training.epochs + 1):
        trained = one_pass(peer.train, task.updates(TRAIN, epoch))
        peer.decay(training.learning_rate_decay)
        seen = one_pass(peer.evaluate, task.updates(VALIDATION, epoch))
        seconds, all_s = seconds + trained.seconds, all_s + trained.seconds + seen.seconds
        found = {"loss": seen.mean, "accuracy": seen.metric / seen.rows, "mae": seen.metric / seen.rows}
        figures = {"time_s": seconds, "all_s": all_s, "epochs": epoch, "validation_loss": seen.mean}
        if training.stop_at and all(
            found[name] <= target if name in ("loss", "mae") else found[name] >= target
            for name, target in ((name.removeprefix("validation."), t) for name, t in training.stop_at.items())
        ):
            return figures
    raise SystemExit(MISSED.format(epoch))


def arguments(description: str) -> argparse.ArgumentParser:
    """What every peer is told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("workload", choices=WORKLOADS)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--examples", type=int, help="make two passes over so many, and time the second")
    what.add_argument("--target", action="store_true", help="train as the config says, to its target")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="PATH=VALUE")
    return parser


def overrides_of(told: argparse.Namespace) -> list[str]:
    """What of the config the arguments change, on every side."""
    sizes = [] if told.target else WORKLOADS[told.workload].overrides(told.examples)
    return [*sizes, *told.overrides]


def make_task(told: argparse.Namespace) -> Task:
    """The workload that the arguments ask for."""
    return Task(told.workload, overrides_of(told))


def measure(peer: Peer, task: Task, target: bool) -> None:
    """Print the figures."""
    figures = (to_target if target else throughput)(peer, task)
    figures["keys_per_update"] = task.workload.per_update
    print(json.dumps({**figures, "matmul_gflops": peer.gflops()}))
