from __future__ import annotations

import tracemalloc
from itertools import pairwise
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.ir.graph import CONTROLLER
from ampsim.sim.network import SWITCH, Connection, Link, Network, NetworkPlan
from ampsim.sim.topology import TopologyName

LATENCY, BANDWIDTH = 0.25, 8.0  # figures whose sums are exact
REGULAR: list[Any] = [name for name in get_args(TopologyName) if name != "links"]


def network(topology: TopologyName, devices: int, **more: Any) -> Network:
    return Network(NetworkPlan(topology, [f"d{number}" for number in range(devices)], LATENCY, BANDWIDTH, **more))


def carry(net: Network, source: str, destination: str, size: int, now_s: float = 0.0) -> float:
    """The arrival of a transfer that is alone on its way: stored and forwarded, link by link."""
    for link in net.route(source, destination):
        now_s = link.carry(size, now_s)
    return now_s


def text(net: Network, source: str, destination: str) -> str:
    return ", ".join(map(str, net.route(source, destination)))


def test_a_link_is_occupied_while_it_sends_and_latency_delays_without_occupying() -> None:
    #   bytes  reaches  begins  has sent  arrives
    #     16      0        0        2       2.25     an idle link
    #      8      1        2        3       3.25     waits for the first
    #      8      3        3        4       4.25     comes as the second is sent, which has not arrived yet
    #      0      3        4        4       4.25     nothing to send: only the latency, but not past the others
    #     24     10       10       13      13.25     after a pause
    link = Link("a", "b", LATENCY, BANDWIDTH)
    timeline = [(16, 0, 2.25), (8, 1, 3.25), (8, 3, 4.25), (0, 3, 4.25), (24, 10, 13.25)]
    assert [link.carry(size, now_s) for size, now_s, _ in timeline] == [arrival for *_, arrival in timeline]
    assert (link.free_s, link.bytes, link.busy_s, link.transfers) == (13.0, 56, 7.0, 5)


def test_the_two_directions_of_a_connection_do_not_hinder_each_other() -> None:
    net = network("full", 2)
    assert carry(net, "d0", "d1", 8) == 1.25
    assert carry(net, "d1", "d0", 8) == 1.25
    assert carry(net, "d0", "d1", 8) == 2.25


def test_a_transfer_is_forwarded_when_it_has_arrived_whole() -> None:
    #   d0 -> switch   [0, 1] sent, 1.25 there     d2 -> switch   [0, 2] sent, 2.25 there
    #   switch -> d1   [1.25, 2.25], 2.5 there     switch -> d1   [2.25, 4.25], 4.5 there
    net = network("switch", 3)
    assert carry(net, "d0", "d1", 8) == 2.5
    assert carry(net, "d2", "d1", 16) == 4.5


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.floats(0, 10)), max_size=20),
    st.floats(0, 2),
    st.floats(0.1, 1e6),
)
def test_transfers_leave_a_link_in_the_order_in_which_they_reach_it_and_no_byte_is_lost(
    transfers: list[tuple[int, float]], latency: float, bandwidth: float
) -> None:
    link = Link("a", "b", latency, bandwidth)
    transfers = sorted(transfers, key=lambda transfer: transfer[1])
    arrivals = [link.carry(size, now_s) for size, now_s in transfers]
    assert arrivals == sorted(arrivals)
    for (size, now_s), arrival in zip(transfers, arrivals, strict=True):
        assert arrival >= now_s + size / bandwidth
    begun = [arrival - latency - size / bandwidth for (size, _), arrival in zip(transfers, arrivals, strict=True)]
    ends = [0.0, *(arrival - latency for arrival in arrivals)]
    for (_, now_s), start, free in zip(transfers, begun, ends, strict=False):
        assert start == pytest.approx(max(now_s, free), rel=1e-9, abs=1e-8)
    assert link.bytes == sum(size for size, _ in transfers)
    assert link.transfers == len(transfers)
    assert link.busy_s == pytest.approx(link.bytes / bandwidth)
    assert link.busy_s <= link.free_s * (1 + 1e-9)


@pytest.mark.parametrize("topology", REGULAR)
@pytest.mark.parametrize("devices", [1, 2, 3, 4, 6])
def test_a_route_connects_any_two_vertices_link_by_link(topology: TopologyName, devices: int) -> None:
    net = network(topology, devices)
    vertices = [*net.plan.devices, CONTROLLER]
    for source in vertices:
        for destination in vertices:
            route = net.route(source, destination)
            if source == destination:
                assert route == ()
                continue
            assert (route[0].source, route[-1].destination) == (source, destination)
            assert all(link.destination == following.source for link, following in pairwise(route))
            assert net.route(source, destination) is route
            assert {(link.latency, link.bandwidth) for link in route} == {(LATENCY, BANDWIDTH)}


def test_routes_that_share_a_connection_share_its_link() -> None:
    net = network("ring", 4)
    (first,) = net.route("d0", "d1")
    assert net.route("d0", "d2")[0] is first
    assert net.route("d1", "d0")[0] is not first
    assert net.route(CONTROLLER, "d1")[1] is first


def test_routes_read_as_their_links() -> None:
    assert text(network("full", 3), "d2", CONTROLLER) == "d2 -> controller"
    assert text(network("switch", 3), CONTROLLER, "d1") == f"controller -> {SWITCH}, {SWITCH} -> d1"
    assert text(network("ring", 3), CONTROLLER, "d2") == "controller -> d0, d0 -> d2"
    assert text(network("mesh", 6, shape=(3, 2)), "d1", "d4") == "d1 -> d0, d0 -> d2, d2 -> d4"
    assert text(network("torus", 6, shape=(3, 2)), "d1", "d4") == "d1 -> d0, d0 -> d4"


@pytest.mark.parametrize("devices", [1, 2, 5, 8])
@given(size=st.integers(0, 10_000))
def test_round_a_ring_each_link_of_the_shorter_way_adds_its_time(devices: int, size: int) -> None:
    net = network("ring", devices)
    per_link = size / BANDWIDTH + LATENCY
    for device in range(devices):
        links = min(device, devices - device)
        assert net.delay("d0", f"d{device}", size) == links * per_link
        assert net.delay(f"d{device}", CONTROLLER, size) == (links + 1) * per_link


@pytest.mark.parametrize("topology", REGULAR)
@given(size=st.integers(0, 10**9), ends=st.tuples(st.integers(0, 8), st.integers(0, 8)))
def test_a_transfer_that_meets_no_other_takes_the_delay_to_the_bit(
    topology: TopologyName, size: int, ends: tuple[int, int]
) -> None:
    net = Network(NetworkPlan(topology, [f"d{number}" for number in range(8)], 5e-6, 1.25e9))
    source, destination = ([*net.plan.devices, CONTROLLER][end] for end in ends)
    assert carry(net, source, destination, size) == net.delay(source, destination, size)


@pytest.mark.parametrize("topology", REGULAR)
@given(
    transfers=st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 99)).filter(lambda t: t[0] != t[1])
    )
)
def test_what_reaches_a_vertex_leaves_it_or_was_meant_for_it(
    topology: TopologyName, transfers: list[tuple[int, int, int]]
) -> None:
    net = network(topology, 6)
    vertices = [*net.plan.devices, CONTROLLER, SWITCH]
    balance = dict.fromkeys(vertices, 0)
    for source, destination, size in transfers:
        carry(net, vertices[source], vertices[destination], size)
        balance[vertices[source]] += size
        balance[vertices[destination]] -= size
    for link in net.used:
        balance[link.source] -= link.bytes
        balance[link.destination] += link.bytes
        assert link.busy_s == pytest.approx(link.bytes / BANDWIDTH)
    assert not any(balance.values())


def test_the_used_links_are_those_that_carried_anything_in_the_order_of_their_ends() -> None:
    net = network("switch", 12)
    assert net.used == []
    net.route("d3", "d4")
    carry(net, CONTROLLER, "d10", 1)
    carry(net, "d2", CONTROLLER, 0)
    assert [str(link) for link in net.used] == [
        f"d2 -> {SWITCH}",
        f"controller -> {SWITCH}",
        f"{SWITCH} -> d10",
        f"{SWITCH} -> controller",
    ]


def explicit(*connections: Connection, devices: int = 3, switches: tuple[str, ...] = ()) -> Network:
    return network("links", devices, connections=connections, switches=switches)


def test_listed_links_have_values_of_their_own_both_ways() -> None:
    net = explicit(
        Connection(("d0", "s"), 1.0, 2.0),
        Connection(("controller", "d0"), 0.0, 4.0),
        Connection(("s", "d2"), 3.0, 8.0),
        switches=("s",),
    )
    assert text(net, "controller", "d2") == "controller -> d0, d0 -> s, s -> d2"
    assert net.delay("controller", "d2", 8) == (2 + 0) + (4 + 1) + (1 + 3)
    assert net.delay("d2", "controller", 8) == 11
    assert (net.latencies, net.bandwidths) == ((0.0, 3.0), (2.0, 8.0))


def test_where_no_route_leads_or_no_such_vertex_is_a_lookup_error() -> None:
    net = explicit(Connection(("d0", "controller"), 1.0, 1.0), Connection(("d1", "d2"), 1.0, 1.0))
    for _ in range(2):
        with pytest.raises(LookupError, match="no route leads from d0 to d2"):
            net.route("d0", "d2")
    with pytest.raises(LookupError, match="the network has no vertex 'd7'"):
        net.route("d0", "d7")
    with pytest.raises(LookupError, match="no route leads from controller to d1"):
        net.delay(CONTROLLER, "d1", 1)


@pytest.mark.parametrize(
    ("plan", "error", "message"),
    [
        ({"topology": "mesh", "shape": (2, 2)}, ValueError, "a grid of 2 x 2 has 4 devices, found 3"),
        ({"topology": "full", "switches": ("s",)}, ValueError, "listed for topology 'links', found 'full'"),
        ({"topology": "links", "switches": ("d1",)}, ValueError, "a name of its own"),
        ({"topology": "links", "switches": ("controller",)}, ValueError, "a name of its own"),
        ({"connections": [Connection(("d0", "d9"), 0.0, 1.0)]}, LookupError, "no vertex 'd9'"),
        ({"connections": [Connection(("d0", "d0"), 0.0, 1.0)]}, ValueError, "each two once"),
        ({"connections": [Connection(("d0", "d1"), 0.0, 1.0), Connection(("d1", "d0"), 0.0, 1.0)]}, ValueError, "once"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(plan: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        network(**{"topology": "links", "devices": 3, **plan})


@pytest.mark.parametrize("topology", REGULAR)
def test_memory_grows_with_the_devices_and_the_links_in_use_and_not_with_the_pairs(topology: TopologyName) -> None:
    few, many = peak_bytes(topology, 1_000), peak_bytes(topology, 10_000)
    assert few < many < 15 * few


def peak_bytes(topology: TopologyName, devices: int) -> int:
    """What it takes to make a network and to use a link of each device."""
    names = [f"d{number}" for number in range(devices)]
    plan = NetworkPlan(topology, names, LATENCY, BANDWIDTH)
    tracemalloc.start()
    try:
        net = Network(plan)
        for device in range(0, devices, 2):  # neighbours in every topology
            carry(net, names[device], names[device + 1], 8)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
