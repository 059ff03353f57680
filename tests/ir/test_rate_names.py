"""What a node is called where a device's measured rates tell what it takes."""

from __future__ import annotations

import numpy as np

from ampsim.ir.builder import GraphBuilder
from ampsim.ops.table import ArraySpec

X, IDS, LABEL = ArraySpec((4,)), ArraySpec((), "int64"), ArraySpec((), "int64")


def _is_over(states, structures):
    return (states[:, 1] > 0).astype(int)


def names(build, **inputs):
    graph = GraphBuilder({**inputs, "label": LABEL}, {"t": 8})
    build(graph)
    return {name: node.op_name for name, node in graph.graph().nodes.items()}


def end(graph, wire):
    graph.loss("loss", "softmax_cross_entropy", graph.transform("head", "linear", wire, units=3), graph.input("label"))


def test_the_function_that_a_node_asks_is_part_of_its_name():
    def build(graph):
        wire = graph.transform("first", "linear", graph.input("x"), units=4)
        loop = graph.phi("loop", wire, loops=1, origin=_is_over)
        again, done = graph.cond("leave", loop, 2, lambda states, structures: np.ones(len(states), int))
        graph.back(loop, graph.count_up("step", again, "t"))
        end(graph, done)

    found = names(build, x=X)
    assert found["loop"] == "phi is_over"
    assert found["leave"] == "cond", "a function without a name"
    assert found["loss"] == "softmax_cross_entropy"


def test_a_node_that_passes_no_gradient_back_is_told_apart_from_one_that_does():
    found = names(lambda graph: end(graph, graph.transform("first", "linear", graph.input("x"), units=4)), x=X)
    assert (found["first"], found["head"]) == ("linear first", "linear")


def test_a_look_up_has_no_gradient_to_leave_out():
    def build(graph):
        end(graph, graph.transform("table", "embedding", graph.input("ids"), vocabulary=9, units=4))

    assert names(build, ids=IDS)["table"] == "embedding"
