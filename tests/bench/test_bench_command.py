from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import click
import psutil
import pytest

from ampsim.bench.cases import find_cases, find_root
from ampsim.cli.lazy import COMMANDS
from ampsim.cli.main import commands, main

OWN = [
    "logging",
    "many-devices",
    "messaging",
    "oversubscription",
    "per-message",
    "scaling",
    "simulated-clock",
    "start-up",
]


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a command line in this process; exit code, output, errors."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ampsim", *map(str, arguments)])
        # The command takes signals over, for the rest of its process.
        kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        try:
            code = main()
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.mark.usefixtures("suite")
def test_without_a_case_they_are_listed(command):
    code, output, _ = command("bench")
    assert code == 0
    assert "tiny" in output
    assert "a case of the tests, at full size" in output


def lines(output):
    return [" ".join(line.split()) for line in output.splitlines()]


@pytest.mark.usefixtures("suite")
def test_a_case_is_run_and_its_ratios_are_held_against_their_bars(command, tmp_path):
    rows = tmp_path / "rows.json"
    code, output, errors = command("bench", "tiny", "--quick", "--json", rows)
    assert (code, errors) == (0, "")
    told = lines(output)
    assert told[0] == "tiny: a case of the tests"
    assert "fast 30 30 30 2" in told
    assert "slow (again) 10 10 10 2" in told
    assert "fast to slow 3 3 3 >= 2 met" in told
    assert "slow to fast 0.3333 0.3333 0.3333 >= 2 not met" in told
    assert "control: first contender to itself 1 1 1" in told
    written = [json.loads(line) for line in rows.read_text().splitlines()]
    assert [(row["contender"], row["control"], row["round"]) for row in written] == [
        ("slow", False, 1),
        ("fast", False, 1),
        ("slow", True, 1),
        ("slow", True, 2),
        ("fast", False, 2),
        ("slow", False, 2),
    ]
    for row in written:
        assert row["case"] == "tiny"
        assert row["figures"] == {"rate": 30 if row["contender"] == "fast" else 10}
        assert row["seconds"] > 0
        assert row["quick"] is True
        assert row["versions"].keys() >= {"ampsim", "python", "numpy", "pyzmq", "torch", "dynet"}
        assert row["arithmetic"]["blas"]
        assert row["machine"]["cores"] >= 1


@pytest.mark.usefixtures("suite")
def test_rounds_can_be_chosen(command):
    assert "fast 30 30 30 3" in lines(command("bench", "all", "--rounds=3")[1])


def test_a_contender_that_fails_makes_the_command_fail_when_all_is_done(suite, command):
    file = suite / "tiny" / "case.py"
    file.write_text(file.read_text().replace("30", "oops"))
    code, output, errors = command("bench", "tiny")
    assert code == 1
    assert errors == "error: these contenders failed: tiny: fast\n"
    assert "NameError" in output
    assert "slow 10 10 10 2" in lines(output)
    assert "fast to slow >= 2 not measured" in lines(output)


@pytest.mark.usefixtures("suite")
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["tinny"], "no benchmark case 'tinny' (did you mean 'tiny'? there are: tiny)"),
        (["tiny", "--json", "no/such/folder/rows.json"], "cannot be written"),
        (["tiny", "--rounds=0"], "Invalid value for '--rounds'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_run(command, arguments, text):
    code, output, errors = command("bench", *arguments)
    assert (code, output) == (2, "")
    assert text in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_suite_ends_with_130_and_leaves_no_process(suite, tmp_path, number):
    sign = tmp_path / "sign"
    script = f"import pathlib, time; pathlib.Path({str(sign)!r}).touch(); time.sleep(600)"
    file = suite / "tiny" / "case.py"
    file.write_text(file.read_text().replace("figure.replace", f"{script!r}.replace"))
    start = f"""
import pathlib, sys
import ampsim.bench.cases
from ampsim.__main__ import main
ampsim.bench.cases.find_root = lambda: pathlib.Path({str(suite)!r})
sys.argv = ["ampsim", "bench", "tiny"]
sys.exit(main())
"""
    process = subprocess.Popen([sys.executable, "-c", start], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not sign.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    started = psutil.Process(process.pid).children(recursive=True)
    assert started
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.strip()) == (130, "interrupted")
    assert not psutil.wait_procs(started, timeout=10)[1]


def test_the_help_says_of_each_command_what_the_command_says_of_itself():
    context = click.Context(commands)
    assert commands.list_commands(context) == sorted(COMMANDS)
    for name, said in COMMANDS.items():
        command = commands.get_command(context, name)
        assert command.name == name
        assert " ".join(command.help.split("\n\n")[0].split()) == said


def test_help_imports_nothing_that_it_does_not_need():
    script = "import sys; sys.argv = ['ampsim', '--help']\nfrom ampsim.cli.main import main\n"
    script += "main(); print({'numpy', 'zmq', 'pint', 'pydantic'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("set()\n")


def test_check_imports_neither_pint_nor_other_data_sets_and_leaves_what_was_imported_to_itself():
    script = "import gc, sys; sys.argv = ['ampsim', 'check', 'mnist-mlp']\nfrom ampsim.cli.main import main\nmain()\n"
    script += "print({'pint', 'ampsim.data.sst', 'ampsim.data.mnist'} & sys.modules.keys(), gc.get_freeze_count() > 0)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("{'ampsim.data.mnist'} True\n")


@pytest.mark.parametrize("case", OWN)
def test_every_shipped_case_runs_at_its_small_size(case, sample, tmp_path):
    rows = tmp_path / "rows.json"
    environment = {**os.environ, "AMPSIM_DATA": str(sample)}
    command = [sys.executable, "-P", "-m", "ampsim", "bench", case, "--quick", "--rounds=1", f"--json={rows}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, env=environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "not measured" not in done.stdout
    assert "left out" not in done.stdout
    (folder,) = find_cases([case])
    measured = {json.loads(line)["contender"] for line in rows.read_text().splitlines()}
    assert measured == {contender.name for contender in folder.load(quick=True).contenders}


def test_every_shipped_case_has_a_readme_that_says_how_to_reproduce_it():
    for folder in find_cases():
        readme = (folder.path / "README.md").read_text()
        assert f"ampsim bench {folder.name}" in readme
        for heading in ("## Result", "## Environment", "## To reproduce"):
            assert heading in readme, folder.name
    assert {folder.name for folder in find_cases()} >= set(OWN)
    assert find_root().is_dir()
