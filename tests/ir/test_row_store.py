from __future__ import annotations

from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.ir.store import LARGE_BATCH, DuplicateState, RowStore, UnknownState


def each(tags, keys):
    """The tag of each key, of tags that may be one for all."""
    return np.broadcast_to(tags, len(keys)).tolist()


def two_arrays(rows: int, start: int = 0):
    numbers = np.arange(start, start + rows)
    return np.stack([numbers, -numbers], axis=1).astype(np.float32), numbers


def slices(rows, arrays):
    stops = np.cumsum(rows)
    return [[array[stop - count : stop].tolist() for array in arrays] for count, stop in zip(rows, stops, strict=True)]


@st.composite
def makeups(draw, most: int = 3 * LARGE_BATCH):
    """Keys in one order and cut into batches, and again in another order with other cuts."""
    keys = draw(st.lists(st.integers(0, 2**62), min_size=1, max_size=most, unique=True))

    def cut(keys):
        cuts = sorted(draw(st.sets(st.integers(1, len(keys)))) | {0, len(keys)})
        return [keys[start:stop] for start, stop in pairwise(cuts)]

    return cut(keys), cut(draw(st.permutations(keys)))


@given(makeups(), st.randoms(use_true_random=False))
def test_what_is_taken_in_any_make_up_is_what_a_dictionary_of_slices_would_give(makeup, random):
    store, naive, start = RowStore(), {}, 0
    puts, takes = makeup
    for tag, keys in enumerate(puts):
        rows = np.array([random.randrange(1, 4) for _ in keys])
        arrays = two_arrays(rows.sum(), start)
        start += rows.sum()
        store.put(keys, rows, arrays, tag)
        naive.update((key, (piece, tag)) for key, piece in zip(keys, slices(rows, arrays), strict=True))
    assert len(store) == len(naive)
    assert list(store) == list(naive)
    for keys in takes:
        rows, arrays, tags = store.take(keys)
        pieces = slices(rows, arrays)
        assert list(zip(pieces, each(tags, keys), strict=True)) == [naive[key] for key in keys]
        assert not any(key in store for key in keys)
    assert (len(store), store.size_bytes) == (0, 0)


def test_a_block_that_comes_out_whole_is_not_copied():
    store, (values, numbers) = RowStore(), two_arrays(6)
    store.put([7, 3, 5], np.array([1, 2, 3]), (values, numbers))
    rows, (same_values, same_numbers), _ = store.take([7, 3, 5])
    assert np.shares_memory(values, same_values)
    assert np.shares_memory(numbers, same_numbers)
    assert rows.tolist() == [1, 2, 3]


@pytest.mark.parametrize("keys", [[3, 7, 5], [7, 3], [7, 3, 5, 9]])
def test_any_other_make_up_of_a_block_is_gathered_in_the_order_asked_for(keys):
    store, (values, numbers) = RowStore(), two_arrays(6)
    store.put([7, 3, 5], np.array([1, 2, 3]), (values, numbers))
    store.put([9], np.array([1]), two_arrays(1, 6))
    held = {7: [0], 3: [1, 2], 5: [3, 4, 5], 9: [6]}
    rows, (_, gathered), _ = store.take(keys)
    assert gathered.tolist() == [number for key in keys for number in held[key]]
    assert rows.tolist() == [len(held[key]) for key in keys]


def test_size_is_that_of_the_messages_that_are_kept():
    store = RowStore()
    first, second = two_arrays(4), two_arrays(2)
    sizes = [sum(array.nbytes for array in arrays) for arrays in (first, second)]
    store.put([1, 2], np.array([2, 2]), first)
    store.put([3], np.array([2]), second)
    assert store.size_bytes == sum(sizes)
    store.take([1])
    assert store.size_bytes == sizes[0] // 2 + sizes[1]
    store.take([2])
    assert store.size_bytes == sizes[1]
    store.take([3])
    assert store.size_bytes == 0


@given(makeups(), st.randoms(use_true_random=False))
def test_on_shapes_alone_rows_are_kept_as_with_arrays(makeup, random):
    (values, numbers), puts, takes = two_arrays(1), *makeup
    store, counts = RowStore(), RowStore(values.nbytes + numbers.nbytes)
    for tag, keys in enumerate(puts):
        rows = np.array([random.randrange(2, 4) for _ in keys])
        store.put(keys, rows, two_arrays(rows.sum()), tag)
        counts.put(keys, rows, (), tag)
        assert (list(counts), counts.size_bytes) == (list(store), store.size_bytes)
        assert counts.holds([keys[0], -1]).tolist() == [True, False]
    for keys in takes:
        (rows, _, tags), (counted, arrays, counted_tags) = store.take(keys), counts.take(keys)
        assert (counted.tolist(), arrays) == (rows.tolist(), ())
        assert each(counted_tags, keys) == each(tags, keys)
        assert counts.size_bytes == store.size_bytes
    assert (list(counts), counts.size_bytes) == ([], 0)


def test_on_shapes_alone_a_state_is_refused_as_with_arrays():
    shapes = RowStore(8, 4)
    shapes.put([1, 2], np.array([1, 1]), ())
    assert shapes.size_bytes == 24
    with pytest.raises(DuplicateState, match="2"):
        shapes.put([2], np.array([1]), ())
    with pytest.raises(UnknownState, match="7"):
        shapes.take([1, 7])


LARGE = list(range(100, 100 + LARGE_BATCH))


def test_a_large_batch_comes_out_whole_in_parts_or_with_others():
    for taken in (LARGE, LARGE[::-1], LARGE[:5], [*LARGE, 7], [7]):
        store, arrays = RowStore(), two_arrays(LARGE_BATCH)
        store.put(LARGE, np.ones(LARGE_BATCH, int), arrays, 3)
        store.put([7], np.array([1]), two_arrays(1, 50), 4)
        assert store.holds(LARGE).all()
        _, (_, numbers), tags = store.take(taken)
        assert numbers.tolist() == [50 if key == 7 else key - 100 for key in taken]
        assert each(tags, taken) == [4 if key == 7 else 3 for key in taken]
        assert list(store) == [key for key in [*LARGE, 7] if key not in taken]


@pytest.mark.parametrize(("first", "again"), [(LARGE, LARGE), (LARGE[:1], LARGE), (LARGE, LARGE[:1])])
def test_a_large_batch_that_begins_with_a_state_that_is_there_is_refused(first, again):
    store = RowStore()
    store.put(first, np.ones(len(first), int), ())
    with pytest.raises(DuplicateState, match="100"):
        store.put(again, np.ones(len(again), int), ())


def test_a_state_that_is_twice_in_large_batches_is_refused_once_they_are_looked_into():
    store = RowStore()
    store.put(LARGE, np.ones(LARGE_BATCH, int), ())
    store.put(LARGE[1:] + LARGE[1:2], np.ones(LARGE_BATCH, int), ())
    with pytest.raises(DuplicateState, match="101"):
        store.take(LARGE[2:])


@pytest.mark.parametrize("again", [[1], [4, 1], [5, 5]])
def test_a_state_that_is_kept_already_is_refused_by_its_key(again):
    store = RowStore()
    store.put([1, 2], np.array([1, 1]), two_arrays(2))
    with pytest.raises(DuplicateState, match=str(again[-1])):
        store.put(again, np.ones(len(again), int), two_arrays(len(again)))


def test_a_state_may_come_again_once_it_was_taken():
    store = RowStore()
    for start in (0, 10):
        store.put([1], np.array([1]), two_arrays(1, start))
        assert store.take([1])[1][1].tolist() == [start]


@pytest.mark.parametrize("keys", [[9], [1, 9], [1, 1]])
def test_a_state_of_which_nothing_is_kept_is_refused_by_its_key(keys):
    store = RowStore()
    store.put([1, 2], np.array([1, 1]), two_arrays(2))
    with pytest.raises(UnknownState, match=str(keys[-1])):
        store.take(keys)


@pytest.mark.parametrize("most_rows", [1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_what_is_kept_stays_right_however_much_comes_and_goes(seed, most_rows):
    """Batches of many sizes, messages taken from several at once, more than ever lie there at one time."""
    random, store, naive = Random(seed), RowStore(), {}
    for tag in range(200):
        keys = [1000 * tag + number for number in range(random.choice([1, 3, 20, 60]))]
        rows = np.array([random.randint(1, most_rows) for _ in keys])
        per_message = np.arange(len(keys)) + 1000 * tag
        arrays = (
            (*two_arrays(rows.sum(), 100 * tag), per_message) if most_rows > 1 else two_arrays(len(keys), 100 * tag)
        )
        if most_rows > 1 and len(keys) == rows.sum():
            continue  # which of the arrays have the rows could not be told
        store.put(keys, rows, arrays, tag)
        pieces = slices(rows, arrays[:2])
        naive.update((key, (pieces[i], per_message[i], tag)) for i, key in enumerate(keys))
        while len(naive) > random.randrange(150):
            taken = random.sample(sorted(naive), random.randint(1, len(naive)))
            rows, (values, numbers, *others), tags = store.take(taken)
            expected = [naive.pop(key) for key in taken]
            assert slices(rows, (values, numbers)) == [piece for piece, _, _ in expected]
            assert [array.tolist() for array in others] == ([[own for _, own, _ in expected]] if others else [])
            assert each(tags, taken) == [tag for _, _, tag in expected]
    assert sorted(store) == sorted(naive)
