"""A Group that sums is a Group and a `sum_rows` behind it, in one node."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.errors import GraphError
from ampsim.ir.batch import BACKWARD, FORWARD, Batch, concatenate
from ampsim.ir.builder import GraphBuilder
from ampsim.ir.fan import GroupSpec, membership
from ampsim.ir.node import Node, TrainingSetup
from ampsim.ir.state import Field, StateSchema
from ampsim.ir.structure import StructureTable
from ampsim.ops import OPTIMIZERS, ArraySpec, Cost

SCHEMA = StateSchema((Field("instance", 40), Field("node", 8)))
PAYLOAD = (ArraySpec((2,)), ArraySpec(()))
WIDTH = 3


def group(sums: bool, sizes: list[int], arithmetic: bool = True) -> Node:
    """Groups all nodes of an instance, which has as many as `sizes` says of it."""

    def member(states: Any, structures: Any) -> Any:
        whole = states.copy()
        whole[:, 1] = 0
        return membership(whole, states[:, 1], structures.at("nodes", 0))

    structures = StructureTable({number: {"nodes": np.array([size])} for number, size in enumerate(sizes)})
    setup = TrainingSetup(0, OPTIMIZERS["sgd"](learning_rate=0.1), arithmetic=arithmetic)
    return GroupSpec("group", PAYLOAD_PORT, (True,), SCHEMA, member, sums).build(setup, structures)


PAYLOAD_PORT = (PAYLOAD,)


def messages(sizes: list[int], seed: int) -> list[Batch]:
    """A message of one row for each node of each instance."""
    draw = np.random.default_rng(seed).standard_normal
    return [
        Batch(np.array([[number, node]]), np.array([1]), (draw((1, 2)), draw(1)))
        for number, size in enumerate(sizes)
        for node in range(size)
    ]


def in_batches(came: list[Batch], random: Random) -> list[Batch]:
    batches = []
    while came:
        size = random.randrange(len(came)) + 1
        batches.append(concatenate(came[:size]))
        came = came[size:]
    return batches


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(0, 1000), st.randoms(use_true_random=False))
def test_it_sums_what_a_group_stacks_and_gives_each_member_the_gradient(sizes, seed, random):
    came = random.sample(messages(sizes, seed), sum(sizes))
    stacks, sums, shapes = group(False, sizes), group(True, sizes), group(True, sizes, arithmetic=False)
    for batch in in_batches(came, random):
        stacked, answer = stacks.answer(FORWARD, 0, batch), sums.answer(FORWARD, 0, batch)
        shape = shapes.answer(FORWARD, 0, Batch(batch.states, batch.rows, ()))
        assert len(stacked.emissions) == len(answer.emissions) == len(shape.emissions)
        assert answer.rows == shape.rows
        for (_, _, whole), (_, _, one), (_, _, bare) in zip(
            stacked.emissions, answer.emissions, shape.emissions, strict=True
        ):
            assert whole.states.tolist() == one.states.tolist() == bare.states.tolist()
            assert one.rows.tolist() == bare.rows.tolist() == [1] * len(whole)
            assert answer.rows == whole.rows.sum()
            ends = np.cumsum(whole.rows)[:-1]
            for stack, total in zip(whole.payload, one.payload, strict=True):
                expected = [part.sum(axis=0) for part in np.split(stack, ends)]
                np.testing.assert_allclose(total, np.stack(expected), rtol=1e-12, atol=1e-13)
            gradient = tuple(np.random.default_rng(seed + 1).standard_normal(array.shape) for array in one.payload)
            repeated = tuple(np.repeat(array, whole.rows, axis=0) for array in gradient)
            ((_, _, home),) = stacks.answer(BACKWARD, 0, Batch(whole.states, whole.rows, repeated)).emissions
            ((_, _, ours),) = sums.answer(BACKWARD, 0, Batch(one.states, one.rows, gradient)).emissions
            ((_, _, bare_home),) = shapes.answer(BACKWARD, 0, Batch(bare.states, bare.rows, ())).emissions
            assert home.states.tolist() == ours.states.tolist() == bare_home.states.tolist()
            for theirs, mine in zip(home.payload, ours.payload, strict=True):
                np.testing.assert_array_equal(theirs, mine)
    assert (sums.held(), sums.cached_bytes) == ([], 0)


def test_a_member_of_two_rows_is_refused():
    node = group(True, [1])
    with pytest.raises(ValueError, match="takes messages of one row, and one has 2: sum them before"):
        node.answer(FORWARD, 0, Batch(np.array([[0, 0]]), np.array([2]), (np.zeros((2, 2)), np.zeros(2))))


def test_only_floats_are_summed():
    builder = GraphBuilder({"x": ArraySpec((2,)), "label": ArraySpec((), "int64")}, {"node": 8})
    total = builder.group("total", builder.input("label"), lambda states, structures: states, sums=True)
    builder.loss("loss", "softmax_cross_entropy", builder.transform("scores", "linear", total, units=2), total)
    with pytest.raises(GraphError, match=r"total: a Group adds up floats, and controller brings int64\[rows\]"):
        builder.graph()


def test_the_cost_is_that_of_the_sums():
    plain, sums = (GroupSpec("group", PAYLOAD_PORT, (True,), SCHEMA, lambda *_: None, flag) for flag in (False, True))
    assert plain.cost(WIDTH) == (Cost(), Cost())
    forward, backward = sums.cost(WIDTH)
    assert (forward.flops, backward.flops) == (3 * WIDTH, 0)
    assert forward.bytes_read == backward.bytes_written == 4 * 3 * WIDTH
