"""The benchmarks run: at a small size, so that none rots."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ampsim.config.load import load

ROOT = Path(__file__).resolve().parents[2]


def test_memory_is_measured_in_every_process_of_a_run() -> None:
    script = ROOT / "benchmarks" / "memory" / "measure.py"
    run = ["babi15-ggsnn", "--set=data.limit=600", "--set=training.epochs=5", "--set=training.stop_at={}"]
    command = [sys.executable, str(script), "--interval=0.02", "--warm=600", "--steps=2", "--", *run]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.strip()}
    assert rows["process"] == ["600", "1,800", "3,000", "growth"]
    for process in ("controller", "d0", "d1"):
        *sizes, growth = rows[process]
        assert all(float(size) > 10 for size in sizes)
        assert float(growth.rstrip("%")) < 25


def test_curves_of_several_runs_stand_side_by_side(tmp_path: Path) -> None:
    for name in ("one", "two"):
        run = ["run", "babi15-ggsnn", "--set=data.limit=60", "--set=training.epochs=2", "--set=training.stop_at={}"]
        command = [sys.executable, "-m", "ampsim", *run, "--in-process", "--quiet", f"--out={tmp_path / name}"]
        subprocess.run(command, check=True, capture_output=True, timeout=100)
    script = ROOT / "benchmarks" / "curve.py"
    command = [sys.executable, str(script), str(tmp_path / "one"), str(tmp_path / "two")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    head, _, *epochs = done.stdout.splitlines()
    assert head.startswith("| epoch | one: train loss | one: validation loss | one: validation accuracy | two: train")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in epochs]
    assert [row[0] for row in cells] == ["1", "2"]
    assert all(row[1:4] == row[4:7] and len(row) == 7 for row in cells)


def test_validation_prints_a_row_for_each_placement_and_the_medians(tmp_path: Path) -> None:
    kind = tmp_path / "mine.yaml"
    kind.write_text((ROOT / "devices/cpu-core.yaml").read_text().replace("kind: cpu-core", "kind: mine"))
    (tmp_path / "mine-network.yaml").write_text("network: {topology: full}")
    script = ROOT / "benchmarks" / "validation" / "measure.py"
    options = ["--only=babi15-ggsnn", "--limit=40", "--placements=2", "--rounds=2", "--kind", str(kind)]
    command = [sys.executable, str(script), *options, "--out", str(tmp_path / "rows")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines() if line]
    assert [row[:2] for row in rows[2:4]] == [["`babi15-ggsnn`", "own"], ["`babi15-ggsnn`", "2"]]
    assert [len(row) for row in rows] == [8] * 8 + [6] * 4
    assert [row[:2] for row in rows[6:8]] == [["`babi15-ggsnn`", "own"], ["`babi15-ggsnn`", "2"]]
    assert rows[-1][0] == "all"


@pytest.mark.usefixtures("sample")
def test_hypothetical_devices_have_rows_a_plot_and_an_estimate(tmp_path: Path) -> None:
    folder = ROOT / "benchmarks" / "hypothetical-devices"
    cases = {
        "throughput.py": ["--models=mnist-mlp", "--keys=1,4", "--examples=500"],
        "qm9_estimate.py": ["--molecules=8", "--keys=2", "--runs", "1 message, no overhead"],
        "targets.py": ["--models=babi15-ggsnn", "--keys=2", "--set=data.limit=20", "--set=training.epochs=1"],
    }
    for script, options in cases.items():
        command = [sys.executable, str(folder / script), *options, f"--out={tmp_path}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
    one, four = csv_rows(tmp_path / "throughput.csv")
    assert (one["training.max_active_keys"], four["training.max_active_keys"]) == ("1", "4")
    assert float(four["instances_per_second"]) > 1.5 * float(one["instances_per_second"])
    estimate = json.loads((tmp_path / "estimate.json").read_text())
    run = estimate["simulated"]["1 message, no overhead"]
    assert run["molecules_per_second"] == pytest.approx(8 / run["time_s"])
    # By hand it is the average molecule, and no layer but the busiest: near, not equal.
    assert run["bound"]["device_s"] / 8 == pytest.approx(estimate["by_hand"]["seconds"]["memory: gru"], rel=0.5)
    assert [row["keys"] for row in csv_rows(tmp_path / "targets.csv")] == ["2"]
    for plot in ("throughput-mnist-mlp.svg", "estimate.svg", "targets-babi15-ggsnn.svg"):
        assert ElementTree.parse(tmp_path / plot).getroot().tag.endswith("svg")


def test_the_hypothetical_clusters_load() -> None:
    configs = sorted((ROOT / "benchmarks" / "hypothetical-devices" / "clusters").glob("*.yaml"))
    clusters = [config for config in configs if "devices:" in config.read_text()]
    assert len(clusters) == 6
    for config in clusters:
        experiment = load(str(config))
        assert experiment.config.cluster.network.latency == pytest.approx(1e-6)
        assert {device.profile.kind for device in experiment.devices.values()} == {"fpga-1tflops"}


def csv_rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))
