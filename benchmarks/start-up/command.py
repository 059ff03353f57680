"""Seconds that an ampsim command takes, from its start to its end; the median of some, after one to warm the disk."""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median
from time import perf_counter


def seconds(arguments: list[str]) -> float:
    """One command, started as a user's shell starts it."""
    began_s = perf_counter()
    subprocess.run([sys.executable, "-P", "-m", "ampsim", *arguments], check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - began_s


if __name__ == "__main__":
    repeats, *arguments = sys.argv[1:]
    seconds(arguments)
    print(json.dumps({"seconds": median(seconds(arguments) for _ in range(int(repeats)))}))
