from __future__ import annotations

import json
import os
import subprocess
from socket import gethostname

import pytest

from ampsim.errors import BadInput
from ampsim.report.run_files import RunFiles, read_lines

DEVICE = {
    "kind": "cpu-core",
    "utilization": 0.25,
    "busy_s": 1.5,
    **dict.fromkeys(("forward_messages", "backward_messages", "updates", "staleness_max"), 7),
    "staleness_mean": 1,
    **dict.fromkeys(("bytes_sent", "bytes_received", "peak_memory_bytes"), 1000),
}
SUMMARY = {"name": "mnist-mlp", "status": "running", "devices": {"d0": DEVICE}}
LINES = [
    {"epoch": 1, "split": "train", "loss": 0.5, "instances": 100, "time_s": 2.0, "wall_s": 3.0},
    {"epoch": 1, "split": "validation", "loss": None, "instances": 10, "time_s": 2.0, "wall_s": 3.5},
]


@pytest.fixture
def run(tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps(SUMMARY))
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return tmp_path


def test_a_run_is_its_summary_and_its_lines_of_metrics(run):
    files = RunFiles.read(run)
    assert (files.path, files.summary, files.metrics) == (run, SUMMARY, LINES)


def test_a_run_that_has_not_finished_a_pass_has_no_metrics(run):
    (run / "metrics.jsonl").unlink()
    assert RunFiles.read(run).metrics == []


def write(run, **entries):
    (run / "summary.json").write_text(json.dumps({**SUMMARY, **entries}))


def test_a_run_whose_controller_is_gone_has_failed_whatever_it_says(run):
    ended = subprocess.Popen(["true"])
    ended.wait()
    write(run, pid=ended.pid, host=gethostname())
    summary = RunFiles.read(run).summary
    assert summary["status"] == "failed"
    assert summary["error"] == {"text": f"the controller (pid {ended.pid}) is gone"}
    write(run, pid=ended.pid, host=gethostname(), status="finished")
    assert RunFiles.read(run).summary["status"] == "finished"


def test_a_run_whose_controller_lives_or_is_elsewhere_is_running(run):
    for pid, host in ((os.getpid(), gethostname()), (2**22 + 1, "elsewhere")):
        write(run, pid=pid, host=host)
        assert RunFiles.read(run).summary["status"] == "running"


def test_a_folder_that_is_not_there_is_told_by_its_name(tmp_path):
    with pytest.raises(BadInput, match=r"mnist-mlp-9: no such directory: give a run directory"):
        RunFiles.read(tmp_path / "mnist-mlp-9")


def test_a_file_is_no_run_directory(run):
    with pytest.raises(BadInput, match="no such directory"):
        RunFiles.read(run / "summary.json")


def test_a_folder_without_a_summary_holds_no_run(tmp_path):
    with pytest.raises(BadInput, match=r"holds no run \(there is no summary.json\)"):
        RunFiles.read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"not json", b"\xff\xfe\x00", b'{"name": "x"'])
def test_a_summary_that_is_not_json_is_told_by_its_path(run, content):
    (run / "summary.json").write_bytes(content)
    with pytest.raises(BadInput, match=r"summary\.json: cannot be read: "):
        RunFiles.read(run)


@pytest.mark.parametrize("content", ["[]", "7", "null", '"text"', "{}", '{"devices": []}'])
def test_json_that_is_no_summary_is_told_by_its_path(run, content):
    (run / "summary.json").write_text(content)
    with pytest.raises(BadInput, match=r"summary\.json: is not the summary of a run"):
        RunFiles.read(run)


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_last_line_that_was_cut_off_is_left_out(run, cut):
    text = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text(text[: -1 - cut])
    assert read_lines(run / "metrics.jsonl") == LINES[:1]


def test_a_last_line_that_lacks_only_its_end_of_line_counts(run):
    text = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text(text[:-1])
    assert read_lines(run / "metrics.jsonl") == LINES


def test_a_bad_line_that_is_not_the_last_is_told_by_its_number(run):
    (run / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": \n{"epoch": 3}\n')
    with pytest.raises(BadInput, match=r"metrics\.jsonl:2: is not a line of JSON: "):
        RunFiles.read(run)


def test_lines_that_are_no_text_are_told_by_their_file(run):
    (run / "metrics.jsonl").write_bytes(b'{"epoch": 1}\n\xff\xfe\n{"epoch": 3}\n')
    with pytest.raises(BadInput, match=r"metrics\.jsonl"):
        RunFiles.read(run)


def test_a_line_of_json_that_is_no_object_is_told_by_its_number(run):
    (run / "metrics.jsonl").write_text('{"epoch": 1}\n7\n{"epoch": 3}\n')
    with pytest.raises(BadInput, match=r"metrics\.jsonl:2"):
        RunFiles.read(run)


def test_an_empty_file_has_no_lines(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("")
    assert read_lines(tmp_path / "metrics.jsonl") == []


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ({"name": 7}, "name: expected a text, found 7"),
        (
            {"status": "asleep"},
            "status: expected 'running', 'finished', 'stopped' or 'failed', found the text 'asleep'",
        ),
        ({"epochs": 1.5}, "epochs: expected a whole number, found 1.5"),
        ({"devices": {"d0": 5}}, "devices.d0: expected a mapping, found 5"),
        ({"devices": {"d0": {}}}, "devices.d0.kind: expected a value, and there is none"),
        (
            {"devices": {"d0": DEVICE | {"busy_s": "long"}}},
            "devices.d0.busy_s: expected a number, found the text 'long'",
        ),
        ({"devices": {"d0": DEVICE | {"updates": None}}}, "devices.d0.updates: expected a whole number, found nothing"),
        ({"devices": {"d0": DEVICE | {"pid": []}}}, "devices.d0.pid: expected a whole number, found an empty list"),
        ({"train": {"loss": 0.5}}, "train.instances_per_second: expected a value, and there is none"),
        ({"test": None}, "test: expected a mapping, found nothing"),
        ({"test": {"loss": [1]}}, "test.loss: expected a number, found a list"),
        ({"reached": [1]}, "reached: expected a mapping, found a list"),
        ({"bound": {"device": "d0"}}, "bound.device_s: expected a value, and there is none"),
        ({"error": "broken"}, "error: expected a mapping, found the text 'broken'"),
        ({"arithmetic": {"blas": {}}}, "arithmetic.blas: expected a list, found an empty mapping"),
        ({"arithmetic": {"blas": ["openblas"]}}, "arithmetic.blas.0: expected a mapping, found the text 'openblas'"),
    ],
)
def test_a_value_of_the_summary_that_no_run_writes_is_told_by_its_key(run, entries, told):
    write(run, **entries)
    with pytest.raises(BadInput) as caught:
        RunFiles.read(run)
    assert str(caught.value) == f"{run / 'summary.json'}: {told}"


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ({"epoch": "first"}, "epoch: expected a whole number, found the text 'first'"),
        ({"loss": {}}, "loss: expected a number, found an empty mapping"),
    ],
)
def test_a_value_of_a_line_of_metrics_that_no_run_writes_is_told_by_its_line_and_key(run, entries, told):
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (LINES[0], LINES[1] | entries)))
    with pytest.raises(BadInput) as caught:
        RunFiles.read(run)
    assert str(caught.value) == f"{run / 'metrics.jsonl'}:2: {told}"
