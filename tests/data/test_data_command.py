from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from ampsim.cli.main import main
from ampsim.data.sources import SOURCES

RUN = """\
name: trees
model: {name: tree_lstm}
data: {name: sst}
training: {optimizer: {name: sgd, learning_rate: 0.1}, epochs: 1}
cluster: {devices: {count: 1, kind: cpu-core}}
"""


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Run a command line in this process, in an empty folder: its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ampsim", *arguments])
        code = main()
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_the_list_has_every_set_and_says_how_to_get_it(command, tmp_path):
    code, output, errors = command("data")
    assert (code, errors) == (0, "")
    rows = {line.split()[0]: line for line in output.splitlines() if line.split()[0] in SOURCES}
    assert list(rows) == list(SOURCES)
    assert "ships with ampsim" in rows["mnist"]
    assert "generated from the seed" in rows["list-reduction"]
    assert "ampsim data fetch sst" in rows["sst"]
    assert "ships with ampsim" in rows["babi15"]
    assert "not here" in rows["qm9"]
    assert "none (AMPSIM_DATA is not set)" in output
    assert str(tmp_path / "cache") in output.replace("\n", "")


def test_the_list_says_where_sets_are(command, sample, tmp_path, monkeypatch):
    output = command("data")[1]
    assert output.count("in AMPSIM_DATA") == 2
    assert str(sample) in output.replace("\n", "")
    (tmp_path / "own/sst").mkdir(parents=True)
    (tmp_path / "own/sst/dev.txt.gz").write_bytes(b"")
    monkeypatch.setenv("AMPSIM_DATA", str(tmp_path / "own"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/qm9.npz").write_bytes(b"")
    code, output, _ = command("data")
    assert code == 0
    assert "AMPSIM_DATA has a part of it only" in output
    assert "in the cache" in output


def test_a_folder_that_is_not_there_is_bad_input(command, monkeypatch):
    monkeypatch.setenv("AMPSIM_DATA", "/nowhere")
    code, output, errors = command("data")
    assert (code, output) == (2, "")
    assert errors == "AMPSIM_DATA=/nowhere: there is no such folder; name one that has data sets, or unset it\n"


def test_an_unknown_set_is_bad_input(command):
    code, _, errors = command("data", "fetch", "qm8")
    assert code == 2
    assert "no data set 'qm8' (did you mean 'qm9'?" in errors


def test_what_ships_need_not_be_fetched(command):
    code, output, _ = command("data", "fetch", "babi15")
    assert (code, output) == (0, "babi15: ships with ampsim; there is nothing to fetch\n")


def test_a_server_that_is_not_there_is_a_failure_not_bad_input(command, monkeypatch):
    monkeypatch.setenv("AMPSIM_MIRROR", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    code, output, errors = command("data", "fetch", "sst")
    assert code == 1
    assert "sst: fetching http://127.0.0.1:9/" in output
    assert "cannot fetch http://127.0.0.1:9/" in errors
    assert "Traceback" not in errors


def test_qm9_without_its_extra_says_what_to_install(command, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, errors = command("data", "fetch", "qm9")
    assert code == 2
    assert "qm9pack and rdkit cannot be found; type: pip install 'ampsim[qm9]'" in errors


def test_a_run_without_its_data_ends_before_it_starts_anything(command, tmp_path):
    (tmp_path / "x.yaml").write_text(RUN)
    code, _, errors = command("run", "x.yaml")
    assert code == 2
    assert errors.endswith("to get it, type: ampsim data fetch sst\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.yaml"]


def test_a_device_process_does_not_load_what_fetches():
    code = "import sys, ampsim.data; list(ampsim.data.DATASETS.values()); "
    code += "print(sorted({'pooch', 'requests', 'rdkit'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
