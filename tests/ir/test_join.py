from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.ir.store import DuplicateState, Join


def message(keys, rows, port):
    """States, keys, rows and payload: each value says of which key, row and port it is."""
    values = [(key, row, port) for key, count in zip(keys, rows, strict=True) for row in range(count)]
    return np.array(keys)[:, None], list(keys), np.array(rows), (np.array(values),)


@given(
    ports=st.integers(2, 4),
    rows=st.lists(st.integers(1, 3), min_size=1, max_size=8),
    random=st.randoms(use_true_random=False),
)
def test_every_state_completes_once_in_whatever_order_its_ports_come(ports, rows, random):
    join, completed = Join(ports), Counter()
    pending = {port: random.sample(range(len(rows)), len(rows)) for port in range(ports)}
    while any(pending.values()):
        port = random.choice([port for port, keys in pending.items() if keys])
        keys = [pending[port].pop() for _ in range(random.randrange(1, len(pending[port]) + 1))]
        joined = join.add(port, *message(keys, [rows[key] for key in keys], port))
        missing = [key for key in range(len(rows)) if any(key in keys for keys in pending.values())]
        done = set(range(len(rows))) - set(missing)
        if joined is not None:
            completed.update(joined.keys)
            expected = [(key, row) for key in joined.keys for row in range(rows[key])]
            assert joined.states[:, 0].tolist() == joined.keys
            assert joined.rows.tolist() == [rows[key] for key in joined.keys]
            for port, array in enumerate(joined.arrays):
                assert array.tolist() == [[*value, port] for value in expected]
        assert set(completed) == done
    assert set(completed.values()) == {1}
    assert join.waiting() == []
    assert join.size_bytes == 0


def test_what_waits_is_told_once_for_each_state():
    join = Join(3)
    assert join.add(0, *message([4, 5], [1, 1], 0)) is None
    assert join.add(2, *message([5], [1], 2)) is None
    assert sorted(join.waiting()) == [4, 5]
    assert join.size_bytes > 0


def test_a_node_of_one_port_waits_for_nothing_and_copies_nothing():
    join = Join(1)
    states, keys, rows, (array,) = message([2, 1], [1, 2], 0)
    joined = join.add(0, states, keys, rows, (array,))
    assert joined.arrays[0] is array
    assert joined.states is states
    assert (join.waiting(), join.size_bytes) == ([], 0)


def test_messages_of_one_state_with_different_rows_are_refused_with_both_numbers():
    join = Join(2)
    join.add(0, *message([1], [2], 0))
    with pytest.raises(ValueError, match=r"\[2\] rows on port 0 and \[3\] on port 1"):
        join.add(1, *message([1], [3], 1))


def test_a_state_that_comes_twice_on_one_port_is_refused():
    join = Join(2)
    join.add(0, *message([1], [2], 0))
    with pytest.raises(DuplicateState, match="1"):
        join.add(0, *message([1], [2], 0))
