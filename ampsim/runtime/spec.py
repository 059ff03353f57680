"""What every process of a run must know, in plain types: it travels to each device in the handshake."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from ampsim.data.dataset import DataSpec
from ampsim.ir.graph import CONTROLLER, Graph
from ampsim.ir.node import TrainingSetup
from ampsim.ir.replicas import replicated
from ampsim.models import find_model
from ampsim.ops.optimizers import OPTIMIZERS
from ampsim.ops.table import ArraySpec


@dataclass(frozen=True)
class Choice:
    """Something chosen by name, with its options."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ClusterSpec:
    """Model, data, training and placement, from which any process builds the same graph.

    `placement` maps nodes to devices, `import_paths` are searched for models of the user's, `fingerprint` is that of
    the controller's graph, `log_interval_s` the length of a line of the utilization log, `numerics` the config's. A
    device that `follows` is given its order of work; one that `records` tells the order that it has chosen, and one
    that `measures` when it did what. So many instances as `wave` are injected together (see runtime/queues.py), and at
    most `instances_per_update` of them make an update, if it is not 0.
    """

    seed: int
    model: Choice
    data: DataSpec
    optimizer: Choice
    min_update_frequency: int
    learning_rate_decay: float
    max_batch: int
    placement: Mapping[str, str]
    import_paths: tuple[str, ...]
    log_interval_s: float
    fingerprint: str
    follows: bool = False
    records: bool = False
    measures: bool = True
    numerics: str = "native"
    wave: int = 1
    replicas: int = 1
    share_gradients: bool = False
    instances_per_update: int = 0

    def build_graph(self) -> Graph:
        """The run's graph. Raises ValueError if it comes out different from the controller's."""
        sys.path[:0] = [path for path in self.import_paths if path not in sys.path]
        graph = find_model(self.model.name)(self.data, **self.model.options)
        graph = replicated(graph, self.replicas, self.share_gradients)
        if graph.fingerprint != self.fingerprint:
            raise ValueError(
                f"model {self.model.name} built another graph here than in the controller: "
                "it must depend on nothing but the data and its options"
            )
        return graph

    def setup(self, arithmetic: bool = True) -> TrainingSetup:
        """What nodes must know of the training."""
        optimizer = OPTIMIZERS[self.optimizer.name](**self.optimizer.options)
        rules = self.min_update_frequency, self.learning_rate_decay
        return TrainingSetup(self.seed, optimizer, *rules, arithmetic, self.instances_per_update)

    @cached_property
    def processes(self) -> Mapping[str, int]:
        """Whoever sends messages, numbered: the controller, and the devices that host nodes, in the nodes' order."""
        return {name: number for number, name in enumerate((CONTROLLER, *dict.fromkeys(self.placement.values())))}

    @cached_property
    def hosted(self) -> Mapping[str, Sequence[str]]:
        """The nodes of each device that has any."""
        nodes: dict[str, list[str]] = {}
        for node, device in self.placement.items():
            nodes.setdefault(device, []).append(node)
        return nodes

    def to_wire(self) -> dict[str, Any]:
        """Plain types, for a message."""
        return asdict(self)

    @classmethod
    def from_wire(cls, plain: Mapping[str, Any]) -> ClusterSpec:
        """The spec that `to_wire` wrote."""
        values = dict(plain)
        for name in ("model", "optimizer"):
            values[name] = Choice(**values[name])
        inputs = {
            name: ArraySpec(tuple(spec["shape"]), spec["dtype"]) for name, spec in values["data"]["inputs"].items()
        }
        values["data"] = DataSpec(**{**values["data"], "inputs": inputs})
        return cls(**{**values, "import_paths": tuple(values["import_paths"])})
