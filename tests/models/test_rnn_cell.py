"""The recurrent network's step: a node for each of its ops, one for all, or one for all steps, of the same model."""

from __future__ import annotations

import numpy as np
import pytest

from ampsim.data.dataset import DataSpec
from ampsim.ir.node import TrainingSetup
from ampsim.ir.structure import StructureTable
from ampsim.models import find_model
from ampsim.ops import ArraySpec
from ampsim.ops.optimizers import sgd

INTEGERS = ArraySpec((), "int64")


def network(cell, **options):
    inputs = dict.fromkeys(("token", "start", "label"), INTEGERS)
    data = DataSpec(inputs, 3, 2, {"t": 8, "length": 8}, {"vocabulary": 7})
    return find_model("rnn")(data, embedding=2, hidden=4, cell=cell, **options)


def first_parameters(graph, node):
    built = graph.nodes[node].build(TrainingSetup(5, sgd(learning_rate=0.1)), StructureTable())
    return built.parameters.values


@pytest.mark.parametrize("cell", ["together", "scan"])
@pytest.mark.parametrize("replicas", [1, 2])
def test_one_node_starts_from_the_weights_of_the_nodes_apart(replicas, cell):
    apart, together = network("apart"), network(cell, replicas=replicas)
    for cell in ["cell1"] if replicas == 1 else ["cell1_0", "cell1_1"]:
        found = first_parameters(together, cell)
        assert found.keys() == {"table", "weight", "bias"}
        np.testing.assert_array_equal(found["table"], first_parameters(apart, "embed")["weight"])
        for name in ("weight", "bias"):
            np.testing.assert_array_equal(found[name], first_parameters(apart, "linear1")[name])
        assert len(np.unique(found["table"])) > 1


def test_together_has_two_nodes_in_place_of_seven():
    apart, together = set(network("apart").nodes), set(network("together").nodes)
    assert apart - together == {"embed", "concat1", "linear1", "relu1", "leave", "step"}
    assert together - apart == {"cell1"}


def test_a_scan_is_one_node_in_place_of_seven():
    apart, scan = set(network("apart").nodes), set(network("scan").nodes)
    assert apart - scan == {"embed", "concat1", "linear1", "relu1", "leave", "step", "loop"}
    assert scan - apart == {"cell1"}


@pytest.mark.parametrize("cell", ["together", "scan"])
def test_each_input_of_a_copied_node_has_its_own_way_to_the_copies(cell):
    nodes = set(network(cell, replicas=2).nodes)
    assert nodes >= {"cell1_choose", "cell1_choose2", "cell1_0", "cell1_1", "cell1_join"}
