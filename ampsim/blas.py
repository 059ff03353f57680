"""The BLAS under NumPy: chosen by environment variables before NumPy loads, checked and recorded after.

A device process computes on one thread, so that two devices on two cores do not fight, and with the best kernel
that the CPU's features allow: OpenBLAS misjudges some AMD chips. Weights repeat to the bit on the same kernel.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_AVX512 = {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"}


def configure(environment: MutableMapping[str, str] = os.environ) -> None:
    """Ask for one thread, and for OpenBLAS's AVX-512 kernel where the CPU has what it needs.

    A kernel that the user has chosen (OPENBLAS_CORETYPE) stays. Does nothing for a NumPy that has loaded already.
    """
    environment.update(dict.fromkeys(_THREADS, "1"))
    if _cpu_features() >= _AVX512:
        environment.setdefault("OPENBLAS_CORETYPE", "SkylakeX")


def _cpu_features() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())


def record() -> dict[str, Any]:
    """What the arithmetic of this process runs on: NumPy's version, the BLAS with its kernel and threads, SIMD level.

    Holds the BLAS to one thread if the environment did not.
    """
    import numpy as np
    from threadpoolctl import threadpool_info, threadpool_limits

    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    if any(library["num_threads"] != 1 for library in libraries):
        threadpool_limits(1, "blas")
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    return {
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
    }
