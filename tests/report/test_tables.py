from __future__ import annotations

from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ampsim.report.tables import (
    device_table,
    epoch_text,
    error_lines,
    metrics_text,
    outcome_text,
    passes_table,
    size,
    utilization_bar,
)

DEVICES = {
    "d0": {
        "kind": "cpu-core",
        "pid": 71,
        "utilization": 0.874,
        "busy_s": 12.345,
        "forward_messages": 5600,
        "backward_messages": 5000,
        "updates": 5000,
        "bytes_sent": 1_570_000_000,
        "bytes_received": 376_000_000,
        "peak_memory_bytes": 7_400_000,
        "staleness_mean": 1.234,
        "staleness_max": 3,
    },
    "d1": {
        "kind": "fpga-1tflops",
        "pid": None,
        "utilization": 0.0,
        "busy_s": 0.0,
        "forward_messages": 0,
        "backward_messages": 0,
        "updates": 0,
        "bytes_sent": 0,
        "bytes_received": 999,
        "peak_memory_bytes": 0,
        "staleness_mean": 0.0,
        "staleness_max": 0,
    },
}
METRICS = [
    {"epoch": 1, "split": "train", "loss": 0.5, "accuracy": 0.75, "instances": 50_000, "time_s": 4.0, "wall_s": 4.5},
    {"epoch": 1, "split": "validation", "loss": 0.25, "accuracy": 0.9, "instances": 10_000, "time_s": 4.0, "wall_s": 5},
]
for line in METRICS:
    line["duration_s"] = 4.0


def rendered(table, width=120):
    file = StringIO()
    Console(file=file, width=width).print(table)
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("share", "bar"),
    [
        (0, "░░░░░░░░░░"),
        (0.5, "█████░░░░░"),
        (1, "██████████"),
        (-0.5, "░░░░░░░░░░"),
        (1.5, "██████████"),
        (0.96, "█" * 10),
    ],
)
def test_a_share_is_shown_as_a_bar(share, bar):
    assert utilization_bar(share) == bar


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 40))
def test_a_bar_is_as_wide_as_asked_for_and_grows_with_the_share(one, other, width):
    short, long = (utilization_bar(share, width) for share in sorted((one, other)))
    assert len(short) == len(long) == width
    assert short.count("█") <= long.count("█")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (7, "7 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1234, "1.23 kB"),
        (999_499, "999 kB"),
        (999_600, "1 MB"),
        (376_000_000, "376 MB"),
        (1_570_000_000, "1.57 GB"),
        (16e12, "16 TB"),
    ],
)
def test_bytes_are_shown_in_powers_of_a_thousand(count, text):
    assert size(count) == text


@given(st.integers(0, 10**14))
def test_a_size_reads_as_the_count_to_three_digits(count):
    number, unit = size(count).split()
    factor = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}[unit]
    assert float(number) * factor == pytest.approx(count, rel=0.0051)
    assert "e" not in number


def test_metrics_are_shown_in_a_fixed_order_and_others_are_left_out():
    assert metrics_text({"accuracy": 0.93971, "instances": 7, "loss": 0.19942}) == "loss 0.1994, accuracy 0.9397"
    assert metrics_text({"mae": 0.46, "loss": 1.0}) == "loss 1.0000, mae 0.4600"
    assert metrics_text({}) == ""


def test_an_epoch_is_one_line():
    assert epoch_text(*METRICS) == (
        "epoch 1: train loss 0.5000, accuracy 0.7500 | validation loss 0.2500, accuracy 0.9000 | "
        "12,500 instances/s | 4.0 s"
    )


def test_an_epoch_that_took_no_time_has_no_rate():
    train, validation = ({**line, "duration_s": 0.0} for line in METRICS)
    assert "| 0 instances/s |" in epoch_text(train, validation)


def test_the_outcome_of_a_finished_run_is_one_line():
    summary = {
        "name": "mnist-mlp",
        "status": "finished",
        "reached": {"validation.accuracy": 0.97},
        "epochs": 5,
        "time_s": 20.04,
        "train": {"loss": 0.1, "accuracy": 0.98, "instances": 250_000, "instances_per_second": 12_475.0},
        "validation": {"loss": 0.2, "accuracy": 0.9712},
        "test": {"loss": 0.21, "accuracy": 0.97},
    }
    assert outcome_text(summary) == (
        "mnist-mlp: finished; reached validation.accuracy 0.97; 5 epochs; validation loss 0.2000, accuracy 0.9712; "
        "test loss 0.2100, accuracy 0.9700; 20.0 s of training, 12,475 instances/s"
    )


def test_the_outcome_of_a_run_that_has_only_begun_is_what_there_is():
    assert outcome_text({"name": "x", "status": "failed", "epochs": 1}) == "x: failed; 1 epoch"
    assert outcome_text({"name": "x", "status": "running"}) == "x: running; 0 epochs"


@pytest.mark.parametrize("loss", [None, float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_told_with_a_cure(loss):
    line = outcome_text({"name": "x", "status": "finished", "validation": {"loss": loss, "accuracy": 0.1}})
    assert "the loss is not finite: training diverged; lower learning_rate or max_active_keys" in line


def test_a_metric_that_was_not_finite_is_shown_as_nan():
    assert metrics_text({"loss": None, "accuracy": 0.5}) == "loss nan, accuracy 0.5000"
    assert "nan" in rendered(passes_table([{**METRICS[0], "loss": None}]))[2]


def test_an_error_is_shown_with_its_device_and_its_traceback():
    error = {"device": "d3", "text": "node loss raised", "traceback": "Traceback\n  line 1\n"}
    assert error_lines({"error": error}) == ["device d3: node loss raised", "Traceback", "  line 1"]
    assert error_lines({"error": {"text": "interrupted by SIGINT"}}) == ["interrupted by SIGINT"]
    assert error_lines({}) == []


def test_the_device_table_has_a_line_for_each_device():
    heading, rule, first, second = rendered(device_table(DEVICES))
    words = "device utilization busy s forward backward updates staleness sent received memory"
    assert heading.split() == words.split()
    assert set(rule) == {"─"}
    assert first.split("  ")[0] == "d0 (cpu-core)"
    for figure in ("█████████░", " 87%", "12.35", "5,600", "5,000", "1.23 ≤ 3", "1.57 GB", "376 MB", "7.4 MB"):
        assert figure in first
    for figure in ("d1 (fpga-1tflops)", "░░░░░░░░░░", " 0%", "0.00 ≤ 0", "0 B", "999 B"):
        assert figure in second


def test_a_device_name_with_brackets_is_shown_as_it_is():
    assert "d[0] (cpu-core)" in "\n".join(rendered(device_table({"d[0]": DEVICES["d0"]})))


def test_an_empty_device_table_still_has_its_headings():
    assert rendered(device_table({}))[0].startswith("device")


def test_the_table_of_passes_has_the_measures_that_occur():
    heading, _, train, validation = rendered(passes_table(METRICS))
    assert heading.split() == ["epoch", "split", "loss", "accuracy", "instances", "training", "s", "wall", "s"]
    assert train.split() == ["1", "train", "0.5000", "0.7500", "50,000", "4.0", "4.5"]
    assert validation.split() == ["1", "validation", "0.2500", "0.9000", "10,000", "4.0", "5.0"]


def test_a_pass_without_a_measure_that_others_have_leaves_its_place_empty():
    lines = rendered(passes_table([{**METRICS[0], "mae": 0.5}, METRICS[1]]))
    assert "mae" in lines[0]
    assert len(lines[3].split()) == len(lines[2].split()) - 1
