"""On random graphs: every message is answered once, nothing is left behind, and the gradient is the right one."""

from __future__ import annotations

from collections import Counter, defaultdict
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ampsim.ir.batch import Batch, Direction, concatenate
from ampsim.ir.builder import GraphBuilder
from ampsim.ir.graph import CONTROLLER, Target
from ampsim.ir.node import TrainingSetup
from ampsim.ir.state import Field, StateSchema
from ampsim.ir.structure import StructureTable
from ampsim.ops import OPTIMIZERS, ArraySpec, Cost, Op, Optimizer

FORWARD, BACKWARD, INFERENCE, *_ = Direction
SCHEMA = StateSchema((Field("instance", 59), Field("t", 4)))
IDS = 3


def beside_backward(parameters, saved, gradients, wanted, *, cut):
    (dy,) = gradients
    pieces = dy[:, :cut], dy[:, cut:]
    return tuple(piece if want else None for piece, want in zip(pieces, wanted, strict=True)), {}


def product_backward(parameters, saved, gradients, wanted):
    (a, b), (dy,) = saved, gradients
    return (dy * b if wanted[0] else None, dy * a if wanted[1] else None), {}


# Ops with several inputs, so that graphs have joins: one keeps nothing for the way back, the other keeps both inputs.
BESIDE = Op(
    "beside",
    lambda parameters, a, b, *, cut: ((np.concatenate([a, b], axis=1),), ()),
    beside_backward,
    lambda a, b, *, cut: (ArraySpec((a.shape[0] + b.shape[0],)),),
    lambda rows, a, b, *, cut: (Cost(), Cost()),
)
PRODUCT = Op(
    "product",
    lambda parameters, a, b: ((a * b,), (a, b)),
    product_backward,
    lambda a, b: (a,),
    lambda rows, a, b: (Cost(), Cost()),
)
# The new value of a parameter is the gradient itself, so that after one update it can be read off.
REVEAL = Optimizer(
    "reveal", lambda value: (), lambda value, gradient, state, step, rate: (gradient, ()), lambda values: Cost()
)
NEVER = 10**9

widths = st.integers(1, 4)
plans = st.recursive(
    st.one_of(st.tuples(st.just("input"), widths), st.tuples(st.just("embedding"), widths)),
    lambda below: st.one_of(
        st.tuples(st.just("linear"), below, widths),
        st.tuples(st.sampled_from(["tanh", "sigmoid"]), below),
        st.tuples(st.sampled_from(["beside", "product"]), below, below),
    ),
    max_leaves=4,
)
losses = st.sampled_from(["squared_error", "softmax_cross_entropy"])


def build(plan, loss):
    """The graph of a plan, and the array of each input for some rows: input -> draw(generator, rows)."""
    inputs, draws, steps = {}, [], []

    def leaves(plan):
        kind, *rest = plan
        if kind in ("input", "embedding"):
            integers = kind == "embedding"
            inputs[f"x{len(inputs)}"] = ArraySpec((), "int64") if integers else ArraySpec((rest[0],))
            draws.append(
                (lambda generator, rows: generator.integers(0, IDS, rows))
                if integers
                else (lambda generator, rows, width=rest[0]: generator.standard_normal((rows, width)))
            )
        for part in rest:
            if isinstance(part, tuple):
                leaves(part)

    leaves(plan)
    inputs["target"] = ArraySpec((), "int64") if loss == "softmax_cross_entropy" else ArraySpec((2,))
    draws.append(
        (lambda generator, rows: generator.integers(0, 2, rows))
        if loss == "softmax_cross_entropy"
        else (lambda generator, rows: generator.standard_normal((rows, 2)))
    )
    builder, unread = GraphBuilder(inputs, {"t": 4}), iter(list(inputs))

    def add(op, *wires, **options):
        steps.append(op)
        return builder.transform(f"n{len(steps)}", op, *wires, **options)

    def wire(plan):
        match plan:
            case ("input", _):
                return builder.input(next(unread))
            case ("embedding", units):
                return add("embedding", builder.input(next(unread)), vocabulary=IDS, units=units)
            case ("linear", below, units):
                return add("linear", wire(below), units=units)
            case ("beside", left, right):
                left, right = wire(left), wire(right)
                return add(BESIDE, left, right, cut=left.payload[0].shape[0])
            case ("product", left, right):
                left, right = wire(left), wire(right)
                return add(PRODUCT, left, add("linear", right, units=left.payload[0].shape[0]))
            case (activation, below):
                return add(activation, wire(below))

    builder.loss("loss", loss, add("linear", wire(plan), units=2), builder.input("target"))
    return builder.graph(), draws


def live(graph, values=None):
    """Live nodes whose arithmetic is in float64, and which never update on their own."""
    nodes = {name: spec.build(TrainingSetup(0, REVEAL, NEVER), StructureTable()) for name, spec in graph.nodes.items()}
    for node in nodes.values():
        if node.parameters:
            given = values[node.name] if values else node.parameters.values
            node.parameters.values = {name: value.astype(np.float64) for name, value in given.items()}
    return nodes


def instances(draws, rows):
    """For each message its state, rows and arrays: the same on every input, as one instance of many steps."""
    for key, count in enumerate(rows):
        generator = np.random.default_rng(key)
        state = np.array([[key // 3, key % 3]])
        yield [Batch(state, np.array([count]), (draw(generator, count),)) for draw in draws]


class Wires:
    """Carries messages between nodes in a random order and in random batches, and keeps account of each."""

    def __init__(self, graph, nodes, random=None):
        self.graph, self.nodes, self.random = graph, nodes, random
        self.pending = defaultdict(list)
        self.received, self.answered, self.home = Counter(), Counter(), Counter()
        self.reports = {}

    def inject(self, messages, direction):
        for index, batch in enumerate(messages):
            self.pending[self.graph.target(CONTROLLER, direction, index)].append(batch)

    def run(self):
        while self.pending:
            self.deliver(*self.choose())

    def choose(self) -> tuple[Target, Batch]:
        """Any messages of any port; without randomness, all that wait at the first one."""
        if self.random is None:
            target = next(iter(self.pending))
            return target, concatenate(self.pending.pop(target))
        target = self.random.choice(sorted(self.pending))
        waiting = self.pending[target]
        taken = [
            waiting.pop(self.random.randrange(len(waiting))) for _ in range(self.random.randrange(len(waiting)) + 1)
        ]
        if not waiting:
            del self.pending[target]
        return target, concatenate(taken)

    def deliver(self, target, batch):
        if target.direction is FORWARD:
            self.received.update((target.node, target.port, key) for key in SCHEMA.keys(batch.states))
        answer = self.nodes[target.node].answer(target.direction, target.port, batch)
        if answer.report is not None:
            for key, figures in zip(SCHEMA.keys(answer.report.states), answer.report.payload[0], strict=True):
                assert key not in self.reports
                self.reports[key] = figures
        for direction, port, messages in answer.emissions:
            if direction is BACKWARD:
                self.answered.update((target.node, port, key) for key in SCHEMA.keys(messages.states))
            destination = self.graph.target(target.node, direction, port)
            for _ in range(len(messages)):
                message, messages = messages.split(1)
                if destination.node == CONTROLLER:
                    assert message.payload == ()
                    self.home.update((destination.port, key) for key in SCHEMA.keys(message.states))
                else:
                    self.pending[destination].append(message)


def loss_of(graph, nodes, injected):
    """The sum over the messages of the mean over their rows."""
    wires = Wires(graph, nodes)
    for messages in injected:
        wires.inject(messages, INFERENCE)
    wires.run()
    return sum(loss / rows for loss, _, rows in wires.reports.values())


def trained(graph, injected, random, in_flight, nodes=None):
    """The wires after training on all messages, `in_flight` of them at a time."""
    wires = Wires(graph, nodes or live(graph), random)
    left = list(injected)
    while left or wires.pending:
        going = len(wires.home) // len(graph.inputs)
        while left and len(injected) - len(left) - going < in_flight:
            wires.inject(left.pop(0), FORWARD)
        wires.deliver(*wires.choose())
    return wires


def revealed(nodes):
    """The gradient of every parameter."""
    gradients = {}
    for node in nodes.values():
        if node.parameters:
            assert node.parameters.flush() == 1
            gradients.update({(node.name, name): value for name, value in node.parameters.values.items()})
    return gradients


row_counts = st.lists(st.integers(1, 3), min_size=1, max_size=6)


@settings(max_examples=50)
@given(plans, losses, row_counts, st.integers(1, 6), st.integers(0, 2**32))
def test_every_forward_message_is_answered_once_and_nothing_is_left_behind(plan, loss, rows, in_flight, seed):
    graph, draws = build(plan, loss)
    injected = list(instances(draws, rows))
    wires = trained(graph, injected, Random(seed), in_flight)
    keys = SCHEMA.keys(np.concatenate([messages[0].states for messages in injected]))
    ports = [(name, port) for name, spec in graph.nodes.items() for port in range(len(spec.inputs))]
    once = Counter((name, port, key) for name, port in ports for key in keys)
    assert wires.received == once
    assert wires.answered == once
    assert wires.home == Counter((index, key) for index in range(len(graph.inputs)) for key in keys)
    assert sorted(wires.reports) == sorted(keys)
    for node in wires.nodes.values():
        assert (node.held(), node.cached_bytes) == ([], 0)


@settings(max_examples=50)
@given(plans, losses, row_counts, st.integers(0, 2**32))
def test_inference_on_a_whole_graph_leaves_no_trace(plan, loss, rows, seed):
    graph, draws = build(plan, loss)
    nodes = live(graph)
    before = {name: dict(node.parameters.values) for name, node in nodes.items() if node.parameters}
    wires = Wires(graph, nodes, Random(seed))
    for messages in instances(draws, rows):
        wires.inject(messages, INFERENCE)
    wires.run()
    assert len(wires.reports) == len(rows)
    assert not wires.answered
    assert not wires.home
    for name, node in nodes.items():
        assert (node.held(), node.cached_bytes) == ([], 0)
        if node.parameters:
            assert (node.parameters.version, node.parameters.flush()) == (0, 0)
            assert all(node.parameters.values[key] is value for key, value in before[name].items())


@settings(max_examples=25)
@given(plans, losses, st.lists(st.integers(1, 3), min_size=1, max_size=3), st.integers(0, 2**32))
def test_gradient_of_the_whole_model_is_the_central_difference(plan, loss, rows, seed):
    graph, draws = build(plan, loss)
    injected = list(instances(draws, rows))
    gradients = revealed(trained(graph, injected, Random(seed), len(rows)).nodes)
    nodes, step = live(graph), 1e-5
    for (node, name), gradient in gradients.items():
        values = nodes[node].parameters.values
        value = values[name]
        difference = np.empty_like(value)
        for index in np.ndindex(value.shape):
            losses = []
            for sign in (1, -1):
                values[name] = value.copy()
                values[name][index] += sign * step
                losses.append(loss_of(graph, nodes, injected))
            difference[index] = (losses[0] - losses[1]) / (2 * step)
        values[name] = value
        np.testing.assert_allclose(gradient, difference, rtol=1e-5, atol=1e-8 * (1 + sum(losses)))


@settings(max_examples=50)
@given(plans, losses, row_counts, st.integers(1, 6), st.integers(0, 2**32))
def test_gradients_are_the_same_in_any_order_and_any_batches(plan, loss, rows, in_flight, seed):
    graph, draws = build(plan, loss)
    injected = list(instances(draws, rows))
    one_at_a_time = Wires(graph, live(graph))
    for messages in injected:
        one_at_a_time.inject(messages, FORWARD)
        one_at_a_time.run()
    shuffled = trained(graph, injected, Random(seed), in_flight)
    for key, figures in one_at_a_time.reports.items():
        np.testing.assert_allclose(shuffled.reports[key], figures, rtol=1e-9)
    expected = revealed(one_at_a_time.nodes)
    for parameter, gradient in revealed(shuffled.nodes).items():
        np.testing.assert_allclose(gradient, expected[parameter], rtol=1e-8, atol=1e-9)


@settings(max_examples=50)
@given(plans, losses, row_counts, st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**32))
def test_on_shapes_alone_nodes_send_keep_and_update_as_with_arithmetic(
    both_ways, plan, loss, rows, in_flight, frequency, seed
):
    graph, draws = build(plan, loss)
    setup = TrainingSetup(0, OPTIMIZERS["momentum"](learning_rate=1e-6), frequency)
    nodes = both_ways(graph, setup, StructureTable())
    wires = trained(graph, list(instances(draws, rows)), Random(seed), in_flight, nodes)
    assert len(wires.reports) == len(rows)
    for messages in instances(draws, rows):
        wires.reports.clear()
        wires.inject(messages, INFERENCE)
        wires.run()
    for node in nodes.values():
        assert (node.held(), node.cached_bytes) == ([], 0)
        if node.parameters:
            # Messages came one gradient each: at most so many updates, and one for what is left.
            assert node.updates <= len(rows) // frequency
            assert node.updates + node.end_epoch() == node.parameters.version > 0


def test_a_message_that_is_lost_shows_in_what_the_nodes_hold():
    graph, draws = build(("tanh", ("linear", ("input", 2), 3)), "squared_error")
    wires = Wires(graph, live(graph))
    (messages,) = instances(draws, [2])
    wires.inject(messages[:1], FORWARD)
    wires.run()
    assert {name: node.held() for name, node in wires.nodes.items()} == {"n1": [0], "n2": [0], "n3": [0], "loss": [0]}
