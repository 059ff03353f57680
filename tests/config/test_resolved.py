from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from ampsim.config.catalogue import shipped
from ampsim.config.json_schema import json_schema
from ampsim.config.load import load
from ampsim.config.resolved import to_yaml

OVERRIDES = [
    (),
    ("cluster.devices={count: 3, kind: cpu-core}",),
    ("cluster.placement=auto", "cluster.devices.d0.nodes=[loss]", "cluster.devices.d3.nodes=[]"),
    ("training.optimizer={name: adam, epsilon: 1e-30}", "cluster.network.latency=0.1 us", "training.stop_at={}"),
    ("name='123'", "cluster.network.bandwidth=3 Mbit/s", "cluster.log_interval=70 ms", "data.limit=500"),
    ("cluster.network.topology=mesh", "cluster.network.shape=[4, 1]"),
    (
        "cluster.network.topology=links",
        "cluster.network.switches=[s]",
        "cluster.network.links=[{between: [s, controller], latency: 0 s}, {between: [s, d0]}, {between: [d1, s]}, "
        "{between: [d1, d2], bandwidth: 3 Mbit/s}, {between: [d3, d2]}]",
    ),
    ("name=off", "seed=9223372036854775807", "cluster.network.topology=torus"),
]


@pytest.mark.parametrize("overrides", OVERRIDES)
def test_the_resolved_config_loads_to_an_equal_config(bench: Any, overrides: tuple[str, ...]) -> None:
    experiment = bench.load(overrides=overrides)
    again = load(bench.write(to_yaml(experiment), "resolved.yaml"))
    assert again.config == experiment.config
    assert again.devices == experiment.devices
    assert to_yaml(again) == to_yaml(experiment)


def test_the_resolved_config_has_every_default_si_values_and_the_figures_of_the_devices(bench: Any) -> None:
    text = to_yaml(bench.load())
    assert text.startswith("# cpu-core: 100 GFLOP/s, 40 GB/s, 4 GB, 20 us overhead; ")
    assert "data: {name: mnist, batch: 100, validation: 10000, limit: null}" in text
    assert "latency: 5e-06 s, bandwidth: 1250000000.0 byte/s" in text
    assert "log_interval: 1.0 s" in text


def test_the_resolved_network_has_the_shape_of_a_grid_and_the_values_of_each_link(bench: Any) -> None:
    links = (
        "[{between: [controller, d0]}, {between: [d0, d1], latency: 1 us}, {between: [d1, d2]}, {between: [d2, d3]}]"
    )
    assert "shape: [2, 2]" in to_yaml(bench.load(overrides=("cluster.network.topology=torus",)))
    text = to_yaml(bench.load(overrides=("cluster.network.topology=links", f"cluster.network.links={links}")))
    assert "- between: [d0, d1]\n      latency: 1e-06 s\n      bandwidth: 1250000000.0 byte/s\n" in text
    assert "- between: [d1, d2]\n      latency: 5e-06 s\n" in text


@pytest.mark.parametrize("topology", ["switch", "full", "ring"])
def test_keys_that_a_topology_does_not_have_are_not_written(bench: Any, topology: str) -> None:
    text = to_yaml(bench.load(overrides=(f"cluster.network.topology={topology}",)))
    assert not any(key in text for key in ("shape:", "switches:", "links:"))


def test_the_json_schema_is_valid_and_describes_every_key() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert list(undescribed(schema)) == []


def undescribed(schema: Any, path: str = "") -> Any:
    """The keys in a schema that have no description."""
    if isinstance(schema, dict):
        for key, value in schema.get("properties", {}).items():
            if "description" not in value and path != "/$defs/own":
                yield f"{path}/{key}"
        for key, value in schema.items():
            yield from undescribed(value, f"{path}/{key}")
    elif isinstance(schema, list):
        for value in schema:
            yield from undescribed(value, path)


@pytest.mark.parametrize("name", shipped("configs"))
def test_shipped_configs_keep_the_json_schema_as_they_are_and_resolved(name: str) -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.validate(YAML(typ="safe").load(shipped("configs")[name]))
    validator.validate(YAML(typ="safe").load(to_yaml(load(name))))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("epochs: 10", "epoch: 10"),
        ("epochs: 10", "epochs: 0"),
        ("name: mlp", "name: mpl"),
        ("hidden:", "hiden:"),
        ("name: sgd", "name: sdg"),
        ("kind: cpu-core, nodes: [linear1", "kind: gpu, nodes: [linear1"),
        ("5 us", "5"),
        ("switch", "swich"),
        ("switch", "mesh, shape: [2]"),
        ("switch", "links, links: [{between: [d0]}]"),
        ("switch", "links, links: [{between: [d0, d1], latency: 5}]"),
        ("0.97", "97"),
    ],
)
def test_the_json_schema_refuses_what_loading_refuses(bench: Any, old: str, new: str) -> None:
    config = YAML(typ="safe").load(bench.text.replace(old, new))
    assert not jsonschema.Draft202012Validator(json_schema()).is_valid(config)


def test_the_json_schema_lets_a_model_of_ones_own_have_any_options(bench: Any) -> None:
    config = YAML(typ="safe").load(bench.text.replace("name: mlp", "name: my.models:build"))
    jsonschema.Draft202012Validator(json_schema()).validate(config)
