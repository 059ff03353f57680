"""However a run ends, nothing of it is left behind, and its folder says what happened."""

from __future__ import annotations

import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from ampsim.cli.main import commands

LONG = (
    "data.limit=1000",
    "training.epochs=100000",
    "training.stop_at={}",
    "model.hidden=[32, 32, 32]",
    "cluster.log_interval=100 ms",
)
"""mnist-mlp on its four devices: a short first pass, and no end."""

TROUBLED = """\
name: troubled
model: {name: "troubled:model", trouble: none}
data: {name: mnist, batch: 50, limit: 300}
training: {optimizer: {name: sgd, learning_rate: 0.1}, epochs: 1}
cluster:
  devices:
    d0: {kind: cpu-core, nodes: [linear1]}
    d1: {kind: cpu-core, nodes: [own]}
    d2: {kind: cpu-core, nodes: [linear2, loss]}
"""


@pytest.fixture
def troubled(tmp_path: Path) -> str:
    """A config for models of one's own, in a folder outside the repository."""
    shutil.copy(Path(__file__).with_name("troubled.py"), tmp_path)
    (tmp_path / "troubled.yaml").write_text(TROUBLED)
    return "troubled.yaml"


def report(run: Path) -> str:
    """What `ampsim report` prints."""
    result = CliRunner().invoke(commands, ["report", str(run)])
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def check_readable(run: Any, status: str) -> dict[str, Any]:
    """The run folder can be reported, and says how the run ended; its summary."""
    summary: dict[str, Any] = run.summary
    assert summary["status"] == status
    text = report(run.path)
    assert f"{summary['name']}: {status}" in text
    for line in summary["error"]["text"].splitlines():
        assert line in text
    return summary


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_stops_the_run_and_its_parameters_are_kept(start: Any, number: signal.Signals) -> None:
    run = start("mnist-mlp", *LONG)
    run.wait_for_training()
    run.controller.send_signal(number)
    assert run.wait_until_gone() == 130
    summary = check_readable(run, "stopped")
    assert number.name in summary["error"]["text"]
    assert number.name in run.errors
    assert "Traceback" not in run.errors
    assert (run.path / "parameters.safetensors").exists()
    assert len(summary["parameters_sha256"]) == 64


def test_killing_the_controller_leaves_nothing_and_the_summary_says_so(start: Any) -> None:
    run = start("mnist-mlp", *LONG)
    run.wait_for_training()
    run.controller.kill()
    assert run.wait_until_gone() == -signal.SIGKILL
    summary = check_readable(run, "failed")
    assert f"(pid {run.controller.pid})" in summary["error"]["text"]


def test_killing_the_controller_with_a_stopped_device_leaves_nothing(start: Any) -> None:
    run = start("mnist-mlp", *LONG)
    run.wait_for_training()
    run.process("d1").suspend()
    run.controller.kill()
    run.wait_until_gone()
    check_readable(run, "failed")


def test_killing_the_controller_while_the_devices_start_leaves_nothing(start: Any) -> None:
    run = start("mnist-mlp", *LONG)
    run.process("d0")
    run.controller.kill()
    run.wait_until_gone()
    check_readable(run, "failed")


@pytest.mark.parametrize("name", ["d0", "d3"])
def test_a_killed_device_ends_the_run_and_is_named(start: Any, name: str) -> None:
    run = start("mnist-mlp", *LONG)
    run.wait_for_training()
    device = run.process(name)
    assert device.pid == run.summary["devices"][name]["pid"]
    device.kill()
    assert run.wait_until_gone() == 1
    assert check_readable(run, "failed")["error"]["device"] == f"{name} (cpu-core)"
    assert f"device {name} (cpu-core): its process (pid {device.pid}) was killed by SIGKILL" in run.errors
    assert "Traceback" not in run.errors


def test_a_device_that_is_killed_while_it_starts_ends_the_run_and_is_named(start: Any) -> None:
    run = start("mnist-mlp", *LONG)
    run.process("d2").kill()
    assert run.wait_until_gone() == 1
    assert check_readable(run, "failed")["error"]["device"] == "d2 (cpu-core)"


@pytest.mark.parametrize("training", [True, False], ids=["in training", "while the devices start"])
def test_killing_the_guard_ends_the_run(start: Any, training: bool) -> None:
    run = start("mnist-mlp", *LONG)
    if training:
        run.wait_for_training()
    run.process("guard").kill()
    assert run.wait_until_gone() == 1
    assert "guard" in run.errors
    check_readable(run, "failed")


@pytest.mark.parametrize("options", [(), ("--in-process",)], ids=["processes", "in process"])
def test_a_node_that_raises_is_named_with_its_device_and_remote_traceback(
    start: Any, troubled: str, options: tuple[str, ...]
) -> None:
    run = start(troubled, "model.trouble=boom", options=options)
    assert run.finish() == 1
    error = check_readable(run, "failed")["error"]
    assert error["device"] == "d1 (cpu-core)"
    assert "node own raised RuntimeError in its forward pass (instance 2): boom, says the user's op" in error["text"]
    for told in (error["traceback"], run.errors, report(run.path)):
        assert "troubled.py" in told
        assert "in boom" in told


def test_a_model_that_fails_only_on_a_device_is_told_with_its_traceback(start: Any, troubled: str) -> None:
    run = start(troubled, "model.trouble=device")
    assert run.finish() == 1
    error = check_readable(run, "failed")["error"]
    assert error["text"] == "OSError: this file is only on the controller's machine"
    assert "troubled.py" in run.errors


def test_a_model_that_comes_out_different_on_a_device_is_refused(start: Any, troubled: str) -> None:
    run = start(troubled, "model.trouble=another graph")
    assert run.finish() == 1
    assert "built another graph" in check_readable(run, "failed")["error"]["text"]


@pytest.mark.parametrize(
    ("trouble", "told"), [("end_at_once", "ended with exit code 3"), ("segfault", "was killed by SIGSEGV")]
)
def test_a_device_that_dies_without_a_word_is_named(start: Any, troubled: str, trouble: str, told: str) -> None:
    run = start(troubled, f"model.trouble={trouble}")
    assert run.finish() == 1
    error = check_readable(run, "failed")["error"]
    assert error["device"] == "d1 (cpu-core)"
    assert told in error["text"]


def test_what_a_device_prints_goes_to_its_log_and_stops_nothing(start: Any, troubled: str) -> None:
    run = start(troubled, "model.trouble=chat", options=["--quiet"])
    assert run.finish() == 0
    assert "blah" not in run.output + run.errors
    assert (run.path / "logs" / "d1.log").stat().st_size > 1_000_000
    assert sorted(file.name for file in (run.path / "logs").iterdir()) == ["d1.log"]


def test_ctrl_c_ends_a_run_whose_device_hangs_and_keeps_no_half_of_the_parameters(
    start: Any, troubled: str, tmp_path: Path
) -> None:
    # linear2 hangs with `own`, so that parameters of one layer only could be had.
    devices = "{d0: {kind: cpu-core, nodes: [linear1]}, d1: {kind: cpu-core, nodes: [own, linear2, loss]}}"
    run = start(troubled, "model.trouble=hang", f"cluster.devices={devices}")
    run.wait_for_file(tmp_path / "hanging")
    run.controller.send_signal(signal.SIGINT)
    assert run.wait_until_gone() == 130
    summary = check_readable(run, "stopped")
    assert "parameters_sha256" not in summary
    assert not (run.path / "parameters.safetensors").exists()


@pytest.mark.parametrize("options", [(), ("--in-process",)], ids=["processes", "in process"])
def test_a_second_ctrl_c_ends_a_run_that_hangs_at_once(
    start: Any, troubled: str, tmp_path: Path, options: tuple[str, ...]
) -> None:
    run = start(troubled, "model.trouble=hang", options=options)
    run.wait_for_file(tmp_path / "hanging")
    # Two signals that come at once are one signal: wait for the first to be taken.
    run.controller.send_signal(signal.SIGINT)
    pending = Path(f"/proc/{run.controller.pid}/status")
    while any(line.startswith("ShdPnd") and int(line.split()[1], 16) for line in pending.read_text().splitlines()):
        pass
    run.controller.send_signal(signal.SIGINT)
    assert run.wait_until_gone() == 130
    check_readable(run, "stopped")
    assert "Traceback" not in run.errors


def test_killing_the_controller_ends_a_device_that_hangs(start: Any, troubled: str, tmp_path: Path) -> None:
    run = start(troubled, "model.trouble=hang")
    run.wait_for_file(tmp_path / "hanging")
    run.controller.kill()
    run.wait_until_gone()
    check_readable(run, "failed")


def test_no_device_outlives_controller_and_guard_even_if_it_hangs(start: Any, troubled: str, tmp_path: Path) -> None:
    run = start(troubled, "model.trouble=hang")
    run.wait_for_file(tmp_path / "hanging")
    guard = run.process("guard")
    guard.suspend()
    for process in (run.controller, guard):
        process.kill()
    run.controller.wait()
    _, left = psutil.wait_procs(run.processes(), timeout=10)
    assert not left


def test_ctrl_c_during_the_first_imports_ends_without_a_traceback(start: Any) -> None:
    run = start("mnist-mlp", *LONG)
    python = psutil.Process(run.controller.pid)

    def loaded(library: str) -> bool:
        return any(library in part.path for part in python.memory_maps())

    while not loaded("pydantic_core"):
        assert run.controller.poll() is None
    run.controller.send_signal(signal.SIGINT)
    assert run.wait_until_gone() == 130
    assert "Traceback" not in run.errors
    assert run.errors.strip().endswith(("interrupted", "starting"))


def test_a_run_that_nohup_started_survives_the_hangup(start: Any) -> None:
    assert threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does; processes inherit it
    try:
        run = start("mnist-mlp", *LONG)
    finally:
        signal.signal(signal.SIGHUP, before)
    run.wait_for_training()
    run.controller.send_signal(signal.SIGHUP)
    passes = len((run.path / "metrics.jsonl").read_text().splitlines())
    while len((run.path / "metrics.jsonl").read_text().splitlines()) < passes + 3:
        assert run.controller.poll() is None, run.errors
    assert run.summary["status"] == "running"
    run.controller.send_signal(signal.SIGTERM)
    assert run.wait_until_gone() == 130


def test_devices_import_nothing_from_the_folder_they_are_started_in(start: Any, tmp_path: Path) -> None:
    for name in ("ampsim", "zmq"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('taken from the current folder')")
    run = start(
        "mnist-mlp",
        "data.limit=100",
        "training.epochs=1",
        "model.hidden=[8]",
        "cluster.devices={count: 1, kind: cpu-core}",
    )
    assert run.finish() == 0, run.errors
