from __future__ import annotations

from pathlib import Path

import pytest

from ampsim.calibration.calibrate import Calibration
from ampsim.calibration.kind_file import network_file, read_network
from ampsim.config.catalogue import read_device
from ampsim.config.load import load
from ampsim.errors import BadInput, ConfigError


def test_the_written_kind_loads_as_it_was_measured(calibration: Calibration, kind_file: Path) -> None:
    assert read_device(kind_file) == calibration.profile


def test_the_written_network_and_kind_may_stand_in_a_config(kind_file: Path) -> None:
    network = read_network(network_file(kind_file))
    assert network == {"topology": "full", "latency": "60 us", "bandwidth": "2 GB/s"}
    sets = [f"cluster.network={network}".replace("'", ""), f"cluster.controller={kind_file}"]
    experiment = load("mnist-mlp", [*sets, f"cluster.devices={{count: 2, kind: {kind_file}}}"])
    assert experiment.config.cluster.network.latency == 60e-6
    assert experiment.controller == experiment.devices["d1"].profile
    assert experiment.config.cluster.controller == str(kind_file)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [(None, "`ampsim calibrate` writes it"), ("nets: {}", "expected a mapping 'network'"), ("a: [", "network.yaml:")],
)
def test_a_network_file_that_is_missing_or_no_such_file_is_bad_input(
    tmp_path: Path, text: str | None, complaint: str
) -> None:
    file = tmp_path / "x-network.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(BadInput, match=complaint):
        read_network(file)


@pytest.mark.parametrize(
    ("old", "new", "path", "complaint"),
    [
        ("batch: 50 us", "batch: 50", "rates.linear.backward.batch", "write the unit"),
        ("batch: 50 us", "bach: 50 us", "rates.linear.backward", "unknown key 'bach'"),
        ("backward:", "upward:", "rates.linear", "upward"),
        ("send: {", "send: {bandwith: 1 GB/s, ", "send", "bandwith"),
        ("memory_bandwidth: 3 GB/s", "memory_bandwidth: 0 GB/s", "rates.sgd.update", "above 0"),
        ("message_overhead: 200 ns", "message_overhead: -1 ns", "message_overhead", "negative"),
    ],
)
def test_a_fault_of_a_measured_figure_is_told_with_its_place(
    kind_file: Path, old: str, new: str, path: str, complaint: str
) -> None:
    text = kind_file.read_text()
    assert old in text
    kind_file.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError) as raised:
        read_device(kind_file)
    assert f"mine.yaml:{text[: text.index(old)].count(chr(10)) + 1}: {path}" in str(raised.value)
    assert complaint in str(raised.value)


@pytest.mark.parametrize(("written", "complaint"), [("cpu-cor", "no device kind 'cpu-cor'"), ("3", "found 3")])
def test_a_controller_of_no_kind_is_a_fault(written: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as raised:
        load("mnist-mlp", [f"cluster.controller={written}"])
    assert [fault.path for fault in raised.value.faults] == ["cluster.controller"]
