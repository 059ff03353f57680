"""What bounds a pass on the simulated clock, against the time that it took."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampsim.data.dataset import DataSpec, Instance, Messages
from ampsim.ir.builder import GraphBuilder
from ampsim.ops import ArraySpec
from ampsim.sim.bound import Bound, summed

ROUNDING = 1 + 1e-12
rates = st.floats(1.0, 1000.0)


def kinds(clock, count):
    """Devices of any speed."""
    return st.lists(
        st.builds(clock.profile, overhead=st.floats(0, 0.5), compute=rates, memory_bandwidth=rates),
        min_size=count,
        max_size=count,
    )


@settings(max_examples=40)
@given(data=st.data(), p=st.integers(2, 5), m=st.integers(1, 4), latency=st.floats(0, 2), bandwidth=rates)
def test_with_one_key_a_pipeline_takes_as_long_as_its_critical_path(clock, data, p, m, latency, bandwidth):
    """Each turn and transfer of an instance waits for the one before it, and each instance for the one before it:
    labels are on a link of their own, and there before the prediction (a device apart waits for nothing else).
    """
    profiles = data.draw(kinds(clock, p))
    network = {"latency": latency, "bandwidth": bandwidth}
    run = clock.chain(profiles, m=m, keys=1, op="linear", op_options={"units": 4}, loss_apart=True, **network)
    for split in ("train", "validation"):
        timing = run.timings[split]
        assert timing.bound.critical_path_s == pytest.approx(timing.duration_s, rel=1e-12)
        assert timing.bound.bound_s == timing.bound.critical_path_s


def branched(clock, random):
    """A graph with branches, a join and several layers, and instances of it."""
    builder = GraphBuilder({"x": ArraySpec((3,)), "label": ArraySpec((), "int64")})
    wire = builder.transform("s0", "linear", builder.input("x"), units=3)
    for number in range(random.randint(1, 3)):
        left, right = builder.bcast(f"copy{number}", wire, 2)
        right = builder.transform(f"right{number}", "linear", right, units=random.randint(1, 9))
        both = builder.concat(f"both{number}", left, right)
        wire = builder.transform(f"s{number + 1}", "linear", both, units=3)
    builder.loss("loss", "softmax_cross_entropy", wire, builder.input("label"))

    def instance():
        rows = random.randint(1, 4)
        x, label = np.zeros((rows, 3), np.float32), np.zeros(rows, np.int64)
        return Instance({"x": Messages((x,)), "label": Messages((label,))}, size=rows)

    return builder.graph(), [instance() for _ in range(random.randint(1, 8))]


@settings(max_examples=60)
@given(st.data(), st.integers(0, 2**32), st.sampled_from(["full", "switch", "ring", "mesh", "torus"]))
def test_no_pass_takes_less_than_its_bound(clock, data, seed, topology):
    random = Random(seed)
    graph, instances = branched(clock, random)
    profiles = data.draw(kinds(clock, random.randint(1, 5)))
    devices = {f"d{number}": profile for number, profile in enumerate(profiles)}
    run = clock.simulate(
        graph,
        {node: random.choice(list(devices)) for node in graph.nodes},
        devices,
        clock.InMemory(DataSpec({}), train=instances, validation=instances),
        keys=random.randint(1, 6),
        at_once=random.randint(1, 3),
        max_batch=random.randint(1, 4),
        frequency=random.randint(1, 4),
        topology=topology,
        latency=random.uniform(0, 1),
        bandwidth=random.choice([10.0, 1e3, 1e6]),
    )
    busy_s = dict.fromkeys(devices, 0.0)
    for split in ("train", "validation"):
        timing = run.timings[split]
        bound = timing.bound
        assert 0 < bound.bound_s <= timing.duration_s * ROUNDING
        assert bound.bound_s == max(bound.device_s, bound.link_s, bound.critical_path_s)
        assert bound.device in devices
        assert bound.link in map(str, run.network.used)
        busy_s[bound.device] += bound.device_s
    # The busiest device of a pass was not busier than in all passes together, and no device was busier than the sum.
    assert all(busy_s[name] <= run.busy_s(name) * ROUNDING for name in devices)
    most = sum(run.timings[split].bound.device_s for split in run.timings)
    assert max(run.busy_s(name) for name in devices) <= most * ROUNDING
    assert (
        sum(run.timings[split].bound.link_s for split in run.timings)
        >= max(link.busy_s for link in run.network.used) / ROUNDING
    )


@pytest.mark.parametrize(("slow", "named"), [(0, "d1"), (1, "d2"), (2, "d3")])
def test_the_busiest_device_is_named_with_its_work(clock, slow, named):
    """Each stage takes m turns of a second to predict, the slow one of three: and is the bound up to filling."""
    profiles = [clock.profile(compute=1 / 3 if number == slow else 1.0) for number in range(3)]
    run = clock.chain(profiles, m=9)
    bound = run.timings["validation"].bound
    assert (bound.device, bound.device_s) == (named, pytest.approx(27.0))
    # The first instance's way through the other two stages comes on top.
    assert run.time_s("validation") == pytest.approx(27.0 + 2.0)


def test_bounds_of_passes_that_follow_each_other_add_up():
    one, other = Bound("d1", 1.0, "a -> b", 5.0, 2.0), Bound("d2", 4.0, "c -> d", 1.0, 3.0)
    assert summed([one, other]) == Bound("d2", 5.0, "a -> b", 6.0, 5.0)
    assert summed([one, other]).bound_s == 6.0


def test_a_bound_tells_how_much_of_it_was_reached():
    told = Bound("d1", 1.0, "a -> b", 5.0, 2.0).to_json(10.0)
    assert (told["bound_s"], told["fraction"], told["device"]) == (5.0, 0.5, "d1")
    assert Bound("d1", 0.0, "", 0.0, 0.0).to_json(0.0)["fraction"] == 1.0, "a pass of nothing takes no time"
