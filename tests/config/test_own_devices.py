"""Kinds that are a device file of the user's own, named in the config by its path."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from ampsim.config.json_schema import json_schema
from ampsim.config.load import load
from ampsim.config.resolved import to_yaml

FAST = """\
kind: fast
summary: a device of one's own
compute: 2 TFLOP/s
memory_bandwidth: 500 GB/s
memory: 8 GB
overhead: 2 us
"""
OWN = ("d0: {kind: cpu-core", "d0: {kind: ./fast.yaml")


def test_a_kind_may_be_a_device_file_beside_the_config(
    bench: Any, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = bench.folder / bench.write(bench.text.replace(*OWN))
    bench.write(FAST, "fast.yaml")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    devices = load(str(config)).devices
    assert (devices["d0"].profile.compute, str(devices["d0"])) == (2e12, "d0 (fast)")
    assert devices["d1"].profile.kind == "cpu-core"


def test_a_device_file_in_the_current_folder_is_found_too(bench: Any) -> None:
    bench.write(FAST, "fast.yaml")
    experiment = load("mnist-mlp", ("cluster.devices={count: 2, kind: fast.yaml}",))
    assert [str(device) for device in experiment.devices.values()] == ["d0 (fast)", "d1 (fast)"]


def test_the_file_beside_the_config_comes_before_that_in_the_current_folder(bench: Any) -> None:
    (bench.folder / "sub").mkdir()
    bench.write(bench.text.replace(*OWN), "sub/x.yaml")
    bench.write(FAST.replace("2 TFLOP/s", "3 TFLOP/s"), "sub/fast.yaml")
    bench.write(FAST, "fast.yaml")
    assert load("sub/x.yaml").devices["d0"].profile.compute == 3e12


def test_the_resolved_config_finds_the_file_from_any_folder(
    bench: Any, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.write(FAST, "fast.yaml")
    experiment = bench.load(OWN)
    text = to_yaml(experiment)
    assert text.startswith("# fast: 2 TFLOP/s, 500 GB/s, 8 GB, 2 us overhead; a device of one's own\n# cpu-core: ")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    Path("resolved.yaml").write_text(text)
    again = load("resolved.yaml")
    assert (again.config, again.devices) == (experiment.config, experiment.devices)
    jsonschema.Draft202012Validator(json_schema()).validate(YAML(typ="safe").load(text))


def test_a_device_file_that_was_changed_is_read_again(bench: Any) -> None:
    for compute in (2e12, 4e12):
        bench.write(FAST.replace("2 TFLOP/s", f"{compute:.0f} FLOP/s"), "fast.yaml")
        assert bench.load(OWN).devices["d0"].profile.compute == compute


def test_the_faults_of_a_device_file_are_told_at_its_own_lines_and_once(bench: Any) -> None:
    broken = FAST.replace("compute: 2 TFLOP/s\n", "").replace("500 GB/s", "0 GB/s")
    bench.write(broken, "fast.yaml")
    rate, bandwidth = bench.faults(OWN, ("d1: {kind: cpu-core", "d1: {kind: fast.yaml"))
    assert rate.startswith("fast.yaml:1: compute: missing key 'compute': float32 operations per second")
    assert bandwidth.startswith("fast.yaml:3: memory_bandwidth: expected a bandwidth such as")
    assert "it must be above 0" in bandwidth


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("./slow.yaml", "there is no device file './slow.yaml' (looked for beside the config and in the current"),
        ("cpu-core.yaml", "; for the kind of the catalogue write 'cpu-core'"),
        ("./fast", "; a device file of your own is named with its ending, .yaml"),
        ('"a\\0.yaml"', "there is no device file 'a\\\\x00.yaml'"),
        ("x" * 5000 + ".yaml", "there is no device file 'xxxx"),
    ],
    ids=["missing", "in the catalogue", "no ending", "NUL", "too long"],
)
def test_a_device_file_that_is_not_there_is_told_at_the_kind_of_the_device(bench: Any, kind: str, told: str) -> None:
    bench.write(FAST, "fast.yaml")
    (fault,) = bench.faults(("d0: {kind: cpu-core", f"d0: {{kind: {kind}"))
    assert fault.startswith("x.yaml:20: cluster.devices.d0.kind: ")
    assert told in fault


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "fast.yaml: this is a directory: expected a YAML file"),
        ("", "fast.yaml:1: the file is empty"),
        (FAST.replace("kind: fast", "kind: quick"), "fast.yaml:1: kind: expected 'fast', as the file is called"),
    ],
    ids=["directory", "empty", "called otherwise"],
)
def test_what_is_no_device_file_is_told_as_what_it_is(bench: Any, content: str | None, told: str) -> None:
    if content is None:
        os.mkdir("fast.yaml")
    else:
        bench.write(content, "fast.yaml")
    (fault,) = bench.faults(OWN)
    assert fault.startswith(told)
