"""How long training takes on the simulated clock, in closed form: pipelines of which every time can be told by hand.

In each of them stage i is alone on device d_i, but for the loss, which is on the last one and costs nothing. Times are
powers of two where two things happen at one time, so that sums of floats are exact, and ties are ties.

    p   stages                m   instances
    K   max_active_keys       o   a step: what a stage takes for a batch, unless the test says otherwise
                              L   latency of a link
"""

from __future__ import annotations

import numpy as np
import pytest

from ampsim.data.dataset import DataSpec, Instance, Messages
from ampsim.ir.builder import GraphBuilder
from ampsim.ops import ArraySpec


def exactly(value):
    """Up to the rounding of floats."""
    return pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("latency", [0.0, 0.25, 3.0])
@pytest.mark.parametrize(("p", "m"), [(1, 1), (1, 5), (4, 1), (4, 6), (7, 3)])
def test_p_equal_stages_predict_m_instances_in_m_plus_p_minus_one_steps(clock, p, m, latency):
    """The last instance waits m - 1 steps for those before it, and then takes p. On its way it goes over p + 1 links:
    to d1, from stage to stage, and as the loss's figures to the controller:

        T = (m + p - 1) o + (p + 1) L
    """
    run = clock.chain([clock.profile(compute=2.0)] * p, m=m, latency=latency)
    assert run.time_s("validation") == exactly((m + p - 1) * 0.5 + (p + 1) * latency)


@pytest.mark.parametrize(("p", "m"), [(1, 1), (1, 4), (3, 1), (3, 2), (4, 9), (6, 3)])
def test_p_equal_stages_train_on_m_instances_in_m_plus_p_minus_one_steps_each_way(clock, p, m):
    """The last stage gets its first message after p - 1 steps, and from then on has one every step, forward and
    backward by turns: stages before it pass forward messages on at one a step until the first backward message comes,
    and then at one in two, which is what the last stage takes. After 2m steps the last gradient goes back through p - 1
    stages, where it meets nobody: each gradient is 2 steps behind the one before it.

        T = (p - 1) + 2m + (p - 1) = 2 (m + p - 1) steps
    """
    run = clock.chain([clock.profile(compute=4.0)] * p, m=m)
    assert run.time_s() == exactly(2 * (m + p - 1) * 0.25)


@pytest.mark.parametrize("frequency", [1, 10**9])
@pytest.mark.parametrize(
    "kind",
    [
        {"compute": 1000.0},
        {"memory_bandwidth": 1000.0},
        {"compute": 3000.0, "memory_bandwidth": 1000.0, "overhead": 0.7},
        {"compute": 1000.0, "memory_bandwidth": 3e4, "overhead": 0.1},
    ],
)
@pytest.mark.parametrize(("p", "m", "rows"), [(1, 3, 2), (3, 4, 5), (4, 2, 1), (5, 11, 3)])
def test_a_pipeline_of_linear_layers_takes_the_time_of_their_cost_rules(clock, p, m, rows, kind, frequency):
    """A forward batch takes f, a backward batch b (docs/devices.md: r rows, u inputs and units, c compute, w
    bandwidth):

        f = o + max(2ruu / c, 4 (ru + uu + u + ru) / w)
        b = o + max((4ruu + ru) / c, 4 (ru + ru + uu + ru + uu + u) / w)

    and with an update in each backward batch its work is added: n = uu + u values, 2n flops, 4 (2n + n) bytes. The last
    stage is never idle between its first message, which comes after (p - 1) f, and its last gradient. Of the stages
    before it, a gradient finds one at most busy with a forward message, and is done before the next gradient comes,
    f + b later; the last one finds no forward message any more:

        T = (p - 1) f + m (f + b) + (p - 1) b = (m + p - 1) (f + b)

    Updates that are left over are made at the end, on all devices at the same time. The loss is apart, for its turns
    would take the overhead of the last device.
    """
    u, o = 6, kind.get("overhead", 0.0)
    c, w = kind.get("compute", float("inf")), kind.get("memory_bandwidth", float("inf"))
    n = u * u + u
    flops_of_an_update, bytes_of_an_update = 2 * n, 12 * n
    f = o + max(2 * rows * u * u / c, 4 * (rows * u + n + rows * u) / w)
    flops, moved = 4 * rows * u * u + rows * u, 4 * (3 * rows * u + u * u + n)
    at_the_end = 0.0
    if frequency == 1:
        flops, moved = flops + flops_of_an_update, moved + bytes_of_an_update
    else:
        at_the_end = o + max(flops_of_an_update / c, bytes_of_an_update / w)
    b = o + max(flops / c, moved / w)
    run = clock.chain(
        [clock.profile(**kind)] * p,
        m=m,
        op="linear",
        op_options={"units": u},
        rows=rows,
        width=u,
        frequency=frequency,
        loss_apart=True,
    )
    assert run.time_s() == exactly((m + p - 1) * (f + b) + at_the_end)
    assert run.time_s("validation") == exactly((m + p - 1) * f)


@pytest.mark.parametrize(
    ("p", "keys", "m"), [(3, 1, 4), (3, 2, 7), (3, 3, 9), (5, 2, 1), (5, 4, 10), (8, 3, 9), (2, 1, 1)]
)
def test_fewer_keys_than_stages_leave_the_pipeline_partly_empty(clock, p, keys, m):
    """An instance alone takes 2p steps there and back. The first K begin together, and come out of the last stage, and
    home, 2 steps after each other: instance k < K is home after 2p + 2k steps. Each one that comes home lets in the one
    K behind it. These are then an even number of steps apart, so that one on its way forward and one on its way back,
    which meet when they are an odd number apart, never do:

        home(k) = home(k - K) + 2p,    T = home(m - 1) = 2p ((m - 1) div K + 1) + 2 ((m - 1) mod K) steps
    """
    rounds, place = divmod(m - 1, keys)
    run = clock.chain([clock.profile(compute=2.0)] * p, m=m, keys=keys)
    assert run.time_s() == exactly((2 * p * (rounds + 1) + 2 * place) * 0.5)


@pytest.mark.parametrize(("p", "m", "latency"), [(1, 1, 0.5), (3, 4, 0.3), (5, 2, 7.0)])
def test_one_key_makes_each_instance_wait_for_the_one_before_it(clock, p, m, latency):
    """2p steps and 2p links for each: to d1, from stage to stage, and back again."""
    run = clock.chain([clock.profile(compute=5.0)] * p, m=m, keys=1, latency=latency)
    assert run.time_s() == exactly(m * (2 * p * 0.2 + 2 * p * latency))
    assert run.time_s("validation") == exactly(m * (p * 0.2 + (p + 1) * latency))


@pytest.mark.parametrize("m", [1, 2, 7])
@pytest.mark.parametrize(("first", "second"), [(0.5, 2.0), (2.0, 0.5), (1.0, 0.25), (1.0, 1.0)])
def test_of_two_stages_the_slower_one_sets_the_rate_of_predictions(clock, first, second, m):
    """One message passes both; each of the others comes a turn of the slower stage later: T = o1 + o2 + (m - 1) max."""
    run = clock.chain([clock.profile(compute=1 / first), clock.profile(compute=1 / second)], m=m)
    assert run.time_s("validation") == exactly(first + second + (m - 1) * max(first, second))


@pytest.mark.parametrize("m", [1, 2, 5])
def test_where_the_second_stage_is_slower_training_waits_for_it_alone(clock, m):
    """It is busy from o1 on, 2m turns without a break, for the first stage is always ahead: T = 2 o1 + 2m o2."""
    run = clock.chain([clock.profile(compute=2.0), clock.profile(compute=0.5)], m=m)
    assert run.time_s() == exactly(2 * 0.5 + 2 * m * 2.0)


@pytest.mark.parametrize("m", [1, 2, 5, 6])
def test_where_the_first_stage_is_slower_it_works_in_pairs(clock, m):
    """It sends two messages forward before the first one is back (2 o2 <= o1 later), then takes both back, and so on:
    busy all the time if m is even. The last of an odd number is alone, and d1 waits for it: T = 2m o1 + 2 o2 (m odd).
    """
    run = clock.chain([clock.profile(compute=0.5), clock.profile(compute=2.0)], m=m)
    assert run.time_s() == exactly(2 * m * 2.0 + (m % 2) * 2 * 0.5)


@pytest.mark.parametrize("m", range(1, 9))
@pytest.mark.parametrize("latency", [0.5, 1.0])
def test_a_round_trip_of_latency_makes_blocks_of_forward_and_backward_turns(clock, m, latency):
    """One stage, the loss behind a link, o = 1. A gradient is back D = 2L steps after its message was sent. So D + 1
    messages go forward, and come back one a step: blocks of D + 1 turns each way. If m is no multiple of D + 1, the
    last block has r = m mod (D + 1), and the device waits for its first gradient D + 1 - r steps. Here D is 1 or 2.

        T = 2L + 2m + (D + 1 - r if r else 0)
    """
    block = int(2 * latency) + 1
    waits = -m % block
    run = clock.chain([clock.profile(compute=1.0)], m=m, latency=latency, loss_apart=True)
    assert run.time_s() == exactly(2 * latency + 2 * m + waits)
    assert run.busy_s("d1") == exactly(2 * m + m), "and then the validation pass"


@pytest.mark.parametrize(("p", "m"), [(1, 1), (1, 4), (3, 2), (4, 3), (4, 8)])
def test_where_only_overhead_costs_every_message_costs_the_same_and_labels_too(clock, p, m):
    """The last device has a label, a prediction of its stage and one for the loss of each instance, and a gradient
    where it trains. With m >= p - 1 the labels keep it busy until the first instance comes, and then it is never idle;
    the last gradient goes back through p - 1 stages:

        T = 4m o + (p - 1) o,    and to predict    T = 3m o
    """
    run = clock.chain([clock.profile(overhead=0.5)] * p, m=m)
    assert run.time_s() == exactly((4 * m + p - 1) * 0.5)
    assert run.time_s("validation") == exactly(3 * m * 0.5)


@pytest.mark.parametrize(("m", "frequency"), [(4, 1), (4, 2), (4, 3), (5, 4), (3, 100)])
def test_updates_take_the_time_of_their_turn_and_those_that_are_left_over_come_at_the_end(clock, m, frequency):
    """Two linear layers on one device, one key, memory alone counts: w bytes per second, n = uu + u values.

    Each instance takes 2f + 2b, and the loss's turns nothing. Each layer makes m div k updates of 12 n bytes in the
    turn of a gradient; if some of the m gradients are left over, both layers make one more each, one after the other:

        T = m (2f + 2b) + 2 (m div k) 12n / w + (2 * 12n / w if m mod k)
    """
    u, w = 4, 64.0
    n = u * u + u
    f, b, update = (4 * (u + n + u)) / w, 4 * (3 * u + u * u + n) / w, 12 * n / w
    graph = clock.chain_graph(2, "linear", u, units=u)
    instances = [clock.minibatch(1, u)] * m
    data = clock.InMemory(DataSpec({}), train=instances)
    devices = {"d1": clock.profile(memory_bandwidth=w)}
    run = clock.simulate(graph, dict.fromkeys(graph.nodes, "d1"), devices, data, keys=1, frequency=frequency)
    expected = m * (2 * f + 2 * b) + 2 * (m // frequency) * update + (2 * update if m % frequency else 0)
    assert run.time_s() == exactly(expected)
    assert run.busy_s("d1") == exactly(expected)


def test_a_turn_that_only_waits_for_a_partner_reads_no_weights(clock):
    """An RNN cell of two inputs, x and the label's embedding: the one that comes first waits, which costs nothing, and
    the other brings about the arithmetic, once.
    """
    builder = GraphBuilder({"x": ArraySpec((4,)), "h": ArraySpec((2,)), "label": ArraySpec((), "int64")})
    wire = builder.transform("cell", "gru", builder.input("x"), builder.input("h"), units=2)
    builder.loss("loss", clock.free_loss, wire, builder.input("label"))
    graph = builder.graph()
    arrays = {"x": np.zeros((1, 4), np.float32), "h": np.zeros((1, 2), np.float32), "label": np.zeros(1, np.int64)}
    instance = Instance({name: Messages((array,)) for name, array in arrays.items()}, size=1)
    data = clock.InMemory(DataSpec({}), validation=[instance])
    kind = clock.profile(memory_bandwidth=100.0)
    run = clock.simulate(graph, dict.fromkeys(graph.nodes, "d1"), {"d1": kind}, data)
    forward, _ = graph.nodes["cell"].cost(1)
    expected = (forward.bytes_read + forward.bytes_written) / 100.0
    assert run.time_s("validation") == exactly(expected)
