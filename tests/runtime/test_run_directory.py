from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.numpy import load_file

from ampsim.errors import BadInput
from ampsim.ir.batch import Direction
from ampsim.ir.graph import Target
from ampsim.runtime.cluster import Interval
from ampsim.runtime.run_directory import RunDirectory, parameters_sha256
from ampsim.runtime.spans import SPAN, SpanRecorder
from ampsim.runtime.statistics import NodeCounts, Staleness, WorkCounts

PARAMETERS = {
    "linear1.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "linear1.bias": np.array([0.5, -0.5, 0.25], np.float32),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def interval(device="d0", t0_s=0.0, t1_s=1.0, **more):
    times = {"t0_s": t0_s, "t1_s": t1_s, "busy_s": 0.5, "send_s": 0.0, "receive_s": 0.0, "idle_s": 0.5}
    counts = WorkCounts(7, 5, 12, 3, 100, 200, {"linear1": NodeCounts(4, Staleness(5, 10, 6))})
    return Interval(device, times, counts, bytes_sent=11, bytes_received=22, **more)


def lines(path: Path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_runs_are_numbered_from_one_and_then_from_the_last(folder):
    assert [RunDirectory.create("mnist", None, "").path for _ in range(2)] == [
        Path("runs/mnist-1"),
        Path("runs/mnist-2"),
    ]
    (folder / "runs/mnist-9").mkdir()
    assert RunDirectory.create("mnist", None, "").path == Path("runs/mnist-10")


def test_names_that_begin_alike_are_numbered_apart(folder):
    for name in ("mnist-mlp-7", "mnist-x", "mnist-3-old", "xmnist-8", "mnist"):
        (folder / "runs" / name).mkdir(parents=True)
    assert RunDirectory.create("mnist", None, "").path == Path("runs/mnist-1")
    assert RunDirectory.create("mnist-mlp", None, "").path == Path("runs/mnist-mlp-8")


def test_runs_that_start_at_once_get_a_directory_each():
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: RunDirectory.create("mnist", None, "").path, range(24)))
    assert sorted(path.name for path in paths) == sorted(f"mnist-{number}" for number in range(1, 25))


def test_a_directory_that_is_given_is_made_with_its_parents(folder):
    assert RunDirectory.create("mnist", folder / "a/b", "").path == folder / "a/b"
    assert (folder / "a/b").is_dir()


@pytest.mark.parametrize("file", ["summary.json", "config.yaml"])
def test_a_directory_that_holds_a_run_is_refused_and_left_as_it_is(folder, file):
    (folder / file).write_text("mine")
    with pytest.raises(BadInput, match="holds a run already: give another directory to --out"):
        RunDirectory.create("mnist", folder, "")
    assert (folder / file).read_text() == "mine"


def test_a_directory_with_other_files_is_taken(folder):
    (folder / "notes.txt").write_text("mine")
    RunDirectory.create("mnist", folder, "").write_summary({})
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_path_that_cannot_be_a_directory_is_refused_by_its_name(folder):
    (folder / "file").write_text("")
    for out in (folder / "file", folder / "file/below"):
        with pytest.raises(BadInput, match=r"file.*: cannot make a run directory there: "):
            RunDirectory.create("mnist", out, "")


def test_a_new_directory_has_its_config_from_the_start(folder):
    directory = RunDirectory.create("mnist", None, "name: mnist\n")
    assert [path.name for path in directory.path.iterdir()] == ["config.yaml"]
    assert (directory.path / "config.yaml").read_text() == "name: mnist\n"


def test_a_whole_file_is_replaced_at_once_and_readers_keep_what_they_opened(folder):
    directory = RunDirectory(folder)
    directory.write_summary({"status": "running"})
    with directory.summary.open() as reader:
        directory.write_summary({"status": "finished"})
        assert json.load(reader) == {"status": "running"}
    assert json.loads(directory.summary.read_text()) == {"status": "finished"}
    assert [path.name for path in folder.iterdir()] == ["summary.json"]


def test_a_summary_that_cannot_be_written_leaves_the_last_one(folder):
    directory = RunDirectory(folder)
    directory.write_summary({"status": "running"})
    with pytest.raises(TypeError):
        directory.write_summary({"status": object()})
    assert json.loads(directory.summary.read_text()) == {"status": "running"}


def test_numbers_that_are_not_finite_are_written_as_null(folder):
    directory = RunDirectory(folder)
    directory.write_summary({"train": {"loss": float("nan")}, "all": [float("inf"), 1.5, (float("-inf"), 2)]})
    directory.add_metrics({"loss": float("inf"), "epoch": 1})
    directory.close()
    assert json.loads(directory.summary.read_text()) == {"train": {"loss": None}, "all": [None, 1.5, [None, 2]]}
    assert lines(folder / "metrics.jsonl") == [{"loss": None, "epoch": 1}]


def test_lines_can_be_read_as_soon_as_they_are_written(folder):
    directory = RunDirectory(folder)
    for epoch in (1, 2):
        directory.add_metrics({"epoch": epoch, "loss": 0.5})
        assert lines(folder / "metrics.jsonl")[-1] == {"epoch": epoch, "loss": 0.5}
    directory.close()
    directory.close()
    assert len(lines(folder / "metrics.jsonl")) == 2


def test_a_line_of_the_utilization_log_has_times_and_counts(folder):
    directory = RunDirectory(folder)
    directory.add_interval(interval())
    directory.add_interval(interval("d1"))
    directory.close()
    (line,) = lines(folder / "devices/d0.jsonl")
    assert line == {
        "t0_s": 0.0,
        "t1_s": 1.0,
        "busy_s": 0.5,
        "send_s": 0.0,
        "receive_s": 0.0,
        "idle_s": 0.5,
        "forward_messages": 7,
        "backward_messages": 5,
        "batches": 12,
        "updates": 4,
        "bytes_sent": 11,
        "bytes_received": 22,
        "queue_max": 3,
        "cached_bytes": 100,
        "staleness_mean": 2.0,
        "staleness_max": 6,
    }
    assert lines(folder / "devices/d1.jsonl") == [line]


def test_spans_are_appended_and_read_back_with_the_type_that_the_index_tells(folder):
    directory, recorder = RunDirectory(folder), SpanRecorder({"linear1": 0, "loss": 1})
    directory.write_span_index(["linear1", "loss"])
    for began_s in (1.0, 2.0):
        recorder.add(began_s, began_s + 0.5, Target("loss", 0, Direction.FORWARD), 3)
        directory.add_interval(interval(spans=recorder.take()))
    directory.add_interval(interval(spans=recorder.take()))
    directory.close()
    index = json.loads((folder / "spans/index.json").read_text())
    spans = np.fromfile(folder / "spans/d0.bin", [tuple(field) for field in index["dtype"]])
    assert spans.dtype == SPAN
    assert spans["start_s"].tolist() == [1.0, 2.0]
    assert [index["nodes"][node] for node in spans["node"]] == ["loss", "loss"]
    assert [index["direction"][direction] for direction in spans["direction"]] == ["forward", "forward"]


def test_every_refused_message_gets_a_line_of_its_own(folder):
    directory = RunDirectory(folder)
    directory.add_interval(interval(refused=("no such port", "no such node"), refused_count=2))
    directory.close()
    assert (folder / "logs/d0.refused.log").read_text() == "1.000 s: no such port\n1.000 s: no such node\n"


def test_no_spans_and_no_refusals_leave_no_files(folder):
    directory = RunDirectory(folder)
    directory.add_interval(interval())
    directory.close()
    assert [path.name for path in folder.iterdir()] == ["devices"]


any_array = arrays(np.float32, array_shapes(min_dims=0, max_dims=3, max_side=3))


def plain_sha256(parameters):
    digest = sha256()
    for name, array in sorted(parameters.items()):
        digest.update(name.encode("utf-8"))
        digest.update(b"".join(array[index].astype("<f4").tobytes() for index in np.ndindex(array.shape)))
    return digest.hexdigest()


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=5),
        arrays(np.float32, array_shapes(min_dims=0, max_dims=3, max_side=3)),
        max_size=4,
    ),
    st.randoms(use_true_random=False),
)
def test_the_sha256_is_over_sorted_names_and_little_endian_values(parameters, random):
    shuffled = dict(random.sample(sorted(parameters.items()), len(parameters)))
    assert parameters_sha256(shuffled) == plain_sha256(parameters)


def test_the_sha256_is_of_what_an_array_reads_as_however_it_lies_in_memory():
    weight = PARAMETERS["linear1.weight"]
    same = {"a": np.asfortranarray(weight)}, {"a": weight.astype(">f4")}, {"a": weight.T.copy().T}
    assert {parameters_sha256(parameters) for parameters in same} == {parameters_sha256({"a": weight})}
    assert parameters_sha256({"a": weight + 1}) != parameters_sha256({"a": weight})
    assert parameters_sha256({"b": weight}) != parameters_sha256({"a": weight})


def test_the_sha256_of_known_parameters_is_what_it_always_was():
    written = (
        b"linear1.bias" + bytes.fromhex("0000003f 000000bf 0000803e"),
        b"linear1.weight" + bytes.fromhex("00000000 0000803f 00000040 00004040 00008040 0000a040"),
    )
    assert parameters_sha256(PARAMETERS) == sha256(b"".join(written)).hexdigest()


def test_parameters_are_written_as_safetensors(folder):
    parameters = {**PARAMETERS, "transposed": PARAMETERS["linear1.weight"].T}
    assert RunDirectory(folder).write_parameters(parameters) == plain_sha256(parameters)
    loaded = load_file(folder / "parameters.safetensors")
    assert sorted(loaded) == sorted(parameters)
    for name, array in parameters.items():
        assert loaded[name].dtype == np.float32
        np.testing.assert_array_equal(loaded[name], array)


def test_a_parameter_without_axes_keeps_its_shape(folder):
    RunDirectory(folder).write_parameters({"scale": np.array(3.0, np.float32)})
    assert load_file(folder / "parameters.safetensors")["scale"].shape == ()
