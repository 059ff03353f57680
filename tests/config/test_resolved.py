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
        ("0.97", "97"),
    ],
)
def test_the_json_schema_refuses_what_loading_refuses(bench: Any, old: str, new: str) -> None:
    config = YAML(typ="safe").load(bench.text.replace(old, new))
    assert not jsonschema.Draft202012Validator(json_schema()).is_valid(config)


def test_the_json_schema_lets_a_model_of_ones_own_have_any_options(bench: Any) -> None:
    config = YAML(typ="safe").load(bench.text.replace("name: mlp", "name: my.models:build"))
    jsonschema.Draft202012Validator(json_schema()).validate(config)
