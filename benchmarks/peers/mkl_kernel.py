"""MKL takes a slower path on CPUs of other makers; a function that it asks for the maker can be replaced."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = "int mkl_serv_intel_cpu_true(void) { return 1; }\n"
MARK = "AMPSIM_BENCH_MKL"


def restart_as_intel() -> None:
    """Replace this process by itself with MKL's question answered by yes; returns in the new one.

    Needs Linux and a C compiler called `cc`; exits with a sentence where there is none.
    """
    folder = os.environ.get(MARK)
    if folder is not None:
        # Loaded by now: the file has done its work.
        (Path(folder) / "intel.so").unlink(missing_ok=True)
        Path(folder).rmdir()
        return
    made = Path(tempfile.mkdtemp(prefix="ampsim-bench-mkl-"))
    library = made / "intel.so"
    command = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    try:
        subprocess.run(command, input=SOURCE, text=True, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        made.rmdir()
        sys.exit(f"PyTorch at its best needs a C compiler called cc, and this is what came of it: {error}")
    preload = " ".join(filter(None, [str(library), os.environ.get("LD_PRELOAD")]))
    os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {MARK: str(made), "LD_PRELOAD": preload})
