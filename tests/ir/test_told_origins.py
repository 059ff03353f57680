"""A Phi and a Flatmap whose messages' states tell where they came from answer as those that remember it."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampsim.ir.batch import Batch, Direction, single_rows
from ampsim.ir.fan import FlatmapSpec
from ampsim.ir.node import Node, TrainingSetup
from ampsim.ir.routing import PhiSpec
from ampsim.ir.state import Field, StateSchema
from ampsim.ir.structure import StructureTable
from ampsim.ops import OPTIMIZERS, ArraySpec
from tests.ir.passed_on import in_any_batches, plain

FORWARD, BACKWARD, *_ = Direction
SCHEMA = StateSchema((Field("instance", 40), Field("node", 16)))
SETUP = TrainingSetup(0, OPTIMIZERS["sgd"](learning_rate=0.1))
PAYLOAD = (ArraySpec((2,), "float64"),)
MOST = 10
"""Copies of a message have states from MOST times its own on."""

randoms = st.builds(Random, st.integers(0, 2**32))


def message(instance: int, node: int, rows: int = 1) -> Batch:
    counts = single_rows(1) if rows == 1 else np.array([rows])
    return Batch(np.array([[instance, node]]), counts, (np.arange(2.0 * rows).reshape(rows, 2) + 10 * node + instance,))


@settings(max_examples=50)
@given(nodes=st.lists(st.integers(0, 200), min_size=1, max_size=60, unique=True), random=randoms)
def test_a_phi_that_is_told_the_origin_sends_gradients_where_one_that_remembers_does(
    nodes: list[int], random: Random
) -> None:
    spec = PhiSpec("phi", (PAYLOAD,) * 3, (True, False, True), SCHEMA)
    told = PhiSpec("phi", (PAYLOAD,) * 3, (True, False, True), SCHEMA, lambda states, _: states[:, 1] % 3)
    remembers, knows = (one.build(SETUP, StructureTable()) for one in (spec, told))
    for port in range(3):
        own = [message(1, node) for node in nodes if node % 3 == port]
        for batch in in_any_batches(random, own):
            assert plain(knows.answer(FORWARD, port, batch).emissions) == plain(
                remembers.answer(FORWARD, port, batch).emissions
            )
    assert knows.held() == []
    for batch in in_any_batches(random, [message(1, node) for node in nodes]):
        assert plain(knows.answer(BACKWARD, 0, batch).emissions) == plain(
            remembers.answer(BACKWARD, 0, batch).emissions
        )


def flatmaps(counts: dict[int, int]) -> tuple[Node, Node]:
    """Two that make `counts[node]` copies: the first remembers, the second is told."""

    def children(states: Any, _: Any) -> tuple[Any, Any]:
        numbers = np.repeat(np.arange(len(states)), [counts[node] for node in states[:, 1].tolist()])
        copies = states[numbers]
        places = [place for node in states[:, 1].tolist() for place in range(counts[node])]
        copies[:, 1] = MOST * copies[:, 1] + places
        return numbers, copies

    def parent(states: Any, _: Any) -> Any:
        parents = states.copy()
        parents[:, 1] //= MOST
        return np.column_stack([parents, states[:, 1] % MOST, [counts[node] for node in parents[:, 1].tolist()]])

    specs = (
        FlatmapSpec("fan", (PAYLOAD,), (True,), SCHEMA, children),
        FlatmapSpec("fan", (PAYLOAD,), (True,), SCHEMA, children, parent),
    )
    remembers, knows = (spec.build(SETUP, StructureTable()) for spec in specs)
    return remembers, knows


@settings(max_examples=50)
@given(counts=st.dictionaries(st.integers(0, 50), st.integers(0, 4), min_size=1, max_size=30), random=randoms)
def test_a_flatmap_that_is_told_the_parent_sums_what_one_that_remembers_does(
    counts: dict[int, int], random: Random
) -> None:
    remembers, knows = flatmaps(counts)
    rows = {node: random.choice((1, 1, 3)) for node in counts}
    made = []
    for batch in in_any_batches(random, [message(2, node, rows[node]) for node in counts]):
        answer = knows.answer(FORWARD, 0, batch)
        assert plain(answer.emissions) == plain(remembers.answer(FORWARD, 0, batch).emissions)
        made += [emission.batch for emission in answer.emissions if emission.direction is FORWARD]
    copies = []
    for batch in made:
        while len(batch):
            one, batch = batch.split(1)
            copies.append(one)
    for batch in in_any_batches(random, copies):
        one, other = knows.answer(BACKWARD, 0, batch), remembers.answer(BACKWARD, 0, batch)
        assert (plain(one.emissions), one.rows) == (plain(other.emissions), other.rows)
        assert knows.cached_bytes == remembers.cached_bytes
    assert knows.held() == remembers.held() == []


def test_an_origin_that_is_no_input_is_refused() -> None:
    node = PhiSpec("phi", (PAYLOAD,) * 2, (True, True), SCHEMA, lambda states, _: states[:, 1]).build(
        SETUP, StructureTable()
    )
    with pytest.raises(ValueError, match="origin gives 7: expected 0 to 1"):
        node.answer(BACKWARD, 0, message(1, 7))


def test_a_parent_of_another_form_is_refused() -> None:
    spec = FlatmapSpec("fan", (PAYLOAD,), (True,), SCHEMA, lambda states, _: (states[:, 0], states), lambda s, _: s)
    with pytest.raises(ValueError, match=r"parent must give int64\[1, 4\], not int64\[1, 2\]"):
        spec.build(SETUP, StructureTable()).answer(BACKWARD, 0, message(1, 7))
