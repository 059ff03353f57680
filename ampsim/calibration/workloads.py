"""What is trained to time a machine: the built-in models, at several sizes, with few and with many messages a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ampsim.calibration.fit import ControllerSample, Sample
from ampsim.calibration.synthetic import molecules, trees
from ampsim.calibration.turns import time_turns
from ampsim.data.babi15 import Babi15
from ampsim.data.dataset import Dataset
from ampsim.data.list_reduction import ListReduction
from ampsim.data.mnist import Mnist
from ampsim.ir.graph import Graph
from ampsim.ir.node import TrainingSetup
from ampsim.models import BUILT_IN
from ampsim.ops.optimizers import OPTIMIZERS
from ampsim.runtime.controller_core import Plan


@dataclass(frozen=True)
class Workload:
    """A short training run; `data` makes its data for a number of examples."""

    model: str
    options: dict[str, Any]
    data: Callable[[int], Dataset]
    examples: int
    optimizer: str
    min_update_frequency: int
    max_active_keys: int
    inject_at_once: int = 1
    max_batch: int = 512

    def time(self, share: float = 1.0) -> tuple[list[Sample], list[ControllerSample]]:
        """Train on `share` of its examples; what was handled, and how long each took."""
        dataset = self.data(max(1, round(self.examples * share)))
        graph: Graph = BUILT_IN[self.model](dataset.spec, **self.options)
        optimizer = OPTIMIZERS[self.optimizer](learning_rate=0.001)
        setup = TrainingSetup(0, optimizer, self.min_update_frequency)
        plan = Plan(1, self.max_active_keys, inject_at_once=self.inject_at_once)
        return time_turns(graph, dataset, setup, plan, self.max_batch)


def _images(batch: int) -> Callable[[int], Dataset]:
    return lambda examples: Mnist(0, batch=batch, limit=examples)


def _lists(batch: int) -> Callable[[int], Dataset]:
    return lambda examples: ListReduction(0, batch=batch, train=examples, validation=examples // 4 or 1, test=1)


def _questions(examples: int) -> Dataset:
    return Babi15(0, limit=examples)


def workloads() -> Iterator[Workload]:
    """All of them: each op at several sizes, alone and many together, with and without updates."""
    wide, narrow = {"hidden": [784, 784, 784]}, {"hidden": [256, 128]}
    for batch, examples in ((100, 4000), (20, 1000)):
        for often in (1, 1_000_000):
            yield Workload("mlp", wide, _images(batch), examples, "sgd", often, 4, max_batch=1)
    yield Workload("mlp", narrow, _images(50), 2000, "momentum", 2, 4, max_batch=1)
    for batch, hidden in ((100, 128), (20, 128), (100, 64)):
        yield Workload("rnn", {"hidden": hidden}, _lists(batch), 60 * batch, "adam", 4, 4, max_batch=1)
    for keys, at_once, examples in ((64, 16, 300), (16, 4, 60), (1, 1, 4)):
        for hidden in (128, 32):
            sizes = {"embedding": hidden, "hidden": hidden}
            yield Workload("tree_lstm", sizes, trees, examples, "adam", 500, keys, at_once)
    for keys, at_once, examples in ((64, 16, 300), (32, 8, 100), (4, 1, 16)):
        for hidden in (100, 20):
            graph = {"hidden": hidden, "steps": 4}
            yield Workload("ggsnn", graph, molecules, examples, "adam", 64, keys, at_once)
        small = {"hidden": 5, "steps": 2, "readout": "node_selection"}
        yield Workload("ggsnn", small, _questions, 2 * examples, "adam", 50, keys, at_once)
