from __future__ import annotations

import sys
from itertools import pairwise

import numpy as np
import pytest

from ampsim.data.dataset import DataSpec
from ampsim.errors import GraphError
from ampsim.ir.batch import Batch, Direction
from ampsim.ir.graph import CONTROLLER, Port
from ampsim.ir.node import TrainingSetup
from ampsim.ir.structure import StructureTable
from ampsim.models import BUILT_IN, find_model
from ampsim.ops import ArraySpec
from ampsim.ops.optimizers import sgd

DATA = DataSpec({"image": ArraySpec((784,)), "label": ArraySpec((), "int64")}, classes=10, rows=100)


def test_the_perceptron_of_the_paper_has_three_hidden_layers_of_784_units():
    graph = find_model("mlp")(DATA)
    assert list(graph.nodes) == ["linear1", "relu1", "linear2", "relu2", "linear3", "relu3", "linear4", "loss"]
    assert [str(graph.nodes[f"linear{n}"].outputs[0][0]) for n in (1, 2, 3, 4)] == [
        "float32[rows, 784]",
        "float32[rows, 784]",
        "float32[rows, 784]",
        "float32[rows, 10]",
    ]


@pytest.mark.parametrize("hidden", [[5], [7, 3], [4, 4, 4, 4]])
def test_a_perceptron_has_the_hidden_layers_asked_for(hidden):
    graph = find_model("mlp")(DATA, hidden=hidden)
    widths = [784, *hidden, 10]
    linears = [spec for name, spec in graph.nodes.items() if name.startswith("linear")]
    assert [(spec.inputs[0][0].shape, spec.outputs[0][0].shape) for spec in linears] == [
        ((inputs,), (units,)) for inputs, units in pairwise(widths)
    ]


def test_a_perceptron_is_a_chain_from_the_image_to_the_loss():
    edges = find_model("mlp")(DATA, hidden=[5]).edges
    chain = [Port(CONTROLLER, 0), Port("linear1", 0), Port("relu1", 0), Port("linear2", 0), Port("loss", 0)]
    assert edges == {**dict(pairwise(chain)), Port(CONTROLLER, 1): Port("loss", 1)}


def test_a_layer_in_blocks_is_the_same_layer():
    whole, cut = (_first_parameters(find_model("mlp")(DATA, hidden=hidden)) for hidden in ([12, 7, 5], [[8, 4], 7, 5]))
    for layer, stack in (("linear1", np.hstack), ("linear2", np.vstack)):
        blocks = [cut[f"{layer}_{number}.weight"] for number in (0, 1)]
        np.testing.assert_array_equal(stack(blocks), whole[f"{layer}.weight"])
    assert {"linear2_0.bias"} == {name for name in cut if name.startswith("linear2") and name.endswith("bias")}
    assert all((cut[name] == whole[name]).all() for name in cut.keys() & whole.keys())
    assert sum(value.size for value in cut.values()) == sum(value.size for value in whole.values())


def test_a_layer_in_one_block_is_the_plain_layer():
    mlp = find_model("mlp")
    assert mlp(DATA, hidden=[[5], [4]]).fingerprint == mlp(DATA, hidden=[5, 4]).fingerprint


@pytest.mark.parametrize("hidden", [[[8, 4], 7, 5], [12, [3, 3, 1], 5], [12, 7, [2, 3]], [[8, 4], [3, 4], [2, 3]]])
def test_a_perceptron_in_blocks_learns_what_the_whole_one_learns(hidden):
    rows = np.random.default_rng(0)
    whole = [sum(units) if isinstance(units, list) else units for units in hidden]
    batches = [(rows.random((6, 784), np.float32), rows.integers(0, 10, 6)) for _ in range(8)]
    losses = [_losses(find_model("mlp")(DATA, hidden=one), batches) for one in (whole, hidden)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    assert losses[0][-1] != losses[0][0]


def _setup():
    return TrainingSetup(0, sgd(learning_rate=0.05))


def _first_parameters(graph):
    nodes = {name: spec.build(_setup(), StructureTable()) for name, spec in graph.nodes.items()}
    return {
        f"{name}.{key}": value
        for name, node in nodes.items()
        if node.parameters
        for key, value in node.parameters.values.items()
    }


def _losses(graph, batches):
    """The loss of each batch, one after the other: each goes home before the next one comes."""
    nodes = {name: spec.build(_setup(), StructureTable()) for name, spec in graph.nodes.items()}
    losses = []
    for number, arrays in enumerate(batches):
        states, count = np.array([[number]]), np.array([len(arrays[0])])
        waiting = [
            (graph.target(CONTROLLER, Direction.FORWARD, port), Batch(states, count, (array,)))
            for port, array in enumerate(arrays)
        ]
        home = 0
        while waiting:
            target, batch = waiting.pop(0)
            if target.node == CONTROLLER:
                home += 1
                continue
            answer = nodes[target.node].answer(target.direction, target.port, batch)
            if answer.report is not None:
                losses.append(answer.report.payload[0][0, 0])
            waiting += [(graph.target(target.node, one.direction, one.port), one.batch) for one in answer.emissions]
        assert home == len(arrays)
    return np.array(losses)


def test_a_perceptron_reports_loss_and_accuracy():
    assert find_model("mlp")(DATA, hidden=[5]).metrics == ("loss", "accuracy")


def test_a_width_below_one_is_a_problem_of_the_graph():
    with pytest.raises(GraphError, match=r"linear2 \(linear\): .*not 5 and 0"):
        find_model("mlp")(DATA, hidden=[5, 0])


def test_data_without_images_are_a_problem_of_the_graph():
    with pytest.raises(GraphError, match="the data have no input 'image'"):
        find_model("mlp")(DataSpec({"words": ArraySpec((3,)), "label": ArraySpec((), "int64")}, classes=2))


def test_building_twice_gives_equal_graphs():
    assert find_model("mlp")(DATA).fingerprint == find_model("mlp")(DATA, hidden=[784, 784, 784]).fingerprint


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "models_of_mine.py").write_text("def build(data):\n    return data\n")
    (tmp_path / "models_with_a_slip.py").write_text("import no_such_module_anywhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("models_of_mine", "models_with_a_slip"):
        sys.modules.pop(name, None)


def test_a_built_in_model_is_found_by_its_name():
    assert all(find_model(name) is build for name, build in BUILT_IN.items())


def test_an_unknown_name_is_a_key_error():
    with pytest.raises(KeyError, match="mpl"):
        find_model("mpl")


def test_a_model_of_the_users_is_found_by_module_and_function(module):
    assert find_model("models_of_mine:build")("data") == "data"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("models_of_mine:biuld", AttributeError),
        ("models_of_mien:build", ModuleNotFoundError),
        ("models_with_a_slip:build", ModuleNotFoundError),
    ],
)
def test_a_model_that_cannot_be_imported_raises_what_importing_raises(module, name, error):
    with pytest.raises(error):
        find_model(name)
