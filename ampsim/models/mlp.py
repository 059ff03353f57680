"""The multilayer perceptron: linear layers with ReLU between them, and a softmax at the end."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Gt, MinLen

from ampsim.data.dataset import DataSpec
from ampsim.ir.builder import GraphBuilder
from ampsim.ir.graph import Graph


def mlp(data: DataSpec, *, hidden: Annotated[list[Annotated[int, Gt(0)]], MinLen(1)] = [784, 784, 784]) -> Graph:  # noqa: B006 (read only; the default is shown in the schema)
    """A perceptron for `image float32[rows, pixels]` and `label int64[rows]` (paper, MNIST workload).

    `hidden` has the units of each hidden layer. Nodes: linear1, relu1, linear2, ..., and loss.
    """
    graph = GraphBuilder(data.inputs)
    wire = graph.input("image")
    for layer, units in enumerate(hidden, start=1):
        wire = graph.transform(f"linear{layer}", "linear", wire, units=units)
        wire = graph.transform(f"relu{layer}", "relu", wire)
    logits = graph.transform(f"linear{len(hidden) + 1}", "linear", wire, units=data.classes)
    graph.loss("loss", "softmax_cross_entropy", logits, graph.input("label"))
    return graph.graph()
