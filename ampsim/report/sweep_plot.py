"""The plot of a sweep as SVG: throughput over the first varied key, a line for each combination of the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from math import ceil, isfinite, log2, log10
from xml.sax.saxutils import escape

from ampsim.config.wording import shorten
from ampsim.units import MEASURES, parse

WIDTH, HEIGHT = 920, 540
LEFT, RIGHT, TOP, FLOOR = 84, 250, 64, 436
"""FLOOR is where y is 0."""
LOG_FROM = 8
"""An axis of numbers that span a factor of so much is logarithmic."""
MOST_LINES = 20
COLOURS = ("#4269d0", "#efb118", "#ff725c", "#3ca951", "#a463f2", "#6cc5b0", "#9c6b4e", "#ff8ab7", "#97bbf5", "#9498a0")
_CHARACTER = 7.0  # pixels of one, about
_LONGEST_LABEL = 24


@dataclass(frozen=True)
class Line:
    """Points of one line: the label of the x value and the y value of each."""

    name: str
    points: tuple[tuple[str, float], ...]


def lines(rows: Iterable[Mapping[str, str]], varied: Sequence[str]) -> list[Line]:
    """Throughput of the finished rows over the first of the keys `varied`, by the values of the others."""
    by_name: dict[str, list[tuple[str, float]]] = {}
    for row in rows:
        if row.get("status") == "finished" and row.get("instances_per_second"):
            name = ", ".join(row[path] for path in varied[1:])
            by_name.setdefault(name, []).append((row[varied[0]], float(row["instances_per_second"])))
    return [Line(name, tuple(points)) for name, points in by_name.items()]


def positions(labels: Sequence[str]) -> dict[str, float]:
    """Where each label stands on the x axis, from 0 to 1: by its number or quantity if all have one, else evenly."""
    if len(labels) == 1:
        return {labels[0]: 0.5}
    numbers = _numbers(labels)
    if numbers is None or len(set(numbers)) < len(labels) or not all(map(isfinite, numbers)):
        return {label: place / (len(labels) - 1) for place, label in enumerate(labels)}
    if min(numbers) > 0 and max(numbers) / min(numbers) >= LOG_FROM:
        numbers = [log2(number) for number in numbers]
    low, high = min(numbers), max(numbers)
    return {label: (number - low) / (high - low) for label, number in zip(labels, numbers, strict=True)}


def ticks(largest: float) -> list[float]:
    """Four to eight round numbers from 0 up to at least `largest`, which is above 0."""
    step = 10.0 ** int(log10(largest) // 1)
    step = next(step * part for part in (0.2, 0.5, 1.0, 2.0) if largest / (step * part) <= 7)
    count = ceil(largest / step - 1e-9)  # 0.05 / 0.01 is a little more than 5
    return [step * number for number in range(count + 1)]


def svg(title: str, rows: Sequence[Mapping[str, str]], varied: Sequence[str]) -> str | None:
    """The picture, or None if no run has a throughput to be shown."""
    found = lines(rows, varied)
    if not found:
        return None
    shown = found[:MOST_LINES]
    labels = list(dict.fromkeys(row[varied[0]] for row in rows))
    places = {label: LEFT + 12 + share * (WIDTH - LEFT - RIGHT - 24) for label, share in positions(labels).items()}
    turned = _numbers(labels) is None and not _find_room(places)
    marks = ticks(max(value for line in shown for _, value in line.points) or 1.0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#333">',
        '<rect width="100%" height="100%" fill="white"/>',
        _text(LEFT, 26, title, size=16, weight="bold"),
        _text(LEFT, 46, "training instances per second", fill="#666"),
        *_grid(marks),
        *_labels(places, turned),
        _text((LEFT + WIDTH - RIGHT) / 2, FLOOR + (92 if turned else 46), varied[0], anchor="middle", weight="bold"),
    ]
    for number, line in enumerate(shown):
        parts += _line(line, number, places, marks[-1])
    if len(varied) > 1:
        parts += _legend(shown, varied[1:], len(found) - len(shown))
    return "\n".join((*parts, "</svg>", ""))


def _numbers(labels: Sequence[str]) -> list[float] | None:
    """The labels as numbers, or as quantities of one kind; None if they are neither."""
    for unit in (None, *MEASURES):
        try:
            return [float(label) if unit is None else parse(label, unit, zero=True) for label in labels]
        except ValueError:
            continue
    return None


def _y(value: float, top: float) -> float:
    return FLOOR - value / top * (FLOOR - TOP)


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, **style: str) -> str:
    attributes = "".join(f' {"font-weight" if name == "weight" else name}="{value}"' for name, value in style.items())
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"{attributes}>{escape(text)}</text>'


def _grid(marks: Sequence[float]) -> Iterator[str]:
    for mark in marks:
        y = _y(mark, marks[-1])
        colour = "#ddd" if mark else "#666"
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}"/>'
        yield _text(LEFT - 8, y + 4, f"{mark:,.0f}" if mark >= 1e6 else f"{mark:,.6g}", anchor="end")


def _find_room(places: Mapping[str, float]) -> bool:
    """Whether all labels of the x axis can stand side by side."""
    room = min((right - left for left, right in pairwise(sorted(places.values()))), default=float(WIDTH))
    return max(len(shorten(label, _LONGEST_LABEL)) for label in places) * _CHARACTER + 6 <= room


def _labels(places: Mapping[str, float], turned: bool) -> Iterator[str]:
    """The labels of the x axis; those that find no room are left out, from the left."""
    free = 0.0
    for label, x in sorted(places.items(), key=lambda item: item[1]):
        text = shorten(label, _LONGEST_LABEL)
        half = _CHARACTER if turned else len(text) * _CHARACTER / 2
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{FLOOR}" y2="{FLOOR + 5}" stroke="#666"/>'
        if x - half < free:
            continue
        free = x + half + (0 if turned else 6)
        if turned:
            yield _text(x + 4, FLOOR + 16, text, anchor="end", transform=f"rotate(-30 {x + 4:.1f} {FLOOR + 16})")
        else:
            yield _text(x, FLOOR + 20, text, anchor="middle")


def _style(number: int) -> str:
    dashes = ' stroke-dasharray="6 4"' if number >= len(COLOURS) else ""
    return f'stroke="{COLOURS[number % len(COLOURS)]}" stroke-width="2"{dashes}'


def _line(line: Line, number: int, places: Mapping[str, float], top: float) -> Iterator[str]:
    """Its points, and pieces that join neighbours: where a run has failed there is a gap."""
    values = dict(line.points)
    ordered = sorted(places, key=lambda label: places[label])
    for known, piece in groupby(ordered, key=values.__contains__):
        if known:
            path = " ".join(f"{places[label]:.1f},{_y(values[label], top):.1f}" for label in piece)
            yield f'<polyline points="{path}" fill="none" stroke-linejoin="round" {_style(number)}/>'
    for label, value in line.points:
        x, y = places[label], _y(value, top)
        told = escape(f"{label}{', ' if line.name else ''}{line.name}: {value:,.6g} instances/s")
        colour = COLOURS[number % len(COLOURS)]
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"><title>{told}</title></circle>'


def _legend(shown: Sequence[Line], paths: Sequence[str], hidden: int) -> Iterator[str]:
    x, y = WIDTH - RIGHT + 20, TOP + 4
    for path in paths:
        yield _text(x, y, shorten(path, 32), weight="bold")
        y += 16
    for number, line in enumerate(shown):
        y += 2
        yield f'<line x1="{x}" x2="{x + 24}" y1="{y}" y2="{y}" {_style(number)}/>'
        yield _text(x + 32, y + 4, shorten(line.name, 29))
        y += 16
    if hidden:
        yield _text(x, y + 8, f"and {hidden} lines more, in rows.csv", fill="#666")
