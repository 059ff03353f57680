"""What the network adds to the time of training on the simulated clock, in closed form (docs/network.md).

Messages of an instance of one row, with 4 floats and no field but the instance: 32 bytes forward and back (state 8, row
count 8, values 16), a label 24, a gradient that goes home 16, a report of the loss 40. B is bandwidth, L latency; a
stage takes o for a batch, the loss nothing.
"""

from __future__ import annotations

import pytest

from ampsim.data.dataset import DataSpec
from ampsim.sim.network import Connection


def exactly(value):
    """Up to the rounding of floats."""
    return pytest.approx(value, rel=1e-12)


FORWARD, LABEL, HOME, REPORT = 32, 24, 16, 40


def two_stages(clock, m, o, x, latency):
    """d1 and d2 with a link that takes x to send a message; all other links take no time."""
    inf = float("inf")
    connections = [
        Connection(("controller", "d1"), 0.0, inf),
        Connection(("controller", "d2"), 0.0, inf),
        Connection(("d1", "d2"), latency, FORWARD / x),
    ]
    return clock.chain([clock.profile(compute=1 / o)] * 2, m=m, topology="links", connections=connections)


@pytest.mark.parametrize("m", [1, 2, 6])
@pytest.mark.parametrize(("o", "x", "latency"), [(1.0, 3.0, 0.0), (1.0, 2.0, 5.0), (0.3, 0.7, 0.1)])
def test_a_link_that_is_slower_than_its_ends_sets_the_rate(clock, m, o, x, latency):
    """The first message reaches the link after o; it sends one each x, and is never idle before all are sent. Latency
    delays each, and holds up none. To predict:

        T = o + m x + L + o

    To train, d2 needs 2o <= x for each instance, and answers before the next one comes; the gradients come back over
    the other direction of the link, which is a link of its own:

        T = o + m x + L + 2o + x + L + o = (m + 1) x + 2L + 4o
    """
    run = two_stages(clock, m, o, x, latency)
    assert run.time_s("validation") == exactly(o + m * x + latency + o)
    assert run.time_s() == exactly((m + 1) * x + 2 * latency + 4 * o)
    (link,) = run.network.route("d1", "d2")
    assert (link.transfers, link.bytes) == (2 * m, 2 * m * FORWARD)
    assert link.busy_s == exactly(2 * m * x)
    assert run.timings["train"].bound.link_s == exactly(m * x)
    assert run.timings["train"].bound.link in ("d1 -> d2", "d2 -> d1")


@pytest.mark.parametrize(("n", "k"), [(n, k) for n in (1, 2, 3, 4, 7) for k in range(n)])
def test_a_device_of_a_ring_is_as_far_as_its_route_is_long(clock, n, k):
    """All nodes on d_k, which is h = 1 + min(k, n - k) links from the controller; one key. Messages are stored and
    forwarded; a label follows its instance over the same links, 24 / B behind it. The report goes back:

        T = m [h (32 / B + L) + max(o, 24 / B) + h (40 / B + L)]
    """
    m, o, bandwidth, latency = 3, 0.125, 256.0, 0.5
    graph = clock.chain_graph(1, clock.stage_op())
    data = clock.InMemory(DataSpec({}), validation=[clock.minibatch()] * m)
    devices = {f"d{number}": clock.profile(compute=1 / o) for number in range(n)}
    placement = dict.fromkeys(graph.nodes, f"d{k}")
    network = {"topology": "ring", "bandwidth": bandwidth, "latency": latency}
    run = clock.simulate(graph, placement, devices, data, keys=1, **network)
    h = 1 + min(k, n - k)
    there, back = h * (FORWARD / bandwidth + latency), h * (REPORT / bandwidth + latency)
    assert run.time_s("validation") == exactly(m * (there + max(o, LABEL / bandwidth) + back))


@pytest.mark.parametrize("m", [1, 2, 5])
def test_instances_that_are_injected_together_travel_as_one_message(clock, m):
    """m instances are one transfer of 32m bytes to d1, and are then handled one by one. The labels follow, 24m bytes,
    and are there before the first batch is done (24m / B <= o). The report of the last one leaves when it is done:

        T = 32m / B + m o + 40 / B
    """
    o, bandwidth = 8.0, 64.0
    run = clock.chain([clock.profile(compute=1 / o)], m=m, bandwidth=bandwidth)
    assert run.time_s("validation") == exactly((FORWARD * m + REPORT) / bandwidth + m * o)
    link = run.network.route("controller", "d1")[0]
    assert link.transfers == 4, "data and labels, of two passes"


@pytest.mark.parametrize("m", [1, 4])
def test_a_switch_is_two_links_and_what_a_device_sends_shares_the_first(clock, m):
    """One stage on d1, the loss apart, one key; every route is two links of L + size / B. d1 sends the gradient of an
    instance home, of 16 bytes, after o forward, there and back between d1 and the loss, and o backward:

        T = m [2 (32 / B + L) + o + 2 (32 / B + L) + 2 (32 / B + L) + o + 2 (16 / B + L)]

    The loss sends three messages in one turn, the gradient (32) first: the report and the label's answer do not hold it
    up on the loss's link to the switch.
    """
    o, bandwidth, latency = 0.5, 128.0, 0.25
    kinds = [clock.profile(compute=1 / o)]
    network = {"topology": "switch", "bandwidth": bandwidth, "latency": latency}
    run = clock.chain(kinds, m=m, keys=1, loss_apart=True, **network)
    hops = 3 * 2 * (FORWARD / bandwidth + latency) + 2 * (HOME / bandwidth + latency)
    assert run.time_s() == exactly(m * (2 * o + hops))


def test_a_packet_is_on_the_way_until_its_receiver_has_the_turn_before_behind_it(clock):
    """Three messages leave d1 at 1, 2 and 3, and are at d2 a latency of 2 later. d2 takes 4 for a batch:

        leaves   arrives   taken in                        on the way
        1        3         3, at once                      2
        2        4         7, after the first batch        5
        3        5         7, with it                      4

    The labels come at once. All three reports leave d2 when a batch ends, and take the latency.
    """
    data = clock.InMemory(DataSpec({}), validation=[clock.minibatch()] * 3)
    kinds = {"d1": clock.profile(compute=1.0), "d2": clock.profile(compute=0.25)}
    placement = {"s1": "d1", "s2": "d2", "loss": "d2"}
    connections = [
        Connection(("controller", "d1"), 0.0, float("inf")),
        Connection(("controller", "d2"), 0.125, float("inf")),
        Connection(("d1", "d2"), 2.0, float("inf")),
    ]
    graph = clock.chain_graph(2, clock.stage_op())
    run = clock.simulate(graph, placement, kinds, data, topology="links", connections=connections)
    found = {edge: (came.packets, came.mean_s) for edge, came in run.edges.items()}
    assert found == {
        ("controller", "d1"): (1, 0.0),  # injected together, they go as one
        ("controller", "d2"): (1, 0.125),
        ("d1", "d2"): (3, (2 + 5 + 4) / 3),
        ("d2", "controller"): (3, 0.125),
    }
