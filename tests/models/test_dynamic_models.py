"""The recurrent network, the Tree-LSTM and the graph network, whole, on random lists, trees and graphs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampsim.data.dataset import SPLITS, TRAIN, Split
from ampsim.ir.batch import Direction
from ampsim.ir.graph import CONTROLLER
from ampsim.ir.node import TrainingSetup
from ampsim.ops import OPTIMIZERS, Cost, Optimizer
from ampsim.runtime.controller_core import ControllerCore, Plan
from ampsim.runtime.controller_events import (
    DeviceEndedEpoch,
    DropStructure,
    EndEpochOnDevices,
    Home,
    PassEnded,
    SendStructures,
)
from ampsim.runtime.device_core import DeviceCore
from ampsim.runtime.device_events import (
    Collect,
    Deliver,
    DeliverStructures,
    DropStructures,
    EndEpoch,
    EpochEnded,
    Parameters,
    Report,
    Send,
    Turn,
)

FORWARD, BACKWARD, INFERENCE, *_ = Direction
NEVER = 10**9
# The new value of a parameter is the gradient itself.
REVEAL = Optimizer(
    "reveal", lambda value: (), lambda value, gradient, state, step, rate: (gradient, ()), lambda values: Cost()
)

seeds, any_number = st.integers(0, 2**32), st.integers(1, 4)


def assert_close(found, expected, tolerance):
    """Equal to `tolerance` of the largest gradient there is."""
    assert found.keys() == expected.keys()
    scale = max(float(np.abs(value).max()) for value in expected.values()) + 1e-3
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=tolerance * scale, err_msg=name)


def assert_losses_close(found, expected):
    """Equal in losses and rows; where two scores are alike, rounding may decide which is the best, and the metric."""
    assert found.reports.keys() == expected.reports.keys()
    for key, (loss, _, rows) in expected.reports.items():
        assert found.reports[key][[0, 2]] == pytest.approx([loss, rows], rel=1e-12, abs=1e-12)


@settings(max_examples=20)
@given(data=st.data(), in_flight=any_number, seed=seeds)
def test_every_message_of_every_node_is_answered_once_and_every_instance_leaves_nothing_behind(
    dynamic, data, in_flight, seed
):
    instances = data.draw(dynamic.instances())
    wires = dynamic.wires(random=Random(seed)).run(instances, in_flight=in_flight)
    assert set(wires.received.values()) == {1}
    assert wires.answered == wires.received
    assert wires.returned == wires.sent
    assert wires.home == wires.injected
    assert sorted(wires.retired) == list(range(len(instances)))
    reported = Counter(wires.instance_of(key) for key in wires.reports)
    assert reported == {number: instance.losses for number, instance in enumerate(instances)}
    for node in wires.nodes.values():
        assert (node.held(), node.cached_bytes) == ([], 0)


@settings(max_examples=20)
@given(data=st.data(), in_flight=any_number, seed=seeds)
def test_the_order_in_which_messages_arrive_changes_no_gradient_beyond_rounding(dynamic, data, in_flight, seed):
    instances = data.draw(dynamic.instances())
    first = dynamic.wires().run(instances)
    other = dynamic.wires(random=Random(seed)).run(instances, in_flight=in_flight)
    assert_losses_close(other, first)
    assert_close(other.gradients(), first.gradients(), 1e-12)


@settings(max_examples=10)
@given(data=st.data(), seed=seeds)
def test_inference_gives_the_losses_of_training_and_leaves_no_trace(dynamic, data, seed):
    instances = data.draw(dynamic.instances())
    trained = dynamic.wires().run(instances)
    inferred = dynamic.wires(random=Random(seed))
    before = {name: dict(node.parameters.values) for name, node in inferred.nodes.items() if node.parameters}
    inferred.run(instances, INFERENCE, in_flight=len(instances))
    assert_losses_close(inferred, trained)
    assert not inferred.answered
    assert not inferred.home
    for name, node in inferred.nodes.items():
        assert (node.held(), node.cached_bytes) == ([], 0)
        if node.parameters:
            assert (node.parameters.version, node.parameters.flush()) == (0, 0)
            assert all(node.parameters.values[key] is value for key, value in before[name].items())


@settings(max_examples=20)
@given(data=st.data(), in_flight=any_number, frequency=any_number, seed=seeds)
def test_on_shapes_alone_every_node_sends_keeps_and_updates_as_with_arithmetic(
    both_ways, model, data, in_flight, frequency, seed
):
    instances = data.draw(model.instances())
    wires = model.wires(np.float32, Random(seed))
    setup = TrainingSetup(0, OPTIMIZERS["adam"](learning_rate=1e-6), frequency)
    wires.nodes = both_ways(model.graph, setup, wires.structures)
    wires.run(instances, in_flight=in_flight)
    wires.reports.clear()
    wires.run(instances, INFERENCE, in_flight=in_flight)
    for node in wires.nodes.values():
        assert (node.held(), node.cached_bytes) == ([], 0)
        if node.parameters:
            assert node.updates + node.end_epoch() == node.parameters.version


@settings(max_examples=5)
@given(data=st.data(), seed=seeds)
def test_gradient_of_the_whole_model_is_the_central_difference(dynamic, data, seed):
    instances = data.draw(dynamic.instances(most=2))
    gradients = dynamic.wires(random=Random(seed)).run(instances, in_flight=2).gradients()
    random, step = Random(seed), 1e-5
    for name, gradient in gradients.items():
        node, _, parameter = name.partition(".")
        used = np.argwhere(gradient)
        sample = [tuple(random.choice(used).tolist())] if len(used) else []
        sample.append(tuple(random.randrange(length) for length in gradient.shape))
        for index in set(sample):
            losses = []
            for sign in (1, -1):
                wires = dynamic.wires()
                wires.nodes[node].parameters.values[parameter][index] += sign * step
                losses.append(wires.run(instances, INFERENCE).loss())
            difference = (losses[0] - losses[1]) / (2 * step)
            assert gradient[index] == pytest.approx(difference, rel=1e-5, abs=1e-8 * (1 + sum(losses))), (name, index)


class InMemory:
    """A data set of the given training instances, and nothing else."""

    def __init__(self, spec, instances):
        self.spec, self._instances = spec, instances
        self.splits: Mapping[str, Split] = {
            split: Split(len(instances), len(instances)) if split == TRAIN else Split(0, 0) for split in SPLITS
        }

    def instances(self, split, epoch):
        return iter(self._instances if split == TRAIN else ())


def trained_on_devices(small, instances, devices, max_active_keys, max_batch, random):
    """The gradients and the training loss of an epoch on device cores that take their turns in a random order."""
    placement = {name: f"d{random.randrange(devices)}" for name in small.graph.nodes}
    names = sorted(set(placement.values()))
    setup = TrainingSetup(0, REVEAL, NEVER)
    cores = {name: DeviceCore(name, small.graph, placement, setup, max_batch) for name in names}
    controller = ControllerCore(Plan(1, max_active_keys), small.graph, placement, InMemory(small.spec, instances))
    actions, gradients = controller.next_pass(), {}
    while True:
        for ended in actions:
            if isinstance(ended, PassEnded):  # the first one is that of training
                return gradients, ended.metrics["loss"]
        events = []
        for action in actions:
            match action:
                case Send(device, target, batch):
                    cores[device].handle(Deliver(target, batch, CONTROLLER))
                case SendStructures(hosts, structures):
                    # After the messages that ask for them, which have to wait.
                    events += [(host, DeliverStructures(structures)) for host in hosts]
                case DropStructure(hosts, instance):
                    events += [(host, DropStructures([instance])) for host in hosts]
                case EndEpochOnDevices():
                    assert all(core.held() == {} for core in cores.values())
                    events += [(host, event) for host in names for event in (EndEpoch(), Collect())]
        actions = []
        for host, event in events:
            for action in cores[host].handle(event):
                match action:
                    case Parameters(values):
                        gradients.update(values)
                    case EpochEnded():
                        actions += controller.handle(DeviceEndedEpoch(host))
        while not actions:
            name = random.choice([name for name in names if cores[name].has_work])
            for action in cores[name].handle(Turn()):
                match action:
                    case Report():
                        actions += controller.handle(action)
                    case Send(device, target, batch) if device == CONTROLLER:
                        actions += controller.handle(Home(batch))
                    case Send(device, target, batch):
                        cores[device].handle(Deliver(target, batch, name))


@settings(max_examples=10)
@given(data=st.data(), devices=st.integers(1, 3), max_active_keys=any_number, seed=seeds)
def test_devices_that_merge_batches_and_devices_that_do_not_find_the_same_gradients(
    dynamic, data, devices, max_active_keys, seed
):
    instances = data.draw(dynamic.instances())
    one, loss = trained_on_devices(dynamic, instances, 1, 1, 1, Random(seed))
    for max_batch in (1, 100):
        found, other_loss = trained_on_devices(dynamic, instances, devices, max_active_keys, max_batch, Random(seed))
        assert other_loss == pytest.approx(loss, rel=1e-5)
        assert_close(found, one, 1e-5)
