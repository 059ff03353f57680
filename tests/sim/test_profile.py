from __future__ import annotations

from dataclasses import replace

import pytest

from ampsim.ops.table import Cost
from ampsim.sim.profile import DeviceProfile
from ampsim.sim.rates import Handed, Handing, Rate, Update, Way

PLAIN = DeviceProfile("plain", "", compute=8.0, memory_bandwidth=2.0, memory=1e9, overhead=0.5)
WORK, UPDATE = Cost(16.0, 1.0, 2.0), Update("sgd", Cost(8.0, 4.0, 2.0), 3, Cost(12.0, 99.0, 99.0))


def test_without_measured_figures_a_batch_takes_overhead_and_the_longer_of_arithmetic_and_memory() -> None:
    assert PLAIN.batch_s("linear", "forward", WORK, 7, 3, 5, None) == 0.5 + max(16 / 8, 3 / 2)
    assert PLAIN.batch_s("linear", "forward", WORK, 7, 3, 5, None) == PLAIN.duration_s(WORK)


def test_without_measured_figures_an_update_is_part_of_the_batchs_work() -> None:
    # 24 flops and 9 bytes together: memory is the limit, which the batch alone is not.
    assert PLAIN.batch_s("linear", "backward", WORK, 1, 1, 1, UPDATE) == 0.5 + 9 / 2


def test_message_overhead_is_paid_for_each_message() -> None:
    profile = replace(PLAIN, message_overhead=0.25)
    assert profile.batch_s("linear", "forward", WORK, 7, 3, 5, None) == 0.5 + 2 + 7 * 0.25
    assert profile.counts_messages
    assert not PLAIN.counts_messages


def test_a_measured_rate_stands_in_place_of_the_plain_figures_and_is_a_sum() -> None:
    rate = Rate(1.0, 2.0, 0.5, 0.25, 0.125, compute=4.0, memory_bandwidth=1.0)
    profile = replace(PLAIN, message_overhead=99.0, rates={"linear": {"forward": rate}})
    assert profile.batch_s("linear", "forward", WORK, 7, 3, 5, None) == 1 + 2 + 3.5 + 0.75 + 0.625 + 4 + 3
    assert profile.batch_s("linear", "inference", WORK, 7, 3, 5, None) == 14.875, "as forward, where nothing is said"
    assert profile.batch_s("relu", "forward", Cost(), 1, 1, 1, None) == 0.5 + 99.0, "others by the plain figures"


def test_what_has_no_rate_of_its_own_takes_that_of_its_kind() -> None:
    profile = replace(
        PLAIN,
        rates={
            "cond": {"forward": Rate(batch=1.0), "backward": Rate(batch=2.0)},
            "cond is_over": {"forward": Rate(batch=3.0)},
        },
    )

    def batch_s(op: str, way: Way) -> float:
        return profile.batch_s(op, way, WORK, 1, 1, 1, None)

    assert (batch_s("cond is_over", "forward"), batch_s("cond is_over", "inference")) == (3.0, 3.0)
    assert batch_s("cond is_over", "backward") == 2.0
    assert (batch_s("cond", "forward"), batch_s("cond mine", "forward")) == (1.0, 1.0)
    assert batch_s("phi is_over", "forward") == PLAIN.duration_s(WORK)


def test_a_node_that_waits_for_partners_pays_for_no_call() -> None:
    assert Rate(batch=1.0, call=2.0).duration_s(Cost(), messages=4, parts=1, rows=0) == 1.0
    assert Rate(batch=1.0, call=2.0).duration_s(Cost(), messages=4, parts=1, rows=4) == 3.0


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({"linear": {"backward": Rate(batch=1.0)}}, 1.0 + max(8 / 8, 6 / 2)),
        ({"linear": {"backward": Rate(batch=1.0)}, "sgd": {"update": Rate(batch=2.0, memory_bandwidth=3.0)}}, 5.0),
        ({"sgd": {"update": Rate(batch=2.0)}}, 0.5 + 2.0 + 2.0),
    ],
)
def test_an_update_takes_its_own_rate_or_the_plain_figures(rates: dict[str, dict[str, Rate]], expected: float) -> None:
    profile = replace(PLAIN, rates=rates)
    assert profile.batch_s("linear", "backward", WORK, 1, 1, 1, UPDATE) == expected


def test_gradients_that_an_update_sums_up_take_the_rate_of_their_op() -> None:
    of_op, of_optimizer = Rate(row=0.5, compute=6.0, memory_bandwidth=33.0), Rate(batch=2.0, memory_bandwidth=3.0)
    rates: dict[str, dict[Way, Rate]] = {"linear": {"backward": Rate(batch=1.0), "update": of_op}}
    profile = replace(PLAIN, rates=rates | {"sgd": {"update": of_optimizer}})
    update_s = (2 + 6 / 3) + (3 * 0.5 + 12 / 6 + 198 / 33)
    assert profile.update_s("linear", UPDATE) == update_s
    assert profile.batch_s("linear first", "backward", WORK, 1, 1, 1, UPDATE) == 1.0 + update_s, "as its kind"
    assert profile.update_s("gru", UPDATE) == 2 + 6 / 3, "nothing was measured of its gradients"
    # By the plain figures the way back has had them in it.
    assert replace(PLAIN, rates=rates).update_s("linear", UPDATE) == PLAIN.duration_s(UPDATE.work)


def test_handing_out_is_paid_by_bundle_batch_array_and_byte() -> None:
    handed = Handed(bundles=2, batches=3, arrays=10, size=16, structures=1)
    assert Handing(1.0, 0.5, 0.25, 8.0, structure=4.0).duration_s(handed) == 2 + 1.5 + 2.5 + 2 + 4
    assert Handing().duration_s(handed) == 0
