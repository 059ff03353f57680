"""The gated graph network (Li et al., 2016) over graphs with typed edges: the paper's bAbI 15 and QM9 workloads."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from annotated_types import Gt, Le

from ampsim.data.dataset import DataSpec
from ampsim.ir.builder import GraphBuilder
from ampsim.ir.fan import membership
from ampsim.ir.graph import Graph
from ampsim.ir.structure import Structures
from ampsim.ops.table import Array

T, NODE = 1, 2
"""Columns of a state: the step, and the graph's node (behind `edges`, the edge)."""


def ggsnn(
    data: DataSpec,
    *,
    hidden: Annotated[int, Gt(0)] = 100,
    steps: Annotated[int, Gt(0), Le(255)] = 4,
    readout: Literal["node_selection", "gated_sum"] = "gated_sum",
    edge_maps: Literal["apart", "together"] = "apart",
) -> Graph:
    """For `annotation float32[rows, k]` at the nodes; the arrays of `data.edges` give the shape.

    `hidden` has the units of a node's state, `steps` is how often messages go along the edges. `readout` is
    node_selection (input `answer`) or gated_sum (input `dipole`). The heavy nodes are edge0, edge1, ..., and gru.

        annotation - start - loop - leave - copy ------------------------------------------- gru - step - (loop)
                                      |      \\- edges - by_type - edge0.. - any_type - into - sum -/
                                      \\- all - readout - loss

    Each type of edge has a linear map: `apart`, so that devices can share them, or `together` in one node, `edge`, in
    place of by_type to any_type, which takes all edges in one go; `into` sums, and `loop` is all of loop, leave and
    step. The first weights are the same.
    """

    def is_over(states: Array, structures: Structures) -> Array:
        over: Array = (states[:, T] >= steps).astype(int)
        return over

    graph = GraphBuilder(data.inputs, data.fields)
    start = graph.transform("start", "pad", graph.input("annotation"), units=hidden)
    types = data.sizes["edge_types"]
    together = edge_maps == "together" and types > 1
    if together:
        again, done = graph.loop("loop", start, "t", is_over)
        loop = again
    else:
        loop = graph.phi("loop", start, loops=1, origin=_has_been_round)
        again, done = graph.cond("leave", loop, 2, is_over)
    outward, here = graph.bcast("copy", again, 2)
    edges = graph.flatmap("edges", outward, _outgoing, _from_node, _edge_type if together else None)
    if together:
        apart = tuple(f"edge{k}" for k in range(types))
        mapped = graph.transform("edge", "typed_linear", edges, draws_as=apart, types=types, units=hidden)
    elif types == 1:
        mapped = graph.transform("edge0", "linear", edges, units=hidden)
    else:
        by_type = graph.cond("by_type", edges, types, _edge_type, structured=True)
        maps = [graph.transform(f"edge{k}", "linear", wire, units=hidden) for k, wire in enumerate(by_type)]
        mapped = graph.phi("any_type", *maps, origin=_edge_type, structured=True)
    incoming = graph.group("into", mapped, _into_node, sums=together)
    if not together:
        incoming = graph.transform("sum", "sum_rows", incoming)
    # Twice the usual weights: with few steps a state must take up what has come, not keep what it was.
    state = graph.transform("gru", "gru", incoming, here, units=hidden, gain=2.0)
    graph.back(loop, state if together else graph.count_up("step", state, "t"))
    whole = graph.group("all", done, _whole_graph)
    if readout == "node_selection":
        # A bias would raise all scores alike, which the softmax does not see.
        scores = graph.transform("scores", "linear", whole, units=1, bias=False)
        graph.loss("loss", "node_selection", scores, graph.input("answer"))
    else:
        sums = graph.transform("readout", "gated_sum", whole, units=hidden)
        # A dipole moment is the length of a vector: not linear in what the atoms add to it.
        head = graph.transform("bend", "relu", graph.transform("head", "linear", sums, units=hidden, gain=0.5))
        graph.loss("loss", "absolute_error", graph.transform("dipole", "linear", head, units=1), graph.input("dipole"))
    return graph.graph()


def _has_been_round(states: Array, structures: Structures) -> Array:
    again: Array = (states[:, T] > 0).astype(int)
    return again


def _outgoing(states: Array, structures: Structures) -> tuple[Array, Array]:
    """A copy for every edge that leaves the node, whose number takes the node's place in the state."""
    nodes = states[:, NODE]
    first = structures.at("first", nodes)
    counts = structures.at("first", nodes + 1) - first
    numbers = np.repeat(np.arange(len(states)), counts)
    copies = states[numbers]
    copies[:, NODE] = np.arange(len(numbers)) + np.repeat(first - (np.cumsum(counts) - counts), counts)
    return numbers, copies


def _from_node(states: Array, structures: Structures) -> Array:
    """The message of an edge is a copy of its source's; in the order of the edges."""
    edges = states[:, NODE]
    source = states.copy()
    source[:, NODE] = nodes = structures.at("source", edges)
    first = structures.at("first", nodes)
    return membership(source, edges - first, structures.at("first", nodes + 1) - first)


def _edge_type(states: Array, structures: Structures) -> Array:
    return structures.at("type", states[:, NODE])


def _into_node(states: Array, structures: Structures) -> Array:
    """The group is the edge's target; in the order of the edges."""
    edges = states[:, NODE]
    group = states.copy()
    group[:, NODE] = structures.at("target", edges)
    return membership(group, structures.at("place", edges), structures.at("degree", group[:, NODE]))


def _whole_graph(states: Array, structures: Structures) -> Array:
    """The group is the instance, in the order of its nodes."""
    group = np.zeros_like(states)
    group[:, 0] = states[:, 0]
    return membership(group, states[:, NODE], structures.at("nodes", 0))
