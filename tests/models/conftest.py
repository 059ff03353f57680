"""Small models of every kind, instances like those of the data sets, and a driver that carries messages by hand."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from ampsim.data.dataset import DataSpec, Instance, Messages
from ampsim.data.edges import graph_structure
from ampsim.ir.batch import Batch, Direction, concatenate
from ampsim.ir.graph import CONTROLLER, Graph
from ampsim.ir.node import TrainingSetup
from ampsim.ir.structure import StructureTable, stack
from ampsim.models import find_model
from ampsim.ops import ArraySpec, Cost, Optimizer

FORWARD, BACKWARD, INFERENCE, *_ = Direction
NEVER = 10**9
CLASSES, WORDS, EDGE_TYPES, PIXELS, ELEMENTS = 3, 5, 3, 4, 2
# The new value of a parameter is the gradient itself, so that after one update it can be read off.
REVEAL = Optimizer(
    "reveal", lambda value: (), lambda value, gradient, state, step, rate: (gradient, ()), lambda values: Cost()
)
INTEGERS = ArraySpec((), "int64")


def images(rows, seed):
    """A minibatch as of MNIST."""
    draw = np.random.default_rng(seed)
    image, label = draw.standard_normal((rows, PIXELS)).astype(np.float32), draw.integers(0, CLASSES, rows)
    return Instance({"image": Messages((image,)), "label": Messages((label,))}, size=rows)


def lists(steps, size, seed):
    """A minibatch of lists of equal length, as of list reduction."""
    draw = np.random.default_rng(seed)
    fields = np.stack([np.arange(steps), np.full(steps, steps)], axis=1)
    inputs = {
        "token": Messages((draw.integers(0, WORDS, steps * size),), fields, np.full(steps, size)),
        "start": Messages((np.zeros(size, np.int64),), np.array([[0, steps]])),
        "label": Messages((draw.integers(0, CLASSES, size),), np.array([[steps, steps]])),
    }
    return Instance(inputs, size=size)


def tree(shape, seed):
    """A tree as of the treebank; `shape` is None for a leaf, or the shapes left and right."""
    parent, side = {}, {}
    leaves = inner = 0

    def count(shape):
        return 1 if shape is None else count(shape[0]) + count(shape[1])

    def number(shape):
        nonlocal leaves, inner
        if shape is None:
            leaves += 1
            return leaves - 1
        left, right = number(shape[0]), number(shape[1])
        node = count(root) + inner
        inner += 1
        parent[left], parent[right], side[left], side[right] = node, node, 0, 1
        return node

    root = shape
    last = number(shape)
    parent[last], side[last] = -1, 0
    n, draw = leaves + inner, np.random.default_rng(seed)
    numbers = np.arange(n)[:, None]
    inputs = {
        "token": Messages((draw.integers(0, WORDS, leaves),), numbers[:leaves], np.ones(leaves, np.int64)),
        "label": Messages((draw.integers(0, CLASSES, n),), numbers, np.ones(n, np.int64)),
    }
    structure = {name: np.array([by[node] for node in range(n)]) for name, by in (("parent", parent), ("side", side))}
    return Instance(inputs, size=1, losses=n, structure=structure)


def graph(incoming, more, seed, target):
    """A graph; node k has an edge from `incoming[k]`, so that every node has one; `more` has other edges; (node, type)
    each. Some nodes may have no outgoing edge, some edges may be there twice or go back to where they start."""
    n, draw = len(incoming), np.random.default_rng(seed)
    edges = [(source % n, kind, node) for node, (source, kind) in enumerate(incoming)]
    edges += [(source % n, kind, node % n) for source, kind, node in more]
    source, kind, to = np.array(sorted(edges), np.int64).T.copy()
    fields = np.stack([np.zeros(n, np.int64), np.arange(n)], axis=1)
    if target == "answer":
        annotation, answer = np.zeros((n, 1), np.float32), np.zeros(n, np.int64)
        annotation[draw.integers(n)] = answer[draw.integers(n)] = 1
    else:
        annotation = np.eye(ELEMENTS, dtype=np.float32)[draw.integers(0, ELEMENTS, n)]
        answer = draw.standard_normal((1, 1)).astype(np.float32)
    inputs = {
        "annotation": Messages((annotation,), fields, np.ones(n, np.int64)),
        target: Messages((answer,), np.zeros((1, 2), np.int64)),
    }
    structure = graph_structure(n, source, to, kind)
    return Instance(inputs, size=1, structure=structure)


seeds, kinds, small = st.integers(0, 2**32), st.integers(0, EDGE_TYPES - 1), st.integers(0, 4)


def graphs(target):
    """Graphs of 1 to 4 nodes."""
    incoming = st.lists(st.tuples(small, kinds), min_size=1, max_size=4)
    return st.builds(graph, incoming, st.lists(st.tuples(small, kinds, small), max_size=5), seeds, st.just(target))


shapes = st.recursive(st.none(), lambda below: st.tuples(below, below), max_leaves=6)


@dataclass(frozen=True)
class Small:
    """A model so small that a central difference is soon taken."""

    name: str
    graph: Graph = field(repr=False)
    spec: DataSpec = field(repr=False)
    instance: st.SearchStrategy[Instance] = field(repr=False)

    def instances(self, most: int = 4) -> st.SearchStrategy[list[Instance]]:
        """1 to `most` instances, of any sizes."""
        return st.lists(self.instance, min_size=1, max_size=most)

    def parameters(self) -> dict[str, dict[str, Any]]:
        """Of every node that has any, float32: as they start, but moved a little, so that no bias is zero."""
        draw, found = np.random.default_rng(7), {}
        for name, spec in self.graph.nodes.items():
            node = spec.build(TrainingSetup(0, REVEAL), StructureTable())
            if node.parameters:
                values = node.parameters.values
                found[name] = {
                    key: (value + 0.3 * draw.standard_normal(value.shape)).astype(np.float32)
                    for key, value in sorted(values.items())
                }
        return found

    def wires(self, dtype: Any = np.float64, random: Random | None = None) -> Wires:
        """Live nodes whose arithmetic is in `dtype`, and which never update on their own."""
        return Wires(self.graph, self.parameters(), dtype, random)


class Wires:
    """Carries messages between live nodes, in a random order and in random batches, and keeps account of each."""

    def __init__(self, graph: Graph, parameters: dict[str, Any], dtype: Any, random: Random | None) -> None:
        self.graph, self.random, self.dtype = graph, random, dtype
        self.structures = StructureTable()
        setup = TrainingSetup(0, REVEAL, NEVER)
        self.nodes = {name: spec.build(setup, self.structures) for name, spec in graph.nodes.items()}
        for name, values in parameters.items():
            self.nodes[name].parameters.values = {key: value.astype(dtype) for key, value in values.items()}
        self.pending = defaultdict(list)
        self.rows = {}
        self.received, self.answered, self.sent, self.returned = Counter(), Counter(), Counter(), Counter()
        self.home, self.injected, self.losses_left = Counter(), Counter(), {}
        self.reports, self.predictions, self.retired = {}, {}, []

    def run(self, instances: list[Instance], direction: Direction = FORWARD, in_flight: int = 1) -> Wires:
        """Carry all instances through, `in_flight` of them at a time."""
        left = list(enumerate(instances, start=len(self.retired)))
        while left or self.pending:
            while left and len(self.losses_left) < in_flight:
                self.inject(*left.pop(0), direction)
            self.deliver(*self.choose())
        assert not self.losses_left
        return self

    def inject(self, number: int, instance: Instance, direction: Direction) -> None:
        self.structures.add(stack({number: instance.structure}))
        self.losses_left[number] = instance.losses
        width = len(self.graph.schema.fields)
        for index, name in enumerate(self.graph.inputs):
            messages = instance.inputs[name]
            fields = np.zeros((1, width - 1), np.int64) if messages.fields is None else messages.fields
            rows = np.array([len(messages.arrays[0])]) if messages.rows is None else messages.rows
            states = np.column_stack([np.full(len(fields), number), fields])
            payload = tuple(a.astype(self.dtype) if a.dtype.kind == "f" else a for a in messages.arrays)
            self.put(self.graph.target(CONTROLLER, direction, index), Batch(states, rows, payload))
            if direction is FORWARD:
                self.injected.update((index, key) for key in self.graph.schema.keys(states))

    def put(self, target, batch):
        while len(batch):
            message, batch = batch.split(1)
            self.pending[target].append(message)

    def choose(self):
        """Any messages of any port; without randomness, one message, first in first out by port."""
        target = self.random.choice(sorted(self.pending)) if self.random else next(iter(self.pending))
        waiting = self.pending[target]
        count = self.random.randrange(len(waiting)) + 1 if self.random else 1
        taken = [waiting.pop(self.random.randrange(len(waiting)) if self.random else 0) for _ in range(count)]
        if not waiting:
            del self.pending[target]
        return target, concatenate(taken)

    def deliver(self, target, batch):
        keys = self.graph.schema.keys(batch.states)
        if target.direction is FORWARD:
            self.received.update((target.node, target.port, key) for key in keys)
            for key, rows in zip(keys, batch.rows.tolist(), strict=True):
                self.rows[target.node, target.port, key] = rows
        elif target.direction is BACKWARD:
            self.returned.update((target.node, target.port, key) for key in keys)
        if (target.node, target.port) == ("loss", 0):
            for number, key in enumerate(keys):
                self.predictions[key] = batch.select(np.array([number])).payload[0]
        answer = self.nodes[target.node].answer(target.direction, target.port, batch)
        for direction, port, messages in answer.emissions:
            emitted, rows = self.graph.schema.keys(messages.states), messages.rows.tolist()
            assert all(len(array) == sum(rows) for array in messages.payload)
            destination = self.graph.target(target.node, direction, port)
            if direction is BACKWARD:
                self.answered.update((target.node, port, key) for key in emitted)
                for key, count in zip(emitted, rows, strict=True):
                    assert self.rows[target.node, port, key] == count
            elif direction is FORWARD:
                self.sent.update((target.node, port, key) for key in emitted)
            # As the wire demands it of what comes from another process.
            expected = () if destination.node == CONTROLLER else self.graph.payload(destination)
            assert [array.shape[1:] for array in messages.payload] == [spec.shape for spec in expected]
            if destination.node == CONTROLLER:
                self.home.update((destination.port, key) for key in emitted)
            else:
                self.put(destination, messages)
        if answer.report is not None:
            for key, figures in zip(
                self.graph.schema.keys(answer.report.states), answer.report.payload[0], strict=True
            ):
                assert key not in self.reports
                self.reports[key] = figures
                self.losses_left[self.instance_of(key)] -= 1
        self.retire()

    def instance_of(self, key):
        return key >> sum(field.bits for field in self.graph.schema.fields[1:])

    def retire(self):
        """Drop the structure of each instance that is home; by then no node may keep anything for it."""
        for number in [number for number, losses in self.losses_left.items() if losses == 0]:
            if any(self.home[at] < count for at, count in self.injected.items() if self.instance_of(at[1]) == number):
                continue
            del self.losses_left[number]
            self.structures.drop(number)
            self.retired.append(number)
            kept = {name: node.held() for name, node in self.nodes.items()}
            assert not [name for name, keys in kept.items() for key in keys if self.instance_of(key) == number], kept

    def gradients(self):
        """The gradient of every parameter; zeros where no message came by."""
        found = {}
        for name, node in self.nodes.items():
            if node.parameters:
                some = node.parameters.flush()
                for key, value in node.parameters.values.items():
                    found[f"{name}.{key}"] = value if some else np.zeros_like(value)
        return found

    def loss(self):
        """The sum over the messages of the mean over their rows."""
        return sum(loss / rows for loss, _, rows in self.reports.values())


def _small(name: str) -> Small:
    words = DataSpec({"token": INTEGERS, "label": INTEGERS}, CLASSES, 1, {"node": 16}, {"vocabulary": WORDS})
    fields, sizes = {"t": 8, "node": 16}, {"edge_types": EDGE_TYPES}
    match name:
        case "mlp":
            data = DataSpec({"image": ArraySpec((PIXELS,)), "label": INTEGERS}, CLASSES)
            options, instance = {"hidden": [5, 4]}, st.builds(images, st.integers(1, 4), seeds)
        case "mlp, in blocks":
            data = DataSpec({"image": ArraySpec((PIXELS,)), "label": INTEGERS}, CLASSES)
            options, instance = {"hidden": [[3, 2], [1, 3]]}, st.builds(images, st.integers(1, 4), seeds)
        case "rnn" | "rnn, together" | "rnn, scan":
            inputs = dict.fromkeys(("token", "start", "label"), INTEGERS)
            data = DataSpec(inputs, CLASSES, 2, {"t": 8, "length": 8}, {"vocabulary": WORDS})
            options = {"embedding": 2, "hidden": 4, "cell": name.partition(", ")[2] or "apart"}
            instance = st.builds(lists, st.integers(1, 5), st.integers(1, 3), seeds)
        case "tree_lstm":
            data, options, instance = words, {"embedding": 2, "hidden": 3}, st.builds(tree, shapes, seeds)
        case "ggsnn, node_selection" | "ggsnn, maps together":
            data = DataSpec({"annotation": ArraySpec((1,)), "answer": INTEGERS}, 0, 1, fields, sizes)
            options, instance = {"hidden": 3, "steps": 2, "readout": "node_selection"}, graphs("answer")
            options |= {"edge_maps": "together"} if name == "ggsnn, maps together" else {}
        case _:
            data = DataSpec({"annotation": ArraySpec((ELEMENTS,)), "dipole": ArraySpec((1,))}, 0, 1, fields, sizes)
            options, instance = {"hidden": 3, "steps": 2, "readout": "gated_sum"}, graphs("dipole")
    return Small(name, find_model(name.partition(",")[0])(data, **options), data, instance)


DYNAMIC = ["rnn", "rnn, together", "rnn, scan", "tree_lstm"]
DYNAMIC += ["ggsnn, node_selection", "ggsnn, maps together", "ggsnn, gated_sum"]


@pytest.fixture(scope="session", params=DYNAMIC)
def dynamic(request: pytest.FixtureRequest) -> Small:
    """Each model whose control flow depends on the instance."""
    return _small(request.param)


@pytest.fixture(scope="session", params=["mlp", "mlp, in blocks", *DYNAMIC])
def model(request: pytest.FixtureRequest) -> Small:
    """Each model that comes with ampsim."""
    return _small(request.param)
