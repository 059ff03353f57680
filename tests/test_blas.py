from __future__ import annotations

import pytest

from ampsim import blas

AVX512 = "fma avx2 avx512f avx512dq avx512bw avx512vl avx512cd"


@pytest.mark.parametrize(
    ("vendor", "family", "flags", "kernel"),
    [
        ("GenuineIntel", "6", AVX512, "SkylakeX"),
        ("AuthenticAMD", "25", AVX512, "Haswell"),
        ("AuthenticAMD", "26", AVX512, "SkylakeX"),
        ("AuthenticAMD", "25", "fma avx2", None),
        ("", "", "", None),
    ],
)
def test_the_kernel_is_chosen_by_the_cpu(monkeypatch, vendor, family, flags, kernel):
    cpu = {"vendor_id": vendor, "cpu family": family, "flags": flags}
    monkeypatch.setattr(blas, "_cpu_info", cpu.__getitem__)
    environment: dict[str, str] = {}
    blas.configure(environment)
    assert environment.get("OPENBLAS_CORETYPE") == kernel
    assert environment["OPENBLAS_NUM_THREADS"] == "1"


def test_a_kernel_that_the_user_has_chosen_stays(monkeypatch):
    monkeypatch.setattr(blas, "_cpu_info", {"flags": AVX512, "vendor_id": "x", "cpu family": "1"}.__getitem__)
    environment = {"OPENBLAS_CORETYPE": "Sandybridge"}
    blas.configure(environment)
    assert environment["OPENBLAS_CORETYPE"] == "Sandybridge"
