"""`python -m ampsim` and the command `ampsim`."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress

from ampsim import blas, portable
from ampsim.errors import BadInput
from ampsim.garbage import keep_freed_memory, look_seldom


def main() -> int:
    """Choose the BLAS before NumPy loads, then hand over to the device process or to the command line.

    A run that asks for portable arithmetic and has found another starts anew: portable.py.
    """
    # Imports make many objects and hardly any garbage: looking for it would take a tenth of the time to start.
    gc.disable()
    try:
        blas.configure()
        started_anew = portable.take_guard()
        if sys.argv[1:2] == ["device"]:
            from ampsim.runtime.device_process import main as device

            look_seldom()
            keep_freed_memory()
            return device(sys.argv[2:])
        from ampsim.cli.main import main as command_line

        try:
            return command_line()
        except portable.NotPinned as error:
            portable.start_anew(error, started_anew)
            raise
    except BadInput as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        with suppress(OSError):
            sys.stdout.flush()
            print("interrupted", file=sys.stderr, flush=True)
        # Not by `return 130`: where the signal met an exec() of the imports (dataclasses have many), CPython takes it
        # for unhandled whatever catches it, and ends the process by that signal.
        os._exit(130)


if __name__ == "__main__":
    sys.exit(main())
