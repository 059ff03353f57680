from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.ops import OPS, ArraySpec, check_gradients

widths = st.lists(st.integers(1, 4), min_size=1, max_size=4)
rows = st.integers(1, 4)


def numbered(*shape):
    return np.arange(np.prod(shape), dtype=np.float64).reshape(shape)


@given(rows, widths)
def test_gradients_of_concat_and_split_are_central_differences(rows, widths):
    check_gradients("concat", *(numbered(rows, width) for width in widths))
    check_gradients("split", numbered(rows, sum(widths)), sizes=widths)


@given(rows, widths, st.data())
def test_gradients_of_select_and_pad_are_central_differences(rows, widths, data):
    index = data.draw(st.integers(0, len(widths) - 1))
    check_gradients("select", *(numbered(rows, width) for width in widths), index=index)
    check_gradients("pad", numbered(rows, widths[0]), units=sum(widths))


@given(rows, widths)
def test_split_undoes_concat_both_ways(rows, widths):
    xs = [np.random.default_rng(i).standard_normal((rows, width)) for i, width in enumerate(widths)]
    (y,), saved = OPS["concat"].forward({}, *xs)
    parts, _ = OPS["split"].forward({}, y, sizes=widths)
    (dy,), _ = OPS["split"].backward({}, (), parts, (True,), sizes=widths)
    dxs, _ = OPS["concat"].backward({}, saved, (dy,), (True,) * len(xs))
    for x, part, dx in zip(xs, parts, dxs, strict=True):
        np.testing.assert_array_equal(part, x)
        np.testing.assert_array_equal(dx, x)
    assert OPS["concat"].shape(*(ArraySpec((width,)) for width in widths)) == (ArraySpec((sum(widths),)),)
    assert OPS["split"].shape(ArraySpec((sum(widths),)), sizes=widths) == tuple(ArraySpec((w,)) for w in widths)


@pytest.mark.parametrize(("name", "options"), [("concat", {}), ("select", {"index": 1}), ("pad", {"units": 9})])
def test_what_is_saved_takes_no_memory_and_can_be_gathered(name, options):
    op, xs = OPS[name], [numbered(3, 2), numbered(3, 4)][: 1 if name == "pad" else 2]
    _, saved = op.forward({}, *xs, **options)
    assert sum(array.nbytes for array in saved) == 0
    gathered = tuple(np.concatenate([array[2:], array[:1]]) for array in saved)
    (y,), _ = op.forward({}, *(x[[2, 0]] for x in xs), **options)
    dxs, _ = op.backward({}, gathered, (y,), (True,) * len(xs), **options)
    assert [dx.shape for dx in dxs] == [(2, x.shape[1]) for x in xs]


def test_select_passes_on_the_very_array_and_gives_the_others_zeros():
    h, c = numbered(2, 3), numbered(2, 4)
    (y,), saved = OPS["select"].forward({}, h, c, index=0)
    assert y is h
    (dh, dc), _ = OPS["select"].backward({}, saved, (h,), (True, True), index=0)
    assert dh is h
    assert dc.shape == c.shape
    assert not dc.any()


def test_outputs_and_gradients_are_arrays_of_their_own():
    x = numbered(2, 5)
    parts, _ = OPS["split"].forward({}, x, sizes=[2, 3])
    _, saved = OPS["concat"].forward({}, *parts)
    dxs, _ = OPS["concat"].backward({}, saved, (x,), (True, True))
    for array in (*parts, *dxs):
        assert array.flags.c_contiguous
        assert not np.shares_memory(array, x)


def test_pad_appends_zeros():
    (y,), saved = OPS["pad"].forward({}, np.array([[1, 2], [3, 4]], np.float32), units=4)
    assert y.tolist() == [[1, 2, 0, 0], [3, 4, 0, 0]]
    (dx,), _ = OPS["pad"].backward({}, saved, (y,), (True,), units=4)
    assert dx.tolist() == [[1, 2], [3, 4]]


def test_values_without_bounds_pass_as_they_are():
    x = np.array([[np.inf, -0.0, np.nan, np.finfo(np.float32).max]], np.float32)
    (y,), _ = OPS["concat"].forward({}, x, x)
    parts, _ = OPS["split"].forward({}, y, sizes=[4, 4])
    assert [part.tobytes() for part in parts] == [x.tobytes()] * 2


@pytest.mark.parametrize(
    ("name", "specs", "options", "text"),
    [
        ("concat", [], {}, "at least 1 input, not 0"),
        (
            "concat",
            [((3,), "float32"), ((2,), "int64")],
            {},
            r"concat takes floats.*int64\[rows, 2\]: flatten or embed",
        ),
        ("concat", [((3,), "float32"), ((2, 2), "float32")], {}, r"not float32\[rows, 2, 2\]: flatten"),
        (
            "concat",
            [((3,), "float32"), ((2,), "float64")],
            {},
            r"float32\[rows, 3\] and float64\[rows, 2\].*make them one",
        ),
        ("split", [((5,), "float32")], {"sizes": [2, 2]}, r"\[2, 2\] are 4 in all, and float32\[rows, 5\] is 5 wide"),
        ("split", [((5,), "float32")], {"sizes": [6, -1]}, "make them fit"),
        ("split", [((0,), "float32")], {"sizes": []}, "make them fit"),
        ("split", [((5,), "int64")], {"sizes": [5]}, "split takes floats"),
        ("select", [((5,), "float32")], {"index": 1}, "index 1 is not in 0 to 0: there are 1 inputs"),
        ("select", [((5,), "float32")], {"index": -1}, "index -1 is not"),
        ("pad", [((5,), "float32")], {"units": 4}, r"float32\[rows, 5\] is wider than 4 units: give it at least 5"),
        ("pad", [((), "int64")], {"units": 4}, r"pad takes floats.*int64\[rows\]"),
    ],
)
def test_what_does_not_fit_is_told_with_its_cure(name, specs, options, text):
    with pytest.raises(ValueError, match=text):
        OPS[name].shape(*(ArraySpec(shape, dtype) for shape, dtype in specs), **options)
