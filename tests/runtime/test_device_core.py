from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from ampsim.ir.batch import Batch, Direction
from ampsim.ir.builder import GraphBuilder
from ampsim.ir.graph import CONTROLLER, Target
from ampsim.ir.node import TrainingSetup
from ampsim.ops import OPTIMIZERS, ArraySpec
from ampsim.runtime.device_core import (
    Collect,
    Deliver,
    DeviceCore,
    EndEpoch,
    EpochEnded,
    Handled,
    NodeFailed,
    Parameters,
    Report,
    Send,
    Turn,
)

FORWARD, BACKWARD, INFERENCE = Direction
STAGES = ("linear1", "linear2", "linear3")


def pipeline_graph():
    builder = GraphBuilder({"x": ArraySpec((2,)), "label": ArraySpec((), "int64")})
    wire = builder.input("x")
    for name in STAGES:
        wire = builder.transform(name, "linear", wire, units=2)
    builder.loss("loss", "softmax_cross_entropy", wire, builder.input("label"))
    return builder.graph()


GRAPH = pipeline_graph()
EACH_ON_ITS_OWN = {"linear1": "d1", "linear2": "d2", "linear3": "d3", "loss": "d4"}
ALL_ON_ONE = dict.fromkeys(EACH_ON_ITS_OWN, "d1")


def core(name, placement=EACH_ON_ITS_OWN, max_batch=1, frequency=1):
    setup = TrainingSetup(0, OPTIMIZERS["sgd"](learning_rate=0.1), frequency)
    return DeviceCore(name, GRAPH, placement, setup, max_batch)


def message(key, port=0, rows=1):
    payload = np.full((rows, 2), key, np.float32) if port == 0 else np.zeros(rows, np.int64)
    return Batch(np.array([[key]]), np.array([rows]), (payload,))


def instance(key, placement, direction=FORWARD):
    """What the controller sends for an instance."""
    targets = [GRAPH.target(CONTROLLER, direction, port) for port in (0, 1)]
    return [Send(placement[target.node], target, message(key, port)) for port, target in enumerate(targets)]


class Clockwork:
    """Devices that take one turn each per tick; what they send arrives between two ticks."""

    def __init__(self, instances, max_active_keys, max_batch=1):
        self.cores = {device: core(device, max_batch=max_batch) for device in EACH_ON_ITS_OWN.values()}
        self.waiting = list(range(instances))
        self.home = defaultdict(int)
        self.free = max_active_keys
        self.ticks = []

    def run(self):
        self.inject()
        while any(core.has_work for core in self.cores.values()):
            self.tick()
        assert all(core.held() == {} for core in self.cores.values())
        return "\n".join(self.ticks)

    def inject(self):
        while self.waiting and self.free:
            self.free -= 1
            self.deliver(instance(self.waiting.pop(0), EACH_ON_ITS_OWN))

    def deliver(self, sends):
        for send in sends:
            if send.device == CONTROLLER:
                (key,) = send.batch.states[:, 0].tolist()
                self.home[key] += 1
                self.free += self.home[key] == 2
            else:
                self.cores[send.device].handle(Deliver(send.target, send.batch))

    def tick(self):
        shown, sends = [], []
        for device in self.cores.values():
            entry = "."
            if device.has_work:
                handled, *actions = device.handle(Turn())
                states = sorted(
                    {key for action in actions if isinstance(action, Send | Report) for key in keys(action)}
                )
                sign = "-" if handled.target.direction is BACKWARD else "+"
                waits = "" if actions else "?"
                entry = sign + ",".join(map(str, states)) + waits
                sends += [action for action in actions if isinstance(action, Send)]
            shown.append(entry)
        self.ticks.append("  ".join(f"{entry:>3}" for entry in shown).rstrip())
        self.deliver(sends)
        self.inject()


def keys(action):
    return action.batch.states[:, 0].tolist()


def picture(text):
    """The rows of a staircase, without the lines around them."""
    return [line.split() for line in text.strip().splitlines()]


def test_with_one_instance_in_flight_the_pipeline_is_a_single_file():
    """`+0` is the forward pass of instance 0, `-0` its backward pass, `+?` a label that waits for its prediction.

    The loss node does both passes in one; a device that has nothing to do shows a dot.
    """
    assert picture(Clockwork(instances=2, max_active_keys=1).run()) == picture("""
        +0   .    .    +?
        .    +0   .    .
        .    .    +0   .
        .    .    .    +0
        .    .    -0   .
        .    -0   .    .
        -0   .    .    .
        +1   .    .    +?
        .    +1   .    .
        .    .    +1   .
        .    .    .    +1
        .    .    -1   .
        .    -1   .    .
        -1   .    .    .
    """)


def test_with_three_instances_in_flight_the_pipeline_is_a_staircase_down_and_up():
    assert picture(Clockwork(instances=4, max_active_keys=3).run()) == picture("""
        +0   .    .    +?
        +1   +0   .    +?
        +2   +1   +0   +?
        .    +2   +1   +0
        .    .    -0   +1
        .    -0   -1   .
        -0   -1   +2   .
        -1   .    .    +2
        +3   .    -2   +?
        .    -2   .    .
        -2   +3   .    .
        .    .    +3   .
        .    .    .    +3
        .    .    -3   .
        .    -3   .    .
        -3   .    .    .
    """)


@pytest.mark.parametrize("instances", [1, 3, 7])
def test_a_pipeline_of_four_stages_passes_m_predictions_in_m_plus_three_ticks(instances):
    clockwork = Clockwork(0, max_active_keys=0)
    for key in range(instances):
        prediction, _label = instance(key, EACH_ON_ITS_OWN, INFERENCE)
        clockwork.deliver([prediction])
    while any(core.has_work for core in clockwork.cores.values()):
        clockwork.tick()
    assert len(clockwork.ticks) == instances + 3


def test_what_goes_to_a_node_of_the_same_device_does_not_leave_it():
    device = core("d1", ALL_ON_ONE)
    for send in instance(0, ALL_ON_ONE):
        device.handle(Deliver(send.target, send.batch))
    left = []
    while device.has_work:
        left += device.handle(Turn())
    order = [action.target for action in left if isinstance(action, Handled)]
    assert [(target.node, target.port, target.direction.name) for target in order] == [
        ("linear1", 0, "FORWARD"),
        ("loss", 1, "FORWARD"),
        ("linear2", 0, "FORWARD"),
        ("linear3", 0, "FORWARD"),
        ("loss", 0, "FORWARD"),
        ("linear3", 0, "BACKWARD"),
        ("linear2", 0, "BACKWARD"),
        ("linear1", 0, "BACKWARD"),
    ]
    home = [(action.device, action.target) for action in left if isinstance(action, Send)]
    assert home == [(CONTROLLER, Target(CONTROLLER, port, BACKWARD)) for port in (1, 0)]
    assert len([action for action in left if isinstance(action, Report)]) == 1


def test_a_turn_with_nothing_to_do_does_nothing():
    device = core("d1")
    assert not device.has_work
    assert device.handle(Turn()) == []


def test_what_is_sent_is_addressed_to_the_device_of_its_node():
    device = core("d2")
    device.handle(Deliver(Target("linear2", 0, FORWARD), message(5)))
    handled, send = device.handle(Turn())
    assert handled == Handled(Target("linear2", 0, FORWARD), 1)
    assert (send.device, send.target) == ("d3", Target("linear3", 0, FORWARD))
    assert send.batch.states.tolist() == [[5]]


def test_messages_of_one_port_are_handled_together_up_to_max_batch():
    device = core("d1", max_batch=2)
    for key in range(3):
        device.handle(Deliver(Target("linear1", 0, FORWARD), message(key)))
    assert [device.handle(Turn())[0].messages for _ in range(2)] == [2, 1]
    assert not device.has_work


def test_a_node_that_raises_is_named_with_its_direction_and_state():
    device = core("d4")
    device.handle(Deliver(Target("loss", 0, INFERENCE), message(7)))
    device.handle(Deliver(Target("loss", 1, INFERENCE), Batch(np.array([[7]]), np.array([1]), (np.array([9]),))))
    device.handle(Turn())
    with pytest.raises(
        NodeFailed, match=r"node loss raised ValueError in its inference pass \(instance 7\): .*label 9"
    ):
        device.handle(Turn())


def test_a_backward_message_that_no_one_waits_for_fails_its_node():
    device = core("d1")
    device.handle(Deliver(Target("linear1", 0, BACKWARD), message(3)))
    with pytest.raises(NodeFailed, match=r"linear1 raised UnknownState in its backward pass \(instance 3\)") as raised:
        device.handle(Turn())
    assert isinstance(raised.value.__cause__, KeyError)


def turn_by_turn(device, *messages):
    for target, batch in messages:
        device.handle(Deliver(target, batch))
        device.handle(Turn())


def test_counts_are_of_messages_batches_updates_and_stale_gradients():
    device = core("d1")
    forward, backward = Target("linear1", 0, FORWARD), Target("linear1", 0, BACKWARD)
    turn_by_turn(device, (forward, message(0)), (forward, message(1)), (backward, message(0)), (backward, message(1)))
    turn_by_turn(device, (Target("linear1", 0, INFERENCE), message(2)))
    counts = device.take_counts()
    assert (counts.forward_messages, counts.backward_messages, counts.batches, counts.updates) == (3, 2, 5, 2)
    assert (counts.staleness.gradients, counts.staleness.total, counts.staleness.maximum) == (2, 1, 1)
    assert counts.queue_max == 1
    again = device.take_counts()
    assert (again.forward_messages, again.backward_messages, again.batches, again.updates) == (0, 0, 0, 0)


def test_levels_are_the_largest_of_the_interval_and_go_on_from_what_is_there():
    device = core("d1")
    parameters = 2 * 4 * (2 * 2 + 2)
    for key in range(3):
        device.handle(Deliver(Target("linear1", 0, FORWARD), message(key)))
    waiting = 3 * (8 + 8 + 2 * 4)
    first = device.take_counts()
    assert (first.queue_max, first.cached_bytes, first.peak_memory_bytes) == (3, 0, parameters + waiting)
    for _ in range(3):
        device.handle(Turn())
    second = device.take_counts()
    cached = 3 * 2 * 4
    assert (second.queue_max, second.cached_bytes) == (3, cached)
    third = device.take_counts()
    assert (third.queue_max, third.cached_bytes, third.peak_memory_bytes) == (0, cached, parameters + cached)


def test_what_is_held_is_told_by_node_and_state():
    device = core("d1")
    turn_by_turn(device, *((Target("linear1", 0, FORWARD), message(key)) for key in range(10)))
    assert device.held() == {"linear1": [f"instance {key}" for key in range(8)]}
    assert core("d1").held() == {}


def test_what_is_still_held_when_all_instances_have_come_home_is_a_fault():
    device = core("d1")
    turn_by_turn(device, (Target("linear1", 0, FORWARD), message(5)))
    with pytest.raises(NodeFailed, match=r"node linear1 still waits for messages of \(instance 5\)"):
        device.handle(EndEpoch())


def test_the_end_of_an_epoch_updates_with_what_is_left_over():
    device = core("d1", frequency=3)
    forward, backward = Target("linear1", 0, FORWARD), Target("linear1", 0, BACKWARD)
    turn_by_turn(device, (forward, message(1)), (backward, message(1)))
    (before,) = device.handle(Collect())
    assert device.handle(EndEpoch()) == [EpochEnded()]
    (after,) = device.handle(Collect())
    assert not np.array_equal(before.values["linear1.weight"], after.values["linear1.weight"])
    assert device.take_counts().updates == 1
    assert device.handle(EndEpoch()) == [EpochEnded()]
    assert device.take_counts().updates == 0


def test_collecting_hands_out_the_parameters_of_this_device_alone():
    (collected,) = core("d2").handle(Collect())
    assert isinstance(collected, Parameters)
    assert sorted(collected.values) == ["linear2.bias", "linear2.weight"]
    (nothing,) = core("d4").handle(Collect())
    assert nothing.values == {}


def test_first_parameters_do_not_depend_on_the_placement():
    (together,) = core("d1", ALL_ON_ONE).handle(Collect())
    apart = {}
    for device in EACH_ON_ITS_OWN.values():
        (collected,) = core(device).handle(Collect())
        apart.update(collected.values)
    assert sorted(together.values) == sorted(apart)
    for name, value in together.values.items():
        np.testing.assert_array_equal(value, apart[name])
