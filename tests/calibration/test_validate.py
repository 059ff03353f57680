from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ampsim.calibration.rows import COLUMNS, lines, verdict, write_rows
from ampsim.calibration.validate import Row, median_errors, order_kept

Command = Callable[..., tuple[int, str, str]]


EDGE = "d0 -> d1"


def row(
    name: str,
    measured: float,
    predicted: float,
    edge: tuple[float, float] | None = None,
    **devices: tuple[float, float],
) -> Row:
    return Row(
        name,
        {device: ["a"] for device in devices},
        measured,
        predicted,
        {device: one for device, (one, _) in devices.items()},
        {device: other for device, (_, other) in devices.items()},
        {EDGE: edge[0]} if edge else {},
        {EDGE: edge[1]} if edge else {},
        [measured],
    )


ROWS = [
    row("own", 100, 110, (0.002, 0.001), d0=(2.0, 1.9), d1=(1.0, 1.3)),
    row("other", 200, 180, (0.004, 0.005), d0=(4.0, 4.0), d1=(0.0, 0.0)),
]


def test_errors_are_shares_of_what_was_measured() -> None:
    assert ROWS[0].rate_error == pytest.approx(0.1)
    assert ROWS[0].device_errors == pytest.approx({"d0": -0.05, "d1": 0.3})
    assert ROWS[1].device_errors == {"d0": 0.0}, "a device that did nothing has no error"
    assert ROWS[0].edge_errors == pytest.approx({EDGE: -0.5})
    assert median_errors(ROWS) == pytest.approx((0.1, 0.05, 0.375))
    assert median_errors([row("in one process", 100, 101)]) == pytest.approx((0.01, 0.0, 0.0))


def test_the_order_is_kept_unless_the_faster_of_two_was_predicted_to_be_the_slower() -> None:
    assert order_kept(ROWS)
    assert order_kept(ROWS[:1])
    assert not order_kept([row("a", 100, 100), row("b", 120, 90)])
    assert order_kept([row("a", 100, 100), row("b", 102, 90)]), "those two are equally fast"


def test_the_table_and_both_files_have_every_figure(tmp_path: Path) -> None:
    listed = list(lines(ROWS))
    assert [(line[0], line[1]) for line in listed] == [
        ("own", "throughput"),
        ("own", "d0"),
        ("own", "d1"),
        ("own", EDGE),
        ("other", "throughput"),
        ("other", "d0"),
        ("other", EDGE),
    ]
    assert all(error == pytest.approx(predicted / measured - 1) for *_, measured, predicted, error in listed)
    assert listed[3][2:5] == ("ms", pytest.approx(2.0), pytest.approx(1.0))
    write_rows(tmp_path / "rows.csv", ROWS)
    with (tmp_path / "rows.csv").open() as file:
        header, *body = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert [(float(line[3]), float(line[4])) for line in body] == [line[3:5] for line in listed]
    write_rows(tmp_path / "rows.json", ROWS)
    content = json.loads((tmp_path / "rows.json").read_text())
    assert [found["measured_rate"] for found in content["rows"]] == [100, 200]
    assert [found["edge_errors"][EDGE] for found in content["rows"]] == pytest.approx([-0.5, 0.25])
    assert content["median_errors"]["on_the_way"] == pytest.approx(0.375)
    assert content["order_kept"] is True
    assert "throughput 10.0%, device time 5.0%, time on the way 37.5%; order of the 2 placements kept" in verdict(ROWS)


def test_validate_runs_both_clocks_for_each_placement(command: Command, kind_file: Path) -> None:
    sets = [f"--set={text}" for text in ("data.limit=400", "training.epochs=1", "model.hidden=[16, 16]")]
    code, _, errors = command("validate", "mnist-mlp-2-devices", "--kind", kind_file, *sets)
    assert code == 2
    assert "no node 'relu3'" in errors, "the config is checked with its overrides"
    nodes = '{d0: {kind: cpu-core, nodes: [linear1, relu1]}, d1: {kind: cpu-core, nodes: ["*2", "*3", loss]}}'
    sets.append(f"--set=cluster.devices={nodes}")
    code, output, errors = command("validate", "mnist-mlp-2-devices", "--kind", kind_file, *sets, "--out", "rows.json")
    assert code == 0, errors
    found = json.loads(Path("rows.json").read_text())["rows"]
    assert [one["name"] for one in found] == ["mnist-mlp-2-devices (own)", "mnist-mlp-2-devices (2)"]
    assert found[0]["placement"]["d0"] == ["linear1", "relu1"]
    assert found[0]["placement"] != found[1]["placement"]
    for one in found:
        assert one["measured_rate"] > 0
        assert one["predicted_rate"] > 0
        assert set(one["device_errors"]) == {"d0", "d1"}
        assert set(one["edge_errors"]) == {
            *("controller -> d0", "controller -> d1", "d0 -> controller", "d1 -> controller"),
            *("d0 -> d1", "d1 -> d0"),
        }
        assert all(seconds > 0 for side in ("measured", "predicted") for seconds in one[f"{side}_edge_s"].values())
    assert "mnist-mlp-2-devices (own)" in output
    assert not Path("runs").exists(), "the runs are made elsewhere, and cleared away"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["validate", "mnist-mlp"], "this-machine.yaml: there is no such device file: measure this machine"),
        (["validate", "mnist-mlp", "--kind", "alone.yaml"], "alone-network.yaml: there is no such file"),
        (["validate", "mnist-mpl", "--kind", "mine.yaml"], "did you mean 'mnist-mlp'"),
        (["validate", "mnist-mlp", "--kind", "mine.yaml", "--placements", "0"], "at least 1"),
        (["validate", "mnist-mlp", "--kind", "mine.yaml", "--repeats", "-1"], "at least 1"),
        (["validate", "mnist-mlp", "--kind", "mine.yaml", "--out", "rows.txt"], ".json or .csv"),
        (["validate", "mnist-mlp", "--kind", "mine.yaml", "--out", "no/rows.csv"], "cannot write"),
        (["validate", "mnist-mlp", "--kind", "mine.yaml", "--set", "training.epoch=1"], "unknown key 'epoch'"),
        (["calibrate", "--out", "mine.txt"], "expected a name such as my-machine.yaml"),
        (["calibrate", "--out", "no/mine.yaml"], "cannot write"),
    ],
)
def test_bad_input_is_told_in_a_sentence_before_anything_is_measured(
    command: Command, kind_file: Path, arguments: list[str], complaint: str
) -> None:
    Path("alone.yaml").write_text(kind_file.read_text().replace("kind: mine", "kind: alone"))
    code, _, errors = command(*arguments)
    assert code == 2
    assert complaint in errors
    assert "Traceback" not in errors
