"""Small clusters on the simulated clock, on shapes alone: what a run takes, and what each device did when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ampsim.data.dataset import SPLITS, DataSpec, Instance, Messages, Split
from ampsim.ir.builder import GraphBuilder
from ampsim.ir.graph import Graph
from ampsim.ops import OPS, ArraySpec, Cost, Op, ParameterSpec
from ampsim.ops.linear import zeros
from ampsim.ops.table import same_shape
from ampsim.runtime.cluster import Interval, PassTiming
from ampsim.runtime.controller_core import ControllerCore, Plan
from ampsim.runtime.simulated_cluster import SimulatedCluster
from ampsim.runtime.simulation import Simulation
from ampsim.runtime.spans import SPAN
from ampsim.runtime.spec import Choice, ClusterSpec
from ampsim.runtime.statistics import Edges
from ampsim.sim.network import Network, NetworkPlan
from ampsim.sim.profile import DeviceProfile


def profile(overhead: float = 0.0, compute: float = inf, memory_bandwidth: float = inf) -> DeviceProfile:
    """A kind of device for a test; what is not given is free."""
    return DeviceProfile("test", "a test's", compute, memory_bandwidth, inf, overhead)


class InMemory:
    """A data set of the same instances in each split that is named, and nothing in the others."""

    def __init__(self, spec: DataSpec, **splits: Sequence[Instance]) -> None:
        self.spec = spec
        self._splits = {split: list(splits.get(split, ())) for split in SPLITS}
        self.splits: Mapping[str, Split] = {
            split: Split(len(some), sum(instance.size for instance in some)) for split, some in self._splits.items()
        }

    def instances(self, split: str, epoch: int) -> Any:
        return iter(self._splits[split])


@dataclass
class Simulated:
    """A run of one epoch: `timings` by split, `spans` and utilization lines by device, and the network as it is left.

    `spans` has records of node, direction, start and end in s.
    """

    graph: Graph
    placement: Mapping[str, str]
    timings: Mapping[str, PassTiming]
    intervals: Mapping[str, list[Interval]]
    network: Network
    ended_s: float
    messages_handled: int
    edges: Edges
    spans: Mapping[str, NDArray[np.void]] = field(default_factory=dict)

    def time_s(self, split: str = "train") -> float:
        """How long a pass took."""
        return self.timings[split].duration_s

    def busy_s(self, device: str) -> float:
        """The sum over the lines of a device's utilization log."""
        return sum(interval.times["busy_s"] for interval in self.intervals[device])


def simulate(
    graph: Graph,
    placement: Mapping[str, str],
    profiles: Mapping[str, DeviceProfile],
    data: InMemory,
    *,
    keys: int = 10**6,
    latency: float = 0.0,
    bandwidth: float = inf,
    topology: str = "full",
    frequency: int = 1,
    optimizer: Choice = Choice("sgd", {"learning_rate": 0.1}),  # noqa: B008 (it is frozen)
    max_batch: int = 1,
    at_once: int = 1,
    log_interval_s: float = 1e9,
    **network: Any,
) -> Simulated:
    """One epoch on the simulated clock, on shapes alone; nothing costs anything that is not given."""
    plan = NetworkPlan(topology, list(profiles), latency, bandwidth, **network)  # type: ignore[arg-type]
    spec = ClusterSpec(
        seed=0,
        model=Choice("a test's"),
        data=data.spec,
        optimizer=optimizer,
        min_update_frequency=frequency,
        learning_rate_decay=1.0,
        max_batch=max_batch,
        placement={node: placement[node] for node in graph.nodes},
        import_paths=(),
        log_interval_s=log_interval_s,
        fingerprint=graph.fingerprint,
        wave=min(at_once, keys),
    )
    links = Network(plan)
    names = {name: name for name in profiles}
    cluster = SimulatedCluster(spec, graph, profiles, names, links, arithmetic=False)
    controller = ControllerCore(Plan(1, keys, {}, at_once), graph, spec.placement, data)
    simulation = Simulation(controller, cluster, ahead=10**9, may_stop_early=False)
    while simulation.advance(0, 60.0):
        pass
    intervals: dict[str, list[Interval]] = {name: [] for name in profiles}
    rest = simulation.rest()
    for interval in rest.intervals:
        intervals[interval.device].append(interval)
    timings = dict(zip(("train", "validation", "test"), simulation.timings, strict=True))
    told = intervals, links, simulation.now_s, cluster.messages_handled, rest.edges
    run = Simulated(graph, placement, timings, *told)
    run.spans = {name: np.concatenate([_spans(one) for one in lines]) for name, lines in intervals.items()}
    return run


def _spans(interval: Interval) -> NDArray[np.void]:
    assert interval.spans is not None
    return interval.spans.view(SPAN)


def stage_op(forward: float = 1.0, backward: float = 1.0) -> Op:
    """An op that passes its input on, and for each row does so many FLOP each way; updates of it cost nothing."""

    def run(parameters: Any, x: Any) -> Any:
        return (x,), ()

    def back(parameters: Any, saved: Any, gradients: Any, wanted: Any) -> Any:
        return gradients, {}

    def cost(rows: int, x: ArraySpec) -> tuple[Cost, Cost]:
        return Cost(forward * rows), Cost(backward * rows)

    return Op("stage", run, back, same_shape, cost, lambda x: {"nothing": ParameterSpec((0,), zeros)})


FREE_LOSS = replace(OPS["softmax_cross_entropy"], name="free_loss", cost=lambda rows, *inputs: (Cost(), Cost()))
"""A loss that costs nothing."""


def chain_graph(stages: int, op: Op | str, width: int = 4, **options: Any) -> Graph:
    """Nodes s1, s2, ... and loss; labels are classes."""
    builder = GraphBuilder({"x": ArraySpec((width,)), "label": ArraySpec((), "int64")})
    wire = builder.input("x")
    for number in range(1, stages + 1):
        wire = builder.transform(f"s{number}", op, wire, **options)
    builder.loss("loss", FREE_LOSS, wire, builder.input("label"))
    return builder.graph()


def minibatch(rows: int = 1, width: int = 4) -> Instance:
    """An instance of a chain."""
    x, label = np.zeros((rows, width), np.float32), np.zeros(rows, np.int64)
    return Instance({"x": Messages((x,)), "label": Messages((label,))}, size=rows)


def chain(
    profiles: Sequence[DeviceProfile],
    *,
    m: int,
    op: Op | str | None = None,
    op_options: Mapping[str, Any] | None = None,
    rows: int = 1,
    width: int = 4,
    loss_apart: bool = False,
    **options: Any,
) -> Simulated:
    """A pipeline: stage s1 on d1, s2 on d2, ... of these kinds, and a loss that costs nothing on the last of them.

    By default a stage does one FLOP a row each way. `m` instances in the training pass and in the validation pass, of
    `rows` rows each. If the loss is apart, it is on a device of its own, `loss`, which takes no time.
    """
    graph = chain_graph(len(profiles), op or stage_op(), width, **(op_options or {}))
    devices = {f"d{number}": kind for number, kind in enumerate(profiles, start=1)}
    if loss_apart:
        devices["loss"] = profile()
    placement = dict(zip(graph.nodes, [*list(devices)[: len(profiles)], list(devices)[-1]], strict=True))
    instances = [minibatch(rows, width)] * m
    data = InMemory(DataSpec({}), train=instances, validation=instances)
    return simulate(graph, placement, devices, data, **options)


class _Clock:
    """The functions above by name: what a test file gets of them."""

    InMemory = InMemory
    profile = staticmethod(profile)
    simulate = staticmethod(simulate)
    stage_op = staticmethod(stage_op)
    chain_graph = staticmethod(chain_graph)
    minibatch = staticmethod(minibatch)
    chain = staticmethod(chain)
    free_loss = FREE_LOSS


@pytest.fixture(scope="session")
def clock() -> type[_Clock]:
    """Makes small clusters and runs them on the simulated clock."""
    return _Clock
