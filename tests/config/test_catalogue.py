from __future__ import annotations

import re
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


FIGURES = ("compute", "memory_bandwidth", "memory", "overhead")


def sources(text: str) -> dict[str, tuple[str, str]]:
    """What a device file's comment says of each figure: how far it can be trusted, and where it comes from."""
    comment = [line[1:] for line in text.splitlines() if line.startswith("#")]
    said: dict[str, str] = {}
    for line in comment:
        if begin := re.fullmatch(rf" {{3}}({'|'.join(FIGURES)}) +(\S.*)", line):
            said[begin[1]] = begin[2]
        elif said and line.startswith(" " * 21):
            said[list(said)[-1]] += " " + line.strip()
    return {key: (text.partition(": ")[0], text.partition(": ")[2]) for key, text in said.items()}


@pytest.mark.parametrize("kind", shipped("devices"))
def test_each_figure_of_a_shipped_device_has_its_source_and_says_how_far_to_trust_it(kind: str) -> None:
    text = shipped("devices")[kind].read_text()
    told = sources(text)
    assert tuple(told) == FIGURES
    listed = set(re.findall(r"^# (\[\d\]) ", text, re.MULTILINE))
    for key, (trust, source) in told.items():
        assert trust in ("given", "peak", "measured", "chosen"), f"{key}: {trust}"
        (value,) = re.findall(rf"^{key}: (.+)$", text, re.MULTILINE)
        assert value in source.replace(",", ""), f"{key}: the comment speaks of another figure than {value}"
        cited = {f"[{number}]" for group in re.findall(r"\[([\d, ]+)\]", source) for number in group.split(", ")}
        assert cited <= listed, f"{key}: no source {cited - listed}"
        # What a maker or a paper says needs a source; cpu-core was measured on the spot, and says how.
        assert cited or trust == "chosen" or kind == "cpu-core", f"{key}: {trust}, but where?"


UNITS = {"GHz": 1e9, "MHz": 1e6, "MT/s": 1e6, "Gbit/s": 1e9, "bits": 1 / 8, "TFLOP/s": 1e12, "GFLOP/s": 1e9}
UNITS |= {"MFLOP/s": 1e6, "TB/s": 1e12, "PB/s": 1e15, "GB/s": 1e9, "us": 1e-6}


def multiplied(calculation: str) -> float:
    """The SI value of a calculation as the comments write it: `8 cores x 3.3 GHz (base clock) x 32 FLOP`."""
    remarks = r"\([^\d]*\)"
    tokens = re.findall(r"[A-Za-z][\w/]*|[\d.]+|[-+()/]", re.sub(remarks + "|,", "", calculation))
    words = {"x": "*", **{unit: f"* {value!r}" for unit, value in UNITS.items()}}
    return float(eval(" ".join(words.get(token, "") if token[0].isalpha() else token for token in tokens)))


CALCULATIONS = [
    (kind, key, *found.groups())
    for kind, file in shipped("devices").items()
    for key, (_, source) in sources(file.read_text()).items()
    if (found := re.match(r"(.+?) = ([\d.,]+ [A-Za-z/]+)", source))
]


@pytest.mark.parametrize(("kind", "key", "calculation", "result"), CALCULATIONS)
def test_a_figure_is_what_its_comment_multiplies_out(kind: str, key: str, calculation: str, result: str) -> None:
    figure = getattr(device_profile(kind), key)
    assert figure == pytest.approx(multiplied(result))
    assert figure == pytest.approx(multiplied(calculation), rel=0.005)


def test_most_kinds_say_how_their_figures_follow() -> None:
    assert len({kind for kind, *_ in CALCULATIONS}) >= 14


def test_the_catalogue_has_the_devices_that_people_ask_for() -> None:
    assert len(device_kinds()) >= 14
    paper = device_profile("fpga-1tflops")
    assert (paper.compute, paper.memory_bandwidth, paper.memory, paper.overhead) == (1e12, 480e9, 4e9, 1e-6)


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
