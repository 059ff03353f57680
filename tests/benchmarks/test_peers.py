"""What the benchmarks compare with trains the same models: the same losses, and the same parameters after updates."""

from __future__ import annotations

import ctypes
import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from ampsim.config.load import load
from ampsim.data.dataset import TRAIN
from ampsim.runtime.run import run

PEERS = Path(__file__).parents[2] / "benchmarks" / "peers"
SMALL = {
    "mnist": ["model.hidden=[20, 20, 20]", "data.limit=400"],
    "list-reduction": ["model.hidden=16", "data.train=300"],
    "sst": ["model.hidden=8", "model.embedding=6", "data.limit=6"],
    "babi15": ["data.limit=6"],
    "qm9": ["model.hidden=12", "data.limit=6", "data.validation=5", "data.test=5"],
}
# What this runtime is told so that each instance is an update, before the next one begins: what a plain loop does.
IN_TURN = ["training.max_active_keys=1", "training.inject_at_once=1", "training.min_update_frequency=1"]
EPOCH = ["training.epochs=1", "training.stop_at={}", "cluster.clock=wall"]

# An update of this optimizer is a gradient: rounding stays as small as it is, which Adam's first steps would enlarge.
PLAIN = ["training.optimizer={name: sgd, learning_rate: 0.01}"]


class Silent:
    """Watches a run and says nothing."""

    def started(self, directory):
        pass

    def progress(self, progress):
        pass

    def pass_ended(self, line):
        pass


@pytest.fixture
def peers(monkeypatch, sample):
    """Imports a module of the peers, as their scripts do."""
    monkeypatch.syspath_prepend(str(PEERS))
    return import_module


@pytest.fixture(params=SMALL)
def name(request):
    return request.param


def torch_peer(peers, name, singly=False, optimizer=()):
    pytest.importorskip("torch")
    task = peers("workload").Task(name, [*SMALL[name], *EPOCH, *optimizer])
    return task, peers("torch_train").TorchPeer(name, task, singly)


def trained_here(name, folder, optimizer):
    """The mean training loss and the parameters that a run in process ends with."""
    return trained(import_module("workload").WORKLOADS[name].config, [*SMALL[name], *EPOCH, *optimizer], folder)


def trained(config, overrides, folder):
    path, _ = run(load(config, [*overrides, *IN_TURN]), Silent(), folder / "run", in_process=True)
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    (loss,) = (line["loss"] for line in lines if line["split"] == TRAIN)
    return loss, load_file(path / "parameters.safetensors")


@pytest.mark.parametrize("singly", [False, True])
def test_pytorch_learns_what_this_runtime_learns(peers, name, singly, tmp_path):
    task, peer = torch_peer(peers, name, singly, PLAIN)
    groups = [[instance] for instance in task.data.instances(TRAIN, 1)]
    answers = [peer.train(group)() for group in groups]
    loss, parameters = trained_here(name, tmp_path, PLAIN)
    assert sum(total for total, _, _ in answers) / sum(rows for _, _, rows in answers) == pytest.approx(loss, rel=1e-4)
    assert parameters.keys() == peer.parameters.keys()
    for key, value in parameters.items():
        found, began = peer.parameters[key].detach().numpy(), task.parameters[key]
        assert np.abs(found - began).max() > 0, key
        np.testing.assert_allclose(found - began, value - began, rtol=0, atol=1e-6 + 1e-3 * np.abs(value - began).max())


def test_the_perceptron_with_a_layer_cut_in_two_is_the_same_model(peers, tmp_path):
    workload = peers("workload").WORKLOADS["mnist"]
    limit = ["data.limit=500", *EPOCH]
    whole, cut = (trained(one, limit, tmp_path / one) for one in (workload.config, workload.other))
    assert cut[0] == pytest.approx(whole[0], rel=1e-5)
    assert cut[1].keys() > {"linear1_0.weight", "linear1_1.weight"}
    assert sum(value.size for value in cut[1].values()) == sum(value.size for value in whole[1].values())


def test_adam_is_the_same_adam(peers, tmp_path):
    adam = ["training.optimizer={name: adam, learning_rate: 0.01, beta1: 0.8, beta2: 0.99, epsilon: 0.001}"]
    task, peer = torch_peer(peers, "babi15", optimizer=adam)
    for instance in task.data.instances(TRAIN, 1):
        peer.train([instance])
    _, parameters = trained_here("babi15", tmp_path, adam)
    for key, value in parameters.items():
        np.testing.assert_allclose(peer.parameters[key].detach().numpy(), value, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["sst", "babi15", "qm9"])
def test_the_loss_of_a_batch_is_that_of_its_instances_together(peers, name):
    task, peer = torch_peer(peers, name)
    instances = list(task.data.instances(TRAIN, 1))
    together, alone = peer.model.batched(instances), list(peer.model.singly(instances))
    expected = sum(float(loss.total) for loss in alone)
    assert float(together.total) == pytest.approx(expected, rel=1e-5)
    assert together.rows == sum(loss.rows for loss in alone)
    assert float(together.metric) == pytest.approx(sum(float(loss.metric) for loss in alone), rel=1e-5)


@pytest.mark.parametrize("name", ["babi15", "qm9"])
def test_edges_by_type_and_all_types_at_once_bring_the_same(peers, name):
    task, peer = torch_peer(peers, name)
    torch = import_module("torch")
    graphs = peers("batching").disjoint_graph(list(task.data.instances(TRAIN, 1)), peer.model.types)
    h = torch.randn(len(graphs.annotation), peer.model.units)
    one, other = peer.model._type_by_type(graphs)(h), peer.model._all_types(graphs)(h)
    assert torch.allclose(one, other, atol=1e-5)


@pytest.fixture
def its_own_arithmetic():
    """DyNet has the whole thread take numbers near zero for zero; after the test they are what they were."""
    yield
    as_usual = ctypes.c_void_p(-1)  # FE_DFL_ENV of <fenv.h>
    ctypes.CDLL(None).fesetenv(as_usual)


@pytest.mark.usefixtures("its_own_arithmetic")
def test_dynet_has_the_same_losses_and_metrics(peers, name):
    pytest.importorskip("torch")
    pytest.importorskip("dynet")
    task, peer = torch_peer(peers, name)
    other = peers("dynet_train").DynetPeer(name, task)
    groups = list(task.updates(TRAIN, 1))
    for group in groups[:3]:
        assert other.evaluate(group)() == pytest.approx(peer.evaluate(group)(), rel=1e-4, abs=1e-5)
    # Adam here updates only the words that occur, so that later losses of trees differ.
    if name != "sst":
        for group in groups[:3]:
            assert other.train(group)()[0] == pytest.approx(peer.train(group)()[0], rel=1e-3)
