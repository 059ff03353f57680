from __future__ import annotations

import numpy as np
import pytest

from ampsim.sim.variation import Variation


def test_the_factors_have_mean_one_and_the_spread_asked_for() -> None:
    factors = np.array(Variation(0.4, 0, "d0").of([1.0] * 20_000))
    assert factors.mean() == pytest.approx(1, abs=0.01)
    assert np.log(factors).std() == pytest.approx(0.4, rel=0.03)


def test_each_device_and_seed_has_factors_of_its_own_however_many_are_asked_for_at_a_time() -> None:
    variation = Variation(0.4, 0, "d0")
    ones = [variation.of([2.0])[0] for _ in range(5)]
    assert ones == Variation(0.4, 0, "d0").of([2.0] * 5)
    assert ones != Variation(0.4, 0, "d1").of([2.0] * 5)
    assert ones != Variation(0.4, 1, "d0").of([2.0] * 5)


def test_without_a_spread_times_are_what_the_figures_say() -> None:
    assert Variation(0.0, 0, "d0").of([0.1, 0.2]) == [0.1, 0.2]
