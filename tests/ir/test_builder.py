from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from ampsim.data import DATASETS
from ampsim.errors import GraphError
from ampsim.ir.batch import Direction
from ampsim.ir.builder import GraphBuilder
from ampsim.ir.graph import CONTROLLER, Graph, Port, Target
from ampsim.ir.node import TrainingSetup
from ampsim.ir.structure import StructureTable
from ampsim.models import find_model
from ampsim.ops import OPS, OPTIMIZERS, ArraySpec, Cost, Op, elementwise

INPUTS = {"image": ArraySpec((784,)), "label": ArraySpec((), "int64")}


def perceptron(hidden=5, op="relu", inputs=INPUTS, fields=None, loss="loss") -> Graph:
    builder = GraphBuilder(inputs, fields)
    image, label = (builder.input(name) for name in inputs)
    wire = builder.transform("linear1", "linear", image, units=hidden)
    wire = builder.transform("act", op, wire)
    wire = builder.transform("linear2", "linear", wire, units=10)
    builder.loss(loss, "softmax_cross_entropy", wire, label)
    return builder.graph()


def problems_of(build, inputs=INPUTS) -> list[str]:
    """The problems of what `build(builder, image, label)` adds to a builder."""
    builder = GraphBuilder(inputs)
    build(builder, *(builder.input(name) for name in inputs))
    with pytest.raises(GraphError) as raised:
        builder.graph()
    assert str(raised.value) == "\n".join(raised.value.problems)
    return raised.value.problems


def test_a_graph_with_six_faults_reports_all_six():
    def build(builder, image, label):
        wire = builder.transform("linear1", "linaer", image, units=5)
        wire = builder.transform("2fast", "relu", wire)
        builder.transform("linear1", "linear", wire, units=5)
        builder.transform("flat", "linear", label, units=5)
        builder.transform("far", "softmax_cross_entropy", builder.input("imaeg"), builder.input("image"))
        builder.transform(CONTROLLER, "relu", wire)

    problems = problems_of(build)
    starts = [
        "linear1: there is no op 'linaer' (did you mean 'linear'?",
        "'2fast' is no name for a node",
        "there are two nodes named 'linear1'",
        "flat (linear): linear takes float32[rows, inputs], not int64[rows]",
        "the data have no input 'imaeg' (did you mean 'image'?",
        "no node may be called 'controller'",
    ]
    for start in starts:
        assert [problem for problem in problems if problem.startswith(start)], start
    # The image is read twice, and so is what the node with the bad name would have sent.
    assert [problem for problem in problems if not problem.startswith(tuple(starts))] == [
        "input 'image' goes to linear1 and far, but an output leads to exactly one input: put a bcast between"
    ]


def end(builder, wire, label, name="loss"):
    builder.loss(name, "softmax_cross_entropy", wire, label)


def unknown_op(builder, image, label):
    end(builder, builder.transform("a", "lin", image, units=5), label)


def bad_name(builder, image, label):
    end(builder, builder.transform("a b", "relu", image), label)


def name_taken(builder, image, label):
    end(builder, builder.transform("a", "tanh", builder.transform("a", "relu", image)), label)


def no_inputs(builder, image, label):
    end(builder, image, label)
    builder.transform("a", "relu")


def loss_as_transform(builder, image, label):
    builder.transform("a", "softmax_cross_entropy", image, label)


def transform_as_loss(builder, image, label):
    builder.loss("a", "tanh", image, label)


def option_missing(builder, image, label):
    end(builder, builder.transform("a", "linear", image), label)


def option_unknown(builder, image, label):
    end(builder, builder.transform("a", "linear", image, units=5, tilt=False), label)


def option_out_of_range(builder, image, label):
    end(builder, builder.transform("a", "linear", image, units=0), label)


@pytest.mark.parametrize(
    ("build", "problem"),
    [
        (unknown_op, r"a: there is no op 'lin' \(.*there are: absolute_error, .*typed_linear\)"),
        (bad_name, r"'a b' is no name for a node: a letter, then letters, digits, '_' or '-'"),
        (name_taken, r"there are two nodes named 'a'"),
        (no_inputs, r"a: a node needs at least one input"),
        (loss_as_transform, r"a \(softmax_cross_entropy\): 'softmax_cross_entropy' is a loss: add it with loss.*"),
        (transform_as_loss, r"a \(tanh\): 'tanh' is not a loss .*: add it with transform.*"),
        (option_missing, r"a \(linear\): .*units.*"),
        (option_unknown, r"a \(linear\): .*tilt.*"),
        (option_out_of_range, r"a \(linear\): linear needs at least 1 input and 1 unit, not 784 and 0.*"),
    ],
)
def test_each_fault_alone_is_the_only_problem_told(build, problem):
    (found,) = problems_of(build)
    assert re.fullmatch(problem, found)


def test_no_node_may_take_the_name_of_the_controller():
    problems = problems_of(lambda builder, x, y: end(builder, builder.transform(CONTROLLER, "relu", x), y))
    assert problems[0] == ("no node may be called 'controller': the name stands for the process that injects instances")


def test_two_widths_that_differ_are_told_with_both_numbers():
    def build(builder, x, y):
        builder.loss("loss", "squared_error", builder.transform("linear", "linear", x, units=5), y)

    (problem,) = problems_of(build, {"x": ArraySpec((3,)), "y": ArraySpec((7,))})
    assert problem.startswith("loss (squared_error): ")
    assert "float32[rows, 5]" in problem
    assert "float32[rows, 7]" in problem


def test_an_input_that_goes_nowhere_is_told():
    def build(builder, x, y, spare):
        builder.loss("loss", "squared_error", x, y)

    inputs = dict.fromkeys(("x", "y", "spare"), ArraySpec((3,)))
    assert problems_of(build, inputs) == ["input 'spare' goes nowhere: connect it, or leave it out"]


def test_a_node_that_goes_nowhere_is_told():
    def build(builder, x, y, z):
        builder.loss("loss", "squared_error", x, y)
        builder.transform("spare", "relu", z)

    inputs = dict.fromkeys("xyz", ArraySpec((3,)))
    assert problems_of(build, inputs) == ["spare goes nowhere: connect it, or leave it out"]


def test_an_output_that_is_read_twice_is_told_with_its_readers():
    def build(builder, x, y):
        wire = builder.transform("relu", "relu", x)
        builder.loss("one", "squared_error", wire, y)
        builder.loss("two", "squared_error", wire, y)

    assert problems_of(build, dict.fromkeys("xy", ArraySpec((3,)))) == [
        "input 'y' goes to one and two, but an output leads to exactly one input: put a bcast between",
        "relu goes to one and two, but an output leads to exactly one input: put a bcast between",
        "there are 2 loss nodes (one, two): a graph has one",
    ]


def test_a_graph_without_a_loss_is_refused():
    (unused, no_end) = problems_of(lambda builder, x: builder.transform("a", "relu", x), {"x": ArraySpec((3,))})
    assert unused.startswith("a goes nowhere")
    assert no_end.startswith("there is no loss node, so nothing can be learnt")


def test_a_cost_rule_that_raises_is_a_problem_of_its_node():
    tanh = OPS["tanh"]
    broken = Op("broken", tanh.forward, tanh.backward, tanh.shape, lambda rows, x, *, power: (Cost(), Cost()))

    def build(builder, x, y):
        builder.loss("loss", "squared_error", builder.transform("a", broken, x), y)

    (problem,) = problems_of(build, dict.fromkeys("xy", ArraySpec((3,))))
    assert problem.startswith("a (broken): ")
    assert "power" in problem


def test_an_op_of_ones_own_takes_part_like_any_other():
    cube = elementwise("cube", lambda x: x**3, lambda x: 3 * x**2)
    assert perceptron(op=cube).nodes["act"].op is cube


def test_a_finished_graph_knows_its_nodes_edges_payloads_and_metrics():
    graph = perceptron()
    assert list(graph.nodes) == ["linear1", "act", "linear2", "loss"]
    assert graph.edges == {
        Port(CONTROLLER, 0): Port("linear1", 0),
        Port(CONTROLLER, 1): Port("loss", 1),
        Port("linear1", 0): Port("act", 0),
        Port("act", 0): Port("linear2", 0),
        Port("linear2", 0): Port("loss", 0),
    }
    assert graph.metrics == ("loss", "accuracy")
    assert graph.payload(Target("act", 0, Direction.FORWARD)) == (ArraySpec((5,)),)
    assert graph.payload(Target("linear1", 0, Direction.BACKWARD)) == (ArraySpec((5,)),)
    assert graph.payload(Target("loss", 1, Direction.INFERENCE)) == (ArraySpec((), "int64"),)
    assert graph.payload(Target("loss", 0, Direction.BACKWARD)) is None
    assert graph.payload(Target("act", 1, Direction.FORWARD)) is None


def test_a_message_that_goes_along_an_edge_and_back_comes_to_where_it_was_sent():
    graph = perceptron()
    for source, target in graph.edges.items():
        assert graph.target(*source[:1], Direction.FORWARD, source.number) == (*target, Direction.FORWARD)
        assert graph.target(*source[:1], Direction.INFERENCE, source.number) == (*target, Direction.INFERENCE)
        assert graph.target(*target[:1], Direction.BACKWARD, target.number) == (*source, Direction.BACKWARD)


def test_gradients_are_wanted_only_where_there_are_parameters_upstream():
    graph = perceptron()
    assert {name: spec.wanted for name, spec in graph.nodes.items()} == {
        "linear1": (False,),
        "act": (True,),
        "linear2": (True,),
        "loss": (True, False),
    }


def test_equal_graphs_have_equal_fingerprints():
    assert perceptron().fingerprint == perceptron().fingerprint


@pytest.mark.parametrize(
    "other",
    [
        lambda: perceptron(hidden=6),
        lambda: perceptron(op="tanh"),
        lambda: perceptron(loss="end"),
        lambda: perceptron(inputs={"picture": INPUTS["image"], "label": INPUTS["label"]}),
        lambda: perceptron(inputs={"image": ArraySpec((783,)), "label": INPUTS["label"]}),
        lambda: perceptron(fields={"t": 8}),
    ],
    ids=["option", "op", "node name", "input name", "input shape", "state fields"],
)
def test_a_graph_that_differs_has_another_fingerprint(other):
    assert other().fingerprint != perceptron().fingerprint


def test_a_graph_with_two_edges_crossed_has_another_fingerprint():
    def build(first, second):
        builder = GraphBuilder(dict.fromkeys("xy", ArraySpec((3,))))
        builder.loss("loss", "squared_error", builder.input(first), builder.input(second))
        return builder.graph().fingerprint

    assert build("x", "y") != build("y", "x")


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_another_process_finds_the_same_fingerprint(hash_seed):
    script = """
from ampsim.data import DATASETS
from ampsim.models import find_model
print(find_model("mlp")(DATASETS["mnist"](0).spec, hidden=[7, 5]).fingerprint)
"""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    found = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == find_model("mlp")(DATASETS["mnist"](0).spec, hidden=[7, 5]).fingerprint


def test_a_gain_multiplies_the_first_parameters_and_makes_another_graph():
    values, prints = [], []
    for gain in (1.0, 0.5):
        builder = GraphBuilder(INPUTS)
        wire = builder.transform("a", "linear", builder.input("image"), units=3, gain=gain)
        builder.loss("loss", "softmax_cross_entropy", wire, builder.input("label"))
        graph = builder.graph()
        node = graph.nodes["a"].build(TrainingSetup(0, OPTIMIZERS["sgd"](learning_rate=0.1)), StructureTable())
        values.append(node.parameters.values["weight"])
        prints.append(graph.fingerprint)
    np.testing.assert_array_equal(values[0] * np.float32(0.5), values[1])
    assert prints[0] != prints[1]
