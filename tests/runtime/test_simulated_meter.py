"""Utilization logs in simulated seconds: lines tile the run, and add up to what was done."""

from __future__ import annotations

import json
from math import isclose
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ACTIVITIES = ("busy_s", "send_s", "receive_s", "idle_s")
FREE_KIND = """kind: step
summary: each batch takes a second, and nothing else any time
compute: 1e30 FLOP/s
memory_bandwidth: 1e30 B/s
memory: 1 TB
overhead: 1 s
"""


@settings(max_examples=40)
@given(
    length_s=st.floats(0.05, 20),
    p=st.integers(1, 4),
    m=st.integers(1, 9),
    keys=st.integers(1, 5),
    max_batch=st.integers(1, 3),
    overhead=st.floats(0.01, 3),
    latency=st.floats(0, 2),
)
def test_lines_tile_the_run_and_add_up_to_the_spans(clock, length_s, p, m, keys, max_batch, overhead, latency):
    kinds = [clock.profile(overhead=overhead, compute=1.0)] * p
    options = {"max_batch": max_batch, "latency": latency, "bandwidth": 50.0, "log_interval_s": length_s}
    run = clock.chain(kinds, m=m, keys=keys, **options)
    assert sum(timing.duration_s for timing in run.timings.values()) == pytest.approx(run.ended_s, rel=1e-12)
    batches = 0
    for device, lines in run.intervals.items():
        ends = [0.0] + [line.times["t1_s"] for line in lines]
        assert [line.times["t0_s"] for line in lines] == ends[:-1]
        assert ends[-1] == run.ended_s
        assert ends[1:-1] == [number * length_s for number in range(1, len(lines))]
        for line in lines:
            assert min(line.times[name] for name in ACTIVITIES) >= -1e-12 * run.ended_s
            parts = sum(line.times[name] for name in ACTIVITIES)
            assert parts == pytest.approx(line.times["t1_s"] - line.times["t0_s"], rel=1e-12, abs=1e-12 * run.ended_s)
        spans = run.spans[device]
        batches += len(spans)
        assert run.busy_s(device) == pytest.approx(spans["duration_s"].sum(dtype=float), rel=1e-6)  # they are float32
        starts, durations = spans["start_s"], spans["duration_s"]
        assert (np.diff(starts) >= durations[:-1] * (1 - 1e-6)).all(), "one batch at a time"
        for line in lines:
            t0, t1 = line.times["t0_s"], line.times["t1_s"]
            inside = np.minimum(starts + durations, t1) - np.maximum(starts, t0)
            assert line.times["busy_s"] == pytest.approx(inside[inside > 0].sum(), rel=1e-5, abs=1e-5 * run.ended_s)
        assert sum(line.counts.batches for line in lines) == len(spans)
        handled = sum(line.counts.forward_messages + line.counts.backward_messages for line in lines)
        assert handled == spans["messages"].sum()
        links = [link for link in run.network.used if device in (link.source, link.destination)]
        for way, ends_of in (("bytes_sent", "source"), ("bytes_received", "destination")):
            carried = sum(link.bytes for link in links if getattr(link, ends_of) == device)
            assert sum(getattr(line, way) for line in lines) == carried
    assert batches > 0


def test_updates_at_the_end_of_an_epoch_are_busy_time_of_their_own(clock):
    """One layer of n = 20 values, memory of 60 B/s: an update takes 12 n / 60 = 4 s, after the last gradient."""
    kind = clock.profile(memory_bandwidth=60.0)
    options = {"op": "linear", "op_options": {"units": 4}, "frequency": 100, "log_interval_s": 1.0}
    run = clock.chain([kind], m=2, **options)
    spans = run.spans["d1"]
    trained_s = spans["start_s"][spans["direction"] == 1].max() + spans["duration_s"][spans["direction"] == 1].max()
    assert run.time_s() == pytest.approx(trained_s + 4.0, rel=1e-6)
    assert run.busy_s("d1") == pytest.approx(spans["duration_s"].sum(dtype=float) + 4.0, rel=1e-6)
    assert sum(line.counts.updates for line in run.intervals["d1"]) == 1


def test_a_long_turn_is_cut_at_the_ends_of_intervals(clock):
    """One instance in turns of 2.5 s: forward, backward, and once more to be predicted; lines are of 1 s."""
    run = clock.chain([clock.profile(compute=0.4)], m=1, log_interval_s=1.0)
    lines = [(line.times["t0_s"], line.times["busy_s"], line.counts.batches) for line in run.intervals["d1"]]
    # A turn counts where it begins; those of label and loss take no time, and come when the forward turn is over.
    assert [start for start, _, _ in lines] == [float(number) for number in range(8)]
    assert [busy for _, busy, _ in lines] == [1.0] * 7 + [0.5]
    assert [batches for _, _, batches in lines if batches] == [1, 3, 1, 2]
    assert [start for start, _, batches in lines if batches] == [0.0, 2.0, 5.0, 7.0]


@pytest.fixture
def free_device(tmp_path: Path) -> Path:
    """A kind of device of one's own, beside the config."""
    (tmp_path / "step.yaml").write_text(FREE_KIND)
    return tmp_path


def test_a_run_from_a_config_takes_the_time_that_the_kind_of_its_device_says(ampsim: Any, free_device: Path) -> None:
    """A perceptron of 2 linear layers, a relu and the loss, on one device: each batch takes a second, and the network
    no time that shows in floats. One instance after the other: a training instance takes 2 (2 + 1) + 2 turns (layers
    both ways; label and prediction at the loss), one that is predicted 3 + 2.

    6 minibatches to train on and 2 to validate in each of 2 epochs, and 6 to test at the end: 2 * 6 * 8 s and
    (2 * 2 + 6) * 5 s.
    """
    (free_device / "steps.yaml").write_text(
        """name: steps
model: {name: mlp, hidden: [4]}
data: {name: mnist, batch: 10, validation: 20, limit: 60}
training:
  epochs: 2
  max_active_keys: 1
  min_update_frequency: 1
  optimizer: {name: sgd, learning_rate: 0.1}
cluster:
  clock: simulated
  numerics: off
  log_interval: 10 s
  devices: {d0: {kind: ./step.yaml, nodes: ["*"]}}
  network: {topology: full, latency: 0 s, bandwidth: 1e30 B/s}
"""
    )
    done = ampsim("run", "steps.yaml", "--out", "run", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    run = free_device / "run"
    summary = json.loads((run / "summary.json").read_text())
    assert isclose(summary["time_s"], 2 * 6 * 8, rel_tol=1e-12)
    assert isclose(summary["validation_time_s"], 10 * 5, rel_tol=1e-12)
    lines = [json.loads(line) for line in (run / "devices/d0.jsonl").read_text().splitlines()]
    assert isclose(lines[-1]["t1_s"], summary["time_s"] + summary["validation_time_s"], rel_tol=1e-12)
    device = summary["devices"]["d0"]
    for name in ("busy_s", "idle_s"):
        assert isclose(sum(line[name] for line in lines), device[name], rel_tol=1e-12, abs_tol=1e-9)
    assert isclose(device["busy_s"], 2 * 6 * 8 + 10 * 5, rel_tol=1e-12)
    assert isclose(device["utilization"], 1.0, rel_tol=1e-12)
    for name in ("forward_messages", "backward_messages", "batches", "updates", "bytes_sent", "bytes_received"):
        assert sum(line[name] for line in lines) == device[name]
    assert device["forward_messages"] == (12 + 10) * 5
    assert device["backward_messages"] == 12 * 3
    assert device["updates"] == 12 * 2
    assert not (run / "parameters.safetensors").exists(), "nothing was learnt"
