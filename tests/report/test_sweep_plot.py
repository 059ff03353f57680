"""The plot and the table of a sweep."""

from __future__ import annotations

from io import StringIO
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ampsim.report.sweep_plot import MOST_LINES, lines, positions, svg, ticks
from ampsim.report.sweep_table import short_names, sweep_table

NAMESPACE = "{http://www.w3.org/2000/svg}"


def row(rate: str, status: str = "finished", **keys: str) -> dict[str, str]:
    return {**keys, "status": status, "instances_per_second": rate}


def test_a_line_for_each_combination_of_the_other_keys() -> None:
    rows = [row(f"{10 * a + b}", a=str(a), b=str(b), c="x") for a in (1, 2) for b in (3, 4)]
    rows.append(row("", "failed", a="3", b="3", c="x"))
    assert [(line.name, line.points) for line in lines(rows, ["a", "b", "c"])] == [
        ("3, x", (("1", 13.0), ("2", 23.0))),
        ("4, x", (("1", 14.0), ("2", 24.0))),
    ]


@pytest.mark.parametrize(
    ("labels", "places"),
    [
        (["1", "2", "4", "8", "16"], [0, 0.25, 0.5, 0.75, 1]),  # logarithmic
        (["1", "2", "5"], [0, 0.25, 1]),  # linear
        (["100 Mbit/s", "1 Gbit/s", "10 Gbit/s"], [0, 0.5, 1]),
        (["500 us", "1 ms", "8 ms"], [0, 0.25, 1]),
        (["ring", "mesh", "switch"], [0, 0.5, 1]),
        (["0", "10", "100"], [0, 0.1, 1]),
        (["1 us", "1000 ns"], [0, 1]),
        (["7"], [0.5]),
        (["1", "Infinity", "2"], [0, 0.5, 1]),
    ],
)
def test_places_on_the_axis_follow_numbers_and_quantities(labels: list[str], places: list[float]) -> None:
    assert list(positions(labels).values()) == pytest.approx(places)


@given(st.floats(1e-6, 1e12))
def test_ticks_are_few_and_reach_the_largest_value(largest: float) -> None:
    marks = ticks(largest)
    assert 3 <= len(marks) <= 9
    assert marks[0] == 0
    assert marks[-2] < largest <= marks[-1] * (1 + 1e-9)


def test_the_picture_is_xml_and_every_point_is_in_its_frame_and_says_what_it_is() -> None:
    rows = [row(f"{a * b}", a=str(a), b=f"<{b}&") for a in (1, 2, 4) for b in range(1, MOST_LINES + 3)]
    drawn = svg("a < b", rows, ["a", "b"])
    assert drawn is not None
    root = ElementTree.fromstring(drawn)
    points = root.findall(f"{NAMESPACE}circle")
    assert len(points) == 3 * MOST_LINES
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for point in points:
        assert 0 < float(point.attrib["cx"]) < width
        assert 0 < float(point.attrib["cy"]) < height
    told = [title.text for title in root.iter(f"{NAMESPACE}title")]
    assert told[:3] == ["1, <1&: 1 instances/s", "2, <1&: 2 instances/s", "4, <1&: 4 instances/s"]
    texts = [text.text for text in root.iter(f"{NAMESPACE}text")]
    assert {"a < b", "a", "b", "and 2 lines more, in rows.csv"} <= set(texts)


def test_without_a_finished_run_there_is_no_picture() -> None:
    assert svg("none", [row("", "failed", a="1")], ["a"]) is None


def test_headings_are_the_last_parts_of_the_keys_as_far_as_they_differ() -> None:
    assert short_names(["training.epochs", "seed", "data.name", "model.name"]) == [
        "epochs",
        "seed",
        "data.name",
        "model.name",
    ]


@pytest.mark.parametrize(("width", "headings"), [(120, "bound, wall s"), (95, "bound"), (60, ""), (20, "")])
def test_a_narrow_console_gets_fewer_columns_of_the_table(width: int, headings: str) -> None:
    figures = {"time_s": "0.25", "staleness_mean": "1.5", "staleness_max": "3", "utilization_mean": "0.5"}
    more = {"busiest_device": "d0", "utilization_max": "0.75", "bound_fraction": "0.9", "wall_s": "1"}
    rows = [
        {**row("1234.5", a="x"), **figures, **more, "validation.loss": "0.5"},
        {"a": "y", "status": "failed", "wall_s": "2"},
    ]
    console = Console(width=width, file=StringIO())
    table = sweep_table(rows, ["a"], console)
    shown = [str(column.header) for column in table.columns]
    assert shown[:4] == ["a", "status", "instances/s", "training"]
    assert ("bound" in shown, "wall s" in shown) == ("bound" in headings, "wall s" in headings)
    assert "validation.loss" in shown
    cells = [list(column.cells) for column in table.columns[1:4]]
    assert cells == [["finished", "failed"], ["1,234", ""], ["250 ms", ""]]


def test_large_rates_are_written_out_on_the_axis() -> None:
    picture = svg("sweep", [row("1900000", keys="1"), row("2500", keys="2")], ["keys"])
    assert picture is not None
    assert ">2,000,000</text>" in picture
    assert "e+06<" not in picture
