"""Devices of measured kinds on the simulated clock: closed forms on a cluster of one device, one instance at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ampsim.cli.watch import QuietWatcher
from ampsim.config.load import load
from ampsim.runtime.run import run

KIND = """\
kind: measured
summary: a device on which nothing takes time but what is said below
compute: 1e30 FLOP/s
memory_bandwidth: 1e30 B/s
memory: 1 GB
overhead: 0 s
"""
SETS = (
    "data.limit=300",
    "model.hidden=[8]",
    "training.epochs=1",
    "training.max_active_keys=1",
    "training.stop_at={}",
    "cluster.clock=simulated",
    "cluster.numerics=off",
    "cluster.network={topology: full, latency: 0 s, bandwidth: 1e30 B/s}",
    "cluster.devices={d0: {kind: ./measured.yaml, nodes: ['*']}}",
)
INSTANCES = 3
"""of each of the three splits: minibatches of 100 images"""
TURNS = 5
"""at an instance of the model linear, relu, linear, loss: the loss node takes two, one for each input"""
BACK = 3


@pytest.fixture
def simulate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`simulate(figures, *sets)`: the summary of a run on a device file with these figures besides."""
    monkeypatch.chdir(tmp_path)

    def simulated(figures: str, *sets: str) -> dict[str, Any]:
        (tmp_path / "measured.yaml").write_text(KIND + figures)
        out = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        return run(load("mnist-mlp", [*SETS, *sets]), QuietWatcher(), out)[1]

    return simulated


def test_time_per_message_and_per_op(simulate: Any) -> None:
    turns = INSTANCES * (3 * TURNS + BACK)
    assert simulate("message_overhead: 1 s\n")["devices"]["d0"]["busy_s"] == turns
    # A relu is answered in the turn of the layer before it; but back, where the image wants no gradient, it is last.
    assert simulate("turn: 1 s\n")["devices"]["d0"]["busy_s"] == INSTANCES * (3 * (TURNS - 1) + BACK - 1)
    rates = "rates: {relu: {forward: {batch: 1 s, row: 10 ms}, backward: {batch: 4 s}, inference: {batch: 2 s}}}\n"
    assert simulate(rates)["devices"]["d0"]["busy_s"] == pytest.approx(INSTANCES * (1 + 1 + 4 + 2 * 2))
    updates = simulate("rates: {sgd: {update: {batch: 1 s}}}\n")
    assert updates["devices"]["d0"]["busy_s"] == pytest.approx(2 * INSTANCES)


@pytest.mark.parametrize("often", [1, 2, 100])
def test_an_update_takes_the_gradients_of_all_rows_since_the_last_one(simulate: Any, often: int) -> None:
    # Of two layers, and with 2 of 3 minibatches an update, or 100, some when the epoch ends.
    summary = simulate(
        "rates: {sgd: {update: {batch: 1000 s}}, linear: {update: {row: 1 s}}}\n",
        f"training.min_update_frequency={often}",
    )
    rows = 100 * INSTANCES
    assert summary["devices"]["d0"]["busy_s"] == pytest.approx(2 * (1000 * -(-INSTANCES // often) + rows))


def test_handing_out_and_taking_in_are_the_devices_time(simulate: Any) -> None:
    # Taken in: a bundle of two batches with three arrays each, for each instance. Handed out: in training one of the
    # report and of what goes home for the label and the image; else one of the report.
    taken_in = simulate("receive: {bundle: 100 s, batch: 10 s, array: 1 s}\n")
    assert taken_in["devices"]["d0"]["busy_s"] == pytest.approx(3 * INSTANCES * (100 + 2 * 10 + 2 * 3))
    handed_out = simulate("send: {bundle: 100 s, batch: 10 s, array: 1 s}\n")
    train = 100 + (10 + 3) + 2 * (10 + 2)
    assert handed_out["devices"]["d0"]["busy_s"] == pytest.approx(INSTANCES * (train + 2 * 113))


def test_bytes_that_are_handed_out_take_time(simulate: Any) -> None:
    summary = simulate("send: {bandwidth: 1 kB/s}\n")
    assert summary["devices"]["d0"]["busy_s"] == pytest.approx(summary["devices"]["d0"]["bytes_sent"] / 1000)


def test_the_controller_takes_time_only_where_the_config_says_so(simulate: Any) -> None:
    figures = "rates: {controller: {forward: {batch: 1 s, part: 10 s, message: 100 s}, backward: {message: 1000 s}}}\n"
    assert simulate(figures)["time_s"] < 1e-9
    summary = simulate(figures, "cluster.controller=./measured.yaml")
    # An instance is injected with two messages, and three come home of it.
    assert summary["time_s"] == pytest.approx(INSTANCES * (1 + 10 + 200 + 3000))
    assert summary["devices"]["d0"]["busy_s"] < 1e-9


def test_the_controller_hands_out_and_takes_in_as_its_kind_does(simulate: Any) -> None:
    figures = "send: {bundle: 1 s}\nreceive: {bundle: 100 s}\n"
    assert simulate(figures)["time_s"] == pytest.approx(INSTANCES * (100 + 1))
    # A device sends one bundle home for an instance, with the report and the answers of the label and the image:
    #     injected   taken in by d0   all leave   taken in
    #     0 to 1     1 to 101         102         102 to 202
    summary = simulate(figures, "cluster.controller=./measured.yaml")
    assert summary["time_s"] == pytest.approx(INSTANCES * 202)
    # Time on the way is from where handing out begins to where taking in ends: 0 to 101 for what is injected, 101 to
    # 202 for the three that go home; in inference there is the report alone.
    edges = summary["edges"]
    assert edges["controller -> d0"] == {"packets": 2 * 3 * INSTANCES, "mean_s": pytest.approx(101)}
    assert edges["d0 -> controller"] == {"packets": 5 * INSTANCES, "mean_s": pytest.approx(101)}


def test_the_controller_takes_its_time_from_a_device_that_shares_its_core(simulate: Any) -> None:
    figures = "turn: 1 s\nrates: {controller: {backward: {message: 1000 s}}}\n"
    # What comes home is half a turn on its way: then the device is at work on the other instance.
    network = "cluster.network={topology: full, latency: 0.5 s, bandwidth: 1e30 B/s}"
    sets = ["cluster.controller=./measured.yaml", "training.max_active_keys=2", network]
    apart = simulate(figures, *sets)
    two_cores = simulate(figures, *sets, "cluster.cores=2")
    assert two_cores["devices"] == apart["devices"], "one device leaves a core for the controller"
    shared = simulate(figures, *sets, "cluster.cores=1")
    # What the controller does while the device is at work is added to what the device's turns take.
    assert shared["devices"]["d0"]["busy_s"] > apart["devices"]["d0"]["busy_s"] + 999
    assert (shared["devices"]["d0"]["busy_s"] - apart["devices"]["d0"]["busy_s"]) % 1000 == pytest.approx(0, abs=1e-6)


def test_batches_of_a_kind_that_varies_take_other_times_in_every_run_the_same(simulate: Any) -> None:
    figures = "rates: {linear: {forward: {batch: 1 s}}}\n"
    even = simulate(figures)
    one, again = simulate(f"spread: 0.5\n{figures}"), simulate(f"spread: 0.5\n{figures}")
    assert (one["time_s"], one["devices"]) == (again["time_s"], again["devices"])
    assert one["time_s"] != even["time_s"]
    other = simulate(f"spread: 0.5\n{figures}", "seed=1")
    assert other["time_s"] != one["time_s"]
