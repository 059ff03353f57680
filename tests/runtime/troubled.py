"""Models of a user's who has trouble: one op of each misbehaves from its third call on. Copied beside a config."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ampsim import DataSpec, Graph, GraphBuilder, elementwise


def boom() -> None:
    raise RuntimeError("boom, says the user's op")


def hang() -> None:
    Path("hanging").touch()
    time.sleep(600)


def end_at_once() -> None:
    os._exit(3)


def segfault() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def chat() -> None:
    print("blah " * 20_000)


TROUBLES: dict[str, Callable[[], None]] = {
    "boom": boom,
    "hang": hang,
    "end_at_once": end_at_once,
    "segfault": segfault,
    "chat": chat,
}


def model(data: DataSpec, *, trouble: str) -> Graph:
    """linear1, own, linear2 and loss."""
    calls = 0

    def forward(x: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls >= 3 and trouble in TROUBLES:
            TROUBLES[trouble]()
        return np.maximum(x, 0)

    if trouble == "device" and "device" in sys.argv:
        raise OSError("this file is only on the controller's machine")
    units = 17 if trouble == "another graph" and "device" in sys.argv else 16
    graph = GraphBuilder(data.inputs)
    wire = graph.transform("linear1", "linear", graph.input("image"), units=units)
    wire = graph.transform("own", elementwise("own", forward, lambda x: (x > 0).astype(x.dtype)), wire)
    wire = graph.transform("linear2", "linear", wire, units=data.classes)
    graph.loss("loss", "softmax_cross_entropy", wire, graph.input("label"))
    return graph.graph()
