"""Least squares without negative coefficients: measured batches into rates. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from ampsim.ir.graph import CONTROLLER
from ampsim.ops.table import Cost
from ampsim.runtime.statistics import Edges
from ampsim.sim.rates import Handing, Rate, Way, kind_of

Floats = NDArray[np.float64]

ROUNDS = 6
SHORTEST_S = 1e-7
"""What a clock can tell: nothing takes less."""
OUTLIER = 4.0
"""A batch that took so many times what the fit says was interrupted: it is left out of the next round."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A batch that was timed: what it was, and how long it took.

    `update` is the optimizer's name and the work of the update that the batch brought about.
    """

    op: str
    way: Way
    messages: int
    parts: int
    rows: int
    cost: Cost
    update: tuple[str, Cost] | None
    seconds: float


@dataclass(frozen=True, slots=True)
class ControllerSample:
    """An event of the controller's that was timed: messages that came home, and what was injected because of them."""

    home: int
    instances: int
    messages: int
    size: int
    seconds: float


@dataclass(frozen=True)
class Fitted:
    """A rate, from how many batches it follows, and by how much these are off: the median of |fit / measured - 1|."""

    rate: Rate
    samples: int
    error: float


def non_negative(matrix: Floats, values: Floats) -> Floats:
    """x >= 0 with the least |matrix x - values| (Lawson and Hanson's active sets); float64[columns].

    `matrix float64[rows, columns]`. Columns of zeros get 0.
    """
    scale = np.linalg.norm(matrix, axis=0)
    scaled = matrix / np.where(scale > 0, scale, 1.0)
    columns = matrix.shape[1]
    passive = np.zeros(columns, bool)
    solution = np.zeros(columns)
    tolerance = 1e-10 * float(np.abs(scaled.T @ values).max(initial=0.0))
    for _ in range(10 * columns):
        gradient = np.where(passive | (scale == 0), -inf, scaled.T @ (values - scaled @ solution))
        if gradient.max() <= tolerance:
            break
        passive[int(gradient.argmax())] = True
        while True:
            trial = np.zeros(columns)
            trial[passive] = np.linalg.lstsq(scaled[:, passive], values, rcond=None)[0]
            if (trial[passive] > 0).all():
                break
            negative = passive & (trial <= 0)
            step = (solution[negative] / np.maximum(solution[negative] - trial[negative], 1e-300)).min()
            solution += step * (trial - solution)
            passive &= solution > 1e-15
            if not passive.any():
                break
        solution = np.where(passive, trial, 0.0)
    return solution / np.where(scale > 0, scale, 1.0)


def robust(matrix: Floats, seconds: Floats) -> tuple[Floats, float]:
    """Coefficients >= 0 that explain `seconds float64[rows]` to a share: each row counts by how far off it is in parts.

    Rows that took OUTLIER times what the last round says are left out. Also the median of |fit / measured - 1|.
    """
    seconds = np.maximum(seconds, SHORTEST_S)
    weight = 1 / seconds
    kept = np.ones(len(seconds), bool)
    for _ in range(ROUNDS):
        coefficients = non_negative(matrix[kept] * weight[kept, None], seconds[kept] * weight[kept])
        fitted = matrix @ coefficients
        kept = seconds <= OUTLIER * np.maximum(fitted, 0.5 * seconds.min())
        # By what is expected and not by what was found: else short ones would count more than long ones.
        weight = 1 / np.maximum(fitted, 0.1 * seconds.min())
    return coefficients, float(np.median(np.abs(fitted[kept] / seconds[kept] - 1)))


def fit_rates(samples: Sequence[Sample]) -> dict[str, dict[Way, Fitted]]:
    """The rate of each op and way, from the batches without an update; then of the optimizers, from what is left."""
    groups: dict[tuple[str, Way], list[Sample]] = {}
    for sample in samples:
        for name in {sample.op, kind_of(sample.op)}:  # a model's own function has no rate but that of the kind
            groups.setdefault((name, sample.way), []).append(sample)
    rates: dict[str, dict[Way, Fitted]] = {}
    updates: dict[str, list[tuple[Cost, float, float]]] = {}
    for (op, way), group in sorted(groups.items()):
        plain = [sample for sample in group if sample.update is None]
        if not plain:
            continue
        rates.setdefault(op, {})[way] = fitted = _fit_rate(plain)
        for sample in group:
            if sample.update is not None:
                optimizer, cost = sample.update
                batch_s = fitted.rate.duration_s(sample.cost, sample.messages, sample.parts, sample.rows)
                updates.setdefault(optimizer, []).append((cost, batch_s, sample.seconds))
    for optimizer, timed in sorted(updates.items()):
        rates[optimizer] = {"update": _fit_update(timed)}
    return rates


def _fit_rate(samples: Sequence[Sample]) -> Fitted:
    matrix = np.array(
        [
            (
                1.0,
                float(sample.rows > 0),
                sample.messages,
                sample.parts,
                sample.rows,
                sample.cost.flops,
                sample.cost.bytes_read + sample.cost.bytes_written,
            )
            for sample in samples
        ],
        np.float64,
    )
    found, error = robust(matrix, np.array([sample.seconds for sample in samples]))
    batch, call, message, part, row, flop, byte = found.tolist()
    rate = Rate(batch, call, message, part, row, _per_second(flop), _per_second(byte))
    return Fitted(rate, len(samples), error)


def _fit_update(timed: Sequence[tuple[Cost, float, float]]) -> Fitted:
    """The rate of updates that batches brought about: their work, what the batch would have taken, what it took."""
    matrix = np.array([(1.0, cost.bytes_read + cost.bytes_written) for cost, _, _ in timed], np.float64)
    batch_s, seconds = np.array([rest for _, *rest in timed], np.float64).T
    kept = np.ones(len(timed), bool)
    for _ in range(ROUNDS):
        found = non_negative(matrix[kept] / seconds[kept, None], (seconds - batch_s)[kept] / seconds[kept])
        fitted = batch_s + matrix @ found
        kept = seconds <= OUTLIER * fitted
    batch, byte = found.tolist()
    error = float(np.median(np.abs(fitted[kept] / seconds[kept] - 1)))
    return Fitted(Rate(batch=batch, memory_bandwidth=_per_second(byte)), len(timed), error)


def fit_controller(samples: Sequence[ControllerSample]) -> dict[Way, Fitted]:
    """The rates by which the simulated clock tells the controller's time: see runtime.controller_time."""
    matrix = np.array(
        [
            (1.0, sample.home, float(sample.instances > 0), sample.instances, sample.messages, sample.size)
            for sample in samples
        ],
        np.float64,
    )
    found, error = robust(matrix, np.array([sample.seconds for sample in samples]))
    batch, home, injection, instance, message, byte = found.tolist()
    forward = Rate(batch=injection, part=instance, message=message, memory_bandwidth=_per_second(byte))
    injecting = sum(sample.instances > 0 for sample in samples)
    return {
        "forward": Fitted(forward, injecting, error),
        "backward": Fitted(Rate(batch=batch, message=home), len(samples), error),
    }


HandedInRun = tuple[int, int, int, int, int, float]
"""What a device handed out, or took in, in a whole run: turns, bundles, batches, arrays, bytes, seconds."""


@dataclass(frozen=True)
class FittedHanding:
    """What handing takes in a run, with `turn` in s that go by around it in each turn.

    `error` is the median of |fit / measured - 1| over the devices of all runs.
    """

    handing: Handing
    turn: float
    error: float


def fit_handing(runs: Sequence[HandedInRun]) -> FittedHanding:
    """What handing takes where it happens: among other processes, with all that a turn has around it.

    Between two processes that do nothing else, handing out takes about a third of that, but by no one factor.
    """
    table = np.array(runs, np.float64)
    (turn, bundle, batch, array, byte), error = robust(table[:, :5], table[:, 5])
    return FittedHanding(
        Handing(float(bundle), float(batch), float(array), _per_second(float(byte))), float(turn), error
    )


def fit_lateness(measured: Sequence[Edges], predicted: Sequence[Edges]) -> float:
    """By how many seconds a packet was longer on the way between two devices, in whole runs, than predicted; >= 0.

    The median over the edges of all runs. Alone, who is to receive sleeps on a core of its own, and no other process
    wants it; in a run it has to be waked up beside others, which no transfer between two sockets tells.
    """
    late = [
        on_the_way.mean_s - expected[edge].mean_s
        for found, expected in zip(measured, predicted, strict=True)
        for edge, on_the_way in found.items()
        if CONTROLLER not in edge and edge in expected
    ]
    return max(0.0, float(np.median(late))) if late else 0.0


def fit_line(sizes: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """Latency in s and bandwidth in byte/s, from transfers of so many bytes."""
    matrix = np.array([(1.0, size) for size in sizes], np.float64)
    (latency, byte), _ = robust(matrix, np.array(seconds, np.float64))
    return float(latency), _per_second(float(byte))


def _per_second(seconds: float) -> float:
    return 1 / seconds if seconds > 0 else inf
