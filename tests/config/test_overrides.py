from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("override", "read", "value"),
    [
        ("seed=5", lambda c: c.seed, 5),
        ("training.epochs=3", lambda c: c.training.epochs, 3),
        ("training.optimizer.learning_rate=1e-3", lambda c: c.training.optimizer.options, {"learning_rate": 1e-3}),
        ("training.optimizer={name: momentum, learning_rate: 1}", lambda c: c.training.optimizer.name, "momentum"),
        ("training.stop_at.validation.accuracy=0.9", lambda c: c.training.stop_at, {"validation.accuracy": 0.9}),
        ("training.stop_at.train.loss=1", lambda c: c.training.stop_at["train.loss"], 1.0),
        ("training.stop_at={}", lambda c: c.training.stop_at, {}),
        ("model.hidden.0=5", lambda c: c.model.options["hidden"], [5, 784, 784]),
        ("data.limit=1000", lambda c: c.data.options["limit"], 1000),
        ("data.limit=null", lambda c: c.data.options["limit"], None),
        ("cluster.network.latency=1 ms", lambda c: c.cluster.network.latency, 1e-3),
        ("cluster.devices={count: 2, kind: cpu-core}", lambda c: list(c.cluster.devices), ["d0", "d1"]),
        ("cluster.devices.d3.nodes=[linear4, loss]", lambda c: c.cluster.devices["d3"].nodes, ["linear4", "loss"]),
        ("cluster.devices.d4.kind=cpu-core", lambda c: c.cluster.devices["d4"].nodes, []),
        ("name=a=b", None, "name: expected letters"),
        ("name='on'", lambda c: c.name, "on"),
        ("name=off", lambda c: c.name, "off"),
    ],
)
def test_an_override_sets_any_key(bench: Any, override: str, read: Any, value: Any) -> None:
    if read is None:
        (fault,) = bench.faults(overrides=(override,))
        assert value in fault
    else:
        assert read(bench.load(overrides=(override,)).config) == value


def test_the_last_override_of_a_key_wins(bench: Any) -> None:
    assert bench.load(overrides=("seed=1", "seed=x", "seed=2")).config.seed == 2


def test_an_override_makes_the_mappings_on_its_way(bench: Any) -> None:
    without = (
        ("  stop_at: {validation.accuracy: 0.97}\n", ""),
        ("  network: {topology: switch, latency: 5 us, bandwidth: 10 Gbit/s}\n", ""),
    )
    config = bench.load(*without, overrides=("training.stop_at.train.loss=2", "cluster.network.topology=ring")).config
    assert config.training.stop_at == {"train.loss": 2.0}
    assert config.cluster.network.topology == "ring"


def test_an_override_reaches_a_device_whose_name_has_dots(bench: Any) -> None:
    config = bench.load(
        ("d3: {kind", "rack.3: {kind"), overrides=("cluster.devices.rack.3.nodes=[linear4, loss]",)
    ).config
    assert config.cluster.devices["rack.3"].nodes == ["linear4", "loss"]


def test_an_override_can_cure_a_fault_of_the_file(bench: Any) -> None:
    assert bench.load(("epochs: 10", "epochs: -1"), overrides=("training.epochs=2",)).config.training.epochs == 2


@pytest.mark.parametrize(
    ("override", "path", "text"),
    [
        ("foo", "", "expected path=value, such as training.epochs=3, found 'foo'"),
        ("", "", "expected path=value"),
        ("=3", "", "expected path=value"),
        ("training..epochs=1", "", "expected path=value"),
        ("training.=1", "", "expected path=value"),
        ("training.epochs=0", "training.epochs", "expected a whole number above 0, found 0"),
        ("training.epochs=", "training.epochs", "found nothing"),
        ("training.epochs=three", "training.epochs", "found the text 'three'"),
        ("training.epochs=2024-01-01", "", "found the date 2024-01-01"),
        ("training.epochs=[", "", "not YAML"),
        ("training.epochs=!!python/name:os 3", "", "the tag '!!python/name:os' is not allowed"),
        ("training.epoch=3", "training.epoch", "unknown key 'epoch' (did you mean 'epochs'?"),
        ("epochs=3", "epochs", "unknown key 'epochs'"),
        ("name.x=3", "name", "cannot set a key of the text 'mnist-mlp': expected a mapping"),
        ("training.epochs.x=3", "training.epochs", "cannot set a key of 10"),
        ("model.hidden.3=5", "model.hidden.3", "there is no such item: the list has the items 0 to 2"),
        ("model.hidden.-1=5", "model.hidden.-1", "there is no such item"),
        ("model.hidden.x=5", "model.hidden.x", "there is no such item"),
        ("training.stop_at.validation.acc=1", "training.stop_at.validation.acc", "did you mean 'validation.acc"),
        ("cluster.network.latency=5 parsec", "cluster.network.latency", "there is no unit 'parsec'"),
        ("cluster.devices.d0.kind=gpu", "cluster.devices.d0.kind", "no device kind 'gpu'"),
        (
            "cluster.devices.d4={kind: cpu-core, nodes: [loss]}",
            "cluster.devices.d4.nodes.0",
            "on two devices, d3 and d4",
        ),
        ("cluster={}", "cluster.devices", "missing key 'devices'"),
    ],
)
def test_a_fault_of_an_override_is_told_at_the_override(bench: Any, override: str, path: str, text: str) -> None:
    (fault,) = bench.faults(overrides=(override,))
    assert fault.startswith(f"--set {override}: {path}: " if path else f"--set {override}: ")
    assert text in fault


def test_an_override_with_line_breaks_stays_in_one_line(bench: Any) -> None:
    (fault,) = bench.faults(overrides=("training.epochs=a\nb" + "c" * 500,))
    assert fault.startswith("--set training.epochs=a\\nb")
    assert len(fault) < 300


def test_faults_of_overrides_and_of_the_file_are_told_together(bench: Any) -> None:
    found = bench.faults(("seed: 0", "seed: -1"), overrides=("foo", "training.epochs=0"))
    assert [fault.split(": ")[0] for fault in found] == ["--set foo", "--set training.epochs=0", "x.yaml:2"]
