from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ampsim.ops import OPS, ArraySpec, check_gradients

SELECTION = OPS["node_selection"]


@st.composite
def graphs(draw):
    """Scores, targets and rows: one node of each graph is the right one."""
    rows = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    scores = draw(arrays(np.float64, (sum(rows), 1), elements=st.floats(-30, 30)))
    chosen = [draw(st.integers(0, count - 1)) for count in rows]
    target = [int(i == place) for count, place in zip(rows, chosen, strict=True) for i in range(count)]
    return scores, np.array(target), np.array(rows)


@given(graphs())
def test_gradient_of_node_selection_is_the_central_difference(graph):
    scores, target, rows = graph
    check_gradients("node_selection", scores, target, rows=rows)


@given(graphs())
def test_the_loss_is_minus_the_log_of_the_softmax_over_the_nodes_of_a_graph(graph):
    scores, target, rows = graph
    (loss, correct), _ = SELECTION.forward({}, scores, target, rows=rows)
    row = 0
    for message, count in enumerate(rows.tolist()):
        own = scores[row : row + count, 0].tolist()
        right = target[row : row + count].tolist().index(1)
        expected = log(sum(exp(score - own[right]) for score in own))
        np.testing.assert_allclose(loss[message], expected, rtol=1e-9, atol=1e-12)
        others = own[:right] + own[right + 1 :]
        assert correct[message] == all(own[right] > score for score in others)
        row += count


def test_only_a_score_larger_than_any_other_is_right():
    scores, target = np.array([[2.0], [2], [1], [3], [0], [0], [0], [5]]), np.array([1, 0, 0, 1, 1, 0, 0, 1])
    (_, correct), _ = SELECTION.forward({}, scores, target, rows=np.array([3, 1, 3, 1]))
    assert correct.tolist() == [0, 1, 0, 1]


def test_extreme_scores_are_stable():
    scores = np.array([[3e38], [-3e38], [-3e38], [-3e38], [1e4], [0], [3e38]], np.float32) / 2
    target, rows = np.array([1, 0, 1, 0, 0, 1, 1]), np.array([2, 2, 2, 1])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        (loss, correct), saved = SELECTION.forward({}, scores, target, rows=rows)
        dloss = np.ones(4, np.float32)
        (dscores, _), _ = SELECTION.backward({}, saved, (dloss, None), (True, False), rows=rows)
    np.testing.assert_allclose(loss, [0, np.log(2), 5e3, 0], rtol=1e-6)
    np.testing.assert_allclose(dscores[:, 0], [0, 0, -0.5, 0.5, 1, -1, 0], atol=1e-6)
    assert correct.tolist() == [1, 0, 0, 1]
    assert {loss.dtype, correct.dtype, dscores.dtype} == {np.dtype(np.float32)}


def test_a_score_that_is_no_number_spoils_its_own_message_alone():
    scores, target = np.array([[np.nan], [1], [2], [1]]), np.array([0, 1, 1, 0])
    (loss, correct), _ = SELECTION.forward({}, scores, target, rows=np.array([2, 2]))
    assert np.isnan(loss).tolist() == [True, False]
    assert correct.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("target", "rows", "text"),
    [
        ([1, 0, 0, 0], [2, 2], "message 1 marks 0 of its 2 rows: mark one row of each message by 1"),
        ([1, 0, 1, 1], [1, 3], "message 1 marks 2 of its 3 rows"),
        ([1, 0, 0, 1], [2, 0, 2], "message 1 marks 0 of its 0 rows"),
        ([1, 0, 2, 0], [2, 2], "target 2 is neither 0 nor 1"),
        ([-1, 0, 1, 0], [2, 2], "target -1 is neither 0 nor 1"),
    ],
)
def test_a_message_without_exactly_one_target_is_named(target, rows, text):
    with pytest.raises(ValueError, match=text):
        SELECTION.forward({}, np.zeros((4, 1)), np.array(target), rows=np.array(rows))


@pytest.mark.parametrize(
    ("scores", "target", "text"),
    [
        (
            ArraySpec((2,)),
            ArraySpec((), "int64"),
            r"scores float32\[rows, 1\], not float32\[rows, 2\]: .*linear of 1 unit",
        ),
        (ArraySpec((1,), "int64"), ArraySpec((), "int64"), r"not int64\[rows, 1\]"),
        (ArraySpec((1,)), ArraySpec(()), r"target int64\[rows\], not float32\[rows\]: give it 1 or 0"),
    ],
)
def test_what_does_not_fit_is_told_with_its_cure(scores, target, text):
    with pytest.raises(ValueError, match=text):
        SELECTION.shape(scores, target)
