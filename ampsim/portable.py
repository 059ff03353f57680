"""`cluster.numerics: portable`: one arithmetic for every x86-64 machine, pinned before NumPy loads, checked after.

Three libraries choose their code by the CPU that they find, and each choice rounds differently: OpenBLAS its kernel,
NumPy the SIMD code of its functions, glibc the variants of exp, log and the like that use fused multiply-add. All three
are told by environment variables to take what any x86-64 machine has. They read them once, when they are loaded, so a
command that finds itself unpinned starts itself anew; the devices inherit its environment.

OpenBLAS's kernel is Nehalem: its instructions (SSE4.2) are those that NumPy's own x86-64 builds ask for, and it is the
oldest kernel whose blocks do not depend on the size of the L2 cache (kernel/setparam-ref.c of OpenBLAS; those of
Prescott and Core2 do).
"""

from __future__ import annotations

import os
import platform
import stat
import sys
from collections.abc import Mapping
from typing import Any, Literal

from ampsim import blas
from ampsim.errors import BadInput

Numerics = Literal["native", "portable", "off"]

KERNEL = "Nehalem"
_MACHINES = ("x86_64", "amd64")
_STARTED_ANEW = "AMPSIM_STARTED_ANEW"
DROPPED = ("NPY_ENABLE_CPU_FEATURES", "OPENBLAS_BLOCK_FACTOR", "GOTO_BLOCK_FACTOR", "OPENBLAS_L2_SIZE")
"""NumPy takes either the features to enable or those to disable; the others change the sizes of OpenBLAS's blocks."""

# Until glibc 2.28 the tunable was glibc.tune.hwcaps, until 2.32 the names ended in _Usable (its sysdeps/x86).
# What a glibc does not know it ignores.
_TUNABLES = ("glibc.cpu.hwcaps", "glibc.tune.hwcaps")
_HWCAPS = ",".join(f"-{name}{ending}" for ending in ("", "_Usable") for name in blas.LIBC_FEATURES)


class NotPinned(BadInput):
    """This process computes with what its CPU has. `environment` is the one to start it with."""

    def __init__(self, text: str, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        super().__init__(text)


def environment(base: Mapping[str, str]) -> dict[str, str]:
    """`base`, changed such that a Python that is started with it computes portably.

    Loads NumPy in this process, to learn which SIMD code the installed one can do without.
    """
    pinned = {key: value for key, value in base.items() if key not in DROPPED}
    blas.configure(pinned)
    pinned["OPENBLAS_CORETYPE"] = KERNEL
    pinned["NPY_DISABLE_CPU_FEATURES"] = " ".join(blas.dispatched_features())
    others = [part for part in base.get("GLIBC_TUNABLES", "").split(":") if part.partition("=")[0] not in _TUNABLES]
    pinned["GLIBC_TUNABLES"] = ":".join([*filter(None, others), *(f"{name}={_HWCAPS}" for name in _TUNABLES)])
    return pinned


def unpinned(arithmetic: Mapping[str, Any]) -> list[str]:
    """What of an arithmetic (`blas.record`) is not the portable one, in words; nothing if it is."""
    found = []
    kernels = [library["kernel"] for library in arithmetic["blas"] if library["library"] == "openblas"]
    if not kernels:
        others = [library["library"] for library in arithmetic["blas"]]
        found.append(f"NumPy's BLAS is {' and '.join(others) or 'unknown'}, and only OpenBLAS can be pinned")
    for kernel in kernels:
        if str(kernel).lower() != KERNEL.lower():
            found.append(f"OpenBLAS uses its kernel {kernel} instead of {KERNEL}")
    if arithmetic["simd_dispatched"]:
        found.append(f"NumPy uses {', '.join(arithmetic['simd_dispatched'])}")
    if arithmetic["libc_features"]:
        found.append(f"{arithmetic['libc']} uses {', '.join(arithmetic['libc_features'])}")
    found += [f"{name} is set" for name in DROPPED if name in os.environ]
    return found


def require(numerics: Numerics) -> None:
    """Raise NotPinned if `numerics` is portable and this process is not, BadInput where it cannot be."""
    if numerics != "portable":
        return
    if platform.machine().lower() not in _MACHINES:
        raise BadInput(
            f"cluster.numerics: portable pins the arithmetic of x86-64 machines, and this one is {platform.machine()}: "
            "expected native here"
        )
    if problems := unpinned(blas.record(numerics)):
        text = (
            f"cluster.numerics: portable has to be prepared before NumPy loads, and in this process "
            f"{'; '.join(problems)}: start the run by the command ampsim, or with the environment variables that "
            "ampsim.portable.environment gives"
        )
        raise NotPinned(text, environment(os.environ))


def take_guard() -> bool:
    """Whether this command has been started anew already; what it starts in turn does not see it."""
    return os.environ.pop(_STARTED_ANEW, None) is not None


def start_anew(error: NotPinned, started_anew: bool) -> None:
    """Replace this process by the same command in the environment that it needs; return if that cannot help.

    Raises BadInput if an argument is a pipe, which has been read.
    """
    if started_anew or not sys.executable:
        return
    for argument in sys.argv[1:]:
        if os.path.exists(argument) and stat.S_ISFIFO(os.stat(argument).st_mode):
            raise BadInput(
                f"{argument}: a pipe can be read only once, and cluster.numerics: portable starts the command anew "
                "with another environment: give a file"
            )
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    os.execve(sys.executable, sys.orig_argv, {**error.environment, _STARTED_ANEW: "1"})
