from __future__ import annotations

import random
import time
from itertools import combinations_with_replacement

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampsim.sim.placement import balance, is_pattern, matching

NODES = ["linear1", "relu1", "linear2", "relu2", "linear3", "relu3", "linear12", "loss"]


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("linear1", "linear1"),
        ("linear*", "linear1 linear2 linear3 linear12"),
        ("linear[2-3]", "linear2 linear3"),
        ("linear[1-12]", "linear1 linear2 linear3 linear12"),
        ("linear[10-20]", "linear12"),
        ("linear[4-9]", ""),
        ("linear?", "linear1 linear2 linear3"),
        ("linear??", "linear12"),
        ("relu[13]", "relu1 relu3"),
        ("relu[!13]", "relu2"),
        ("[a-m]*[1-2]", "linear1 linear2 linear12"),
        ("[ab]*", ""),
        ("*", " ".join(NODES)),
        ("**s", "loss"),
        ("*e*r*1*", "linear1 linear12"),
        ("Linear1", ""),
        ("", ""),
    ],
)
def test_a_pattern_names_nodes(pattern: str, named: str) -> None:
    assert matching(pattern, NODES) == named.split()


def test_a_name_stands_for_itself_whatever_is_in_it() -> None:
    assert matching("a[1-2]", ["a1", "a[1-2]", "a2"]) == ["a[1-2]"]
    assert not is_pattern("linear1")
    assert is_pattern("linear?")


@pytest.mark.parametrize("pattern", ["linear[1", "linear[3-1]", "linear[]", "linear[!]", "["])
def test_a_malformed_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        matching(pattern, NODES)


def test_no_pattern_takes_long() -> None:
    start = time.process_time()
    assert matching("*a" * 200 + "b", ["a" * 400]) == []
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("work", "hosts"),
    [
        ("1 1 1 1 | 2 devices", "0 0 1 1"),
        ("9 1 1 1 | 2 devices", "0 1 1 1"),
        ("1 1 1 9 | 2 devices", "0 0 0 1"),
        ("1 1 9 1 1 | 3 devices", "0 0 1 2 2"),
        ("9 1 1 1 1 | 3 devices", "0 1 1 2 2"),
        ("1 1 1 | 1 devices", "0 0 0"),
        ("5 5 | 4 devices", "0 1"),
        ("0 0 0 0 | 4 devices", "0 1 2 3"),
    ],
)
def test_nodes_are_cut_into_runs_that_are_as_even_as_can_be(work: str, hosts: str) -> None:
    times, devices = work.split(" | ")
    row = [float(value) for value in times.split()]
    assert balance([row] * int(devices.split()[0])) == [int(host) for host in hosts.split()]


def test_a_fast_device_gets_more_nodes_than_a_slow_one() -> None:
    assert balance([[1.0] * 8, [3.0] * 8]) == [0, 0, 0, 0, 0, 0, 1, 1]


def test_a_device_that_is_busy_with_pinned_nodes_gets_less() -> None:
    assert balance([[1.0] * 4, [1.0] * 4], pinned_s=[2.0, 0.0]) == [0, 1, 1, 1]
    assert balance([[1.0] * 4, [1.0] * 4], pinned_s=[9.0, 0.0]) == [1, 1, 1, 1]


def test_without_nodes_there_is_nothing_to_place() -> None:
    assert balance([[], []]) == []


@settings(deadline=None)
@given(
    st.integers(1, 4).flatmap(
        lambda devices: st.lists(
            st.lists(st.integers(0, 20), min_size=devices, max_size=devices), min_size=devices, max_size=7
        )
    )
)
def test_no_other_cut_has_a_less_busy_busiest_device(columns: list[list[int]]) -> None:
    work = [[float(column[device]) for column in columns] for device in range(len(columns[0]))]
    devices, nodes = len(work), len(columns)

    def busiest(hosts: list[int]) -> float:
        return max(sum(work[d][n] for n in range(nodes) if hosts[n] == d) for d in range(devices))

    chosen = balance(work)
    assert chosen == sorted(chosen)
    assert set(chosen) == set(range(devices))
    cuts = [list(hosts) for hosts in combinations_with_replacement(range(devices), nodes)]
    assert busiest(chosen) == min(busiest(hosts) for hosts in cuts if len(set(hosts)) == devices)


def test_two_hundred_nodes_on_sixty_four_devices_are_placed_at_once() -> None:
    draw = random.Random(0)
    work = [[draw.random() for _ in range(200)]] * 64
    start = time.process_time()
    hosts = balance(work)
    assert time.process_time() - start < 1
    assert set(hosts) == set(range(64))
