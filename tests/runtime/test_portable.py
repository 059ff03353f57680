"""Arithmetic that is pinned: the same bits whatever kernel and SIMD code the environment asks for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from ampsim import blas, portable
from ampsim.errors import BadInput

FEATURES = blas.dispatched_features()
BARE = {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": " ".join(FEATURES)}
"""What every x86-64 machine can run: other than what a machine with AVX picks."""
CHOSEN = {
    "OPENBLAS_CORETYPE": "Prescott",
    "NPY_DISABLE_CPU_FEATURES": ",".join(FEATURES[1:]),
    "GLIBC_TUNABLES": "glibc.malloc.check=0:glibc.cpu.hwcaps=-FMA4",
    "OPENBLAS_BLOCK_FACTOR": "20",
}
ENABLED = {"NPY_ENABLE_CPU_FEATURES": FEATURES[0]}

# Both learn the same in device processes as in one, to the bit: the first because one list at a time is under way.
LISTS = ("list-reduction-rnn", "data.train=300", "data.validation=20", "data.test=20", "training.max_active_keys=1")
STORIES = ("babi15-ggsnn", "data.limit=20", "cluster.clock=simulated")
IMAGES = ("mnist-mlp", "data.limit=300", "model.hidden=[64, 64, 64]")


@pytest.fixture
def trained(tmp_path: Path) -> Any:
    """Train a shipped config for an epoch under an environment; its summary."""

    def run(config: tuple[str, ...], numerics: str, environment: dict[str, str], *options: str) -> dict[str, Any]:
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        sets = [f"--set={text}" for text in (*config[1:], "training.epochs=1", f"cluster.numerics={numerics}")]
        # A warning is an error: none of what is set may be unknown to NumPy.
        command = [sys.executable, "-W", "error", "-m", "ampsim", "run", config[0], *sets, "--out", out, *options]
        done = subprocess.run(
            command, env={**without_choices(), **environment}, capture_output=True, text=True, timeout=100
        )
        assert (done.returncode, done.stderr) == (0, "")
        summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
        return summary

    return run


def without_choices() -> dict[str, str]:
    names = ("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES", "GLIBC_TUNABLES")
    return {name: value for name, value in os.environ.items() if name not in names}


@pytest.mark.parametrize("config", [LISTS, STORIES], ids=lambda config: config[0])
def test_weights_part_by_kernel_and_simd_code_and_agree_where_these_are_pinned(
    trained: Any, config: tuple[str, ...]
) -> None:
    native = [trained(config, "native", environment, "--in-process") for environment in ({}, BARE)]
    assert native[0]["parameters_sha256"] != native[1]["parameters_sha256"]
    reference = trained(config, "portable", ENABLED, "--in-process")
    pinned = trained(config, "portable", CHOSEN)
    assert pinned["parameters_sha256"] == reference["parameters_sha256"]
    assert pinned["arithmetic"] == reference["arithmetic"]
    told = pinned["arithmetic"]
    assert [(library["kernel"], library["threads"]) for library in told["blas"]] == [("Nehalem", 1)]
    assert told["simd"] == np.show_config(mode="dicts")["SIMD Extensions"]["baseline"]
    assert not set(told["libc_features"] or ()), "glibc is pinned, too"
    assert pinned["pid"] not in {device["pid"] for device in pinned["devices"].values()}


def test_the_summary_tells_what_the_arithmetic_ran_on(trained: Any) -> None:
    told = trained(IMAGES, "native", BARE | {"OPENBLAS_CORETYPE": "Sandybridge"}, "--in-process")["arithmetic"]
    assert told["numerics"] == "native"
    assert [library["kernel"] for library in told["blas"]] == ["Sandybridge"]
    assert told["simd"] == np.show_config(mode="dicts")["SIMD Extensions"]["baseline"]
    assert told["simd_dispatched"] == []
    assert told["numpy"] == np.__version__
    assert told["libc"] == os.confstr("CS_GNU_LIBC_VERSION")
    assert told["cpu"]


def test_the_environment_overrides_what_the_user_chose_and_keeps_the_rest() -> None:
    base = {**CHOSEN, **ENABLED, "OPENBLAS_NUM_THREADS": "8", "HOME": "/home/someone"}
    pinned = portable.environment(base)
    assert pinned["HOME"] == "/home/someone"
    assert pinned["OPENBLAS_CORETYPE"] == "Nehalem"
    assert pinned["OPENBLAS_NUM_THREADS"] == "1"
    assert pinned["NPY_DISABLE_CPU_FEATURES"].split() == FEATURES
    assert not {"NPY_ENABLE_CPU_FEATURES", "OPENBLAS_BLOCK_FACTOR"} & set(pinned)
    tunables = dict(part.split("=") for part in pinned["GLIBC_TUNABLES"].split(":"))
    assert tunables["glibc.malloc.check"] == "0"
    assert {"-FMA", "-AVX2", "-FMA_Usable", "-AVX2_Usable"} <= set(tunables["glibc.cpu.hwcaps"].split(","))
    assert portable.environment(pinned) == pinned
    assert base["OPENBLAS_CORETYPE"] == "Prescott", "what was given stays as it was"


PINNED = {
    "blas": [{"library": "openblas", "kernel": "Nehalem"}],
    "simd_dispatched": [],
    "libc": "glibc 2.36",
    "libc_features": [],
}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, None),
        ({"libc_features": None}, None),
        ({"blas": [{"library": "openblas", "kernel": "Haswell"}]}, "kernel Haswell instead of Nehalem"),
        ({"blas": [{"library": "mkl", "kernel": None}]}, "NumPy's BLAS is mkl, and only OpenBLAS can be pinned"),
        ({"blas": []}, "NumPy's BLAS is unknown"),
        ({"simd_dispatched": ["AVX2", "FMA3"]}, "NumPy uses AVX2, FMA3"),
        ({"libc_features": ["FMA"]}, "glibc 2.36 uses FMA"),
    ],
)
def test_what_is_not_pinned_is_told(change: dict[str, Any], told: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in portable.DROPPED:  # these stand in the environment of some machines
        monkeypatch.delenv(name, raising=False)
    found = portable.unpinned({**PINNED, **change})
    assert len(found) == (told is not None)
    assert told is None or told in found[0]


@pytest.mark.parametrize("name", portable.DROPPED)
def test_a_variable_that_changes_the_sizes_of_blocks_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in portable.DROPPED:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "512")
    assert portable.unpinned(PINNED) == [f"{name} is set"]
    assert name not in portable.environment(os.environ)


def test_a_process_whose_numpy_has_loaded_unpinned_is_told_how_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    if any(library.get("architecture") == "Nehalem" for library in threadpool_info()):
        monkeypatch.setattr(blas, "record", lambda _: {**PINNED, "blas": []})
    portable.require("native")
    with pytest.raises(portable.NotPinned, match="before NumPy loads") as caught:
        portable.require("portable")
    assert caught.value.environment == portable.environment(os.environ)


def test_other_machines_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(BadInput, match=r"pins the arithmetic of x86-64 machines, and this one is aarch64"):
        portable.require("portable")
    portable.require("native")


def test_a_command_is_started_anew_once_and_then_complains(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ampsim", "run", IMAGES[0], "--set=cluster.numerics=portable", "--out=here"]
    environment = {**without_choices(), "AMPSIM_STARTED_ANEW": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("cluster.numerics: portable has to be prepared before NumPy loads")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_config_from_a_pipe_cannot_be_read_twice(tmp_path: Path) -> None:
    checked = [sys.executable, "-m", "ampsim", "check", IMAGES[0], "--resolved", "--set=cluster.numerics=portable"]
    config = subprocess.run(checked, capture_output=True, text=True, check=True, timeout=60).stdout
    command = [sys.executable, "-m", "ampsim", "run", "/dev/stdin"]
    done = subprocess.run(
        command, cwd=tmp_path, env=without_choices(), input=config, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "/dev/stdin: a pipe can be read only once" in done.stderr
