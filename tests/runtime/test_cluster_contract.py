"""What a run gives does not depend on what it runs on: one suite over every driver and placement."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from ampsim.cli.watch import QuietWatcher
from ampsim.config.load import Experiment, load
from ampsim.data.dataset import Instance
from ampsim.data.mnist import FILE
from ampsim.runtime import stall
from ampsim.runtime.run import run

ONE = "{d0: {kind: cpu-core, nodes: ['*']}}"
TWO = (
    "{d0: {kind: cpu-core, nodes: ['linear[1-2]', 'relu[1-2]']}, "
    "d1: {kind: cpu-core, nodes: ['linear[3-4]', relu3, loss]}}"
)
FOUR = (
    "{d0: {kind: cpu-core, nodes: [linear1, relu1]}, d1: {kind: cpu-core, nodes: [linear2, relu2]}, "
    "d2: {kind: cpu-core, nodes: [linear3, relu3]}, d3: {kind: cpu-core, nodes: [linear4, loss]}}"
)
INTERLEAVED = "{even: {kind: cpu-core, nodes: ['linear*']}, odd: {kind: cpu-core, nodes: ['relu*', loss]}}"

DRIVERS: dict[str, tuple[str, bool]] = {
    "in process": (FOUR, True),
    "one device": (ONE, False),
    "two devices": (TWO, False),
    "four devices": (FOUR, False),
    "placed automatically": ("{count: 3, kind: cpu-core}", False),
    "interleaved": (INTERLEAVED, False),
}
"""Devices, and whether they share one process."""

BATCH, LIMIT, EPOCHS = 50, 290, 2
TRAIN_KEYS = ceil(LIMIT / BATCH)

CONFIG = f"""\
name: contract
seed: 3
model: {{name: mlp, hidden: [32, 32, 32]}}
data: {{name: mnist, batch: {BATCH}, limit: {LIMIT}}}
training:
  max_active_keys: 1
  optimizer: {{name: sgd, learning_rate: 0.1}}
  epochs: {EPOCHS}
cluster:
  log_interval: 50 ms
  devices: {ONE}
"""

SLOW = """\
import time
from pathlib import Path
from ampsim import DataSpec, Graph, GraphBuilder, elementwise

FIRST_THERE, SIXTH_HERE = (Path(__file__).with_name(name) for name in ("first", "sixth"))


def wait_for(file):
    while not file.exists():
        time.sleep(0.01)


def model(data: DataSpec) -> Graph:
    calls = 0

    def count(x):
        nonlocal calls
        calls += bool(x.any())
        if calls == 2:
            wait_for(FIRST_THERE)
        if calls == 6:
            SIXTH_HERE.touch()
        return x

    def take_time(x):
        if x.any():
            FIRST_THERE.touch()
            wait_for(SIXTH_HERE)
            time.sleep(0.1)
        return x

    graph = GraphBuilder(data.inputs)
    wire = graph.transform("linear", "linear", graph.input("image"), units=data.classes)
    for name, forward in (("count", count), ("slow", take_time)):
        wire = graph.transform(name, elementwise(name, forward, lambda x: 1 + 0 * x, flops=1), wire)
    graph.loss("loss", "softmax_cross_entropy", wire, graph.input("label"))
    return graph.graph()
"""
SLOW_DEVICES = "{d0: {kind: cpu-core, nodes: [linear, count]}, d1: {kind: cpu-core, nodes: [slow, loss]}}"

ASYNCHRONOUS = ("training.max_active_keys=4", "data.limit=2000", "model.hidden=[64, 64, 64]", "training.epochs=3")


@dataclass(frozen=True)
class Finished:
    """A run that has ended, and what it ran."""

    experiment: Experiment
    path: Path
    summary: dict[str, Any]

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / "metrics.jsonl").read_text().splitlines()]

    def log(self, device: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / "devices" / f"{device}.jsonl").read_text().splitlines()]


Finish = Callable[..., Finished]


@pytest.fixture(scope="module")
def finish(tmp_path_factory: pytest.TempPathFactory) -> Finish:
    """Run a driver with overrides to the end; the same run is made only once."""
    folder = tmp_path_factory.mktemp("contract")
    config = folder / "contract.yaml"
    config.write_text(CONFIG)
    runs: dict[tuple[str, ...], Finished] = {}

    def finished(driver: str, *overrides: str) -> Finished:
        key = (driver, *overrides)
        if key not in runs:
            devices, in_process = DRIVERS[driver]
            experiment = load(str(config), [f"cluster.devices={devices}", *overrides])
            path, summary = run(experiment, QuietWatcher(), folder / f"run{len(runs)}", in_process)
            runs[key] = Finished(experiment, path, summary)
        return runs[key]

    return finished


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=["one in flight", "four in flight"])
def finished(request: pytest.FixtureRequest, finish: Finish, driver: str) -> Finished:
    """A run of each driver, synchronous and asynchronous."""
    return finish(driver, *(ASYNCHRONOUS if request.param == "four in flight" else ()))


def test_with_one_instance_in_flight_every_driver_ends_with_the_same_parameters(finish: Finish, driver: str) -> None:
    reference = finish("in process")
    here = finish(driver)
    assert here.summary["arithmetic"] == reference.summary["arithmetic"]
    assert here.summary["parameters_sha256"] == reference.summary["parameters_sha256"]
    assert [line["loss"] for line in here.metrics] == [line["loss"] for line in reference.metrics]


@pytest.mark.parametrize("driver", ["two devices", "four devices", "interleaved"])
@pytest.mark.parametrize(
    "overrides",
    [
        ("training.min_update_frequency=4", "training.optimizer={name: momentum, learning_rate: 0.05}"),
        ("training.optimizer={name: adam, learning_rate: 0.001}", "cluster.max_batch=4"),
    ],
    ids=["momentum, four gradients to an update", "adam, max_batch 4"],
)
def test_optimizers_also_end_with_the_same_parameters(finish: Finish, driver: str, overrides: tuple[str, ...]) -> None:
    reference = finish("in process", *overrides).summary["parameters_sha256"]
    assert finish(driver, *overrides).summary["parameters_sha256"] == reference
    assert reference != finish("in process").summary["parameters_sha256"]


def test_another_seed_gives_other_parameters(finish: Finish) -> None:
    one, other = finish("in process"), finish("in process", "seed=4")
    assert one.summary["parameters_sha256"] != other.summary["parameters_sha256"]


def test_with_one_instance_in_flight_no_gradient_is_stale(finish: Finish, driver: str) -> None:
    summary = finish(driver).summary
    assert summary["staleness"] == {"mean": 0.0, "max": 0}
    assert all(node["staleness_max"] == 0 for node in summary["nodes"].values())


@pytest.mark.parametrize("driver", ["in process", "two devices", "four devices", "interleaved"])
def test_with_four_instances_in_flight_the_first_layer_is_stale_within_bounds(finish: Finish, driver: str) -> None:
    summary = finish(driver, *ASYNCHRONOUS).summary
    nodes = summary["nodes"]
    assert nodes["linear1"]["staleness_max"] > 0
    assert nodes["linear1"]["staleness_mean"] > nodes["linear4"]["staleness_mean"]
    assert summary["staleness"]["max"] == max(node["staleness_max"] for node in nodes.values()) < 4
    gradients = sum(node["gradients"] for node in nodes.values())
    total = sum(node["gradients"] * node["staleness_mean"] for node in nodes.values())
    assert summary["staleness"]["mean"] == pytest.approx(total / gradients)


def test_each_line_of_a_utilization_log_adds_up_and_begins_where_the_last_one_ended(finished: Finished) -> None:
    for device in finished.experiment.devices:
        end_s = 0.0
        for line in finished.log(device):
            assert line["t0_s"] == pytest.approx(end_s, abs=1e-6)
            end_s = line["t1_s"]
            parts = [line[part] for part in ("busy_s", "send_s", "receive_s", "idle_s")]
            assert min(parts) >= 0
            assert sum(parts) == pytest.approx(line["t1_s"] - line["t0_s"], rel=0.01, abs=1e-6)
        # Each device counts from the moment it was told to go; the run also counts the goodbye.
        assert 0 < end_s < finished.summary["wall_s"] + 0.25


def test_the_utilization_logs_add_up_to_the_summary(finished: Finished) -> None:
    for device, totals in finished.summary["devices"].items():
        lines = finished.log(device)
        for counted in ("forward_messages", "backward_messages", "batches", "updates", "bytes_sent", "bytes_received"):
            assert sum(line[counted] for line in lines) == totals[counted], counted
        for level in ("queue_max", "staleness_max"):
            assert max(line[level] for line in lines) == totals[level], level
        for spent in ("busy_s", "send_s", "receive_s", "idle_s"):
            assert sum(line[spent] for line in lines) == pytest.approx(totals[spent])
        logged_s = sum(line["t1_s"] - line["t0_s"] for line in lines)
        assert totals["utilization"] == pytest.approx(totals["busy_s"] / logged_s, rel=0.01)
        assert totals["peak_memory_bytes"] >= max(line["cached_bytes"] for line in lines)
        assert totals["refused_messages"] == 0


def test_every_message_is_counted_once(finished: Finished) -> None:
    splits, plan = finished.experiment.dataset.splits, finished.experiment.config.training
    training = plan.epochs * splits["train"].keys
    forward = training + plan.epochs * splits["validation"].keys + splits["test"].keys
    for name, device in finished.experiment.devices.items():
        totals = finished.summary["devices"][name]
        others = [node for node in device.nodes if node != "loss"]
        # The loss takes a prediction and a label, and gets nothing back.
        assert totals["forward_messages"] == forward * (len(others) + 2 * ("loss" in device.nodes))
        assert totals["backward_messages"] == training * len(others)
        assert totals["batches"] == totals["forward_messages"] + totals["backward_messages"]
        assert totals["updates"] == training * sum(node.startswith("linear") for node in others)
    for node in finished.summary["nodes"].values():
        assert node["gradients"] == node["updates"] == training


def test_what_goes_from_one_process_to_another_is_counted_and_timed(finished: Finished, driver: str) -> None:
    if DRIVERS[driver][1]:  # nothing goes anywhere
        assert "edges" not in finished.summary
        return
    splits, plan = finished.experiment.dataset.splits, finished.experiment.config.training
    training = plan.epochs * splits["train"].keys
    forward = training + plan.epochs * splits["validation"].keys + splits["test"].keys
    place = {node: name for name, device in finished.experiment.devices.items() for node in device.nodes}
    chain = [f"{kind}{number}" for number in (1, 2, 3) for kind in ("linear", "relu")] + ["linear4", "loss"]
    expected: dict[str, int] = defaultdict(int)
    for one, other in pairwise(place[node] for node in chain):
        if one != other:
            expected[f"{one} -> {other}"] += forward
            expected[f"{other} -> {one}"] += training
    for end in (chain[0], "loss"):  # the image and the label, and word that they are through
        expected[f"controller -> {place[end]}"] += forward
        expected[f"{place[end]} -> controller"] += training
    expected[f"{place['loss']} -> controller"] += forward  # the reports
    edges = finished.summary["edges"]
    assert set(edges) == set(expected)
    for edge, came in edges.items():
        if edge.startswith("controller"):  # instances that are injected together go as one
            assert expected[edge] / plan.max_active_keys <= came["packets"] <= expected[edge]
        else:
            assert came["packets"] == expected[edge]
    assert all(0 < came["mean_s"] < finished.summary["wall_s"] for came in edges.values())


def test_both_clocks_count_the_same_packets(finish: Finish) -> None:
    wall = finish("two devices").summary["edges"]
    simulated = finish("two devices", "cluster.clock=simulated", "cluster.numerics=off").summary["edges"]
    packets = {edge: came["packets"] for edge, came in wall.items()}
    assert {edge: came["packets"] for edge, came in simulated.items()} == packets


def test_a_packet_that_waits_for_a_busy_device_is_on_the_way(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "slow.yaml").write_text(
        CONFIG.replace("name: mlp, hidden: [32, 32, 32]", "name: 'slow:model'").replace(ONE, SLOW_DEVICES)
    )
    experiment = load(str(tmp_path / "slow.yaml"), ["training.max_active_keys=6", "training.epochs=1"])
    _, summary = run(experiment, QuietWatcher(), tmp_path / "run")
    # d1 is busy with the first image until d0 has begun with the sixth, and for 0.1 s more, which the second to fifth
    # wait.
    edge = summary["edges"]["d0 -> d1"]
    assert edge["mean_s"] * edge["packets"] > 4 * 0.1


def test_updates_count_gradients_and_the_rest_of_an_epoch(finish: Finish, driver: str) -> None:
    overrides = ("training.min_update_frequency=4", "training.optimizer={name: momentum, learning_rate: 0.05}")
    for node in finish(driver, *overrides).summary["nodes"].values():
        assert node["gradients"] == EPOCHS * TRAIN_KEYS
        assert node["updates"] == EPOCHS * ceil(TRAIN_KEYS / 4)


def test_metrics_have_a_line_per_epoch_and_split_and_the_test_set_at_the_end(finished: Finished) -> None:
    summary, lines = finished.summary, finished.metrics
    epochs = finished.experiment.config.training.epochs
    order = [(epoch, split) for epoch in range(1, epochs + 1) for split in ("train", "validation")] + [(epochs, "test")]
    assert [(line["epoch"], line["split"]) for line in lines] == order
    for line in lines:
        assert line["instances"] == finished.experiment.dataset.splits[line["split"]].examples
        assert 0 <= line["accuracy"] <= 1
    walls = [line["wall_s"] for line in lines]
    assert walls == sorted(walls)
    trained = [line for line in lines if line["split"] == "train"]
    assert summary["time_s"] == trained[-1]["time_s"] == pytest.approx(sum(line["duration_s"] for line in trained))
    rest = [line["duration_s"] for line in lines if line["split"] != "train"]
    assert summary["validation_time_s"] == pytest.approx(sum(rest))
    for split in ("train", "validation", "test"):
        last = [line for line in lines if line["split"] == split][-1]
        assert (summary[split]["loss"], summary[split]["accuracy"]) == (last["loss"], last["accuracy"])
    assert summary["train"]["instances"] == sum(line["instances"] for line in trained)
    assert summary["train"]["instances_per_second"] == pytest.approx(summary["train"]["instances"] / summary["time_s"])


def test_the_summary_on_disk_is_the_one_returned(finished: Finished) -> None:
    written = json.loads((finished.path / "summary.json").read_text())
    assert written == finished.summary
    assert (written["name"], written["status"], written["clock"], written["seed"]) == (
        "contract",
        "finished",
        "wall",
        3,
    )
    assert sorted(file.name for file in finished.path.iterdir()) == [
        "config.yaml",
        "devices",
        "metrics.jsonl",
        "orders",
        "parameters.safetensors",
        "spans",
        "summary.json",
    ]


def predict(parameters: Mapping[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """The digits that the perceptron sees, in plain NumPy."""
    values = images.astype(np.float32) / 255
    for layer in (1, 2, 3, 4):
        values = values @ parameters[f"linear{layer}.weight"] + parameters[f"linear{layer}.bias"]
        values = np.maximum(values, 0) if layer < 4 else values
    return values.argmax(axis=1)


def test_the_test_accuracy_comes_out_of_the_parameter_file_in_plain_numpy(finished: Finished) -> None:
    parameters = load_file(finished.path / "parameters.safetensors")
    assert all(array.dtype == np.float32 for array in parameters.values())
    limit = finished.experiment.dataset.splits["test"].examples
    with np.load(FILE) as arrays:
        images, labels = arrays["x_test"][:limit].reshape(limit, -1), arrays["y_test"][:limit]
    right = int((predict(parameters, images) == labels).sum())
    assert right / limit == finished.summary["test"]["accuracy"]


@pytest.mark.parametrize("driver", ["in process", "one device", "four devices"])
def test_asynchronous_training_learns(finish: Finish, driver: str) -> None:
    calm = ("training.optimizer={name: sgd, learning_rate: 0.03}", "training.epochs=6")
    assert finish(driver, *ASYNCHRONOUS, *calm).summary["test"]["accuracy"] > 0.6


@pytest.mark.parametrize("driver", ["in process", "four devices"])
def test_dynamic_batching_trains(finish: Finish, driver: str) -> None:
    here = finish(driver, *ASYNCHRONOUS, "cluster.max_batch=4")
    assert here.summary["test"]["accuracy"] > 0.4
    devices = here.summary["devices"].values()
    messages = [device["forward_messages"] + device["backward_messages"] for device in devices]
    assert all(device["batches"] <= count for device, count in zip(devices, messages, strict=True))
    if driver == "in process":
        assert sum(device["batches"] for device in devices) < sum(messages)
    training = here.experiment.config.training.epochs * here.experiment.dataset.splits["train"].keys
    for node in here.summary["nodes"].values():
        assert node["gradients"] == training >= node["updates"]
    assert here.summary["staleness"]["max"] < 4


def test_training_stops_at_its_target(finish: Finish) -> None:
    here = finish("two devices", "training.stop_at={validation.accuracy: 0.05}", "training.epochs=50")
    assert here.summary["reached"] == {"validation.accuracy": 0.05}
    assert here.summary["epochs"] < 50
    assert here.metrics[-1]["split"] == "test"


def test_a_slow_start_is_no_stall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stall, "PATIENCE_S", 2.0)
    (tmp_path / "contract.yaml").write_text(CONFIG)
    experiment = load(str(tmp_path / "contract.yaml"), ["training.epochs=1"])
    instances = experiment.dataset.instances

    def load_slowly(split: str, epoch: int) -> Iterator[Instance]:
        if (split, epoch) == ("train", 1):
            time.sleep(3)  # the machine is busy: the devices wait, and log that they do
        return instances(split, epoch)

    monkeypatch.setattr(experiment.dataset, "instances", load_slowly)
    _, summary = run(experiment, QuietWatcher(), tmp_path / "run")
    assert summary["status"] == "finished"
