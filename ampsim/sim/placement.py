"""Which device hosts which node: patterns that name nodes, and a balance of their work. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_CUTS = 50_000_000
"""Sums of runs that a placement may compare: half a gigabyte of them."""

_BISECTIONS = 60
_WILD = re.compile(r"[*?\[]")
_RANGE = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")

# A part of a pattern: where a match may end in `name`, if it begins at `start`.
_Part = Callable[[str, int], Iterable[int]]


def is_pattern(text: str) -> bool:
    """Whether `text` can name several nodes."""
    return bool(_WILD.search(text))


def matching(pattern: str, nodes: Iterable[str]) -> list[str]:
    """The nodes that a pattern names, in their order.

    `*` stands for any characters, `?` for one, `[3-12]` for a whole number from 3 to 12, `[ab]` for one of the
    characters and `[!ab]` for any other. A name stands for itself. Raises ValueError if the pattern is malformed.
    """
    known = list(nodes)
    if pattern in known:
        return [pattern]
    parts = list(_parts(pattern))
    return [node for node in known if _matches(parts, node)]


def balance(work_s: Sequence[Sequence[float]], pinned_s: Sequence[float] | None = None) -> list[int]:
    """The device of each node, such that the busiest device has as little to do as possible.

    `work_s[device][node]` are the seconds that a node costs on a device, the nodes being in topological order, and
    `pinned_s[device]` those that the device is busy with anyway. Nodes are dealt out in contiguous runs, device by
    device in order:

        nodes      0 1 2 | 3 4 | 5 6 7 8
        devices      0   |  1  |    2

    Of all cuts with the least busy busiest device, the most even one is taken (least sum of squares); where devices
    times nodes squared is more than MOST_CUTS, the one that fills the first devices. A device with nothing pinned gets
    a node if there are enough of them.
    """
    devices, nodes = len(work_s), len(work_s[0])
    base = np.zeros(devices) if pinned_s is None else np.asarray(pinned_s, dtype=np.float64)
    if devices * nodes**2 > MOST_CUTS:
        return _fill(work_s, base)
    return _cut_evenly(np.asarray(work_s, dtype=np.float64).reshape(devices, nodes), base)


def _fill(work_s: Sequence[Sequence[float]], base: Floats) -> list[int]:
    """The cut by bisection: the least time in which the devices, one after the other, can take all nodes."""
    nodes = len(work_s[0])
    # Rows that are the same object, as those of devices of a kind may be, are summed once.
    sums_of = {id(row): np.concatenate([[0.0], np.cumsum(row)]) for row in {id(row): row for row in work_s}.values()}
    upto = [sums_of[id(row)] for row in work_s]
    idle = (base == 0) & (np.count_nonzero(base == 0) <= nodes)
    idle_behind = np.concatenate([np.cumsum(idle[::-1])[::-1][1:], [0]]).tolist()

    def ends_within(limit_s: float) -> list[int] | None:
        """The end of each device's run, if no device takes longer than that."""
        start, ends = 0, []
        for device, sums in enumerate(upto):
            end = int(np.searchsorted(sums, sums[start] + limit_s - base[device], side="right")) - 1
            start = max(start, min(end, nodes - idle_behind[device])) if start < nodes else nodes
            ends.append(start)
        return ends if start == nodes else None

    low, high = 0.0, float(base.max() + max(sums[-1] for sums in sums_of.values()))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if ends_within(middle) else (middle, high)
    hosts: list[int] = []
    for device, end in enumerate(ends_within(high) or [nodes]):
        hosts += [device] * (end - len(hosts))
    return hosts


def _cut_evenly(work: Floats, base: Floats) -> list[int]:
    """The cut by dynamic programming."""
    devices, nodes = work.shape
    idle = base == 0
    may_be_empty = np.where(idle, np.count_nonzero(idle) > nodes, True)
    upto = np.concatenate([np.zeros((devices, 1)), np.cumsum(work, axis=1)], axis=1)

    def run_s(device: int) -> Floats:
        """Seconds of the run from node i (row) up to node j (column), not included; inf if there is none."""
        seconds: Floats = base[device] + upto[device][None, :] - upto[device][:, None]
        impossible = np.tri(nodes + 1, k=-1 if may_be_empty[device] else 0, dtype=bool)
        return np.where(impossible, np.inf, seconds)

    busiest = np.full(nodes + 1, np.inf)
    busiest[0] = 0.0
    for device in range(devices):
        busiest = np.maximum(busiest[:, None], run_s(device)).min(axis=0)

    squares = np.full(nodes + 1, np.inf)
    squares[0] = 0.0
    starts = []
    for device in range(devices):
        seconds = run_s(device)
        total = squares[:, None] + np.where(seconds <= busiest[-1], seconds, np.inf) ** 2
        starts.append(nodes - total[::-1].argmin(axis=0))  # of equals the latest start: the first devices are filled
        squares = total.min(axis=0)

    hosts = [0] * nodes
    end = nodes
    for device in reversed(range(devices)):
        start = int(starts[device][end])
        hosts[start:end] = [device] * (end - start)
        end = start
    return hosts


def _matches(parts: Sequence[_Part], name: str) -> bool:
    # The set of places that can be reached, part by part: no pattern makes this slow, as a regex could be.
    reached = {0}
    for part in parts:
        reached = {end for start in reached for end in part(name, start)}
    return len(name) in reached


def _parts(pattern: str) -> Iterator[_Part]:
    at = 0
    while at < len(pattern):
        char, at = pattern[at], at + 1
        if char == "*":
            yield lambda name, start: range(start, len(name) + 1)
        elif char == "?":
            yield _one(lambda _: True)
        elif char == "[":
            end = pattern.find("]", at + 1)
            if end < 0:
                raise ValueError("expected a ']' behind '['")
            yield _bracket(pattern[at:end])
            at = end + 1
        else:
            yield _one(char.__eq__)


def _bracket(inside: str) -> _Part:
    if numbers := _RANGE.fullmatch(inside):
        low, high = int(numbers[1]), int(numbers[2])
        if low > high:
            raise ValueError(f"expected a range from low to high, found [{inside}]")
        return _number(low, high)
    negated, members = inside.startswith("!"), inside.removeprefix("!")
    if not members:
        raise ValueError(f"expected characters between '[' and ']', found [{inside}]")
    ranges = re.findall(r"(.)-(.)|(.)", members, re.DOTALL)
    spans = [(low or single, high or single) for low, high, single in ranges]
    return _one(lambda char: any(low <= char <= high for low, high in spans) is not negated)


def _one(accepts: Callable[[str], bool]) -> _Part:
    return lambda name, start: (start + 1,) if start < len(name) and accepts(name[start]) else ()


def _number(low: int, high: int) -> _Part:
    def ends(name: str, start: int) -> Iterator[int]:
        digits = re.compile("[0-9]{0,9}").match(name, start)
        for end in range(start + 1, digits.end() + 1 if digits else start):
            if low <= int(name[start:end]) <= high:
                yield end

    return ends
