"""`python -m ampsim` and the command `ampsim`."""

from __future__ import annotations

import sys


def main() -> int:
    """Choose the BLAS before NumPy loads, then hand over to the device process or to the command line."""
    try:
        from ampsim import blas

        blas.configure()
        if sys.argv[1:2] == ["device"]:
            from ampsim.runtime.device_process import main as device

            return device(sys.argv[2:])
        from ampsim.cli.main import main as command_line

        return command_line()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
