from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ampsim.calibration import calibrate
from ampsim.calibration.synthetic import molecules, trees
from ampsim.calibration.workloads import Workload, quick_workloads, workloads
from ampsim.config.catalogue import read_device
from ampsim.config.load import load
from ampsim.data.dataset import TRAIN
from ampsim.data.qm9 import Qm9
from ampsim.data.sst import Sst
from ampsim.models import BUILT_IN
from ampsim.ops import OPS
from ampsim.ops.table import Cost
from ampsim.sim.rates import kind_of


def small_graphs() -> Workload:
    """The quickest workload: questions as graphs."""
    return list(quick_workloads())[-1]


def test_calibrate_writes_a_kind_and_a_network_that_a_config_may_name(
    command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "quick_workloads", lambda: [small_graphs()])
    code, output, errors = command("calibrate", "--quick", "--out", "here.yaml")
    assert code == 0, errors
    assert "here-network.yaml" in output
    profile = read_device(Path("here.yaml"))
    assert {"linear", "gru", "phi", "group", "adam", "controller"} <= set(profile.rates)
    assert 1e8 < profile.compute < 1e14
    phi = profile.rates["phi"]["forward"]
    assert 0 < phi.duration_s(Cost(), 10, 1, 0) < 1
    assert load("mnist-mlp", ["cluster.devices={count: 2, kind: ./here.yaml}"]).devices["d0"].profile == profile


@pytest.mark.parametrize(("made", "real"), [(trees, Sst), (molecules, Qm9)])
def test_synthetic_data_are_like_the_real_ones(made: Any, real: Any) -> None:
    ours, theirs = made(5), real(0, hydrogens="implicit") if real is Qm9 else real(0)
    assert (ours.spec.inputs, ours.spec.fields) == (theirs.spec.inputs, theirs.spec.fields)
    assert set(ours.spec.sizes) == set(theirs.spec.sizes)
    instances = list(ours.instances(TRAIN, 1))
    assert len(instances) == 5
    again = list(ours.instances(TRAIN, 1))
    for one, other in zip(instances, again, strict=True):
        for name in one.structure:
            assert np.array_equal(one.structure[name], other.structure[name])


@pytest.mark.parametrize("found", [workloads, quick_workloads])
def test_every_op_of_the_built_in_models_is_measured(found: Any) -> None:
    measured, optimizers = set(), set()
    for workload in found():
        graph = BUILT_IN[workload.model](workload.data(4).spec, **workload.options)
        measured |= {kind_of(spec.op_name) for spec in graph.nodes.values()}
        optimizers.add(workload.optimizer)
    assert {"phi", "cond", "isu", "bcast", "group", "flatmap"} <= measured
    assert measured & set(OPS) >= {
        *("linear", "embedding", "relu", "concat", "pad", "select", "sum_rows", "gru", "tree_leaf", "tree_branch"),
        *("gated_sum", "softmax_cross_entropy", "node_selection", "absolute_error"),
    }
    assert {"sgd", "adam"} <= optimizers


def test_each_batch_of_a_workload_is_timed_and_told_apart() -> None:
    timed = small_graphs().time()
    handled, controls = timed.samples, timed.controls
    assert all(sample.seconds > 0 for sample in handled)
    assert {sample.way for sample in handled} == {"forward", "backward", "inference"}
    assert {sample.update.optimizer for sample in handled if sample.update} == {"adam"}
    assert any(sample.rows == 0 for sample in handled), "nodes that route, or wait"
    assert any(sample.messages > 1 for sample in handled)
    assert any(sample.parts > 1 for sample in handled)
    assert any(sample.parts == 0 for sample in handled), "handled in the turn that made them"
    assert any(sample.instances for sample in controls)
    assert any(not sample.instances for sample in controls)
    for samples in (timed.send, timed.receive):
        assert len(samples) == 2, "one for each device"
        assert sum(sample.turns for sample in samples) == sum(one.parts > 0 for one in handled), "turns"
        for sample in samples:
            handed = sample.handed
            assert 0 < handed.bundles <= handed.batches < handed.arrays < handed.size
            assert handed.structures < handed.batches
            assert handed.bundles <= sample.turns * 3
            assert 0 < sample.seconds < 60
