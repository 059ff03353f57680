from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from ampsim.ir.batch import Batch, Direction, concatenate
from ampsim.ir.builder import GraphBuilder
from ampsim.ir.graph import CONTROLLER, Target
from ampsim.ir.node import TrainingSetup
from ampsim.ir.structure import stack
from ampsim.ops import OPTIMIZERS, ArraySpec
from ampsim.runtime.device_core import DeviceCore, NodeFailed
from ampsim.runtime.device_events import (
    Collect,
    Deliver,
    DeliverStructures,
    EndEpoch,
    EpochEnded,
    Follow,
    Handled,
    Parameters,
    Report,
    Send,
    Turn,
    Work,
)
from ampsim.runtime.queues import Entry
from ampsim.runtime.schedule import OrderWriter, ScheduledQueues

FORWARD, BACKWARD, INFERENCE, *_ = Direction
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
SOURCES = {source: number for number, source in enumerate((CONTROLLER, *EACH_ON_ITS_OWN))}


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
            self.deliver(CONTROLLER, instance(self.waiting.pop(0), EACH_ON_ITS_OWN))

    def deliver(self, source, sends):
        for send in sends:
            if send.device == CONTROLLER:
                (key,) = send.batch.states[:, 0].tolist()
                self.home[key] += 1
                self.free += self.home[key] == 2
            else:
                self.cores[send.device].handle(Deliver(send.target, send.batch, source))

    def tick(self):
        shown, sent = [], []
        for name, device in self.cores.items():
            entry = "."
            if device.has_work:
                handled, *actions = device.handle(Turn())
                states = sorted(
                    {key for action in actions if isinstance(action, Send | Report) for key in keys(action)}
                )
                sign = "-" if handled.target.direction is BACKWARD else "+"
                waits = "" if actions else "?"
                entry = sign + ",".join(map(str, states)) + waits
                sent.append((name, [action for action in actions if isinstance(action, Send)]))
            shown.append(entry)
        self.ticks.append("  ".join(f"{entry:>3}" for entry in shown).rstrip())
        for name, sends in sent:
            self.deliver(name, sends)
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
        clockwork.deliver(CONTROLLER, [prediction])
    while any(core.has_work for core in clockwork.cores.values()):
        clockwork.tick()
    assert len(clockwork.ticks) == instances + 3


def test_what_goes_to_a_node_of_the_same_device_does_not_leave_it():
    device = core("d1", ALL_ON_ONE)
    for send in instance(0, ALL_ON_ONE):
        device.handle(Deliver(send.target, send.batch, CONTROLLER))
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
    device.handle(Deliver(Target("linear2", 0, FORWARD), message(5), "d1"))
    handled, send = device.handle(Turn())
    assert handled == Handled([Work(Target("linear2", 0, FORWARD), 1, 1, 1, 0)], [(Entry("d1", 0), 1)], [], [])
    assert (send.device, send.target) == ("d3", Target("linear3", 0, FORWARD))
    assert send.batch.states.tolist() == [[5]]


def test_messages_of_one_port_are_handled_together_up_to_max_batch():
    device = core("d1", max_batch=2)
    for key in range(3):
        device.handle(Deliver(Target("linear1", 0, FORWARD), message(key), CONTROLLER))
    assert [device.handle(Turn())[0].batches[0].messages for _ in range(2)] == [2, 1]
    assert not device.has_work


def turns(device):
    """What every turn noted, until there is nothing to do."""
    found = []
    while device.has_work:
        found.append(device.handle(Turn())[0])
    return found


def batches(device):
    """What every turn handled, until there is nothing to do."""
    return [work for handled in turns(device) for work in handled.batches]


def test_entries_are_numbered_for_each_source_and_target():
    device = core("d2")
    forward, backward = Target("linear2", 0, FORWARD), Target("linear2", 0, BACKWARD)
    arriving = [(forward, 1, "d1"), (forward, 2, "d1"), (backward, 1, "d3"), (forward, 3, "d9"), (forward, 4, "d1")]
    found = []
    for target, key, source in arriving:
        device.handle(Deliver(target, message(key), source))
        found += [(handled.target, entry) for handled in turns(device) for entry, _ in handled.parts]
    assert found == [
        (forward, Entry("d1", 0)),
        (forward, Entry("d1", 1)),
        (backward, Entry("d3", 0)),
        (forward, Entry("d9", 0)),
        (forward, Entry("d1", 2)),
    ]


def test_what_a_device_sends_itself_is_an_entry_of_its_own_which_the_turn_before_tells():
    device = core("d1", ALL_ON_ONE)
    for send in instance(0, ALL_ON_ONE):
        device.handle(Deliver(send.target, send.batch, CONTROLLER))
    found = turns(device)
    assert [[entry.source for entry, _ in handled.parts] for handled in found] == [[CONTROLLER]] * 2 + [["d1"]] * 6
    made = [entry for handled in found for entry in handled.made]
    taken = [entry for handled in found[2:] for entry, _ in handled.parts]
    assert [id(entry) for entry in made] == [id(entry) for entry in taken]
    # linear1's and linear2's output, nothing of a label that waits, linear3's, the loss's gradient, and so on back.
    assert [len(handled.made) for handled in found] == [1, 0, 1, 1, 1, 1, 1, 0]


def test_a_batch_that_is_split_is_told_as_parts_of_one_entry():
    device = core("d1", max_batch=2)
    target = Target("linear1", 0, FORWARD)
    device.handle(Deliver(target, concatenate([message(key) for key in (0, 1, 2)]), CONTROLLER))
    device.handle(Deliver(target, message(3), CONTROLLER))
    parts = [[(entry.number, messages) for entry, messages in handled.parts] for handled in turns(device)]
    assert parts == [[(0, 2)], [(0, 1), (1, 1)]]


def test_rows_are_those_computed_on_and_updates_those_that_were_made():
    device, target = core("d1", frequency=2), Target("linear1", 0, FORWARD)
    back = Target("linear1", 0, BACKWARD)
    found = []
    for port, key, rows in ((target, 0, 3), (target, 1, 2), (back, 1, 2), (back, 0, 3)):
        device.handle(Deliver(port, message(key, rows=rows), CONTROLLER))
        found += [(work.rows, work.updates) for work in batches(device)]
    assert found == [(3, 0), (2, 0), (2, 0), (3, 1)]
    loss = core("d4")
    loss.handle(Deliver(Target("loss", 1, FORWARD), message(0, port=1, rows=3), CONTROLLER))
    assert [work.rows for work in batches(loss)] == [0], "a label that waits is not computed on"
    loss.handle(Deliver(Target("loss", 0, FORWARD), message(0, rows=3), "d3"))
    assert [work.rows for work in batches(loss)] == [3]


def orders_of(found):
    """What a device's turns look like as an order."""
    writer = OrderWriter(GRAPH.targets, SOURCES)
    for handled in found:
        writer.add(handled.target, handled.parts)
    return writer.take()


def test_a_device_that_follows_waits_for_what_its_order_says_and_then_does_the_same():
    """The leader had instance 1 before instance 0; here 0 comes first, and waits."""
    target = Target("linear1", 0, FORWARD)
    leader = core("d1", max_batch=1)
    handled = []
    for key, source in ((1, "linear2"), (0, "linear3")):  # any names will do
        leader.handle(Deliver(target, message(key), source))
        handled += turns(leader)
    setup = TrainingSetup(0, OPTIMIZERS["sgd"](learning_rate=0.1))
    queues = ScheduledQueues(GRAPH.targets, SOURCES)
    follower = DeviceCore("d1", GRAPH, EACH_ON_ITS_OWN, setup, 1, queues)
    follower.handle(Deliver(target, message(0), "linear3"))
    assert not follower.has_work, "it has no order yet"
    follower.handle(Follow(orders_of(handled)))
    assert not follower.has_work, "instance 1 has not come"
    assert follower.handle(Turn()) == []
    follower.handle(Deliver(target, message(1), "linear2"))
    assert turns(follower) == handled


def test_an_order_of_another_run_fails_the_device_with_a_sentence():
    setup = TrainingSetup(0, OPTIMIZERS["sgd"](learning_rate=0.1))
    device = DeviceCore("d1", GRAPH, EACH_ON_ITS_OWN, setup, 1, ScheduledQueues(GRAPH.targets, SOURCES))
    target = Target("linear1", 0, FORWARD)
    writer = OrderWriter(GRAPH.targets, SOURCES)
    writer.add(target, [(Entry(CONTROLLER, 0), 3)])
    device.handle(Follow(writer.take()))
    device.handle(Deliver(target, message(0), CONTROLLER))
    with pytest.raises(NodeFailed, match=r"takes 3 messages to linear1 out of 1 .*: it is of another run"):
        device.handle(Turn())


def test_a_node_that_raises_is_named_with_its_direction_and_state():
    device = core("d4")
    device.handle(Deliver(Target("loss", 0, INFERENCE), message(7), "d3"))
    label = Batch(np.array([[7]]), np.array([1]), (np.array([9]),))
    device.handle(Deliver(Target("loss", 1, INFERENCE), label, CONTROLLER))
    device.handle(Turn())
    with pytest.raises(
        NodeFailed, match=r"node loss raised ValueError in its inference pass \(instance 7\): .*label 9"
    ):
        device.handle(Turn())


def test_a_backward_message_that_no_one_waits_for_fails_its_node():
    device = core("d1")
    device.handle(Deliver(Target("linear1", 0, BACKWARD), message(3), "d2"))
    with pytest.raises(NodeFailed, match=r"linear1 raised UnknownState in its backward pass \(instance 3\)") as raised:
        device.handle(Turn())
    assert isinstance(raised.value.__cause__, KeyError)


def turn_by_turn(device, *messages):
    for target, batch in messages:
        device.handle(Deliver(target, batch, "somebody"))
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
        device.handle(Deliver(Target("linear1", 0, FORWARD), message(key), CONTROLLER))
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
    assert device.handle(EndEpoch()) == [EpochEnded(["linear1"])]
    (after,) = device.handle(Collect())
    assert not np.array_equal(before.values["linear1.weight"], after.values["linear1.weight"])
    assert device.take_counts().updates == 1
    assert device.handle(EndEpoch()) == [EpochEnded([])]
    assert device.take_counts().updates == 0


def branched_graph():
    """A node that asks for structures, which say to which of two layers a message goes."""
    builder = GraphBuilder({"x": ArraySpec((2,)), "y": ArraySpec((2,))}, {"t": 4})
    ways = builder.cond("choose", builder.input("x"), 2, lambda states, at: at.at("side", states[:, 1]), True)
    wires = [builder.transform(f"way{number}", "linear", way, units=2) for number, way in enumerate(ways)]
    builder.loss("loss", "squared_error", builder.phi("join", *wires), builder.input("y"))
    return builder.graph()


def test_what_waits_for_a_structure_waits_whole_and_then_in_its_place():
    """Messages of instances 0 and 1 came together; that of 0 goes on only when the structure of 1 is there, too."""
    graph = branched_graph()
    placement = dict.fromkeys(graph.nodes, "d1")
    setup = TrainingSetup(0, OPTIMIZERS["sgd"](learning_rate=0.1))
    device = DeviceCore("d1", graph, placement, setup, max_batch=8)
    target = graph.target(CONTROLLER, FORWARD, 0)

    def messages(*keys):
        states = np.array([[key, 0] for key in keys])
        return Batch(states, np.ones(len(keys), int), (np.zeros((len(keys), 2), np.float32),))

    for keys in ((0, 1), (2,)):
        device.handle(Deliver(target, messages(*keys), CONTROLLER))
    for key, expected in ((0, []), (2, [[1]]), (1, [[0]])):
        device.handle(DeliverStructures(stack({key: {"side": np.array([0])}})))
        handled = [one for one in turns(device) if one.target == target]
        assert [[entry.number for entry, _ in one.parts] for one in handled] == expected
        assert sum(one.batches[0].messages for one in handled) == {0: 0, 2: 1, 1: 2}[key]


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
