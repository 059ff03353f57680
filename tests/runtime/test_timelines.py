"""What each device does when, drawn: a pipeline, a loop and a tree on the simulated clock (golden/*.txt).

Every batch takes a second and every link half a second; nothing else takes time. A column is half a second, so that a
batch is a letter and `=`: a capital on the way forward, a small letter on the way back. A turn has a batch, and after
it those that come of it for light nodes of the device; messages leave at its end.

Written anew by `make golden`; the difference is to be read before it is committed.
"""

from __future__ import annotations

import os
from pathlib import Path
from string import ascii_uppercase
from textwrap import wrap

import numpy as np
import pytest

from ampsim.data.dataset import DataSpec, Instance, Messages
from ampsim.models import find_model
from ampsim.ops import ArraySpec

GOLDEN = Path(__file__).parent / "golden"
REWRITE = "AMPSIM_REWRITE_GOLDEN"
COLUMN_S = 0.5
INTEGERS = ArraySpec((), "int64")


def drawn(run):
    """The timeline of the training pass: a line for each device, over a scale in seconds."""
    names = list(run.graph.nodes)
    letters = dict(zip(names, ascii_uppercase, strict=False))
    columns = round(run.time_s() / COLUMN_S)
    width = max(map(len, run.spans))
    scale = "".join(f"{second:<10}" for second in range(0, int(run.time_s()) + 1, 5))
    lines = [f"{'':{width}}  {scale}".rstrip()]
    for device, spans in run.spans.items():
        row = ["."] * columns
        for span in spans[spans["start_s"] < run.time_s()]:
            start, length = (span[name] / COLUMN_S for name in ("start_s", "duration_s"))
            assert start == int(start) and length == int(length)  # noqa: PT018 (both or neither)
            letter = letters[names[span["node"]]]
            cells = range(int(start), int(start + length))
            assert all(row[cell] == "." for cell in cells), "one turn at a time"
            row[cells[0]] = letter.lower() if span["direction"] == 1 else letter
            row[cells[0] + 1 : cells[-1] + 1] = "=" * (len(cells) - 1)
        lines.append(f"{device:{width}}  {''.join(row)}")
    legend = ", ".join(f"{letters[name]} {name}" for name in names)
    return "\n".join([*lines, "", *wrap(legend, 100), f"{run.time_s():g} s", ""])


def pipeline(clock):
    """Three stages, the loss on the last device, four instances and two keys."""
    kinds = [clock.profile(overhead=1.0)] * 3
    return clock.chain(kinds, m=4, keys=2, latency=COLUMN_S)


def loop(clock):
    """A recurrent network that goes round for each token, two lists of three tokens and one of one, two keys."""
    fields = {"t": 8, "length": 8}
    data = DataSpec(dict.fromkeys(("token", "start", "label"), INTEGERS), 3, 1, fields, {"vocabulary": 5})
    graph = find_model("rnn")(data, embedding=2, hidden=3)

    def tokens(length):
        places = np.stack([np.arange(length), np.full(length, length)], axis=1)
        inputs = {
            "token": Messages((np.zeros(length, np.int64),), places, np.ones(length, np.int64)),
            "start": Messages((np.zeros(1, np.int64),), np.array([[0, length]])),
            "label": Messages((np.zeros(1, np.int64),), np.array([[length, length]])),
        }
        return Instance(inputs, size=1)

    here = {"embed": "words", "first": "words", "linear2": "loss", "loss": "loss"}
    placement = {node: here.get(node, "loop") for node in graph.nodes}
    devices = dict.fromkeys(("words", "loop", "loss"), clock.profile(overhead=1.0))
    instances = [tokens(length) for length in (3, 1, 3)]
    memory = clock.InMemory(data, train=instances)
    return clock.simulate(graph, placement, devices, memory, keys=2, latency=COLUMN_S)


def tree(clock):
    """A Tree-LSTM on ((w w) w), its words and leaves on one device, its branches on another, its classes on a third."""
    data = DataSpec({"token": INTEGERS, "label": INTEGERS}, 3, 1, {"node": 16}, {"vocabulary": 5})
    graph = find_model("tree_lstm")(data, embedding=2, hidden=3)
    numbers, ones = np.arange(5)[:, None], np.ones(5, np.int64)
    inputs = {
        "token": Messages((np.zeros(3, np.int64),), numbers[:3], ones[:3]),
        "label": Messages((np.zeros(5, np.int64),), numbers, ones),
    }
    # Words are 0, 1 and 2; 3 is over 0 and 1; 4, the root, is over 3 and 2.
    structure = {"parent": np.array([3, 3, 4, 4, -1]), "side": np.array([0, 1, 1, 0, 0])}
    instance = Instance(inputs, size=1, losses=5, structure=structure)
    here = dict.fromkeys(("embed", "leaf"), "words") | dict.fromkeys(("class", "h", "linear", "loss"), "classes")
    placement = {node: here.get(node, "cells") for node in graph.nodes}
    devices = dict.fromkeys(("words", "cells", "classes"), clock.profile(overhead=1.0))
    memory = clock.InMemory(data, train=[instance])
    return clock.simulate(graph, placement, devices, memory, latency=COLUMN_S)


@pytest.mark.parametrize("make", [pipeline, loop, tree], ids=lambda make: make.__name__)
def test_the_timeline_is_the_golden_one(clock, make):
    golden = GOLDEN / f"{make.__name__}.txt"
    found = f"{make.__doc__}\n\n{drawn(make(clock))}"
    if os.environ.get(REWRITE):
        golden.write_text(found)
    assert found == golden.read_text(), "if this is meant, run: make golden"
