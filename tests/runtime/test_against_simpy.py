"""The simulated clock against a second implementation of the same rules, which shares no code with it (simpy_model)."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampsim.data.dataset import DataSpec, Instance, Messages
from ampsim.ir.builder import GraphBuilder
from ampsim.ops import OPS, ArraySpec, Cost, Op, ParameterSpec
from ampsim.ops.linear import zeros
from ampsim.runtime.spec import Choice
from tests.runtime.simpy_model import CONTROLLER, FORK, LOSS, Case, Kind, Model, draw_case


def real_graph(case: Case) -> Any:
    """The same model as a graph of IR nodes."""
    arrays = {name: ArraySpec((width,)) for name, width in case.inputs.items()}
    builder = GraphBuilder({**arrays, "label": ArraySpec((), "int64")})
    wires = {(CONTROLLER, index): builder.input(name) for index, name in enumerate([*arrays, "label"])}

    def op(kind: Kind) -> Op:
        def cost(rows: int, *inputs: ArraySpec) -> tuple[Cost, Cost]:
            (flops, size), (flops_back, size_back) = kind.forward, kind.backward
            weights = kind.values
            return (
                Cost(flops * rows, size * rows + weights),
                Cost(flops_back * rows, 0.0, size_back * rows + weights),
            )

        return Op(
            kind.kind,
            lambda parameters, *inputs: (inputs[:1], ()),
            lambda parameters, saved, gradients, wanted: ((gradients[0],) * len(wanted), {}),
            lambda *inputs: inputs[:1],
            cost,
            lambda *inputs: {"weight": ParameterSpec((kind.values,), zeros)} if kind.values else {},
        )

    for name, kind in case.nodes.items():
        read = [wires[wire] for wire in kind.inputs]
        if kind.kind == FORK:
            for port, wire in enumerate(builder.bcast(name, *read, 2)):
                wires[name, port] = wire
        elif kind.kind == LOSS:
            loss = replace(OPS["softmax_cross_entropy"], name="loss", cost=op(kind).cost)
            builder.loss(name, loss, *read)
        else:
            wires[name, 0] = builder.transform(name, op(kind), *read)
    return builder.graph()


def simulated(clock: Any, case: Case) -> Any:
    """The case on the simulated clock."""
    instances = []
    for rows in case.rows:
        arrays = {name: Messages((np.zeros((rows, width), np.float32),)) for name, width in case.inputs.items()}
        instances.append(Instance({**arrays, "label": Messages((np.zeros(rows, np.int64),))}, size=rows))
    data = clock.InMemory(DataSpec({}), train=instances, validation=instances)
    profiles = {name: clock.profile(*figures) for name, figures in case.devices.items()}
    return clock.simulate(
        real_graph(case),
        case.placement,
        profiles,
        data,
        keys=case.keys,
        at_once=case.at_once,
        frequency=case.frequency,
        optimizer=Choice("sgd", {"learning_rate": 0.1}),
        topology=case.topology,
        latency=case.latency,
        bandwidth=case.bandwidth,
    )


def compare(clock: Any, case: Case) -> None:
    """Both find the same turns at the same times, and the same passes."""
    found = simulated(clock, case)
    train, validation = Model(case, training=True).run(), Model(case, training=False).run()
    names = list(found.graph.nodes)
    for device in case.devices:
        expected = [
            *train.turns[device],
            *((name, way, start + train.duration_s) for name, way, start in validation.turns[device]),
        ]
        spans = found.spans[device]
        assert [(names[span["node"]], span["direction"]) for span in spans] == [turn[:2] for turn in expected]
        assert spans["start_s"].tolist() == pytest.approx([turn[2] for turn in expected], rel=1e-9)
        busy_s = train.busy_s[device] + validation.busy_s[device]
        assert found.busy_s(device) == pytest.approx(busy_s, rel=1e-9)
    assert found.time_s() == pytest.approx(train.duration_s, rel=1e-9)
    assert found.time_s("validation") == pytest.approx(validation.duration_s, rel=1e-9)


@settings(max_examples=150)
@given(st.integers(0, 2**32))
def test_every_turn_of_a_random_cluster_comes_when_simpy_has_it(clock, seed):
    compare(clock, draw_case(Random(seed)))
