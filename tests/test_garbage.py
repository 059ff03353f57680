"""Memory that arrays leave behind stays with the process: the next ones of their size cost no page faults."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import resource, sys
import numpy as np
from ampsim.garbage import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()

def turn():
    arrays = [np.ones(1 << 20) for _ in range(2)]

for _ in range(3):
    turn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    turn()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Page faults of 20 turns that each make and leave two arrays of 8 MB."""
    command = [sys.executable, "-c", CODE, how]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="only glibc's malloc is told")
def test_what_is_freed_is_kept() -> None:
    assert faults("kept") < 200 < faults("given back")
