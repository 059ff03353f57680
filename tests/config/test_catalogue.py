from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ampsim.config.catalogue import device_kinds, device_profile, device_profiles, find_config, read_device, shipped

FPGA = """\
kind: fpga
summary: the paper's hypothetical device
compute: 1 TFLOP/s
memory_bandwidth: 480 GB/s
memory: 4 GB
overhead: 1 us
"""


def test_every_shipped_device_is_sound_and_called_as_its_file() -> None:
    profiles = device_profiles()
    assert list(profiles) == device_kinds()
    assert profiles["cpu-core"] == device_profile("cpu-core")
    assert all(kind == profile.kind for kind, profile in profiles.items())


def test_a_device_file_is_read_in_si_units(tmp_path: Path) -> None:
    file = tmp_path / "fpga.yaml"
    file.write_text(FPGA)
    profile = read_device(file)
    assert (profile.compute, profile.memory_bandwidth, profile.memory, profile.overhead) == (1e12, 480e9, 4e9, 1e-6)


@pytest.mark.parametrize(
    ("old", "new", "line", "text"),
    [
        ("kind: fpga", "kind: gpu", 1, "kind: expected 'fpga', as the file is called, found 'gpu'"),
        ("compute: 1 TFLOP/s", "compute: 1 TB/s", 3, "compute: expected a compute speed such as '1 TFLOP/s'"),
        ("compute: 1 TFLOP/s", "compute: 0 FLOP/s", 3, "compute: expected a compute speed such as"),
        ("memory: 4 GB", "memroy: 4 GB", 5, "memroy: unknown key 'memroy' (did you mean 'memory'?"),
        ("overhead: 1 us\n", "", 1, "overhead: missing key 'overhead': time per batch"),
        ("summary: the paper's hypothetical device", "summary: 3", 2, "summary: expected a text, found 3"),
    ],
)
def test_a_faulty_device_file_is_told_with_its_own_line(bench: Any, old: str, new: str, line: int, text: str) -> None:
    bench.write(FPGA.replace(old, new), "fpga.yaml")
    (fault,) = bench.lines(lambda: read_device(bench.folder / "fpga.yaml"))
    assert f"fpga.yaml:{line}: {text}" in fault


def test_a_config_is_found_by_name_with_or_without_its_ending() -> None:
    assert find_config("mnist-mlp") == find_config("mnist-mlp.yaml") == shipped("configs")["mnist-mlp"]
