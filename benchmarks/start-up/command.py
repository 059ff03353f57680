"""Seconds that an ampsim command takes, from its start to its end; the median of some, after one to warm the disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from statistics import median
from time import perf_counter


def seconds(arguments: list[str]) -> float:
    """One command, started as a user's shell starts it."""
    # What is installed is compiled. Where Python may not write what it has compiled, it would compile anew each time.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-P", "-m", "ampsim", *arguments]
    began_s = perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return perf_counter() - began_s


if __name__ == "__main__":
    repeats, *arguments = sys.argv[1:]
    seconds(arguments)
    print(json.dumps({"seconds": median(seconds(arguments) for _ in range(int(repeats)))}))
