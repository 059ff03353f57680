"""What becomes of memory that is no longer used: cycles of objects, and what arrays leave behind."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

BETWEEN_LOOKS = 20_000
"""New objects from which on the youngest are looked through; Python's own 700 come every few turns of a device."""


def look_seldom() -> None:
    """Leave out what there is now (what imports have made stays to the end), and look through the rest seldom.

    Hardly any cycles come up: a device's turn makes some hundred objects, and all of them go by reference counts.
    """
    gc.freeze()
    gc.set_threshold(BETWEEN_LOOKS)
    gc.enable()


# Numbers of glibc's mallopt (malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BYTES, _MAPPED_BYTES = 256 << 20, 32 << 20


def keep_freed_memory() -> None:
    """Let glibc keep up to 256 MB of what is freed, and map nothing below 32 MB (its most) by itself.

    Arrays of the same sizes come and go with every turn. What is given back to the kernel meanwhile costs a page fault
    for every 4 kB: of a network with weights of 130 kB the twentieth part of all time. Elsewhere this does nothing.
    """
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_MMAP_THRESHOLD, _MAPPED_BYTES)
