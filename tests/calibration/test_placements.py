from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ampsim.calibration.placements import placements

OWN = (("a", "c"), (), ("b", "d", "e"))
WORK_S = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0, "e": 4.0}


def test_the_own_placement_comes_first_then_the_balanced_one() -> None:
    own, balanced, *_ = placements(OWN, WORK_S, 3)
    assert own == OWN
    assert balanced == (("a", "b", "c", "d"), (), ("e",))


@given(st.integers(1, 8), st.integers(2, 10), st.integers(1, 4))
def test_placements_are_distinct_and_each_has_every_node_once_and_no_new_idle_device(
    count: int, nodes: int, devices: int
) -> None:
    names = [f"n{number}" for number in range(nodes)]
    hosts = min(devices, nodes)
    own = tuple(tuple(names[host::hosts]) for host in range(hosts))
    found = placements(own, dict.fromkeys(names, 1.0), count)
    assert 1 <= len(found) <= count
    assert len(set(found)) == len(found)
    for placement in found:
        assert sorted(node for device in placement for node in device) == sorted(names)
        assert all(placement)
    if 1 < hosts < nodes and count == 2:
        assert len(found) == 2


def test_one_device_has_one_placement_and_the_same_is_found_again() -> None:
    assert placements((("a", "b"),), {"a": 1.0, "b": 1.0}, 4) == [(("a", "b"),)]
    assert placements(OWN, WORK_S, 5) == placements(OWN, WORK_S, 5)
