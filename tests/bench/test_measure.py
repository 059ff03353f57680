from __future__ import annotations

import signal
import time
from pathlib import Path

import psutil
import pytest

from ampsim.bench.case import Case, Comparison, Contender
from ampsim.bench.cases import CaseFolder, find_cases
from ampsim.bench.measure import CONTROL, Measurements, measure
from ampsim.bench.process import ContenderFailed, run_contender
from ampsim.bench.statistics import noise, outcome, ratios, spread
from ampsim.errors import BadInput

RATE = 'import json; print("hello"); print(json.dumps({"rate": 4}))'


class Watcher:
    """Notes who ran when."""

    def __init__(self) -> None:
        self.order = []

    def started(self, contender, round_number, rounds):
        self.order.append((round_number, contender))

    def measured(self, contender, round_number, measured):
        assert measured.seconds > 0


@pytest.fixture
def folder(tmp_path: Path) -> CaseFolder:
    return CaseFolder("tested", tmp_path)


def test_contenders_take_turns_and_every_other_round_goes_backward(folder, make, a_case):
    watcher = Watcher()
    case = a_case(make("a", RATE), make("b", RATE))
    done = measure(folder, case, 2, watcher)
    assert watcher.order == [(1, "a"), (1, "b"), (1, "a" + CONTROL), (2, "a" + CONTROL), (2, "b"), (2, "a")]
    assert done.by_round("b", "rate") == {1: 4.0, 2: 4.0}
    assert noise(done).median == 1.0


def test_a_contender_that_fails_is_told_with_its_last_words_and_the_others_go_on(folder, make, a_case):
    watcher = Watcher()
    case = a_case(make("a", RATE), make("bad", "import sys; sys.exit('nothing works here')"))
    done = measure(folder, case, 2, watcher)
    assert done.failures["bad"].startswith("ended with exit code 1\n  nothing works here")
    assert done.by_round("a", "rate") == {1: 4.0, 2: 4.0}
    assert watcher.order.count((2, "bad")) == 0


@pytest.mark.parametrize("script", ["print('no figures')", "pass", "print([1, 2])", 'print(\'{"rate": "4"}\')'])
def test_what_prints_no_figures_has_failed(folder, make, script):
    with pytest.raises(ContenderFailed, match="expected a JSON object of figures as its last line"):
        run_contender(make("a", script), folder.path, 60)


def test_a_contender_that_takes_too_long_is_ended_with_what_it_has_started(folder, make):
    child = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    with pytest.raises(ContenderFailed, match="took more than 1 s and was ended"):
        run_contender(make("a", f"{child}; time.sleep(600)"), folder.path, 1)
    deadline = time.monotonic() + 10
    while {p.pid for p in psutil.Process().children(recursive=True)} - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not {p.pid for p in psutil.Process().children(recursive=True)} - before


def test_one_that_was_killed_or_cannot_be_started_is_told(folder, make):
    with pytest.raises(ContenderFailed, match="was killed by SIGKILL"):
        run_contender(make("a", f"import os; os.kill(os.getpid(), {signal.SIGKILL:d})"), folder.path, 60)
    with pytest.raises(ContenderFailed, match="could not be started"):
        run_contender(Contender("a", ["no-such-command-anywhere"]), folder.path, 60)


def test_a_contender_runs_in_its_folder_with_its_environment_and_the_blas_of_the_user(folder, make, monkeypatch):
    script = """
import json, os
import ampsim
assert os.environ["MINE"] == "7"
print(json.dumps({"threads": int(os.environ.get("OMP_NUM_THREADS", -1)), "here": int(os.path.exists("sign"))}))
"""
    (folder.path / "sign").touch()
    monkeypatch.setattr("ampsim.blas._CHANGED", {"OMP_NUM_THREADS": None})
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    contender = make("a", script, environment={"MINE": "7"})
    assert run_contender(contender, folder.path, 60).figures == {"threads": -1, "here": 1}
    monkeypatch.setattr("ampsim.blas._CHANGED", {"OMP_NUM_THREADS": "3"})
    assert run_contender(contender, folder.path, 60).figures == {"threads": 3, "here": 1}


def test_what_is_not_installed_or_not_here_is_left_out_with_the_command_that_brings_it(
    folder, make, a_case, monkeypatch, tmp_path
):
    monkeypatch.setenv("AMPSIM_DATA", str(tmp_path))
    monkeypatch.setenv("AMPSIM_CACHE", str(tmp_path / "none"))
    case = a_case(
        make("a", RATE),
        make("b", RATE, requires=["json", "no_such_module"], extra="bench"),
        make("c", RATE, data=["mnist", "sst"]),
    )
    done = measure(folder, case, 1, Watcher())
    assert done.left_out == {
        "b": "needs no_such_module, which is not installed: pip install 'ampsim[bench]'",
        "c": "needs data that are not here: ampsim data fetch sst",
    }
    assert not done.failures


def measurements(comparison: Comparison, higher_is_better: bool = True, **rates: list[float]) -> Measurements:
    contenders = [Contender(name, ["true"]) for name in rates]
    case = Case("t", "rate", "u", contenders, [comparison], higher_is_better=higher_is_better)
    done = Measurements(case)
    for name, values in rates.items():
        done.rounds[name] = {number: {"rate": rate} for number, rate in enumerate(values)}
    return done


def test_a_ratio_is_the_median_of_ratios_within_rounds():
    found = outcome(measurements(c := Comparison("c", "a", "b", at_least=0.5), a=[1, 10, 6], b=[2, 10, 3]), c)
    assert (found.spread.median, found.spread.least, found.spread.most) == (1.0, 0.5, 2.0)
    assert found.met is True


@pytest.mark.parametrize(("higher", "best", "ratio"), [(True, "c", 0.5), (False, "b", 2.0)])
def test_of_several_peers_the_best_by_its_median_counts(higher, best, ratio):
    comparison = Comparison("c", "a", ["b", "c"])
    found = outcome(measurements(comparison, higher, a=[2, 2, 2], b=[1, 1, 100], c=[4, 4, 0.1]), comparison)
    assert (found.to, found.spread.median, found.met) == (best, ratio, None)


def test_without_a_peer_the_figure_itself_is_held_against_the_bar():
    comparison = Comparison("c", "a", at_most=3)
    found = outcome(measurements(comparison, a=[1, 4, 9]), comparison)
    assert (found.spread.median, found.met) == (4, False)


def test_rounds_that_only_one_has_make_no_ratio():
    assert ratios({1: 4.0, 2: 6.0}, {2: 3.0, 3: 1.0}) == {2: 2.0}
    assert spread({}) is None


def test_a_comparison_must_be_of_contenders_that_there_are():
    with pytest.raises(ValueError, match="no contender 'x'"):
        Case("t", "rate", "u", [Contender("a", ["true"])], [Comparison("c", "a", "x")])


def test_a_case_that_cannot_be_loaded_is_bad_input(tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "case.py").write_text("def case(quick):\n    return 7\n")
    (folder,) = find_cases(["broken"], tmp_path)
    with pytest.raises(BadInput, match=r"case\(\) returned int"):
        folder.load(True)
    (tmp_path / "broken" / "case.py").write_text("1 / 0")
    with pytest.raises(BadInput, match="ZeroDivisionError"):
        folder.load(True)


def test_where_there_are_no_cases_one_is_told_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setattr("ampsim.__file__", str(tmp_path / "ampsim" / "__init__.py"))
    with pytest.raises(BadInput, match="pip install"):
        find_cases()
