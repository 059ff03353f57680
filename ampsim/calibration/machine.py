"""This machine's plain figures: matrix products of several sizes, copying, and how much memory it has."""

from __future__ import annotations

import os
from collections.abc import Callable
from statistics import median
from time import thread_time

import numpy as np

MATRICES = [
    (1, 784, 784),
    (10, 784, 784),
    (100, 784, 784),
    (100, 256, 128),
    (64, 256, 640),
    (64, 100, 100),
    (1, 20, 20),
]
"""Rows, inputs and units of the products that are timed; and one by which `compute` is told:"""
LARGE = (1024, 1024, 1024)
COPIED_BYTES = [4_096, 262_144, 16_777_216]
"""Sizes of arrays that are copied: the last lies in no cache, and tells `memory_bandwidth`."""
FALLBACK_MEMORY = 4e9


def cores_of_this_machine() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def time_products(repeats: int) -> list[tuple[tuple[int, int, int], float]]:
    """Seconds of each product in float32, the last being LARGE."""
    return [(shape, _product_s(*shape, repeats)) for shape in (*MATRICES, LARGE)]


def time_copies(repeats: int) -> list[tuple[int, float]]:
    """Seconds to copy arrays of so many bytes."""
    timed = []
    for size in COPIED_BYTES:
        source = np.ones(size // 4, np.float32)
        target = np.empty_like(source)
        timed.append((size, _median_s(lambda: np.copyto(target, source), repeats)))  # noqa: B023  (called at once)
    return timed


def memory_bytes() -> float:
    """The machine's memory; FALLBACK_MEMORY where the system does not tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return FALLBACK_MEMORY


def _product_s(rows: int, inputs: int, units: int, repeats: int) -> float:
    generator = np.random.default_rng(0)
    x = generator.random((rows, inputs), np.float32)
    w = generator.random((inputs, units), np.float32)
    return _median_s(lambda: x @ w, repeats)


def _median_s(work: Callable[[], object], repeats: int) -> float:
    work()
    taken_s = []
    for _ in range(repeats):
        began_s = thread_time()
        work()
        taken_s.append(thread_time() - began_s)
    return median(taken_s)
