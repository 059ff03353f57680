"""check, devices, report and schema, and the help of all commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ampsim as package
from ampsim.config.catalogue import shipped


def test_help_names_every_command_and_what_it_does(command: Any) -> None:
    done = command("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("run", "check", "graph", "devices", "report", "compare", "sweep", "schema"):
        assert f"\n  {name} " in done.stdout
    assert command("-h").stdout == done.stdout


@pytest.mark.parametrize("name", ["run", "check", "graph", "devices", "report", "compare", "sweep", "schema"])
def test_every_command_has_help(command: Any, name: str) -> None:
    done = command(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"ampsim {name}" in done.stdout
    for option in {"run": ("--set", "--out", "--quiet"), "check": ("--set", "--resolved")}.get(name, ()):
        assert option in done.stdout


def test_the_version_is_that_of_the_package(command: Any) -> None:
    assert package.__version__ in command("--version").stdout


@pytest.mark.parametrize("name", shipped("configs"))
def test_every_shipped_config_is_sound_by_name_and_by_path_and_so_is_its_resolved_form(
    command: Any, tmp_path: Path, name: str
) -> None:
    by_name = command("check", name)
    assert (by_name.returncode, by_name.stderr) == (0, "")
    assert f"{name}: ok" in by_name.stdout
    resolved = command("check", shipped("configs")[name], "--resolved")
    assert (resolved.returncode, resolved.stderr) == (0, "")
    (tmp_path / "resolved.yaml").write_text(resolved.stdout)
    again = command("check", "resolved.yaml", "--resolved")
    assert (again.returncode, again.stdout) == (0, resolved.stdout)


def test_check_starts_nothing_and_tells_all_faults_at_once(command: Any, tmp_path: Path) -> None:
    done = command("check", "mnist-mlp", "--set", "training.epochs=0", "--set", "model.hiden=[1]", "--set", "seed=x")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 3
    for told in ("training.epochs", "hiden", "seed"):
        assert told in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("network", "line"),
    [
        ("{}", "network: switch, 5 pairs of links of 5 us and 1.25 GB/s"),
        ("{topology: torus, latency: 1 ms}", "network: torus of 2 x 2, 5 pairs of links of 1 ms and 1.25 GB/s"),
        (
            "{topology: links, switches: [s], bandwidth: 1 MB/s, links: [{between: [s, controller]}, "
            "{between: [s, d0], latency: 0 s}, {between: [s, d1], bandwidth: 2 MB/s}, {between: [s, d2]}, "
            "{between: [s, d3]}]}",
            "network: links, 1 switch, 5 pairs of links of 0 s to 5 us and 1 MB/s to 2 MB/s",
        ),
    ],
)
def test_check_has_a_line_about_the_network(command: Any, network: str, line: str) -> None:
    done = command("check", "mnist-mlp", "--set", f"cluster.network={network}")
    assert (done.returncode, done.stderr) == (0, "")
    assert line in done.stdout.splitlines()


def test_devices_lists_the_catalogue_and_shows_each_kind(command: Any) -> None:
    listed = command("devices")
    assert (listed.returncode, listed.stderr) == (0, "")
    for kind in shipped("devices"):
        assert kind in listed.stdout
    shown = command("devices", "cpu-core")
    for key in ("compute:", "memory_bandwidth:"):
        assert key in shown.stdout
    unknown = command("devices", "cpu-cores")
    assert unknown.returncode == 2
    assert "did you mean 'cpu-core'" in unknown.stderr


def test_schema_is_json_and_knows_the_keys(command: Any) -> None:
    done = command("schema")
    assert (done.returncode, done.stderr) == (0, "")
    schema = json.loads(done.stdout)
    assert {"name", "seed", "model", "data", "training", "cluster"} <= set(schema["properties"])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "no such directory"),
        ({}, "holds no run"),
        ({"summary.json": "{"}, "cannot be read"),
        ({"summary.json": "[]"}, "is not the summary of a run"),
    ],
    ids=["no directory", "empty", "cut off", "something else"],
)
def test_what_is_no_run_cannot_be_reported(
    command: Any, tmp_path: Path, content: dict[str, str] | None, told: str
) -> None:
    if content is not None:
        (tmp_path / "here").mkdir()
        for name, text in content.items():
            (tmp_path / "here" / name).write_text(text)
    done = command("report", "here")
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_the_module_is_the_command(ampsim: Any, command: Any) -> None:
    assert ampsim("devices").stdout == command("devices").stdout


def test_an_unknown_command_is_bad_input(command: Any) -> None:
    done = command("frobnicate")
    assert done.returncode == 2
    assert "frobnicate" in done.stderr
