from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.ir.batch import Batch, Direction, concatenate, total_rows
from ampsim.ir.state import Field, StateSchema


@st.composite
def schemas(draw):
    bits = draw(st.lists(st.integers(1, 20), min_size=1, max_size=4).filter(lambda bits: sum(bits) <= 63))
    return StateSchema(tuple(Field(f"f{index}", width) for index, width in enumerate(bits)))


def unpack(schema, key):
    """The fields of a packed key, told from its description."""
    return [int(part.split()[1]) for part in schema.describe(key).split(", ")]


@given(st.data())
def test_packing_keeps_every_field_and_describing_tells_them_all(data):
    schema = data.draw(schemas())
    state = st.tuples(*(st.integers(0, 2**field.bits - 1) for field in schema.fields))
    states = data.draw(st.lists(state, min_size=1, max_size=6))
    keys = schema.keys(np.array(states, np.int64))
    assert [tuple(unpack(schema, key)) for key in keys] == states
    assert all(type(key) is int and 0 <= key < 2**63 for key in keys)


def test_a_key_is_described_by_the_names_of_its_fields():
    schema = StateSchema((Field("instance", 40), Field("t", 8), Field("node", 8)))
    (key,) = schema.keys(np.array([[7, 3, 255]]))
    assert schema.describe(key) == "instance 7, t 3, node 255"
    assert StateSchema().describe(12) == "instance 12"


def test_packing_writes_to_no_state():
    states = np.array([[7, 3]])
    states.flags.writeable = False
    assert len(StateSchema((Field("instance", 8), Field("t", 8))).keys(states)) == 1


def test_fields_that_do_not_fit_into_one_integer_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match="64 bits together, and 63 is the most"):
        StateSchema((Field("instance", 40), Field("node", 24)))
    assert StateSchema((Field("instance", 40), Field("node", 23)))


def batch_of(rows, start=0):
    total = int(sum(rows))
    states = np.arange(start, start + len(rows))[:, None]
    numbers = np.arange(total) + 100 * start
    return Batch(states, np.array(rows, np.int64), (numbers.astype(np.float32), np.stack([numbers, -numbers], axis=1)))


def same(one: Batch, other: Batch) -> bool:
    pairs = zip((one.states, one.rows, *one.payload), (other.states, other.rows, *other.payload), strict=True)
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in pairs)


row_counts = st.lists(st.integers(1, 4), min_size=1, max_size=6)


@given(row_counts, st.data())
def test_what_was_split_concatenates_to_the_same_batch(rows, data):
    batch = batch_of(rows)
    messages = data.draw(st.integers(1, len(rows)))
    first, rest = batch.split(messages)
    assert (len(first), len(rest)) == (messages, len(rows) - messages)
    assert len(first.payload[0]) == sum(rows[:messages])
    assert first.size_bytes + rest.size_bytes == batch.size_bytes
    assert same(concatenate([first, rest]), batch)


@given(st.lists(row_counts, min_size=1, max_size=4))
def test_concatenating_keeps_every_message_and_their_order(parts):
    batches = [batch_of(rows, 10 * index) for index, rows in enumerate(parts)]
    whole = concatenate(batches)
    for batch in batches:
        first, whole = whole.split(len(batch))
        assert same(first, batch)
    assert len(whole) == 0


def test_a_single_batch_is_concatenated_without_a_copy():
    batch = batch_of([1, 2])
    assert concatenate([batch]) is batch


def test_answers_without_a_gradient_split_and_concatenate_too():
    batch = Batch(np.array([[1], [2]]), np.array([1, 3]), ())
    first, rest = batch.split(1)
    assert (first.payload, rest.payload, rest.rows.tolist()) == ((), (), [3])
    assert same(concatenate([first, rest]), batch)


def test_size_counts_states_row_counts_and_payload():
    batch = batch_of([2, 1])
    assert batch.size_bytes == 2 * 8 + 2 * 8 + 3 * 4 + 3 * 2 * 8


def test_directions_are_the_numbers_of_the_wire():
    assert [(direction.name, direction.value) for direction in Direction] == [
        ("FORWARD", 0),
        ("BACKWARD", 1),
        ("INFERENCE", 2),
        ("UPDATE", 3),
    ]


@given(st.lists(st.integers(1, 2**40), max_size=6))
def test_the_rows_of_some_messages_are_added_up(rows):
    found = total_rows(np.array(rows, np.int64))
    assert (type(found), found) == (int, sum(rows))
