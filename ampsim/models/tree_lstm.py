"""The binary Tree-LSTM (Tai et al., 2015) with a class at every node of the tree: the paper's sentiment workload."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Gt

from ampsim.data.dataset import DataSpec
from ampsim.ir.builder import GraphBuilder
from ampsim.ir.fan import membership
from ampsim.ir.graph import Graph
from ampsim.ir.structure import Structures
from ampsim.ops.table import Array

NODE = 1
"""Column of a state: the tree's node."""


def tree_lstm(data: DataSpec, *, embedding: Annotated[int, Gt(0)] = 128, hidden: Annotated[int, Gt(0)] = 128) -> Graph:
    """For `token int64[rows]` at the leaves and `label int64[rows]` at every node; `parent` and `side` give the shape.

    `embedding` has the units of a word, `hidden` those of a cell's h and c. The heavy nodes are branch and embed.

        token - embed - leaf --- cell - is_root - (root) ----------- class_ - select - linear - loss
                                  |        \\---- copy ------------/
                                  \\-- branch -- pair ---/
    """
    graph = GraphBuilder(data.inputs, data.fields)
    # Small first vectors: a word that is seldom seen then says little, instead of something arbitrary.
    words = graph.transform(
        "embed", "embedding", graph.input("token"), vocabulary=data.sizes["vocabulary"], units=embedding, gain=0.1
    )
    leaf = graph.transform("leaf", "tree_leaf", words, units=hidden)
    cell = graph.phi("cell", leaf, loops=1)
    inner, root = graph.cond("is_root", cell, 2, _is_root, structured=True)
    upward, here = graph.bcast("copy", inner, 2)
    pair = graph.group("pair", upward, _in_pair)
    graph.back(cell, graph.transform("branch", "tree_branch", pair, units=hidden))
    both = graph.phi("class", root, here, origin=_is_inner, structured=True)
    logits = graph.transform("linear", "linear", graph.transform("h", "select", both, index=0), units=data.classes)
    graph.loss("loss", "softmax_cross_entropy", logits, graph.input("label"))
    return graph.graph()


def _is_root(states: Array, structures: Structures) -> Array:
    root: Array = (structures.at("parent", states[:, NODE]) < 0).astype(int)
    return root


def _is_inner(states: Array, structures: Structures) -> Array:
    return 1 - _is_root(states, structures)


def _in_pair(states: Array, structures: Structures) -> Array:
    """The group is the parent; left child first; always two."""
    nodes = states[:, NODE]
    group = states.copy()
    group[:, NODE] = structures.at("parent", nodes)
    return membership(group, structures.at("side", nodes), 2)
