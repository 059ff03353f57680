from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampsim.calibration.fit import (
    ControllerSample,
    HandedInRun,
    Sample,
    fit_controller,
    fit_handing,
    fit_lateness,
    fit_line,
    fit_rates,
    fit_spread,
    non_negative,
)
from ampsim.ops.table import Cost
from ampsim.runtime.statistics import Edges, OnTheWay
from ampsim.sim.rates import Handed, Handing, Rate, Update, Way

FORWARD = Rate(20e-6, 30e-6, 0.3e-6, 4e-6, 0.1e-6, compute=80e9, memory_bandwidth=20e9)
BACKWARD = Rate(50e-6, 0.0, 0.6e-6, 0.0, 0.2e-6, compute=100e9, memory_bandwidth=10e9)
UPDATE = Rate(batch=40e-6, memory_bandwidth=16e9)
GRADIENTS = Rate(row=0.05e-6, compute=90e9)


def timings(noise: Callable[[], float]) -> list[Sample]:
    """Batches of one op each way, of many makes, as a machine with the rates above would take; some with an update."""
    generator, samples = np.random.default_rng(0), []
    ways: list[tuple[Way, Rate]] = [("forward", FORWARD), ("backward", BACKWARD)]
    for number in range(600):
        way, rate = ways[number % 2]
        messages = int(generator.integers(1, 300))
        parts, waits = int(generator.integers(1, 10)), number % 6 == 0
        rows, units = 0 if waits else messages * int(generator.integers(1, 4)), int(generator.choice([16, 128, 784]))
        cost = Cost(2.0 * rows * units * units, 4.0 * rows * units, 4.0 * units * units)
        seconds, update = rate.duration_s(cost, messages, parts, rows), None
        if number % 20 == 1:
            summed = int(generator.integers(1, 2000))
            work = Cost(1.0, 16.0 * units * units, 12.0 * units * units)
            update = Update("adam", work, summed, Cost(2.0 * summed * units * units))
            seconds += UPDATE.duration_s(work) + GRADIENTS.duration_s(update.way_back, rows=summed)
        samples.append(Sample("op", way, messages, parts, rows, cost, update, seconds * noise()))
    return samples


def close(found: Rate, expected: Rate, relative: float) -> None:
    for name in ("batch", "call", "message", "part", "row", "compute", "memory_bandwidth"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=relative, abs=1e-9), name


def test_the_fit_recovers_the_rates_that_timings_were_made_with() -> None:
    rates = fit_rates(timings(lambda: 1.0))
    close(rates["op"]["forward"].rate, FORWARD, 1e-6)
    close(rates["op"]["backward"].rate, BACKWARD, 1e-6)
    close(rates["adam"]["update"].rate, UPDATE, 1e-3)
    close(rates["op"]["update"].rate, GRADIENTS, 1e-3)
    assert rates["op"]["forward"].error < 1e-6


def test_noise_and_interrupted_batches_change_what_is_predicted_little() -> None:
    generator = np.random.default_rng(1)
    noisy = timings(lambda: float(generator.normal(1, 0.05)) * (30.0 if generator.random() < 0.03 else 1.0))
    rates = fit_rates(noisy)
    for sample in timings(lambda: 1.0):
        if sample.update is None:
            fitted = rates["op"][sample.way].rate.duration_s(sample.cost, sample.messages, sample.parts, sample.rows)
            assert fitted == pytest.approx(sample.seconds, rel=0.08)


def test_large_products_among_many_small_ones_are_no_interruptions() -> None:
    # What the small ones compute makes no difference that can be seen beside what they take for each row.
    generator, row_s = np.random.default_rng(0), {8: 0.4e-6, 32: 0.2e-6, 128: 0.1e-6}

    def batch(units: int, rows: int) -> Sample:
        flops = 4.0 * rows * units * units
        seconds = 30e-6 + (row_s[units] * rows if units in row_s else flops / 4e11)
        noise = float(np.exp(generator.normal(0, 0.05)))
        return Sample("op", "backward", 1, 1, rows, Cost(flops), None, seconds * noise)

    small = [batch(units, rows) for units in row_s for rows in range(1, 401) for _ in range(3)]
    large = batch(784, 100)
    rate = fit_rates([*small, large, *(batch(784, 100) for _ in range(200))])["op"]["backward"].rate
    assert rate.duration_s(large.cost, 1, 1, 100) == pytest.approx(30e-6 + large.cost.flops / 4e11, rel=0.2)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(0, 30))
def test_the_least_squares_have_no_negative_coefficient_and_no_better_neighbour(
    seed: int, columns: int, more: int
) -> None:
    generator = np.random.default_rng(seed)
    matrix, values = generator.normal(size=(columns + more, columns)), generator.normal(size=columns + more)
    found = non_negative(matrix, values)
    assert (found >= 0).all()
    gradient = matrix.T @ (values - matrix @ found)
    # Where a coefficient is above 0 nothing is gained by changing it; where it is 0, nothing by making it larger.
    assert np.abs(gradient[found > 0]).max(initial=0) < 1e-8 * (1 + np.abs(matrix).sum())
    assert gradient[found == 0].max(initial=0) < 1e-8 * (1 + np.abs(matrix).sum())


def test_a_column_that_says_nothing_gets_nothing() -> None:
    assert non_negative(np.array([[0.0, 1.0], [0.0, 2.0]]), np.array([3.0, 6.0])).tolist() == [0.0, 3.0]


def test_the_controllers_rates_are_recovered() -> None:
    generator, samples = np.random.default_rng(2), []
    for number in range(400):
        home, instances = int(generator.integers(1, 60)), number % 3 * int(generator.integers(1, 16))
        messages, size = instances * int(generator.integers(1, 40)), instances * int(generator.integers(1, 9000))
        seconds = 5e-6 + 2e-6 * home + (40e-6 if instances else 0) + 20e-6 * instances + 1e-7 * messages + size / 5e9
        samples.append(ControllerSample(home, instances, messages, size, seconds))
    rates = fit_controller(samples)
    close(rates["forward"].rate, Rate(batch=40e-6, part=20e-6, message=1e-7, memory_bandwidth=5e9), 1e-5)
    close(rates["backward"].rate, Rate(batch=5e-6, message=2e-6), 1e-5)
    assert rates["forward"].samples == sum(sample.instances > 0 for sample in samples)


def test_handing_and_what_each_turn_has_around_it_are_recovered() -> None:
    real, turn_s, once_s = Handing(40e-6, 12e-6, 3e-6, 8e9, structure=90e-6), 9e-6, 4e-3
    generator, runs = np.random.default_rng(3), []
    for _ in range(14):
        turns, bundles, batches, arrays, size, structures = generator.integers(
            100, [3000, 2000, 4000, 9000, 10**8, 500]
        ).tolist()
        handed = Handed(bundles, batches, arrays, size, structures)
        runs.append(HandedInRun(turns, handed, once_s + turn_s * turns + real.duration_s(handed)))
    found = fit_handing(runs)
    figures = (found.handing.bundle, found.handing.batch, found.handing.array, found.handing.bandwidth)
    assert (*figures, found.handing.structure, found.turn) == pytest.approx((40e-6, 12e-6, 3e-6, 8e9, 90e-6, 9e-6))
    assert found.error < 1e-9


def test_of_runs_of_which_one_half_takes_four_times_as_long_handing_is_in_the_middle() -> None:
    def run(turns: int, factor: float) -> HandedInRun:
        return HandedInRun(turns, Handed(), factor * 10e-6 * turns)

    found = fit_handing([run(turns, factor) for turns in (200, 900, 3000) for factor in (0.5, 2.0)])
    assert found.turn == pytest.approx(10e-6, rel=0.01)


def test_the_way_is_recovered() -> None:
    assert fit_line([0, 1000, 10**6], [5e-6, 6e-6, 1005e-6]) == pytest.approx((5e-6, 1e9))


def test_nodes_that_ask_functions_of_a_model_have_a_rate_each_and_their_kind_has_one_of_all() -> None:
    def batches(op: str, batch_s: float) -> list[Sample]:
        return [Sample(op, "forward", n, 1, 0, Cost(), None, batch_s + 1e-6 * n) for n in range(1, 20)]

    rates = fit_rates([*batches("cond is_over", 10e-6), *batches("cond edge_type", 30e-6), *batches("linear", 5e-6)])
    assert set(rates) == {"cond", "cond is_over", "cond edge_type", "linear"}
    close(rates["cond is_over"]["forward"].rate, Rate(batch=10e-6, message=1e-6), 1e-5)
    close(rates["cond edge_type"]["forward"].rate, Rate(batch=30e-6, message=1e-6), 1e-5)
    of_all = rates["cond"]["forward"]
    assert of_all.samples == 38
    assert 10e-6 < of_all.rate.batch < 30e-6


def test_transfers_too_short_for_the_clock_are_no_trouble() -> None:
    latency, bandwidth = fit_line([10, 1000, 10**6], [0.0, 0.0, 0.0])
    assert latency > 0
    assert bandwidth > 1e9


def test_lateness_is_the_median_over_the_edges_between_devices_and_never_negative() -> None:
    def edges(controller_s: float, *between_s: float) -> Edges:
        names = [("controller", "d0"), ("d0", "d1"), ("d1", "d0")]
        return {edge: OnTheWay(2, 2 * s) for edge, s in zip(names, (controller_s, *between_s), strict=False)}

    predicted = [edges(1.0, 0.1, 0.2), edges(1.0, 0.3)]
    assert fit_lateness([edges(9.0, 0.15, 0.5), edges(9.0, 0.4)], predicted) == pytest.approx(0.1)
    assert fit_lateness([edges(9.0, 0.05, 0.1), edges(9.0, 0.1)], predicted) == 0.0
    assert fit_lateness([{}], [{}]) == 0.0


def test_the_spread_of_batches_that_are_alike_is_recovered_whatever_they_are() -> None:
    generator, samples = np.random.default_rng(0), []
    for number in range(4000):
        rows = 1 + number % 3
        # Another cost is another make: two layers of one op are not alike, though they have as many rows.
        cost = Cost(float(10 ** (number % 4)), 0.0, 0.0)
        seconds = rows * cost.flops * 1e-5 * float(generator.lognormal(0, 0.3))
        samples.append(Sample("linear", "forward", rows, 1, rows, cost, None, seconds))
    assert fit_spread(samples) == pytest.approx(0.3, rel=0.05)


def test_batches_of_which_there_are_too_few_alike_tell_no_spread() -> None:
    few = [Sample("linear", "forward", rows, 1, rows, Cost(), None, 1e-6 * rows) for rows in range(1, 100)]
    assert fit_spread(few) == 0.0
