from __future__ import annotations

import numpy as np

from ampsim.ir.batch import Direction
from ampsim.ir.graph import Target
from ampsim.runtime import spans
from ampsim.runtime.spans import MAX_SPANS, SPAN, SpanRecorder

FORWARD, BACKWARD, *_ = Direction


def records(recorder):
    return recorder.take().view(SPAN)


def test_a_span_says_when_which_node_handled_how_many_messages():
    recorder = SpanRecorder({"linear1": 0, "relu1": 1})
    recorder.add(1.5, 1.75, Target("relu1", 0, BACKWARD), 3)
    recorder.add(2.0, 2.5, Target("linear1", 1, FORWARD), 1)
    first, second = records(recorder)
    assert first.item() == (1.5, 0.25, 1, BACKWARD, 0, 3)
    assert second.item() == (2.0, 0.5, 0, FORWARD, 0, 1)


def test_spans_are_handed_out_once_and_as_plain_bytes():
    recorder = SpanRecorder({"a": 0})
    recorder.add(0.0, 1.0, Target("a", 0, FORWARD), 1)
    taken = recorder.take()
    assert taken.dtype == np.uint8
    assert taken.shape == (SPAN.itemsize,)
    assert recorder.take().shape == (0,)


def test_a_record_is_as_compact_as_the_documentation_of_the_files_says():
    assert SPAN.itemsize == 20
    assert MAX_SPANS * SPAN.itemsize == 4_000_000


def test_spans_are_bounded_over_the_whole_run(monkeypatch):
    monkeypatch.setattr(spans, "MAX_SPANS", 3)
    recorder = SpanRecorder({"a": 0})
    kept = []
    for turn in range(4):
        for step in range(2):
            recorder.add(float(turn), turn + 0.5, Target("a", 0, FORWARD), step)
        kept.append(len(records(recorder)))
    assert kept == [2, 1, 0, 0]
