"""Least squares without negative coefficients: measured batches into rates. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from ampsim.ir.graph import CONTROLLER
from ampsim.ops.table import Cost
from ampsim.runtime.statistics import Edges
from ampsim.sim.rates import Handed, Handing, Rate, Update, Way, kind_of

Floats = NDArray[np.float64]

ROUNDS = 6
SHORTEST_S = 1e-7
"""What a clock can tell: nothing takes less."""
FIRST_ROUNDS = 2
"""In these every batch counts: what few batches have, large products among many small ones, is not yet in the fit."""
OUTLIER = 4.0
"""A batch that took so many times what the fit says was interrupted: it is left out of the next round."""
ALIKE = 20
"""So many batches of one make tell how much their times vary."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A batch that was timed: what it was, with the update that it brought about, if any, and how long it took."""

    op: str
    way: Way
    messages: int
    parts: int
    rows: int
    cost: Cost
    update: Update | None
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


def robust(matrix: Floats, seconds: Floats, evenly: bool = False) -> tuple[Floats, float]:
    """Coefficients >= 0 that explain `seconds float64[rows]` to a share: each row counts by how far off it is in parts.

    In parts of the fit, so that sums come out right of single batches, some of which take much longer than others; or
    `evenly`, half as long being as bad as twice, of whole runs, which are sums.
    After FIRST_ROUNDS, rows that took OUTLIER times what the last round says are left out. Also the median of
    |fit / measured - 1|.
    """
    seconds = np.maximum(seconds, SHORTEST_S)
    weight = 1 / seconds
    kept = np.ones(len(seconds), bool)
    for number in range(ROUNDS):
        coefficients = non_negative(matrix[kept] * weight[kept, None], seconds[kept] * weight[kept])
        fitted = matrix @ coefficients
        if number >= FIRST_ROUNDS:
            kept = seconds <= OUTLIER * np.maximum(fitted, 0.5 * seconds.min())
        # By what is expected and not by what was found: else short ones would count more than long ones.
        expected = np.maximum(fitted, 0.1 * seconds.min())
        weight = 1 / (expected * (seconds / expected) ** 0.25 if evenly else expected)
    return coefficients, float(np.median(np.abs(fitted[kept] / seconds[kept] - 1)))


def fit_rates(samples: Sequence[Sample]) -> dict[str, dict[Way, Fitted]]:
    """The rate of each op and way, from the batches without an update; then of updates, from what is left of others."""
    groups: dict[tuple[str, Way], list[Sample]] = {}
    for sample in samples:
        for name in {sample.op, kind_of(sample.op)}:  # a model's own function has no rate but that of the kind
            groups.setdefault((name, sample.way), []).append(sample)
    rates: dict[str, dict[Way, Fitted]] = {}
    updating: list[tuple[Sample, Update, float]] = []
    for (op, way), group in sorted(groups.items()):
        plain = [sample for sample in group if sample.update is None]
        if not plain:
            continue
        rates.setdefault(op, {})[way] = fitted = _fit_rate(plain)
        for sample in group:
            if sample.update is not None and sample.op == op:
                batch_s = fitted.rate.duration_s(sample.cost, sample.messages, sample.parts, sample.rows)
                updating.append((sample, sample.update, batch_s))
    for name, of_updates in _fit_updates(updating).items():
        rates.setdefault(name, {})["update"] = of_updates
    return rates


def fit_spread(samples: Sequence[Sample]) -> float:
    """How much batches that are alike in all that is known of them vary: the standard deviation of log(seconds).

    The mean over all makes of batch of which there are ALIKE or more without an update, each counting by the time that
    it took; those that were interrupted are in it.
    """
    alike: dict[tuple[str, Way, int, int, int, Cost], list[float]] = {}
    for sample in samples:
        if sample.update is None:
            make = sample.op, sample.way, sample.messages, sample.parts, sample.rows, sample.cost
            alike.setdefault(make, []).append(max(sample.seconds, SHORTEST_S))
    several = [np.array(seconds) for seconds in alike.values() if len(seconds) >= ALIKE]
    if not several:
        return 0.0
    spreads = [np.log(seconds).std() for seconds in several]
    return float(np.average(spreads, weights=[seconds.sum() for seconds in several]))


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


def _fit_updates(updating: Sequence[tuple[Sample, Update, float]]) -> dict[str, Fitted]:
    """The rates of updates by optimizer, and by kind of op for the gradients that it sums up then.

    From batches with the update of each, and what the batch would have taken without it. All are fitted together: the
    time of an update is one sum of what falls to the optimizer (for each, and by byte) and to the op (by row and FLOP).
    """
    if not updating:
        return {}
    named = [(update.optimizer, kind_of(sample.op)) for sample, update, _ in updating]
    columns = {name: 2 * number for number, name in enumerate(dict.fromkeys(name for pair in named for name in pair))}
    matrix = np.zeros((len(updating), 2 * len(columns)))
    for row, (optimizer, kind), (_, update, _) in zip(matrix, named, updating, strict=True):
        row[columns[optimizer] :][:2] = 1.0, update.work.bytes_read + update.work.bytes_written
        row[columns[kind] :][:2] = update.rows, update.way_back.flops
    seconds = np.maximum([sample.seconds for sample, _, _ in updating], SHORTEST_S)
    batch_s = np.array([without_s for _, _, without_s in updating])
    kept = np.ones(len(updating), bool)
    for _ in range(ROUNDS):
        found = non_negative(matrix[kept] / seconds[kept, None], (seconds - batch_s)[kept] / seconds[kept])
        fitted = batch_s + matrix @ found
        kept = seconds <= OUTLIER * fitted
    off, rates, optimizers = np.abs(fitted / seconds - 1), {}, {optimizer for optimizer, _ in named}
    for name, column in columns.items():
        own = np.array([name in pair for pair in named])
        each, rest = found[column], _per_second(float(found[column + 1]))
        rate = (
            Rate(batch=float(each), memory_bandwidth=rest)
            if name in optimizers
            else Rate(row=float(each), compute=rest)
        )
        rates[name] = Fitted(rate, int(own.sum()), float(np.median(off[own])))
    return rates


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


@dataclass(frozen=True, slots=True)
class HandedInRun:
    """What a device handed out, or took in, in a whole run of so many turns, and how long that took."""

    turns: int
    handed: Handed
    seconds: float


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

    Between two processes that do nothing else, handing out takes about a third of that, but by no one factor. What a
    run takes once, as each beginning does, is told apart and left out.
    """
    matrix = np.array([(*astuple(run.handed), run.turns, 1.0) for run in runs], np.float64)
    found, error = robust(matrix, np.array([run.seconds for run in runs]), evenly=True)
    bundle, batch, array, byte, structure, turn, _ = found.tolist()
    return FittedHanding(Handing(bundle, batch, array, _per_second(byte), structure), turn, error)


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
