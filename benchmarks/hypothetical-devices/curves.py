"""A metric over epochs and over simulated seconds, a line for each number of keys in flight, as SVG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.sax.saxutils import escape

from ampsim.report.sweep_plot import COLOURS, ticks

WIDTH, HEIGHT = 920, 380
TOP, FLOOR = 84, 320
PANELS = ((64, 330, "epoch", "epoch"), (474, 330, "time_s", "simulated seconds of training"))
"""Left end, width, column, name of the x axis."""


def picture(title: str, rows: Sequence[Mapping[str, str]], target: float) -> str:
    """The rows of one model, with columns keys, epoch, time_s and metric; `target` is drawn as a dashed line."""
    runs: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        runs.setdefault(row["keys"], []).append(row)
    values = [float(row["metric"]) for row in rows] + [target]
    room = (max(values) - min(values)) * 0.08 or 0.01
    bottom, top = min(values) - room, max(values) + room
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#333">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="24" y="26" font-size="16" font-weight="bold">{escape(title)}</text>',
        *_legend(list(runs)),
    ]
    for left, width, column, name in PANELS:
        parts += _panel(runs, target, (left, width, column, name), bottom, top)
    return "\n".join((*parts, "</svg>", ""))


def _legend(runs: Sequence[str]) -> Iterator[str]:
    x = 24
    for number, keys in enumerate(runs):
        colour = COLOURS[number % len(COLOURS)]
        yield f'<line x1="{x}" x2="{x + 24}" y1="48" y2="48" stroke="{colour}" stroke-width="2"/>'
        yield f'<text x="{x + 30}" y="52">{keys} key{"s" if keys != "1" else ""}</text>'
        x += 104
    yield f'<line x1="{x}" x2="{x + 24}" y1="48" y2="48" stroke="#666" stroke-dasharray="5 4"/>'
    yield f'<text x="{x + 30}" y="52">target</text>'


def _panel(
    runs: Mapping[str, Sequence[Mapping[str, str]]],
    target: float,
    panel: tuple[int, int, str, str],
    bottom: float,
    top: float,
) -> Iterator[str]:
    left, width, column, name = panel
    marks = ticks(max(float(row[column]) for rows in runs.values() for row in rows))
    if column == "epoch":
        marks = [mark for mark in marks if mark == int(mark)]
    end = max(marks[-1], 1e-9)

    def x_of(value: float) -> float:
        return left + value / end * width

    def y_of(value: float) -> float:
        return FLOOR - (value - bottom) / (top - bottom) * (FLOOR - TOP)

    for mark in marks:
        yield f'<line x1="{x_of(mark):.1f}" x2="{x_of(mark):.1f}" y1="{TOP}" y2="{FLOOR}" stroke="#eee"/>'
        yield f'<text x="{x_of(mark):.1f}" y="{FLOOR + 18}" text-anchor="middle">{mark:,.4g}</text>'
    for part in range(5):
        value = bottom + (top - bottom) * part / 4
        yield f'<line x1="{left}" x2="{left + width}" y1="{y_of(value):.1f}" y2="{y_of(value):.1f}" stroke="#ddd"/>'
        yield f'<text x="{left - 6}" y="{y_of(value) + 4:.1f}" text-anchor="end">{value:.3f}</text>'
    y = y_of(target)
    yield f'<line x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#666" stroke-dasharray="5 4"/>'
    yield f'<text x="{left + width / 2}" y="{FLOOR + 42}" text-anchor="middle" font-weight="bold">{name}</text>'
    for number, (keys, rows) in enumerate(runs.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = [(x_of(float(row[column])), y_of(float(row["metric"]))) for row in rows]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for (x, y), row in zip(points, rows, strict=True):
            told = f"{keys} keys, epoch {row['epoch']}, {row['time_s']} s: {row['metric']}"
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"><title>{told}</title></circle>'
