from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.ops import OPS, ArraySpec, check_gradients
from ampsim.ops.segments import segment_sums

SUM, TAKE = OPS["sum_rows"], OPS["take_row"]
some_rows = st.lists(st.integers(1, 4), min_size=1, max_size=4)
any_rows = st.lists(st.integers(0, 4), max_size=6)
widths = st.integers(1, 3)


def draw(rows, width, dtype=np.float64):
    return np.random.default_rng(sum(rows)).standard_normal((sum(rows), width)).astype(dtype)


def messages(x, rows):
    """The rows of each message, one array after the other."""
    stops = np.cumsum(rows).tolist()
    return [x[stop - count : stop] for stop, count in zip(stops, rows, strict=True)]


@given(some_rows, widths)
def test_gradient_of_sum_rows_is_the_central_difference(rows, width):
    check_gradients("sum_rows", draw(rows, width), rows=rows)


@given(some_rows, widths, st.data())
def test_gradient_of_take_row_is_the_central_difference(rows, width, data):
    place = data.draw(st.integers(-min(rows), min(rows) - 1))
    check_gradients("take_row", draw(rows, width), rows=rows, place=place)


@given(any_rows, widths)
def test_sum_rows_adds_up_each_message_and_zeros_for_one_without_rows(rows, width):
    x = draw(rows, width)
    (y,), saved = SUM.forward({}, x, rows=np.array(rows, np.int64))
    assert y.shape == (len(rows), width)
    assert saved == ()
    for total, own in zip(y, messages(x, rows), strict=True):
        np.testing.assert_allclose(total, own.sum(axis=0), rtol=1e-12, atol=1e-14)
    (dx,), _ = SUM.backward({}, (), (y,), (True,), rows=np.array(rows, np.int64))
    for dy, own in zip(y, messages(dx, rows), strict=True):
        assert (own == dy).all()


@given(any_rows.filter(len), widths)
def test_a_sum_has_the_same_bits_alone_and_among_others(rows, width):
    x = draw(rows, width, np.float32)
    together = segment_sums(x, np.array(rows))
    for total, own in zip(together, messages(x, rows), strict=True):
        assert segment_sums(own, np.array([len(own)])).tobytes() == total.tobytes()


@given(some_rows, widths, st.data())
def test_take_row_is_indexing_in_each_message(rows, width, data):
    place = data.draw(st.integers(-min(rows), min(rows) - 1))
    x = draw(rows, width)
    (y,), _ = TAKE.forward({}, x, place=place, rows=np.array(rows))
    assert y.tolist() == [own[place].tolist() for own in messages(x, rows)]
    (dx,), _ = TAKE.backward({}, (), (y,), (True,), place=place, rows=np.array(rows))
    for dy, own in zip(y, messages(dx, rows), strict=True):
        assert own[place].tolist() == dy.tolist()
        assert np.count_nonzero(own.any(axis=1)) <= 1


@pytest.mark.parametrize(
    ("place", "rows", "text"),
    [
        (2, [3, 2, 1], "place 2 needs messages of 3 rows or more, but message 1 has 2: choose another place"),
        (-2, [2, 1], "place -2 needs messages of 2 rows or more, but message 1 has 1"),
        (0, [1, 0], "place 0 needs messages of 1 rows or more, but message 1 has 0"),
        (-1, [0], "place -1 needs messages of 1 rows or more, but message 0 has 0"),
    ],
)
def test_a_message_without_the_place_is_named(place, rows, text):
    with pytest.raises(ValueError, match=text):
        TAKE.forward({}, np.zeros((sum(rows), 2)), place=place, rows=np.array(rows))


def test_no_gradient_is_made_where_none_is_wanted():
    rows = np.array([2, 1])
    assert SUM.backward({}, (), (np.ones((2, 1)),), (False,), rows=rows) == ((None,), {})
    assert TAKE.backward({}, (), (np.ones((2, 1)),), (False,), place=0, rows=rows) == ((None,), {})


def test_a_huge_value_of_one_message_leaves_the_others_alone():
    x = np.array([[np.inf], [-np.inf], [1], [3e38], [3e38], [2]], np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        (y,), _ = SUM.forward({}, x, rows=np.array([2, 1, 2, 1]))
    np.testing.assert_array_equal(y[:, 0], [np.nan, 1, np.inf, 2])


@pytest.mark.parametrize(("op", "options"), [(SUM, {}), (TAKE, {"place": 0})])
@pytest.mark.parametrize("spec", [ArraySpec((3,), "int64"), ArraySpec(()), ArraySpec((2, 3))])
def test_what_does_not_fit_is_told_with_its_cure(op, options, spec):
    with pytest.raises(ValueError, match=rf"{op.name} takes floats \[rows, width\], not .*: flatten or embed it first"):
        op.shape(spec, **options)
