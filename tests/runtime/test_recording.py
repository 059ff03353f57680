"""Recordings: what is written is read again, and a run that follows one ends with the same bits."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.errors import BadInput
from ampsim.runtime.controller_events import Injection
from ampsim.runtime.recording import RULES, Recording, encode_injections, encode_order, read_orders
from ampsim.runtime.schedule import Order

DATA = {
    "mnist-mlp": ("data.limit=1600", "data.validation=200", "training.max_active_keys=16"),
    "sst-tree-lstm": ("data.limit=30", "training.max_active_keys=16", "training.min_update_frequency=20"),
    "sst-tree-lstm-2-replicas": (
        "data.limit=30",
        "training.inject_at_once=5",
        "training.instances_per_update=2",
        "training.min_update_frequency=20",
    ),
    "list-reduction-rnn-4-replicas": ("data.train=300", "data.validation=50", "data.test=50", "data.batch=10"),
}

INTS = st.integers(0, 2**31 - 1)


@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(INTS, INTS), max_size=20),
            st.lists(st.tuples(INTS, INTS, INTS), max_size=20),
        ),
        max_size=4,
    )
)
def test_orders_are_read_as_they_were_written(chunks: list[Any]) -> None:
    orders = [
        Order(np.array(turns, np.int32).reshape(-1, 2), np.array(parts, np.int32).reshape(-1, 3))
        for turns, parts in chunks
    ]
    found = list(read_orders(io.BytesIO(b"".join(map(encode_order, orders))), "d0.bin"))
    assert len(found) == len(orders)
    for one, other in zip(found, orders, strict=True):
        assert np.array_equal(one.turns, other.turns)
        assert np.array_equal(one.parts, other.parts)


@pytest.fixture
def run(ampsim: Any, tmp_path: Path, sample: Path) -> Any:
    """Run a shipped config on the wall clock on few data; its run directory."""

    def go(name: str, *arguments: str) -> Path:
        settings = (
            *DATA[name],
            "training.epochs=2",
            "training.stop_at={}",
            "cluster.log_interval=50 ms",
            "cluster.clock=wall",
        )
        done = ampsim("run", name, *(f"--set={text}" for text in settings), *arguments, "--out", "recorded", "--quiet")
        assert (done.returncode, done.stderr) == (0, "")
        return tmp_path / "recorded"

    return go


@pytest.mark.parametrize("name", DATA)
def test_a_replay_ends_with_the_same_parameters(ampsim: Any, run: Any, name: str, tmp_path: Path) -> None:
    recorded = run(name)
    for out, arguments in {"processes": (), "one": ("--in-process",)}.items():
        done = ampsim("replay", recorded, "--out", out, "--quiet", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert "the same parameters" in done.stdout
        hashes = {
            json.loads((path / "summary.json").read_text())["parameters_sha256"] for path in (recorded, tmp_path / out)
        }
        assert len(hashes) == 1


def test_what_cannot_be_replayed_is_told_before_anything_starts(ampsim: Any, run: Any, tmp_path: Path) -> None:
    recorded = run("mnist-mlp")

    def refused(change: Any) -> str:
        broken = tmp_path / "broken"
        shutil.rmtree(broken, ignore_errors=True)
        shutil.copytree(recorded, broken)
        change(broken)
        done = ampsim("replay", broken, "--out", "never")
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "never").exists()
        return str(done.stderr)

    def cut(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:-3])

    def edit(path: Path, old: str, new: str) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    assert "no recording" in refused(lambda broken: shutil.rmtree(broken / "orders"))
    assert "is cut off" in refused(lambda broken: cut(broken / "orders" / "d1.bin"))
    assert "instances were recorded" in refused(lambda broken: (broken / "orders" / "controller.bin").write_bytes(b""))
    assert "more copies of the model" in refused(
        lambda broken: (broken / "orders" / "controller.bin").write_bytes(encode_injections([Injection(1, 7)]))
    )
    assert "another model" in refused(lambda broken: edit(broken / "config.yaml", "[784, 784, 784]", "[784, 80, 784]"))
    assert "another placement" in refused(
        lambda broken: edit(broken / "orders" / "index.json", '"d0", "d1"', '"d1", "d0"')
    )
    assert "another version of ampsim" in refused(
        lambda broken: edit(broken / "orders" / "index.json", f'"rules": {RULES}', '"rules": 1')
    )
    assert "only a run that has finished" in refused(
        lambda broken: edit(broken / "summary.json", '"status": "finished"', '"status": "stopped"')
    )


def test_a_recording_of_older_rules_is_refused_before_its_files_are_read(tmp_path: Path) -> None:
    orders = tmp_path / "orders"
    orders.mkdir()
    index = {"processes": ["controller"], "fingerprint": "", "import_paths": [], "rules": RULES - 1}
    (orders / "index.json").write_text(json.dumps(index))
    (orders / "controller.bin").write_bytes(np.array([1, 1, 1], "<u4").tobytes())  # sizes alone
    with pytest.raises(BadInput, match="another version of ampsim"):
        Recording(tmp_path)


def test_a_recording_tells_all_that_was_written(tmp_path: Path) -> None:
    orders = tmp_path / "orders"
    orders.mkdir()
    (orders / "index.json").write_text(
        json.dumps({"processes": ["controller", "d0"], "fingerprint": "", "import_paths": [], "rules": RULES})
    )
    injections = [Injection(2, 0), Injection(1, 1), Injection(5, 0)]
    (orders / "controller.bin").write_bytes(encode_injections(injections[:2]) + encode_injections(injections[2:]))
    chunk = Order(np.array([[0, 1]], np.int32), np.array([[0, 7, 3]], np.int32))
    (orders / "d0.bin").write_bytes(encode_order(chunk) * 40)
    recording = Recording(tmp_path)
    assert recording.instances == 8
    assert list(recording.injections()) == injections
    assert list(recording.injections()) == []
    told = 0
    for _ in range(10_000):  # nobody injects anything: what a device may need is told all the same, in time
        recording.advance(0, 0.0)
        told += len(list(recording.orders()))
    assert told == 40
    (orders / "d0.bin").write_bytes(encode_order(chunk)[:-1])
    with pytest.raises(BadInput, match="is cut off"):
        Recording(tmp_path)
