"""What all tests share: one BLAS for every process, no process left behind, and `ampsim` as a user would start it."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import settings

from ampsim import blas

# Before any test module loads NumPy: what is computed in this process uses the kernel of the device processes.
blas.configure()

import numpy as np  # noqa: E402  (after the BLAS has been chosen)

from ampsim.ir.batch import Batch, Direction  # noqa: E402
from ampsim.ir.graph import Graph, Target  # noqa: E402
from ampsim.ir.node import Answer, TrainingSetup  # noqa: E402
from ampsim.ir.structure import StructureTable  # noqa: E402

# A loaded machine is slow now and then; that is no failure.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


def _no_drawing() -> str | None:
    """Why pictures cannot be drawn here, if so: the wheel of pygraphviz needs libraries that a bare system may lack."""
    try:
        import pygraphviz  # noqa: F401  (only whether it can be)
    except ImportError as error:
        return str(error)
    return None


NO_DRAWING = _no_drawing()
collect_ignore = ["report/test_graph_text.py", "cli/test_graph_command.py"] if NO_DRAWING else []


def pytest_report_header() -> str:
    """Say what is tested of the optional extra."""
    return f"ampsim[graph]: {f'not tested, cannot be loaded here: {NO_DRAWING}' if NO_DRAWING else 'tested'}"


@pytest.fixture(scope="session", autouse=True)
def signals_as_a_terminal_has_them() -> None:
    """What was started in the background or by nohup ignores signals, and so would every process of a test."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


# Like the installed script, without the current folder on the path of imports.
AMPSIM = (sys.executable, "-P", "-m", "ampsim")
PATIENCE_S = 60.0
GONE_AFTER_S = 3.0
"""What is demanded: after this time no process of a run is left."""
BUSY_MACHINE_S = 7.0
"""What is added to it before a test fails, for machines that have other things to do."""


TREES = {
    "train": ["(3 (2 a) (4 (2 good) (2 film)))", "(1 (2 a) (0 (2 poor) (2 one)))", "(2 (2 (2 no) (2 one)) (2 came))"]
    + [f"(2 (2 film) (2 number{number}))" for number in range(9)],
    "dev": ["(4 (2 a) (4 (3 better) (2 film)))", "(2 (2 8\u00a01\\/2) (2 one))"],
    "test": ["(0 (2 poor) (1 (2 unseen) (2 film)))"],
}


def wait_until(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> float:
    """Wait for a condition, looking all the time; the seconds it took. Fails, naming `what`, after `patience_s`."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > patience_s:
            pytest.fail(f"not within {patience_s:.0f} s: {what}")
        time.sleep(0.005)
    return time.monotonic() - began


def living(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; a zombie doesn't."""
    alive = []
    for process in processes:
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process)
        except psutil.NoSuchProcess:
            pass
    return alive


def mentioning(*markers: str) -> list[psutil.Process]:
    """Running processes with one of `markers` in their command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(marker in argument for argument in process.cmdline() for marker in markers):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            pass
    return living(found)


def fail_on(left: Sequence[psutil.Process]) -> None:
    """Kill what is left, and fail if there was anything."""
    told = []
    for process in left:
        try:
            told.append(f"{process.pid}: {' '.join(process.cmdline())}")
            process.kill()
        except psutil.NoSuchProcess:
            pass
    assert not told, "processes were left behind:\n" + "\n".join(told)


@pytest.fixture(autouse=True)
def _no_child_is_left() -> Iterator[None]:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    yield

    def left() -> list[psutil.Process]:
        return living([p for p in psutil.Process().children(recursive=True) if p.pid not in before])

    deadline = time.monotonic() + GONE_AFTER_S
    while left() and time.monotonic() < deadline:
        time.sleep(0.01)
    fail_on(left())


def read_json(path: Path) -> dict[str, Any]:
    """A JSON document in which every number is one that JSON knows."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{path} is no JSON: it has {constant}")

    document: dict[str, Any] = json.loads(path.read_text(), parse_constant=refuse)
    return document


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The documents of a .jsonl file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


class Run:
    """`ampsim run`, started as a process of its own. Its sockets lie in a folder that no other run has."""

    def __init__(self, arguments: Sequence[str], cwd: Path, environment: dict[str, str]) -> None:
        # Short, because the path of a socket may not be long.
        self.temporary = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
        self.path = self.temporary / "run"
        self._output = (self.temporary / "stdout").open("w+b")
        self._errors = (self.temporary / "stderr").open("w+b")
        self.controller = subprocess.Popen(
            [*AMPSIM, "run", *arguments, "--out", str(self.path)],
            cwd=cwd,
            env={**os.environ, **environment, "TMPDIR": str(self.temporary)},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._errors,
        )

    @property
    def summary(self) -> dict[str, Any]:
        return read_json(self.path / "summary.json")

    @property
    def output(self) -> str:
        return Path(self._output.name).read_text()

    @property
    def errors(self) -> str:
        return Path(self._errors.name).read_text()

    @property
    def socket_folders(self) -> list[Path]:
        return list(self.temporary.glob("ampsim-*"))

    def processes(self) -> list[psutil.Process]:
        """All processes of the run that are left."""
        return mentioning(str(self.temporary))

    def process(self, name: str) -> psutil.Process:
        """The process of a device or of the guard, waiting for it to be started."""
        found: list[psutil.Process] = []

        def started() -> bool:
            for process in self.processes():
                try:
                    line = process.cmdline()
                except psutil.NoSuchProcess:
                    continue
                if line[-2:] == ["--name", name] or (name == "guard" and any("guard.py" in part for part in line)):
                    found.append(process)
            self._check_alive()
            return bool(found)

        wait_until(started, f"{name} is started")
        return found[0]

    def wait_for_training(self) -> None:
        """Until the first pass has been recorded, and with it the pids of the devices."""

        def trains() -> bool:
            self._check_alive()
            file = self.path / "metrics.jsonl"
            return file.exists() and file.stat().st_size > 0

        wait_until(trains, "a line of metrics.jsonl")
        assert all(device["pid"] for device in self.summary["devices"].values())

    def wait_for_file(self, path: Path) -> None:
        """Until the run has made a file."""

        def there() -> bool:
            self._check_alive()
            return path.exists()

        wait_until(there, f"{path.name} is made")

    def wait_until_gone(self) -> int:
        """Until the controller and all other processes have ended; the exit code. Fails for what it leaves behind."""
        took = wait_until(
            lambda: self.controller.poll() is not None and not self.processes(),
            "all processes of the run are gone",
            GONE_AFTER_S + BUSY_MACHINE_S,
        )
        print(f"gone after {took:.2f} s ({GONE_AFTER_S:.0f} s are allowed)")
        assert not self.socket_folders, "the folder of the sockets was left behind"
        return self.controller.wait()

    def finish(self) -> int:
        """Wait for the end of a run that ends by itself; the exit code."""
        self.controller.wait(PATIENCE_S)
        return self.wait_until_gone()

    def clean_up(self) -> None:
        left = self.processes()
        self.controller.kill()
        self.controller.wait()
        self._output.close()
        self._errors.close()
        try:
            fail_on(left)
        finally:
            shutil.rmtree(self.temporary, ignore_errors=True)

    def _check_alive(self) -> None:
        if self.controller.poll() is not None:
            pytest.fail(f"the run ended early, with exit code {self.controller.returncode}: {self.errors}")


Start = Callable[..., Run]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `ampsim run CONFIG` with `--set` for each keyword-like string; whatever happens, it is gone at the end."""
    runs: list[Run] = []

    def _start(
        config: str, *overrides: str, options: Sequence[str] = (), environment: dict[str, str] | None = None
    ) -> Run:
        sets = [part for override in overrides for part in ("--set", override)]
        run = Run([config, *sets, *options], tmp_path, environment or {})
        runs.append(run)
        return run

    yield _start
    for run in runs:
        run.clean_up()


Ampsim = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def ampsim(tmp_path: Path) -> Ampsim:
    """Run a command of `ampsim` in an empty folder, to its end."""

    def run(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        settings: dict[str, Any] = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": PATIENCE_S}
        environment = options.pop("environment", {})
        return subprocess.run(
            [*AMPSIM, *map(str, arguments)], env={**os.environ, **environment}, **{**settings, **options}
        )

    return run


def random_molecules(count: int, seed: int = 0) -> dict[str, Any]:
    """The arrays of an archive of `count` molecules: random trees of atoms, and now and then a ring."""
    random = np.random.default_rng(seed)
    sizes = random.integers(2, 12, count)
    pairs = []
    for size in sizes.tolist():
        bonds = {(int(random.integers(0, atom)), atom) for atom in range(1, size)}
        if size > 3:
            bonds.add((0, size - 1))
        pairs.append(sorted(bonds))
    flat = np.array([bond for bonds in pairs for bond in bonds], np.uint8)
    return {
        "index": np.arange(1, count + 1, dtype=np.int32) * 3,
        "mu": random.random(count).astype(np.float32) * 5,
        "atom_ptr": np.cumsum([0, *sizes], dtype=np.int32),
        "bond_ptr": np.cumsum([0, *map(len, pairs)], dtype=np.int32),
        "z": random.choice(np.array([1, 6, 7, 8, 9], np.uint8), sizes.sum()),
        "bond_i": flat[:, 0],
        "bond_j": flat[:, 1],
        "bond_order": random.integers(1, 5, len(flat)).astype(np.uint8),
    }


@pytest.fixture(scope="session")
def some_molecules() -> Callable[..., dict[str, Any]]:
    """`some_molecules(count, seed)`: the arrays of an archive."""
    return random_molecules


@pytest.fixture(scope="session")
def sample_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder such as AMPSIM_DATA names, with a small treebank and a few molecules."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "sst").mkdir()
    for name, lines in TREES.items():
        (folder / f"sst/{name}.txt.gz").write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    np.savez(folder / "qm9.npz", **random_molecules(60))
    return folder


@pytest.fixture
def sample(sample_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small data, in AMPSIM_DATA."""
    monkeypatch.setenv("AMPSIM_DATA", str(sample_data))
    return sample_data


class Both:
    """A node with arithmetic and its twin on shapes alone: what one answers, the other must too, but for the values.

    Compared after each batch: which messages leave, with how many rows; what was computed on; updates and staleness;
    and what is kept, in bytes and by state. Also that a batch's size can be told without its arrays.
    """

    def __init__(self, graph: Graph, name: str, setup: TrainingSetup, structures: StructureTable) -> None:
        self._graph, self._name = graph, name
        self._real = graph.nodes[name].build(setup, structures)
        self._shape = graph.nodes[name].build(replace(setup, arithmetic=False), structures)
        self.updates, self.parameters = 0, self._real.parameters

    def answer(self, direction: Direction, port: int, batch: Batch) -> Answer:
        payload = tuple(array.astype(np.float32) if array.dtype.kind == "f" else array for array in batch.payload)
        batch = Batch(batch.states, batch.rows, payload)
        bare = Batch(batch.states, batch.rows, ())
        target = Target(self._name, port, direction)
        assert self._graph.size_bytes(target, bare) == batch.size_bytes
        real, shape = self._real.answer(direction, port, batch), self._shape.answer(direction, port, bare)
        assert _without_values(shape) == _without_values(real)
        assert all(emission.batch.payload == () for emission in shape.emissions)
        assert self.held() == self._shape.held()
        assert self.cached_bytes == self._shape.cached_bytes
        if self.parameters:
            of_shape = self._shape.parameters
            assert of_shape
            assert not of_shape.values
            assert (of_shape.version, of_shape.size_bytes) == (self.parameters.version, self.parameters.size_bytes)
        self.updates += real.updates
        return real

    def end_epoch(self) -> int:
        """The update with what is left, on both."""
        if not self.parameters or not self._shape.parameters:
            return 0
        updates = self.parameters.end_epoch()
        assert self._shape.parameters.end_epoch() == updates
        return updates

    def held(self) -> list[int]:
        return self._real.held()

    @property
    def cached_bytes(self) -> int:
        return self._real.cached_bytes


def _without_values(answer: Answer) -> tuple[Any, ...]:
    """All of an answer that follows from states and row counts, as plain lists."""
    batches = [(direction, port, batch) for direction, port, batch in answer.emissions]
    report = [] if answer.report is None else [(None, -1, answer.report)]
    told = [(direction, port, b.states.tolist(), b.rows.tolist()) for direction, port, b in [*batches, *report]]
    staleness = np.broadcast_to(answer.staleness, answer.gradients).tolist()
    return told, answer.rows, answer.updates, staleness


@pytest.fixture(scope="session")
def both_ways() -> Callable[..., dict[str, Both]]:
    """`both_ways(graph, setup, structures)`: every node of a graph as a `Both`."""
    return lambda graph, setup, structures: {name: Both(graph, name, setup, structures) for name in graph.nodes}
