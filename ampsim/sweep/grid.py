"""The grid of a sweep: `--vary path=value,value,...`, and all combinations of the values."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from ampsim.config.tree import read_value
from ampsim.config.wording import printable, shorten
from ampsim.errors import BadInput, ConfigError, Fault

MOST_COMBINATIONS = 10_000

_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"|' + r"'(?:''|[^'])*'", re.DOTALL)


@dataclass(frozen=True)
class Axis:
    """A key that is varied: its path, the values, their texts in YAML, and how a row calls each of them."""

    path: str
    values: tuple[Any, ...]
    texts: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Combination:
    """A point of the grid: the place of each axis' value."""

    axes: tuple[Axis, ...]
    places: tuple[int, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """What a row of this combination has in its first columns."""
        return tuple(axis.labels[place] for axis, place in zip(self.axes, self.places, strict=True))

    @property
    def overrides(self) -> list[str]:
        """`path=value` of each axis."""
        return [f"{axis.path}={axis.texts[place]}" for axis, place in zip(self.axes, self.places, strict=True)]

    @property
    def values(self) -> dict[str, Any]:
        """The value of each path."""
        return {axis.path: axis.values[place] for axis, place in zip(self.axes, self.places, strict=True)}

    def __str__(self) -> str:
        return ", ".join(f"{axis.path}={label}" for axis, label in zip(self.axes, self.labels, strict=True))


@dataclass(frozen=True)
class Grid:
    """All combinations of the axes' values, the last axis the fastest."""

    axes: tuple[Axis, ...]

    def __len__(self) -> int:
        return prod(len(axis.labels) for axis in self.axes)

    def __iter__(self) -> Iterator[Combination]:
        for places in product(*(range(len(axis.labels)) for axis in self.axes)):
            yield Combination(self.axes, places)


def read_grid(varied: Sequence[str], overrides: Mapping[str, str] | None = None) -> Grid:
    """The grid of `path=value,value,...`, each of which is to get along with the others and with `overrides`.

    `overrides` maps the path of each `--set` to its text. Raises ConfigError with every fault, BadInput if there are
    no axes or too many combinations.
    """
    if not varied:
        raise BadInput("--vary: expected at least one key, such as --vary training.max_active_keys=1,2,4")
    axes, faults = [], []
    for text in varied:
        axis, found = _axis(text)
        faults += [Fault(number, f"--vary {shorten(text, 100)}", "", fault) for number, fault in enumerate(found)]
        axes.append(axis)
    paths = [axis.path for axis in axes if axis]
    faults += [Fault(0, f"--vary {path}", "", text) for path, text in _clashes(paths, list(overrides or ()))]
    if faults:
        raise ConfigError(faults)
    grid = Grid(tuple(axis for axis in axes if axis))
    if len(grid) > MOST_COMBINATIONS:
        sizes = " x ".join(str(len(axis.labels)) for axis in grid.axes)
        raise BadInput(
            f"--vary: {sizes} values make {len(grid):,} combinations, and a sweep runs at most {MOST_COMBINATIONS:,}: "
            "vary fewer values at once"
        )
    return grid


def split(text: str) -> list[str]:
    """The parts of a text between its commas, but for commas inside quotes and brackets: `[1, 2],'a,b'` are two."""
    parts, start, place, depth = [], 0, 0, 0
    before = ","  # the last character that is not white space: where a value begins, a quote opens
    while place < len(text):
        char = text[place]
        quoted = _QUOTED.match(text, place) if before in ",[{:" else None
        if quoted:
            place, before = quoted.end(), "'"
            continue
        if char == "," and depth <= 0:
            parts.append(text[start:place])
            start, depth = place + 1, 0
        depth += (char in "[{") - (char in "]}")
        before = before if char.isspace() else char
        place += 1
    return [part.strip() for part in (*parts, text[start:])]


def _axis(text: str) -> tuple[Axis | None, list[str]]:
    """What a `--vary` says, and its faults."""
    path, equals, listed = text.partition("=")
    path = path.strip()
    if not equals or not all(path.split(".")):
        return None, [f"expected path=value,value,... such as training.epochs=1,2, found {shorten(text)!r}"]
    if not listed.strip():
        return None, [f"expected at least one value, found none: {path}=value,value,..."]
    texts = split(listed)
    values, faults = [], []
    for number, part in enumerate(texts, start=1):
        if not part:
            faults.append(f"value {number} of {len(texts)} is empty: write null, or '' for an empty text, or one comma")
            continue
        value, found = read_value(part, part)
        values.append(value)
        faults += [f"{shorten(part)}: {fault.text}" for fault in found]
    labels = [label(value) for value in values]
    faults += [
        f"the value {shorten(twice)} stands there twice" for twice, count in Counter(labels).items() if count > 1
    ]
    return Axis(path, tuple(values), tuple(texts), tuple(labels)), faults


def label(value: Any) -> str:
    """A value as rows have it: a text as it is, anything else as JSON."""
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _clashes(paths: Sequence[str], set_paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The paths of which values would be lost, and why: overrides are made in turn, those of --set first."""
    for path, count in Counter(paths).items():
        if count > 1:
            yield path, "this key is varied twice: give all its values to one --vary"
        if path in set_paths:
            yield path, "this key is varied, and --set gives it a value as well: leave one of the two out"
    for number, outer in enumerate(paths):
        for option, inner in [("--set", path) for path in set_paths] + [("--vary", path) for path in paths[:number]]:
            if inner.startswith(f"{outer}."):
                cure = "vary the inner key after the outer one" if option == "--vary" else "vary the keys in it"
                yield outer, f"this would replace what {option} {inner} gives: {cure}"
