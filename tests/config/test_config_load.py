from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from ampsim.config.catalogue import shipped
from ampsim.config.load import load
from ampsim.config.resolved import to_yaml
from ampsim.sim.profile import DeviceProfile

MODEL = """\
from ampsim import DataSpec, Graph, GraphBuilder


def build(data: DataSpec, units: int, *, depth: int = 1) -> Graph:
    graph = GraphBuilder(data.inputs)
    wire = graph.input("image")
    for layer in range(depth):
        wire = graph.transform(f"dense{layer}", "linear", wire, units=units)
    graph.loss("end", "softmax_cross_entropy", wire, graph.input("label"))
    return graph.graph()


def broken(data):
    graph = GraphBuilder(data.inputs)
    graph.transform("a", "linaer", graph.input("imgae"), units=10)
    return graph.graph()


def raises(data):
    return {}["nothing"]


def returns(data):
    return 3


def anything(data, **options):
    return build(data, options["size"])


def takes_nothing():
    pass


def leaves(data):
    raise SystemExit("bye")


number = 3
"""


@pytest.fixture
def own(bench: Any) -> Any:
    """A workbench with a model of the user's own beside the config."""
    bench.write(MODEL, "my_model.py")
    bench.text = """\
name: own
model: {name: "my_model:build", units: 10}
data: {name: mnist}
training: {optimizer: {name: adam}, epochs: 1}
cluster:
  devices: {count: 2, kind: cpu-core}
"""
    return bench


@pytest.mark.parametrize("name", shipped("configs"))
def test_every_shipped_config_loads_by_its_name_from_any_folder(bench: Any, name: str) -> None:
    experiment = load(name)
    assert experiment.config.name == name
    placed = [node for device in experiment.devices.values() for node in device.nodes]
    assert sorted(placed) == sorted(experiment.graph.nodes)
    assert load(f"{name}.yaml").config == experiment.config


def test_the_shipped_main_job_differs_in_its_devices_only() -> None:
    four, two, one = (load(name).config for name in ("mnist-mlp", "mnist-mlp-2-devices", "mnist-mlp-1-device"))
    assert (len(four.cluster.devices), len(two.cluster.devices), len(one.cluster.devices)) == (4, 2, 1)
    for other in (two, one):
        cluster = other.cluster.model_copy(update={"devices": four.cluster.devices})
        assert other.model_copy(update={"name": four.name, "cluster": cluster}) == four


def test_the_main_job_split_for_two_devices_differs_in_its_blocks_devices_and_keys_only() -> None:
    whole, split = (load(name) for name in ("mnist-mlp-2-devices", "mnist-mlp-split"))
    same = {"name": whole.config.name, "model": whole.config.model, "cluster": whole.config.cluster}
    training = split.config.training.model_copy(update={"max_active_keys": whole.config.training.max_active_keys})
    assert split.config.model_copy(update=same | {"training": training}) == whole.config
    devices = {"devices": whole.config.cluster.devices}
    assert split.config.cluster.model_copy(update=devices) == whole.config.cluster
    (blocks, *layers), units = split.config.model.options["hidden"], whole.config.model.options["hidden"]
    assert [sum(blocks), *layers] == units


def test_a_file_wins_over_a_shipped_config_and_a_folder_does_not(bench: Any) -> None:
    bench.write(bench.text.replace("seed: 0", "seed: 7"), "mnist-mlp")
    assert load("mnist-mlp").config.seed == 7
    (bench.folder / "mnist-mlp").unlink()
    (bench.folder / "mnist-mlp").mkdir()
    assert load("mnist-mlp").config.seed == 0


def test_values_are_in_si_units_and_defaults_are_filled_in(bench: Any) -> None:
    config = bench.load(("  network: {topology: switch, latency: 5 us, bandwidth: 10 Gbit/s}\n", "")).config
    assert (config.cluster.network.latency, config.cluster.network.bandwidth) == (5e-6, 1.25e9)
    assert config.cluster.log_interval == 1.0
    assert config.data.options == {"batch": 100, "validation": 10_000, "limit": None}
    assert config.training.stop_at == {"validation.accuracy": 0.97}


def test_a_device_prints_as_its_name_and_kind(bench: Any) -> None:
    device = bench.load().devices["d3"]
    assert str(device) == "d3 (cpu-core)"
    assert isinstance(device.profile, DeviceProfile)


def test_patterns_place_nodes_in_the_order_of_the_graph(bench: Any) -> None:
    experiment = bench.load(
        ("[linear1, relu1]", '["relu*", "linear[1-2]"]'), ("[linear2, relu2]", "[]"), ("[linear3, relu3]", "[linear3]")
    )
    assert experiment.devices["d0"].nodes == ("linear1", "relu1", "linear2", "relu2", "relu3")
    assert experiment.devices["d1"].nodes == ()
    assert experiment.config.cluster.devices["d0"].nodes == ["linear1", "relu1", "linear2", "relu2", "relu3"]


def test_a_count_of_devices_is_balanced_by_cost(bench: Any) -> None:
    devices = bench.load(overrides=("cluster.devices={count: 3, kind: cpu-core}",)).devices
    assert [device.nodes for device in devices.values()] == [
        ("linear1", "relu1"),
        ("linear2", "relu2"),
        ("linear3", "relu3", "linear4", "loss"),
    ]


def test_an_automatic_placement_leaves_pinned_nodes_where_they_are(bench: Any) -> None:
    experiment = bench.load(
        ("[linear1, relu1]", "[loss]"), ("[linear4, loss]", "[]"), overrides=("cluster.placement=auto",)
    )
    placed = {node: name for name, device in experiment.devices.items() for node in device.nodes}
    assert set(placed) == set(experiment.graph.nodes)
    assert (placed["loss"], placed["linear2"], placed["linear3"]) == ("d0", "d1", "d2")
    assert experiment.config.cluster.placement == "explicit"


def test_counted_devices_cannot_be_placed_explicitly(bench: Any) -> None:
    (fault,) = bench.faults(overrides=("cluster.devices={count: 3, kind: cpu-core}", "cluster.placement=explicit"))
    assert "devices that are only counted cannot name their nodes" in fault


def test_devices_that_name_no_nodes_are_one_fault(bench: Any) -> None:
    text = "cluster.devices={a: {kind: cpu-core}, b: {kind: cpu-core}}"
    (fault,) = bench.faults(overrides=(text,))
    assert "no device names its nodes: give each of them 'nodes: [...]', or set placement: auto" in fault


def test_one_file_with_five_faults_of_the_schema_and_of_the_meaning_reports_all_five(bench: Any) -> None:
    found = bench.faults(
        ("  epochs: 10", "  epoch: 10"),
        ("max_batch: 1", "max_batch: 0"),
        ("d1: {kind: cpu-core", "d1: {kind: gpu"),
        ("[linear3, relu3]", "[linear3, relu3, linear1]"),
        ("5 us", "5 parsec"),
    )
    assert [fault.split(": ")[:2] for fault in found] == [
        ["x.yaml:14", "training.epoch"],
        ["x.yaml:18", "cluster.max_batch"],
        ["x.yaml:21", "cluster.devices.d1.kind"],
        ["x.yaml:22", "cluster.devices.d2.nodes.2"],
        ["x.yaml:24", "cluster.network.latency"],
    ]


def test_wrong_names_of_model_data_and_optimizer_hide_no_fault_of_the_placement(bench: Any) -> None:
    found = bench.faults(
        ("name: mlp\n", "name: mpl\n"),
        ("name: mnist\n", "name: minst\n"),
        ("name: sgd", "name: sdg"),
        ("[linear1, relu1]", "[linear1]"),
        ("[linear3, relu3]", "[linear3, relu3, linear2]"),
        ("validation.accuracy", "train.mae"),
    )
    assert [fault.split(": ")[:2] for fault in found] == [
        ["x.yaml:4", "model.name"],
        ["x.yaml:7", "data.name"],
        ["x.yaml:13", "training.optimizer.name"],
        ["x.yaml:15", "training.stop_at.train.mae"],
        ["x.yaml:19", "cluster.devices"],
        ["x.yaml:22", "cluster.devices.d2.nodes.2"],
    ]


def test_a_model_that_cannot_be_guessed_brings_no_faults_of_the_placement_but_those_that_are_sure(bench: Any) -> None:
    found = bench.faults(("name: mlp\n", "name: transformer\n"), ("[linear3, relu3]", "[linear3, relu1, abc]"))
    assert [fault.split(": ")[1] for fault in found] == ["model.name", "cluster.devices.d2.nodes.1"]


def test_a_device_that_cannot_be_read_leaves_no_nodes_homeless(bench: Any) -> None:
    (fault,) = bench.faults(("[linear1, relu1]", "[linear1, 7]"))
    assert "cluster.devices.d0.nodes.1" in fault


def test_a_model_of_ones_own_is_built_with_its_options(own: Any) -> None:
    experiment = own.load()
    assert list(experiment.graph.nodes) == ["dense0", "end"]
    assert experiment.config.model.options == {"units": 10, "depth": 1}
    assert experiment.import_paths == [str(own.folder)]
    assert str(own.folder) not in sys.path


def test_a_model_of_ones_own_is_found_beside_the_config_and_in_the_current_folder(
    own: Any, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = str(own.folder / own.write(own.text))
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    assert load(config).import_paths == [str(own.folder), str(elsewhere)]
    (elsewhere / "own.yaml").write_text(own.text)
    monkeypatch.chdir(own.folder)
    assert list(load(str(elsewhere / "own.yaml")).graph.nodes) == ["dense0", "end"]


def test_modules_of_the_same_name_beside_different_configs_are_kept_apart(own: Any, tmp_path: Path) -> None:
    own.load()
    other = tmp_path / "other"
    other.mkdir()
    (other / "my_model.py").write_text(MODEL.replace("dense", "layer"))
    (other / "own.yaml").write_text(own.text)
    assert list(load(str(other / "own.yaml")).graph.nodes) == ["layer0", "end"]


@pytest.mark.parametrize(
    ("model", "path", "text"),
    [
        ("{name: 'my_model:biuld', units: 10}", "model.name", "there is no function 'biuld' in "),
        ("{name: 'my_model:biuld', units: 10}", "model.name", "(did you mean 'build'? there are: "),
        ("{name: 'my_modle:build', units: 10}", "model.name", "there is no module 'my_modle' in "),
        ("{name: 'my_model.deeper:build'}", "model.name", "there is no module 'my_model.deeper' in "),
        ("{name: 'my_model:number'}", "model.name", "'my_model:number' is not a function: found int"),
        ("{name: 'my_model:takes_nothing'}", "model.name", "must take the data's description (a DataSpec)"),
        ("{name: 'my_model:build'}", "model.units", "missing key 'units'"),
        ("{name: 'my_model:build', unit: 10}", "model.unit", "unknown key 'unit' (did you mean 'units'?"),
        ("{name: 'my_model:build', units: ten}", "model.units", "expected a whole number, found the text 'ten'"),
        ("{name: 'my_model:build', units: 0}", "model", "dense0 (linear): "),
        ("{name: 'my_model:raises'}", "model.name", "my_model:raises raised KeyError: 'nothing' ("),
        ("{name: 'my_model:raises'}", "model.name", "my_model.py:20)"),
        ("{name: 'my_model:returns'}", "model.name", "my_model:returns returned int, expected a Graph"),
        ("{name: 'my_model:takes_nothing2'}", "model.name", "did you mean 'takes_nothing'?"),
        ("{name: 'my_model:anything'}", "model.name", "my_model:anything raised KeyError: 'size'"),
        ("{name: 'my_model:leaves'}", "model.name", "my_model:leaves raised SystemExit: bye"),
    ],
)
def test_a_fault_of_ones_own_model_is_one_line(own: Any, model: str, path: str, text: str) -> None:
    (fault,) = own.faults(('{name: "my_model:build", units: 10}', model))
    assert fault.startswith(f"x.yaml:2: {path}: ")
    assert text in fault


def test_a_function_with_keywords_takes_any_option(own: Any) -> None:
    experiment = own.load(('{name: "my_model:build", units: 10}', "{name: 'my_model:anything', size: 10, other: [1]}"))
    assert experiment.config.model.options == {"size": 10, "other": [1]}


def test_a_default_that_yaml_cannot_say_is_left_to_the_function(own: Any) -> None:
    own.write(MODEL.replace("depth: int = 1", "depth: int = 1, draw=print, most=float('inf')"), "my_model.py")
    experiment = own.load()
    assert experiment.config.model.options == {"units": 10, "depth": 1}
    assert load(own.write(to_yaml(experiment))).config == experiment.config


def test_every_problem_of_ones_own_graph_is_a_line(own: Any) -> None:
    found = own.faults(('{name: "my_model:build", units: 10}', "{name: 'my_model:broken'}"))
    assert len(found) >= 2
    assert all(fault.startswith("x.yaml:2: model: ") for fault in found)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("x = 1\n1 / 0\n", "importing 'my_model' raised ZeroDivisionError: division by zero ("),
        ("x = 1\n1 / 0\n", "my_model.py:2)"),
        ("def build(:\n", "raised SyntaxError: "),
        ("def build(:\n", "my_model.py:1)"),
        ("import no_such_thing\n", "raised ModuleNotFoundError: No module named 'no_such_thing' ("),
        ("raise SystemExit(3)\n", "raised SystemExit: 3"),
        ("raise ValueError('two\\nlines')\n", "raised ValueError: two lines"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(own: Any, code: str, text: str) -> None:
    own.write(code, "my_model.py")
    (fault,) = own.faults()
    assert fault.startswith("x.yaml:2: model.name: importing 'my_model' raised ")
    assert text in fault
