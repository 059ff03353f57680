"""What is trained to time a machine: the built-in models, at several sizes, with few and with many messages a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ampsim.calibration.cluster import predict_edges, time_cluster
from ampsim.calibration.fit import ControllerSample, HandedInRun, Sample
from ampsim.calibration.replay import replay, timed
from ampsim.calibration.synthetic import molecules, trees
from ampsim.data.babi15 import Babi15
from ampsim.data.dataset import Dataset
from ampsim.data.list_reduction import ListReduction
from ampsim.data.mnist import Mnist
from ampsim.ir.graph import Graph
from ampsim.models import BUILT_IN
from ampsim.runtime.controller_core import Plan
from ampsim.runtime.spec import Choice, ClusterSpec
from ampsim.runtime.statistics import Edges
from ampsim.sim.placement import balance
from ampsim.sim.profile import DeviceProfile

TOGETHER = {"edge_maps": "together"}

TYPICAL = DeviceProfile("typical", "", compute=1e11, memory_bandwidth=2e10, memory=1e9, overhead=4e-5)
"""By what a workload's nodes are spread over two devices: roughly will do."""


@dataclass(frozen=True)
class Timed:
    """What a workload has told: batches, the controller's events, and each device's times of sending and receiving.

    `edges` says how long packets were on the way.
    """

    samples: list[Sample]
    controls: list[ControllerSample]
    send: list[HandedInRun]
    receive: list[HandedInRun]
    edges: Edges


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

    def __str__(self) -> str:
        options = ", ".join(f"{name} {value}" for name, value in self.options.items())
        return f"{self.model} ({options}), {self.max_active_keys} in flight"

    def time(self) -> Timed:
        """Train on two device processes. Raises RunFailed and Interrupted."""
        spec, graph, dataset, plan = self._training()
        run = time_cluster(spec, graph, dataset, plan)
        timed_run = Timed([], run.controls, [], [], run.edges)
        for device, work in replay(spec, graph, dataset, plan, run).items():
            timed_run.samples.extend(timed(work, run, device))
            for handed, activity, samples in (
                (work.sent, "send_s", timed_run.send),
                (work.received, "receive_s", timed_run.receive),
            ):
                samples.append(HandedInRun(work.turns, handed, run.spent_s(device, activity)))
        return timed_run

    def predict(self, profile: DeviceProfile, network: tuple[float, float]) -> Edges:
        """How long packets would be on the way by these figures (`network`: latency in s, bandwidth in byte/s)."""
        return predict_edges(*self._training(), profile, network)

    def _training(self) -> tuple[ClusterSpec, Graph, Dataset, Plan]:
        dataset = self.data(self.examples)
        graph: Graph = BUILT_IN[self.model](dataset.spec, **self.options)
        return self._spec(graph, dataset), graph, dataset, self._plan

    @property
    def _plan(self) -> Plan:
        return Plan(1, self.max_active_keys, inject_at_once=self.inject_at_once)

    def _spec(self, graph: Graph, dataset: Dataset) -> ClusterSpec:
        costs = graph.costs(dataset.spec.rows)
        work_s = [TYPICAL.duration_s(forward) + TYPICAL.duration_s(backward) for forward, backward in costs.values()]
        hosts = balance([work_s, work_s])
        return ClusterSpec(
            seed=0,
            model=Choice(self.model, self.options),
            data=dataset.spec,
            optimizer=Choice(self.optimizer, {"learning_rate": 0.001}),
            min_update_frequency=self.min_update_frequency,
            learning_rate_decay=1.0,
            max_batch=self.max_batch,
            placement={node: f"d{host}" for node, host in zip(costs, hosts, strict=True)},
            import_paths=(),
            log_interval_s=1.0,
            fingerprint=graph.fingerprint,
            records=True,
            wave=self._plan.wave,
        )


def _images(batch: int) -> Callable[[int], Dataset]:
    return lambda examples: Mnist(0, batch=batch, limit=examples)


def _lists(batch: int) -> Callable[[int], Dataset]:
    return lambda examples: ListReduction(0, batch=batch, train=examples, validation=examples // 4 or 1, test=1)


def _questions(examples: int) -> Dataset:
    return Babi15(0, limit=examples)


def workloads() -> Iterator[Workload]:
    """All of them: each op at several sizes, alone and many together, with and without updates."""
    wide, narrow = {"hidden": [784, 784, 784]}, {"hidden": [256, 128]}
    for often in (1, 4):
        yield Workload("mlp", wide, _images(100), 6000, "sgd", often, 4, max_batch=1)
    yield Workload("mlp", wide, _images(20), 1000, "sgd", 1, 4, max_batch=1)
    yield Workload("mlp", narrow, _images(50), 2000, "momentum", 2, 4, max_batch=1)
    for batch, hidden in ((100, 128), (20, 128), (100, 64)):
        yield Workload("rnn", {"hidden": hidden}, _lists(batch), 60 * batch, "adam", 4, 4, max_batch=1)
    yield Workload("rnn", {"hidden": 128, "cell": "together"}, _lists(100), 6000, "adam", 4, 4, max_batch=1)
    for keys, at_once, examples in ((75, 25, 400), (8, 2, 40)):
        for hidden in (128, 32):
            sizes = {"embedding": hidden, "hidden": hidden}
            yield Workload("tree_lstm", sizes, trees, examples, "adam", 500, keys, at_once)
    for keys, at_once, examples in ((60, 20, 400), (8, 2, 50)):
        for hidden in (100, 20):
            graph = {"hidden": hidden, "steps": 4}
            yield Workload("ggsnn", graph, molecules, examples, "adam", 64, keys, at_once)
    yield Workload("ggsnn", {"hidden": 100, "steps": 4} | TOGETHER, molecules, 400, "adam", 64, 60, 20)
    small = {"hidden": 5, "steps": 2, "readout": "node_selection"}
    for keys, at_once, examples in ((100, 20, 2400), (4, 1, 50)):
        yield Workload("ggsnn", small, _questions, examples, "adam", 50, keys, at_once)
        yield Workload("ggsnn", small | TOGETHER, _questions, examples // 2, "adam", 50, keys, at_once)


def quick_workloads() -> Iterator[Workload]:
    """One of each model."""
    yield Workload("mlp", {"hidden": [256, 128]}, _images(50), 500, "sgd", 1, 4, max_batch=1)
    yield Workload("rnn", {"hidden": 64}, _lists(50), 500, "adam", 4, 4, max_batch=1)
    yield Workload("tree_lstm", {"embedding": 64, "hidden": 64}, trees, 40, "adam", 100, 16, 4)
    yield Workload("ggsnn", {"hidden": 50, "steps": 3}, molecules, 60, "adam", 32, 16, 4)
    small = {"hidden": 5, "steps": 2, "readout": "node_selection"}
    yield Workload("ggsnn", small, _questions, 60, "adam", 50, 16, 4)
