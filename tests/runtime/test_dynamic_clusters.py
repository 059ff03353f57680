"""Dynamic models across processes: with one instance in flight, placement changes nothing, or only rounding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

DATA = {
    "list-reduction-rnn": ("train=200", "validation=50", "test=50", "batch=10"),
    "sst-tree-lstm": ("limit=12",),
    "babi15-ggsnn": ("limit=12",),
    "qm9-ggsnn": ("validation=10", "test=10", "limit=6"),
}
ONE_DEVICE = "--set=cluster.devices={count: 1, kind: cpu-core}"
THREE_DEVICES = "--set=cluster.devices={count: 3, kind: cpu-core}"


@pytest.fixture
def train(ampsim: Any, tmp_path: Path, sample: Path) -> Any:
    """Train a shipped config for an epoch on few data, and return its run directory."""

    def run(name: str, out: str, *arguments: str) -> Path:
        settings = [f"--set=data.{setting}" for setting in DATA[name]]
        settings += ["--set=training.epochs=1", "--set=training.max_active_keys=1", "--set=training.stop_at={}"]
        done = ampsim("run", name, *settings, *arguments, "--out", out, "--quiet")
        assert (done.returncode, done.stderr) == (0, "")
        return tmp_path / out

    return run


def sha(run: Path) -> str:
    return str(json.loads((run / "summary.json").read_text())["parameters_sha256"])


def test_a_recurrent_network_ends_with_the_same_bits_however_it_is_run(train: Any) -> None:
    ways = {"shipped": (), "one": (ONE_DEVICE,), "three": (THREE_DEVICES,), "reference": ("--in-process",)}
    assert len({sha(train("list-reduction-rnn", out, *arguments)) for out, arguments in ways.items()}) == 1


@pytest.mark.parametrize("name", ["sst-tree-lstm", "babi15-ggsnn", "qm9-ggsnn"])
def test_trees_and_graphs_end_with_the_same_parameters_up_to_the_order_of_sums(train: Any, name: str) -> None:
    # An update falls between instances, so which messages overtook each other changes no more than rounding.
    often = "--set=training.min_update_frequency=5"
    reference = load_file(train(name, "reference", "--in-process", ONE_DEVICE, often) / "parameters.safetensors")
    for out, arguments in {"shipped": (), "three": (THREE_DEVICES,)}.items():
        run = train(name, out, *arguments, often)
        counts = [device["updates"] for device in json.loads((run / "summary.json").read_text())["devices"].values()]
        assert sum(counts) > 3 * len(counts)
        parameters = load_file(run / "parameters.safetensors")
        for key, value in reference.items():
            # Of the whole array: Adam makes a step of full size of a gradient that is nothing but rounding.
            assert np.linalg.norm(parameters[key] - value) <= 1e-4 * np.linalg.norm(value), key
