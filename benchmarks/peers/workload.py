"""The five workloads, as both sides train them: the shipped config, how many instances go into one update, how much."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ampsim.config.load import load
from ampsim.data.dataset import Dataset, Instance
from ampsim.ir.node import TrainingSetup
from ampsim.ir.structure import StructureTable
from ampsim.ops.optimizers import sgd


@dataclass(frozen=True)
class Workload:
    """A shipped config, and what a pass over a part of its data is made of.

    `per_update` keys (minibatches, trees, graphs) go into one update on both sides. `option` is the data set's option
    that says how many examples it has. `settings` are what this runtime is given beside: they change what is in flight,
    never what is learnt from. `other` is the shipped config of the same model that trains fastest on two cores:
    in two copies, or with a layer cut in two.
    """

    config: str
    per_update: int
    option: str
    settings: Sequence[str] = ()
    other: str = ""

    def one_update_a_wave(self, config: str) -> list[str]:
        """The `path=value` by which as many waves are in flight as in a config, each of an update's keys."""
        training = load(config).config.training
        waves = training.max_active_keys // training.inject_at_once
        return [
            f"training.inject_at_once={self.per_update}",
            f"training.max_active_keys={waves * self.per_update}",
            "training.instances_per_update=0",
        ]

    def overrides(self, examples: int) -> list[str]:
        """The `path=value` of a run of two passes over so many examples, without a target."""
        sizes = [f"data.{self.option}={examples}"]
        return [*sizes, "training.epochs=2", "training.stop_at={}", "training.learning_rate_decay=1.0"]


WORKLOADS = {
    "mnist": Workload("mnist-mlp-2-devices", 1, "limit", ["cluster.clock=wall"], "mnist-mlp-split"),
    "list-reduction": Workload(
        "list-reduction-rnn", 1, "train", ["training.min_update_frequency=1"], "list-reduction-rnn-2-replicas"
    ),
    # So many trees or graphs make an update: `instances_per_update` of the shipped configs, or `inject_at_once`.
    "sst": Workload("sst-tree-lstm", 25, "limit", [], "sst-tree-lstm-2-replicas"),
    "babi15": Workload("babi15-ggsnn", 20, "limit", [], "babi15-ggsnn-2-replicas"),
    # Where a node has one message a molecule, the shipped config would update in every fourth wave.
    "qm9": Workload("qm9-ggsnn", 20, "limit", ["training.min_update_frequency=20"], "qm9-ggsnn-2-replicas"),
}


class Task:
    """A workload's data, first parameters and hyperparameters: those of the config, which both sides read."""

    def __init__(self, name: str, overrides: Sequence[str]) -> None:
        self.workload = WORKLOADS[name]
        self._experiment = load(self.workload.config, overrides)
        self.config = self._experiment.config
        self.data: Dataset = self._experiment.dataset
        self.sizes = self.data.spec.sizes

    @cached_property
    def parameters(self) -> dict[str, np.ndarray]:
        """What this runtime starts from, by `node.parameter`."""
        # The optimizer is not used: nodes are built for their first values only.
        setup = TrainingSetup(self.config.seed, sgd(learning_rate=1.0))
        nodes = {name: spec.build(setup, StructureTable()) for name, spec in self._experiment.graph.nodes.items()}
        return {
            f"{name}.{key}": value
            for name, node in nodes.items()
            if node.parameters is not None
            for key, value in node.parameters.values.items()
        }

    def updates(self, split: str, epoch: int) -> Iterator[list[Instance]]:
        """The instances of a split in the order of this runtime, in groups of which each makes an update."""
        group: list[Instance] = []
        for instance in self.data.instances(split, epoch):
            group.append(instance)
            if len(group) == self.workload.per_update:
                yield group
                group = []
        if group:
            yield group
