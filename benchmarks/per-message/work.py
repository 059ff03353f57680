"""What both sides of the case do: so many messages of one row through a linear map, and its gradient."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from time import perf_counter

from ampsim import blas

blas.configure()

import numpy as np  # noqa: E402  (after the BLAS has been chosen, as in a device)

WIDTH = 128
MIN_UPDATE_FREQUENCY = 100
LEARNING_RATE = 0.01
WARM_UP = 320


def rows(count: int, seed: int) -> list[np.ndarray]:
    """`count` different float32[1, WIDTH]."""
    return list(np.random.default_rng(seed).standard_normal((count, 1, WIDTH), np.float32))


def measure(through: Callable[[int, int], object]) -> None:
    """Call through(messages, max_batch) once to warm up and once for the figure; print microseconds per message."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--max-batch", type=int, default=1)
    options = parser.parse_args()
    through(WARM_UP, options.max_batch)
    began_s = perf_counter()
    through(options.messages, options.max_batch)
    print(json.dumps({"us_per_message": (perf_counter() - began_s) / options.messages * 1e6}))
