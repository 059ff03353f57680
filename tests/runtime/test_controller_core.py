from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.data.dataset import TEST, TRAIN, VALIDATION, DataSpec, Instance, Messages, Split
from ampsim.ir.batch import Batch, Direction, concatenate
from ampsim.ir.builder import GraphBuilder
from ampsim.ops import ArraySpec
from ampsim.runtime.controller_core import ControllerCore, Plan, ProtocolError, is_reached
from ampsim.runtime.controller_events import (
    DeviceEndedEpoch,
    EndEpochOnDevices,
    Home,
    Injected,
    Injection,
    InjectionsKnown,
    PassEnded,
    StartPass,
    TrainingEnded,
)
from ampsim.runtime.device_events import Report, Send

PLACEMENT = {"linear": "d1", "loss": "d2"}


def graph_with(loss):
    target = ArraySpec((), "int64") if loss == "softmax_cross_entropy" else ArraySpec((3,))
    builder = GraphBuilder({"x": ArraySpec((2,)), "y": target})
    builder.loss("loss", loss, builder.transform("linear", "linear", builder.input("x"), units=3), builder.input("y"))
    return builder.graph()


CLASSES, VALUES = graph_with("softmax_cross_entropy"), graph_with("absolute_error")


class Examples:
    """A data set of `sizes[split]` examples in minibatches of `batch`; the first value says which example it is."""

    def __init__(self, batch=2, **sizes):
        self.sizes = {TRAIN: 6, VALIDATION: 2, TEST: 2, **sizes}
        self.batch = batch
        self.spec = DataSpec(CLASSES.nodes, rows=batch)
        self.splits = {split: Split(-(-size // batch), size) for split, size in self.sizes.items()}

    def instances(self, split, epoch):
        for start in range(0, self.sizes[split], self.batch):
            rows = np.arange(start, min(start + self.batch, self.sizes[split]))
            x = np.stack([rows, rows + 1000 * epoch], axis=1).astype(np.float32)
            yield Instance({"x": Messages((x,)), "y": Messages((rows % 3,))}, size=len(rows))


def controller(graph=CLASSES, epochs=1, in_flight=2, stop_at=None, at_once=1, follows=False, **sizes):
    plan = Plan(epochs, in_flight, stop_at or {}, at_once)
    return ControllerCore(plan, graph, PLACEMENT, Examples(**sizes), follows)


def home(*keys):
    return Home(Batch(np.array(keys)[:, None], np.ones(len(keys), int), ()))


def report(key, loss=0.0, metric=0.0, rows=1):
    return Report(Batch(np.array([[key]]), np.array([1]), (np.array([[loss, metric, rows]], float),)))


def merged(reports):
    return Report(concatenate([report.batch for report in reports]))


def kinds(actions):
    return [type(action).__name__ for action in actions]


def sends(actions):
    return [action for action in actions if isinstance(action, Send)]


class Cluster:
    """Devices as the controller sees them: answers what it sends, in an order that `choose(events)` picks."""

    def __init__(self, core, choose=lambda events: 0, figures=lambda split, key: (1.0, 0.5)):
        self.core, self.choose, self.figures = core, choose, figures
        self.events, self.passes, self.most, self.log, self.injected = [], [], 0, [], []
        self.ended = None

    def run(self):
        self.act(self.core.next_pass())
        while self.events:
            event = self.events.pop(self.choose(self.events))
            if not isinstance(event, DeviceEndedEpoch):
                assert self.core.in_flight > 0
            self.act(self.core.handle(event))
            self.most = max(self.most, self.core.in_flight)
        return self

    def act(self, actions):
        for action in actions:
            match action:
                case Send(_, target, batch):
                    self.answer(target, batch)
                case EndEpochOnDevices():
                    assert self.core.in_flight == 0
                    assert not self.events
                    self.events += [DeviceEndedEpoch(device) for device in ("d1", "d2")]
                case Injected(injection):
                    self.injected.append((self.core.split, injection))
                case StartPass():
                    assert not self.events
                    self.log.append((action.epoch, action.split))
                case PassEnded():
                    assert not self.events
                    self.passes.append(action)
                    self.act(self.core.next_pass())
                case TrainingEnded():
                    self.ended = action

    def answer(self, target, batch):
        for key, rows in zip(batch.states[:, 0].tolist(), batch.rows.tolist(), strict=True):
            if target.direction is Direction.FORWARD:
                self.events.append(home(key))
            if target.node == "loss":
                loss, metric = self.figures(self.core.split, key)
                self.events.append(report(key, rows * loss, rows * metric, rows))


@given(
    epochs=st.integers(1, 3),
    in_flight=st.integers(1, 5),
    batch=st.integers(1, 3),
    examples=st.integers(1, 9),
    random=st.randoms(use_true_random=False),
)
def test_never_more_than_max_active_keys_are_in_flight_and_each_pass_drains(epochs, in_flight, batch, examples, random):
    core = controller(epochs=epochs, in_flight=in_flight, batch=batch, train=examples)
    cluster = Cluster(core, choose=lambda events: random.randrange(len(events))).run()
    assert cluster.most <= in_flight
    assert cluster.ended == TrainingEnded({})
    assert core.keys_in_flight() == []
    assert [ended.instances for ended in cluster.passes if ended.split == TRAIN] == [examples] * epochs


@given(
    in_flight=st.integers(1, 6),
    at_once=st.integers(1, 8),
    examples=st.integers(1, 20),
    random=st.randoms(use_true_random=False),
)
def test_instances_are_injected_in_groups_while_others_are_in_flight(in_flight, at_once, examples, random):
    core = controller(in_flight=in_flight, at_once=at_once, batch=1, train=examples)
    cluster, groups = Cluster(core, choose=lambda events: random.randrange(len(events))), []
    act = cluster.act

    def noting(actions):
        injected = sum(len(send.batch) for send in sends(actions)) // 2
        if injected and core.split == TRAIN:
            groups.append((injected, core.in_flight - injected))
        act(actions)

    cluster.act = noting
    cluster.run()
    assert sum(injected for injected, _ in groups) == examples
    wave = min(at_once, in_flight)
    for injected, _ in groups[:-1]:  # the last may be what is left
        assert injected % wave == 0  # and several where there is room for several
    assert min(in_flight // wave * wave, max(examples, 2)) <= cluster.most <= in_flight


def test_as_many_as_max_active_keys_are_in_flight_where_there_are_enough():
    assert Cluster(controller(in_flight=3, train=20)).run().most == 3


def test_passes_come_as_training_and_validation_of_each_epoch_and_one_test_at_the_end():
    cluster = Cluster(controller(epochs=2)).run()
    order = [(1, TRAIN), (1, VALIDATION), (2, TRAIN), (2, VALIDATION), (2, TEST)]
    assert cluster.log == order
    assert [(ended.epoch, ended.split) for ended in cluster.passes] == order


def test_training_goes_forward_and_back_and_the_other_passes_only_forward():
    core, directions = controller(), {}
    cluster = Cluster(core)
    answer = cluster.answer

    def noting(target, batch):
        directions.setdefault(core.split, set()).add(target.direction)
        answer(target, batch)

    cluster.answer = noting
    cluster.run()
    forward, inference = {Direction.FORWARD}, {Direction.INFERENCE}
    assert directions == {TRAIN: forward, VALIDATION: inference, TEST: inference}


def test_an_instance_is_sent_on_every_input_to_the_device_that_hosts_its_reader():
    start, injected, first, second = controller(in_flight=1).next_pass()
    assert (start, injected) == (StartPass(1, TRAIN), Injected(Injection(1, 0)))
    assert (first.device, first.target) == ("d1", ("linear", 0, Direction.FORWARD))
    assert (second.device, second.target) == ("d2", ("loss", 1, Direction.FORWARD))
    assert first.batch.states.tolist() == second.batch.states.tolist() == [[0]]
    assert first.batch.rows.tolist() == second.batch.rows.tolist() == [2]
    assert first.batch.payload[0].tolist() == [[0, 1000], [1, 1001]]
    assert second.batch.payload[0].tolist() == [0, 1]


def test_the_last_minibatch_may_be_smaller_and_counts_as_what_it_holds():
    core = controller(in_flight=9, train=5, batch=2)
    assert [send.batch.rows.tolist() for send in sends(core.next_pass())] == [[2, 2, 1], [2, 2, 1]]
    passes = Cluster(controller(in_flight=9, train=5, batch=2)).run().passes
    assert [ended.instances for ended in passes] == [5, 2, 2]


def test_a_training_instance_is_in_flight_until_all_that_was_sent_for_it_is_back_and_its_loss_is_known():
    core = controller(in_flight=1)
    core.next_pass()
    for event in (home(0), report(0)):
        assert core.handle(event) == []
        assert core.keys_in_flight() == [0]
    assert kinds(core.handle(home(0))) == ["Injected", "Send", "Send"]
    assert core.keys_in_flight() == [1]


def test_messages_that_come_home_together_count_each():
    core = controller(in_flight=2)
    core.next_pass()
    core.handle(merged([report(0), report(1)]))
    assert kinds(core.handle(home(0, 1, 1, 0))) == ["Injected", "Send", "Send"]
    assert core.keys_in_flight() == [2]


def finish_training(core):
    """Bring home the three instances of the training pass; the last actions."""
    core.next_pass()
    for key in range(3):
        core.handle(report(key))
        actions = core.handle(home(key, key))
    return actions


def test_the_end_of_an_epoch_waits_for_every_device():
    core = controller(in_flight=1)
    assert finish_training(core) == [EndEpochOnDevices()]
    assert core.handle(DeviceEndedEpoch("d2")) == []
    (ended,) = core.handle(DeviceEndedEpoch("d1"))
    assert (ended.split, ended.instances) == (TRAIN, 6)
    assert core.next_pass()[0] == StartPass(1, VALIDATION)


def test_an_end_of_epoch_from_a_device_without_nodes_ends_no_pass():
    core = controller(in_flight=1)
    finish_training(core)
    core.handle(DeviceEndedEpoch("d1"))
    core.handle(DeviceEndedEpoch("d2"))
    core.next_pass()
    assert core.handle(DeviceEndedEpoch("idle")) == []
    assert (core.split, core.keys_in_flight()) == (VALIDATION, [3])


@pytest.mark.parametrize("event", [home(99), report(99), home(0, 99)])
def test_a_message_for_an_instance_that_is_not_in_flight_is_an_error_that_names_it(event):
    core = controller()
    core.next_pass()
    with pytest.raises(ProtocolError, match="instance 99, which is not in flight"):
        core.handle(event)


def test_an_instance_that_has_come_home_may_not_come_again():
    core = controller(in_flight=1)
    core.next_pass()
    core.handle(report(0))
    core.handle(home(0, 0))
    with pytest.raises(ProtocolError, match="instance 0"):
        core.handle(home(0))


def test_a_pass_that_has_ended_waits_until_the_next_one_is_asked_for():
    core = controller(in_flight=1)
    finish_training(core)
    core.handle(DeviceEndedEpoch("d1"))
    assert kinds(core.handle(DeviceEndedEpoch("d2"))) == ["PassEnded"]
    assert (core.split, core.keys_in_flight()) == (TRAIN, [])
    assert kinds(core.next_pass()) == ["StartPass", "Injected", "Send", "Send"]
    assert core.split == VALIDATION


@pytest.mark.parametrize(("stop", "then"), [(True, (1, TEST)), (False, (2, TRAIN))])
def test_whether_training_goes_on_after_validation_may_be_said_from_outside(stop, then):
    """A simulation on shapes cannot know what the metrics are."""
    core = controller(epochs=2, in_flight=1, stop_at={"validation.accuracy": 0.5}, train=0)
    (started, *_) = core.next_pass()
    for device in ("d1", "d2"):
        core.handle(DeviceEndedEpoch(device))
    core.next_pass()
    assert kinds(core.handle(report(0))) == ["PassEnded"]
    started = core.next_pass(stop=stop)[0]
    assert (started.epoch, started.split) == then


@given(
    in_flight=st.integers(1, 6),
    at_once=st.integers(1, 8),
    examples=st.integers(1, 12),
    random=st.randoms(use_true_random=False),
)
def test_a_controller_that_follows_injects_as_it_is_told_and_is_not_far_ahead(in_flight, at_once, examples, random):
    """It is told what another controller did, whenever that is; its own devices may be quicker or slower."""
    rules = {"in_flight": in_flight, "at_once": at_once, "batch": 1, "train": examples}
    leader = Cluster(controller(**rules), choose=lambda events: random.randrange(len(events))).run()
    told = [injection for _, injection in leader.injected]

    def some(events):
        # Now and then it hears of some more of the injections, and surely when nothing else is left to happen.
        if told and (events is None or random.random() < 0.5):
            some_more = [told.pop(0) for _ in range(random.randint(1, len(told)))]
            follower.act(follower.core.handle(InjectionsKnown(some_more)))
        return random.randrange(len(events)) if events else 0

    follower = Cluster(controller(**rules, follows=True), choose=some)
    follower.act(follower.core.next_pass())
    while follower.ended is None:
        if follower.events:
            follower.act(follower.core.handle(follower.events.pop(some(follower.events))))
        else:
            assert told, "it waits for what it was not told"
            some(None)
        assert follower.core.in_flight <= 2 * in_flight
    assert follower.injected == leader.injected


def test_on_shapes_reports_have_no_figures_and_a_pass_no_means():
    core = controller(in_flight=1, train=2)
    core.next_pass()
    core.handle(Report(Batch(np.array([[0]]), np.array([1]), ())))
    assert kinds(core.handle(home(0, 0))) == ["EndEpochOnDevices"]
    core.handle(DeviceEndedEpoch("d1"))
    assert core.handle(DeviceEndedEpoch("d2")) == [PassEnded(1, TRAIN, {}, 2)]


@given(
    figures=st.lists(st.floats(0, 2.0**100, width=32), min_size=1, max_size=8),
    random=st.randoms(use_true_random=False),
)
def test_means_do_not_depend_on_the_order_of_the_reports_to_the_bit(figures, random):
    order = random.sample(range(len(figures)), len(figures))
    means = []
    for keys in (range(len(figures)), order):
        core = controller(in_flight=len(figures), train=len(figures), batch=1)
        core.next_pass()
        for key in keys:
            core.handle(report(key, figures[key], figures[key] / 3))
        means.append(core.means())
    assert means[0] == means[1]
    exact = sum(map(Fraction, figures)) / len(figures)
    assert means[0]["loss"] == pytest.approx(float(exact), rel=1e-15)


def test_means_are_over_examples_and_named_as_the_model_names_them():
    core = controller(graph=VALUES, in_flight=2, batch=3)
    core.next_pass()
    core.handle(merged([report(0, loss=6.0, metric=3.0, rows=3), report(1, loss=2.0, metric=1.0, rows=1)]))
    assert core.means() == {"loss": 2.0, "mae": 1.0}
    core.handle(home(0, 0))
    assert (core.instances_done, core.instances_expected) == (3, 6)
    classes = controller()
    classes.next_pass()
    assert classes.means() == {}
    classes.handle(report(0))
    assert set(classes.means()) == {"loss", "accuracy"}


def epochs_until(graph, target, metric_of_epoch):
    def figures(split, key):
        return 1.0, metric_of_epoch[cluster.core.epoch - 1] if split == VALIDATION else 0.0

    cluster = Cluster(controller(graph=graph, epochs=len(metric_of_epoch), stop_at=target))
    cluster.figures = figures
    cluster.run()
    return cluster.log[-1], dict(cluster.ended.reached)


def test_training_stops_when_the_accuracy_has_risen_to_its_target():
    target = {"validation.accuracy": 0.5}
    assert epochs_until(CLASSES, target, [0.25, 0.5, 0.75]) == ((2, TEST), target)
    assert epochs_until(CLASSES, target, [0.25, 0.25, 0.25]) == ((3, TEST), {})
    assert epochs_until(CLASSES, target, [0.25, 0.25, 0.75]) == ((3, TEST), target)


def test_training_stops_when_the_error_has_fallen_to_its_target():
    target = {"validation.mae": 0.5}
    assert epochs_until(VALUES, target, [0.75, 0.5, 0.25]) == ((2, TEST), target)
    assert epochs_until(VALUES, target, [0.75, 0.75, 0.75]) == ((3, TEST), {})


def test_every_target_must_be_reached():
    target = {"validation.accuracy": 0.5, "validation.loss": 0.1}
    assert epochs_until(CLASSES, target, [0.75, 0.75]) == ((2, TEST), {})
    target["validation.loss"] = 1.0
    assert epochs_until(CLASSES, target, [0.75, 0.75]) == ((1, TEST), target)


def test_a_target_is_reached_from_below_for_an_accuracy_and_from_above_for_all_else():
    assert is_reached("validation.accuracy", 0.97, 0.97)
    assert not is_reached("validation.accuracy", 0.96, 0.97)
    assert is_reached("validation.mae", 0.46, 0.46)
    assert not is_reached("train.loss", 0.47, 0.46)
    assert not is_reached("validation.loss", float("nan"), 0.46)


def test_a_new_epoch_asks_the_data_for_its_own_order():
    seen = []
    core = controller(epochs=2, train=1, batch=1)
    cluster = Cluster(core)
    answer = cluster.answer

    def noting(target, batch):
        if core.split == TRAIN and target.node == "linear":
            seen.append(batch.payload[0].tolist())
        answer(target, batch)

    cluster.answer = noting
    cluster.run()
    assert seen == [[[0, 1000]], [[0, 2000]]]
