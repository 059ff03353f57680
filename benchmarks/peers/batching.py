"""Trees and graphs of one update as one set of arrays: what a user who batches by hand prepares. NumPy alone.

What depends on one instance alone (`Tree`, the graph's own arrays) is made once for the data set; what is made of the
instances of an update together is made for each update, and timed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from ampsim.data.dataset import Instance

Integers = NDArray[np.int64]


class Tree:
    """A tree by depth. The nodes of a depth lie in pairs, left before right, in the order of their parents.

    `tokens[d]` are the words of the leaves at depth d, `labels[d]` the classes of all nodes there, and `is_leaf[d]`
    which of them are leaves.
    """

    def __init__(self, instance: Instance) -> None:
        (token,), (label,) = instance.inputs["token"].arrays, instance.inputs["label"].arrays
        parent, side = instance.structure["parent"].tolist(), instance.structure["side"].tolist()
        children: list[list[int]] = [[0, 0] for _ in parent]
        for node, above in enumerate(parent):
            if above >= 0:
                children[above][side[node]] = node
        self.tokens, self.labels, self.is_leaf = [], [], []
        leaves, nodes = len(token), [len(parent) - 1]
        while nodes:
            self.tokens.append(token[[node for node in nodes if node < leaves]])
            self.labels.append(label[nodes])
            self.is_leaf.append(np.array([node < leaves for node in nodes]))
            nodes = [child for node in nodes if node >= leaves for child in children[node]]


@dataclass(frozen=True)
class Forest:
    """The trees of an update, by depth from the deepest to the roots.

    `tokens` are all leaves in this order, `leaves[d]` how many there are at a depth, `order[d]` where the nodes of a
    depth are found in [inner nodes, leaves] of it, and `labels` all nodes' classes, in that order.
    """

    tokens: Integers
    leaves: list[int]
    order: list[Integers]
    labels: Integers


def forest(trees: Sequence[Tree]) -> Forest:
    """Trees side by side."""
    depths = max(len(tree.labels) for tree in trees)
    tokens, leaves, orders, labels = [], [], [], []
    for depth in reversed(range(depths)):
        here = [tree for tree in trees if len(tree.labels) > depth]
        words = np.concatenate([tree.tokens[depth] for tree in here])
        is_leaf = np.concatenate([tree.is_leaf[depth] for tree in here])
        order = np.where(is_leaf, np.cumsum(is_leaf) - 1 + (len(is_leaf) - len(words)), np.cumsum(~is_leaf) - 1)
        tokens.append(words)
        leaves.append(len(words))
        orders.append(order)
        labels += [tree.labels[depth] for tree in here]
    return Forest(np.concatenate(tokens), leaves, orders, np.concatenate(labels))


@dataclass(frozen=True)
class Graphs:
    """The graphs of an update as one graph without edges between them.

    `annotation float32[nodes, k]`; `source`, `target` int64[edges] sorted by type, `edges[k]` of type k; `graph
    int64[nodes]` the number of each node's graph, `place` the node's number in it.
    """

    annotation: NDArray[np.float32]
    source: Integers
    target: Integers
    kind: Integers
    edges: list[int]
    graph: Integers
    place: Integers
    largest: int


def disjoint_graph(instances: Sequence[Instance], types: int) -> Graphs:
    """Graphs side by side, nodes numbered through."""
    annotations = [instance.inputs["annotation"].arrays[0] for instance in instances]
    structures = [instance.structure for instance in instances]
    nodes = np.array([len(annotation) for annotation in annotations])
    offsets = np.concatenate([[0], np.cumsum(nodes)[:-1]])
    kind = np.concatenate([structure["type"] for structure in structures])
    shift = np.repeat(offsets, [len(structure["type"]) for structure in structures])
    by_type = np.argsort(kind, kind="stable")
    return Graphs(
        np.concatenate(annotations),
        (np.concatenate([structure["source"] for structure in structures]) + shift)[by_type],
        (np.concatenate([structure["target"] for structure in structures]) + shift)[by_type],
        kind[by_type],
        np.bincount(kind, minlength=types).tolist(),
        np.repeat(np.arange(len(instances)), nodes),
        np.arange(nodes.sum()) - np.repeat(offsets, nodes),
        int(nodes.max()),
    )


def starts(counts: Sequence[int]) -> list[int]:
    """Where each of consecutive blocks begins, and where the last ends."""
    return [0, *accumulate(counts)]
