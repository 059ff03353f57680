"""A graph's structure: its edges, and what a node of the model must know of them without looking at all of them."""

from __future__ import annotations

import numpy as np

from ampsim.data.dataset import Structure
from ampsim.ops.table import Array


def graph_structure(nodes: int, source: Array, target: Array, kind: Array) -> Structure:
    """The structure of a graph with typed edges; `source`, `target`, `kind` int64[e], sorted by source.

    - `nodes` int64[1]: how many nodes there are
    - `first` int64[nodes + 1]: the edges of a node n are those from number first[n] up to first[n + 1]
    - `source`, `target`, `type` int64[e]: where each edge comes from and leads to, and its type
    - `place` int64[e]: the edge's number among those with the same target, in their order
    - `degree` int64[nodes]: how many edges lead to a node
    """
    degree = np.bincount(target, minlength=nodes)
    order = np.argsort(target, kind="stable")
    place = np.empty_like(target)
    place[order] = np.arange(len(target)) - np.repeat(np.cumsum(degree) - degree, degree)
    return {
        "nodes": np.array([nodes]),
        "first": np.searchsorted(source, np.arange(nodes + 1)),
        "source": source,
        "target": target,
        "type": kind,
        "place": place,
        "degree": degree,
    }
