"""The arithmetic under NumPy: chosen by environment variables before NumPy loads, checked and recorded after.

A device process computes on one thread, so that two devices on two cores do not fight, and with the best kernel
of those that the CPU can run: OpenBLAS misjudges some AMD chips. Weights repeat to the bit on the same kernel and
the same SIMD code; portable.py pins both for all x86-64 machines.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_KERNEL = "OPENBLAS_CORETYPE"
_AVX512 = {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"}
_HALF_WIDTH = ("AuthenticAMD", "25")
"""Vendor and family (Linux's) of CPUs that have AVX-512 and take two steps for each of its operations: Zen 4."""

# Where glibc keeps whether it uses a feature: leaf, register (of eax, ebx, ecx, edx) and bit (sys/platform/x86.h).
LIBC_FEATURES = {"FMA": (0, 2, 12), "FMA4": (2, 2, 16), "AVX2": (1, 1, 5)}
"""The features by which glibc chooses among variants of exp, log, sin and the like that round differently."""


_CHANGED: dict[str, str | None] = {}
"""What `configure` has changed of this process's environment: each variable as it was, None if there was none."""


def configure(environment: MutableMapping[str, str] = os.environ) -> None:
    """Ask for one thread, and for the best of OpenBLAS's kernels where the CPU has AVX-512.

    A kernel that the user has chosen (OPENBLAS_CORETYPE) stays. Does nothing for a NumPy that has loaded already.
    """
    if environment is os.environ and not _CHANGED:
        _CHANGED.update({name: os.environ.get(name) for name in (*_THREADS, _KERNEL)})
    environment.update(dict.fromkeys(_THREADS, "1"))
    if set(_cpu_info("flags").split()) >= _AVX512:
        # There AVX-512 does no more arithmetic in a cycle than AVX2, and the AVX2 kernel's large products are faster.
        half = (_cpu_info("vendor_id"), _cpu_info("cpu family")) == _HALF_WIDTH
        environment.setdefault(_KERNEL, "Haswell" if half else "SkylakeX")


def without_choices(environment: Mapping[str, str]) -> dict[str, str]:
    """A copy of this process's environment with what `configure` has changed as the user had it."""
    restored = {name: value for name, value in environment.items() if name not in _CHANGED}
    return restored | {name: value for name, value in _CHANGED.items() if value is not None}


def record(numerics: str = "native") -> dict[str, Any]:
    """What the arithmetic of this process runs on: NumPy's version, the BLAS with its kernel and threads, SIMD level.

    `numerics` is the config's; `simd` what NumPy uses of the CPU, `simd_dispatched` the part of it that it could do
    without, `libc_features` what glibc uses of LIBC_FEATURES (None if it does not tell). Holds the BLAS to one thread
    if the environment did not.
    """
    import numpy as np
    from threadpoolctl import threadpool_info, threadpool_limits

    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    if any(library["num_threads"] != 1 for library in libraries):
        threadpool_limits(1, "blas")
    # What NPY_DISABLE_CPU_FEATURES has switched off counts as not found.
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    return {
        "numerics": numerics,
        "numpy": np.__version__,
        "blas": [
            {
                "library": library["internal_api"],
                "version": library.get("version"),
                "kernel": library.get("architecture"),
                "threads": 1,
            }
            for library in libraries
        ],
        "simd": [*simd.get("baseline", []), *simd.get("found", [])],
        "simd_dispatched": list(simd.get("found", [])),
        "libc": _libc(),
        "libc_features": _libc_features(),
        "cpu": _cpu_info("model name") or platform.processor() or platform.machine(),
    }


def dispatched_features() -> list[str]:
    """The CPU features that the installed NumPy has code for beside its baseline, whether this CPU has them or not."""
    import numpy as np

    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    return [*simd.get("found", []), *simd.get("not found", [])]


def _cpu_info(field: str) -> str:
    """What Linux tells of the first CPU under this name; elsewhere nothing."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == field:
                return value.strip()
    return ""


def _libc() -> str | None:
    """`glibc 2.36`; None where there is none."""
    with suppress(AttributeError, OSError, ValueError):
        return os.confstr("CS_GNU_LIBC_VERSION")
    return None


def _libc_features() -> list[str] | None:
    try:
        leaf_of = ctypes.CDLL(None).__x86_get_cpuid_feature_leaf  # from glibc 2.33 on
    except (AttributeError, OSError, TypeError):
        return None
    leaf_of.argtypes = [ctypes.c_uint]
    # What the CPU has, then what glibc uses of it, four registers each.
    leaf_of.restype = ctypes.POINTER(ctypes.c_uint32 * 8)
    return [
        name for name, (leaf, register, bit) in LIBC_FEATURES.items() if leaf_of(leaf).contents[4 + register] >> bit & 1
    ]
