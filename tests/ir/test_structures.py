"""The table of structures: any instances come and go, and every look-up gives what a dictionary would."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.ir.structure import StructureTable, stack

NAMES = ("parent", "side", "nodes")


def structure(random, longest):
    """Arrays of any length for some of the names."""
    names = random.sample(NAMES, random.randrange(1, len(NAMES) + 1))
    return {name: np.array([random.randrange(1000) for _ in range(random.randrange(longest))], int) for name in names}


@given(st.builds(Random, st.integers(0, 2**32)), st.sampled_from([4, 40, 400]))
def test_what_is_looked_up_is_what_was_added_however_instances_come_and_go(random, longest):
    table, naive = StructureTable(), {}
    for instance in range(40):
        naive[instance] = structure(random, longest)
        table.add(stack({instance: naive[instance]}))
        while len(naive) > random.randrange(1, 20):
            gone = random.choice(sorted(naive))
            del naive[gone]
            table.drop(gone)
        assert len(table) == len(naive)
        name = random.choice(NAMES)
        having = [one for one in naive if len(naive[one].get(name, ()))]
        if having:
            asked = [random.choice(having) for _ in range(5)]
            index = np.array([random.randrange(len(naive[one][name])) for one in asked])
            states = np.stack([asked, index], axis=1)
            expected = [naive[one][name][at] for one, at in zip(asked, index, strict=True)]
            assert table.of(states).at(name, index).tolist() == expected


@given(st.builds(Random, st.integers(0, 2**32)), st.integers(1, 200))
def test_those_that_travel_together_are_added_together(random, count):
    """Numbers far apart too, of which many would share a slot."""
    structures = {instance: structure(random, 5) for instance in random.sample(range(0, 100_000, 16), count)}
    table = StructureTable(structures)
    assert len(table) == count
    for instance, arrays in structures.items():
        for name, array in arrays.items():
            states = np.full((len(array), 1), instance)
            assert table.of(states).at(name, np.arange(len(array))).tolist() == array.tolist()
        for name in {*NAMES} - {*arrays}:
            with pytest.raises(LookupError, match=f"no array '{name}'"):
                table.of(np.array([[instance]])).at(name, 0)


def test_one_index_may_serve_all_messages():
    table = StructureTable({3: {"nodes": np.array([7])}, 5: {"nodes": np.array([9])}})
    assert table.of(np.array([[5, 0], [3, 1], [5, 2]])).at("nodes", 0).tolist() == [9, 7, 9]


def test_memory_is_used_again():
    table = StructureTable()
    for instance in range(10_000):
        table.add(stack({instance: {"parent": np.arange(50)}}))
        table.drop(instance - 10)
    assert len(table) == 10
    assert table.size_bytes < 100_000


@pytest.mark.parametrize(
    ("instance", "name", "index", "message"),
    [
        (4, "nodes", 0, "the structure of instance 4 is not here"),
        (3, "knots", 0, "no array 'knots': there are nodes, parent"),
        (5, "parent", 0, "no array 'parent': there are nodes, parent"),
        (3, "parent", 2, "parent has 2 values, and number 2 was asked for"),
        (3, "parent", -1, "parent has 2 values, and number -1 was asked for"),
    ],
)
def test_what_is_not_there_is_told(instance, name, index, message):
    table = StructureTable({3: {"nodes": np.array([2]), "parent": np.array([1, 0])}, 5: {"nodes": np.array([1])}})
    with pytest.raises(LookupError, match=message):
        table.of(np.array([[instance, 0]])).at(name, np.array([index]))


def test_what_is_dropped_is_gone_and_dropping_it_again_does_nothing():
    table = StructureTable({3: {"nodes": np.array([2])}})
    table.drop(3)
    table.drop(3)
    assert 3 not in table
    with pytest.raises(LookupError, match="instance 3"):
        table.of(np.array([[3]])).at("nodes", 0)
