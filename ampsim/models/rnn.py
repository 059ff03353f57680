"""A recurrent network over lists of any length: the loop of the paper's list reduction workload."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Gt

from ampsim.data.dataset import DataSpec
from ampsim.ir.builder import GraphBuilder
from ampsim.ir.graph import Graph
from ampsim.ir.structure import Structures
from ampsim.ops.table import Array

T, LENGTH = 1, 2
"""Columns of a state: the step, and how many there are."""


def rnn(
    data: DataSpec,
    *,
    embedding: Annotated[int, Gt(0)] = 128,
    hidden: Annotated[int, Gt(0)] = 128,
    replicas: Annotated[int, Gt(0)] = 1,
    cell: Literal["apart", "together", "scan"] = "apart",
) -> Graph:
    """A vanilla RNN with ReLU units for `token int64[rows]`, `start int64[rows]` and `label int64[rows]`.

    `hidden` has the units of the state that goes round, `embedding` those of a token. What the loop starts from is
    learnt: the embedding of `start`. The heavy node is linear1; with `replicas` above 1 it stands as linear1_0,
    linear1_1, ..., each for every n-th instance, averaged at the end of an epoch.

        token - embed ---\\
        start - first - loop - concat1 - linear1 - relu1 - step - leave - linear2 - loss
                          \\----------------------------------------/

    The nodes of a step are `apart`, as in the paper, or `together` in two, of the same first weights and losses:
    `cell1`, which takes the place of embed to relu1 and is what `replicas` copies, and `loop`, of loop, step and leave.

        start - first - loop - linear2 - loss
                 token - cell1 - (loop)

    Or the whole loop is in one, a `scan` of the same cell, which takes a list at a time:

        token, start - first - cell1 - linear2 - loss
    """
    graph = GraphBuilder(data.inputs, data.fields)
    x, vocabulary = graph.input("token"), data.sizes["vocabulary"]
    if cell == "apart":
        x = graph.transform("embed", "embedding", x, vocabulary=vocabulary, units=embedding)
    first = graph.transform("first", "embedding", graph.input("start"), vocabulary=1, units=hidden)
    same = {"table": "embed.weight", "weight": "linear1.weight", "bias": "linear1.bias"}
    step: dict[str, Any] = {"vocabulary": vocabulary, "embedding": embedding, "units": hidden, "draws_as": same}
    if cell == "apart":
        loop = graph.phi("loop", first, loops=1, origin=_has_been_round)
        both = graph.concat("concat1", x, loop)
        state = graph.transform("relu1", "relu", graph.replicated("linear1", replicas, "linear", both, units=hidden))
        again, done = graph.cond("leave", graph.count_up("step", state, "t"), 2, _is_over)
        graph.back(loop, again)
    elif cell == "together":
        loop, done = graph.loop("loop", first, "t", _is_over)
        graph.back(loop, graph.replicated("cell1", replicas, "token_rnn", x, loop, **step))
    else:
        step |= {"counter": "t", "length": "length"}
        done = graph.replicated("cell1", replicas, "token_rnn", x, first, scans=True, **step)
    logits = graph.transform("linear2", "linear", done, units=data.classes)
    graph.loss("loss", "softmax_cross_entropy", logits, graph.input("label"))
    return graph.graph()


def _has_been_round(states: Array, structures: Structures) -> Array:
    again: Array = (states[:, T] > 0).astype(int)
    return again


def _is_over(states: Array, structures: Structures) -> Array:
    over: Array = (states[:, T] >= states[:, LENGTH]).astype(int)
    return over
