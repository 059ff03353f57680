from __future__ import annotations

import sys
from dataclasses import FrozenInstanceError, replace

import msgpack
import pytest

from ampsim.data import DATASETS
from ampsim.models import find_model
from ampsim.runtime.spec import Choice, ClusterSpec

MLP = find_model("mlp")(DATASETS["mnist"](0).spec, hidden=[7])
SPEC = ClusterSpec(
    seed=3,
    model=Choice("mlp", {"hidden": [7]}),
    data=DATASETS["mnist"](0, batch=50, limit=200).spec,
    optimizer=Choice("momentum", {"learning_rate": 0.25, "momentum": 0.5}),
    min_update_frequency=2,
    learning_rate_decay=0.5,
    max_batch=4,
    placement={"linear1": "d0", "relu1": "d0", "linear2": "d1", "loss": "d1"},
    import_paths=("/somewhere", "/else"),
    log_interval_s=0.5,
    fingerprint=MLP.fingerprint,
)

FICKLE = """
from itertools import count
from ampsim.models import find_model
calls = count(5)
def build(data):
    return find_model("mlp")(data, hidden=[next(calls)])
def steady(data, *, units=5):
    return find_model("mlp")(data, hidden=[units])
"""


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A folder with a module of models; what importing leaves behind is undone."""
    (tmp_path / "fickle_models.py").write_text(FICKLE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield str(tmp_path)
    sys.modules.pop("fickle_models", None)


def of_user(models, name, fingerprint, **options):
    return replace(
        SPEC, model=Choice(f"fickle_models:{name}", options), import_paths=(models,), fingerprint=fingerprint
    )


def test_a_spec_comes_back_from_a_message_as_it_went_in():
    plain = msgpack.unpackb(msgpack.packb(SPEC.to_wire()))
    again = ClusterSpec.from_wire(plain)
    assert again == SPEC
    assert isinstance(again.model, Choice)
    assert isinstance(again.import_paths, tuple)


def test_a_spec_that_travelled_builds_the_same_graph():
    again = ClusterSpec.from_wire(msgpack.unpackb(msgpack.packb(SPEC.to_wire())))
    graph = replace(again, import_paths=()).build_graph()
    assert list(graph.nodes) == list(MLP.nodes)
    assert graph.fingerprint == SPEC.fingerprint


def test_a_spec_says_how_nodes_are_to_train():
    setup = SPEC.setup()
    assert (setup.seed, setup.optimizer.name, setup.min_update_frequency) == (3, "momentum", 2)


def test_a_model_of_the_users_is_found_on_the_import_paths(models):
    graph = of_user(models, "steady", MLP.fingerprint, units=7).build_graph()
    assert graph.fingerprint == MLP.fingerprint


def test_import_paths_are_added_once(models):
    spec = of_user(models, "steady", MLP.fingerprint, units=7)
    for _ in range(2):
        spec.build_graph()
    assert sys.path.count(models) == 1


def test_a_builder_that_builds_another_graph_each_time_is_refused(models):
    sys.path.insert(0, models)
    first = find_model("fickle_models:build")(DATASETS["mnist"](0).spec).fingerprint
    with pytest.raises(ValueError, match="model fickle_models:build built another graph here than in the controller"):
        of_user(models, "build", first).build_graph()


def test_options_that_differ_from_the_controllers_are_refused():
    with pytest.raises(ValueError, match="built another graph"):
        replace(SPEC, import_paths=(), model=Choice("mlp", {"hidden": [8]})).build_graph()


def test_a_spec_stays_as_it_is():
    with pytest.raises(FrozenInstanceError):
        SPEC.seed = 1
