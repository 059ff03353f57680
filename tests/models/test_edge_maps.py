"""The graph network's maps of edges: one node for each type, or one for all, of the same model."""

from __future__ import annotations

import numpy as np

from ampsim.data.dataset import DataSpec
from ampsim.ir.node import TrainingSetup
from ampsim.ir.structure import StructureTable
from ampsim.models import find_model
from ampsim.ops import ArraySpec
from ampsim.ops.optimizers import sgd

TYPES = 3


def network(edge_maps, types=TYPES):
    data = DataSpec(
        {"annotation": ArraySpec((2,)), "dipole": ArraySpec((1,))},
        fields={"t": 8, "node": 16},
        classes=0,
        sizes={"edge_types": types},
    )
    return find_model("ggsnn")(data, hidden=4, edge_maps=edge_maps)


def first_parameters(graph, node):
    built = graph.nodes[node].build(TrainingSetup(5, sgd(learning_rate=0.1)), StructureTable())
    return built.parameters.values


def test_together_starts_from_the_weights_of_the_types_apart():
    apart, together = network("apart"), network("together")
    stacked = first_parameters(together, "edge")
    for name in ("weight", "bias"):
        of_types = [first_parameters(apart, f"edge{k}")[name] for k in range(TYPES)]
        np.testing.assert_array_equal(stacked[name], np.stack(of_types))
    assert [len(np.unique(part)) > 1 for part in stacked["weight"]] == [True] * TYPES


def test_together_has_one_node_for_the_types_and_one_for_the_loop():
    apart, together = set(network("apart").nodes), set(network("together").nodes)
    assert apart - together == {"by_type", "any_type", "edge0", "edge1", "edge2", "sum", "leave", "step"}
    assert together - apart == {"edge"}


def test_with_one_type_of_edge_there_is_nothing_to_part():
    assert network("together", types=1).fingerprint == network("apart", types=1).fingerprint
