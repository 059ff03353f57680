"""The order in which a Group hands gradients back, and the labels that a Flatmap puts beside its copies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ampsim.ir.batch import BACKWARD, FORWARD, Batch, concatenate
from ampsim.ir.fan import LABELS, FlatmapSpec, GroupSpec, membership
from ampsim.ir.node import Node, TrainingSetup
from ampsim.ir.state import Field, StateSchema
from ampsim.ir.structure import StructureTable
from ampsim.ops import OPTIMIZERS, ArraySpec

SCHEMA = StateSchema((Field("instance", 40), Field("node", 8)))
PAYLOAD = (ArraySpec((2,)),)


def setup(arithmetic: bool = True) -> TrainingSetup:
    return TrainingSetup(0, OPTIMIZERS["sgd"](learning_rate=0.1), arithmetic=arithmetic)


def message(instance: int, node: int, rows: int = 1) -> Batch:
    """A message whose values say whose each row is."""
    values = [[10 * instance + node, row] for row in range(rows)]
    return Batch(np.array([[instance, node]]), np.array([rows]), (np.array(values, np.float32),))


def told(batch: Batch) -> list[Any]:
    """States, and each message's own rows."""
    pieces = np.split(batch.payload[0], np.cumsum(batch.rows)[:-1])
    return [(tuple(state), piece.tolist()) for state, piece in zip(batch.states.tolist(), pieces, strict=True)]


def group_by_instance() -> Node:
    def member(states: Any, structures: Any) -> Any:
        group = states.copy()
        group[:, 1] = 0
        return membership(group, states[:, 1], structures.at("nodes", 0))

    structures = StructureTable({3: {"nodes": np.array([3])}, 4: {"nodes": np.array([2])}})
    return GroupSpec("group", (PAYLOAD,), (True,), SCHEMA, member).build(setup(), structures)


CAME = [message(4, 1), message(3, 2, rows=2), message(3, 0), message(4, 0), message(3, 1)]


@pytest.mark.parametrize(
    ("together", "home"),
    [(True, [0, 1, 2, 3, 4]), (False, [1, 2, 4, 0, 3])],
    ids=["all groups at once", "a group at a time"],
)
def test_gradients_go_home_in_the_order_in_which_the_members_came(together: bool, home: list[int]) -> None:
    """What the sender has kept of them then lies as it was put."""
    node = group_by_instance()
    (ahead,) = node.answer(FORWARD, 0, concatenate(CAME)).emissions
    assert told(ahead.batch) == [
        ((3, 0), [[30, 0], [31, 0], [32, 0], [32, 1]]),
        ((4, 0), [[40, 0], [41, 0]]),
    ]
    parts = [ahead.batch] if together else ahead.batch.split(1)
    back = [emission.batch for part in parts for emission in node.answer(BACKWARD, 0, part).emissions]
    assert told(concatenate(back)) == told(concatenate([CAME[number] for number in home]))


def test_members_that_came_in_several_batches_go_home_in_the_order_of_their_places() -> None:
    node = group_by_instance()
    assert not node.answer(FORWARD, 0, concatenate(CAME[:2])).emissions
    (ahead,) = node.answer(FORWARD, 0, concatenate(CAME[2:])).emissions
    (home,) = node.answer(BACKWARD, 0, ahead.batch).emissions
    assert [state for state, _ in told(home.batch)] == [(3, 0), (3, 1), (3, 2), (4, 0), (4, 1)]


def labelling(label: Any, arithmetic: bool = True) -> FlatmapSpec:
    def twins(states: Any, _: Any) -> Any:
        copies = np.repeat(states, 2, axis=0)
        copies[:, 1] = 2 * copies[:, 1] + np.tile([0, 1], len(states))
        return np.repeat(np.arange(len(states)), 2), copies

    return FlatmapSpec("twins", (PAYLOAD,), (True,), SCHEMA, twins, label=label)


def by_node(states: Any, _: Any) -> Any:
    return 7 + states[:, 1]


def test_each_row_of_a_copy_has_its_label_and_a_gradient_has_none() -> None:
    spec = labelling(by_node)
    assert spec.outputs == ((*PAYLOAD, LABELS),)
    node = spec.build(setup(), StructureTable())
    (copies,) = node.answer(FORWARD, 0, concatenate([message(1, 0), message(1, 1, rows=2)])).emissions
    values, labels = copies.batch.payload
    assert copies.batch.states.tolist() == [[1, 0], [1, 1], [1, 2], [1, 3]]
    assert labels.tolist() == [7, 8, 9, 9, 10, 10]
    assert labels.dtype == np.int64
    gradient = Batch(copies.batch.states, copies.batch.rows, (values,))
    (home,) = node.answer(BACKWARD, 0, gradient).emissions
    assert told(home.batch) == [((1, 0), [[20, 0]]), ((1, 1), [[22, 0], [22, 2]])]
    assert node.held() == []


def test_on_shapes_alone_nobody_asks_for_labels() -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("there is nothing to label")

    node = labelling(never).build(setup(arithmetic=False), StructureTable())
    (copies,) = node.answer(FORWARD, 0, Batch(np.array([[1, 0]]), np.array([1]), ())).emissions
    assert (copies.batch.states.tolist(), copies.batch.payload) == ([[1, 0], [1, 1]], ())


@pytest.mark.parametrize(
    "wrong",
    [lambda s, _: s, lambda s, _: s[:, 1] / 2, lambda s, _: s[:1, 1], lambda s, _: None],
    ids=["a table", "floats", "too few", "nothing"],
)
def test_labels_that_are_no_ints_for_the_copies_are_refused(wrong: Any) -> None:
    node = labelling(wrong).build(setup(), StructureTable())
    with pytest.raises(ValueError, match=r"label must give int64\[2\], not "):
        node.answer(FORWARD, 0, message(1, 0))
