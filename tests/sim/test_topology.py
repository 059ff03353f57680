"""Routes of every topology, against a breadth-first search over edges that are laid out here anew."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.sim.topology import Full, Grid, Listed, Star, Topology, nearest_to_a_square

Edges = set[frozenset[int]]


def edges_of(pairs: Iterable[tuple[int, int]]) -> Edges:
    return {frozenset(pair) for pair in pairs if pair[0] != pair[1]}


def grid_edges(rows: int, columns: int, wraps: bool) -> Edges:
    """The controller's, and those between devices whose places differ by one in one direction."""
    places = [(row, column) for row in range(rows) for column in range(columns)]
    edges = edges_of([(0, len(places))])
    for one, (row, column) in enumerate(places):
        for other, place in enumerate(places):
            down, right = abs(place[0] - row), abs(place[1] - column)
            if wraps:
                down, right = min(down, rows - down), min(right, columns - right)
            if down + right == 1:
                edges.add(frozenset((one, other)))
    return edges


def distances(edges: Edges, source: int) -> dict[int, int]:
    """The fewest links from `source` to every vertex that can be reached."""
    found, reached = {source: 0}, {source}
    while reached:
        reached = {end for edge in edges if edge & reached for end in edge} - found.keys()
        found.update(dict.fromkeys(reached, max(found.values()) + 1))
    return found


def check(topology: Topology, edges: Edges, vertices: int) -> None:
    """Each path runs over edges and is shortest; there is one wherever the vertices are connected."""
    assert topology.pairs == len(edges)
    for source in range(vertices):
        away = distances(edges, source)
        for destination in range(vertices):
            if source == destination:
                continue
            path = topology.path(source, destination)
            if destination not in away:
                assert path is None
                continue
            assert path is not None
            assert (path[0], path[-1]) == (source, destination)
            assert all(frozenset(step) in edges for step in pairwise(path))
            assert len(path) - 1 == away[destination]
            assert topology.path(source, destination) == path


@pytest.mark.parametrize("devices", range(1, 12))
def test_a_ring_is_connected_to_both_sides_and_its_first_device_to_the_controller(devices: int) -> None:
    around = [(device, (device + 1) % devices) for device in range(devices)]
    check(Grid(1, devices, wraps=True), edges_of([*around, (0, devices)]), devices + 1)


@pytest.mark.parametrize("wraps", [False, True])
@pytest.mark.parametrize("rows", range(1, 6))
@pytest.mark.parametrize("columns", range(1, 6))
def test_paths_in_a_mesh_and_a_torus_are_shortest(rows: int, columns: int, wraps: bool) -> None:
    check(Grid(rows, columns, wraps), grid_edges(rows, columns, wraps), rows * columns + 1)


def test_two_devices_are_connected_once_and_one_only_to_the_controller() -> None:
    assert [Grid(1, devices, wraps=True).pairs for devices in (1, 2, 3)] == [1, 2, 4]
    assert [Grid(2, columns, wraps=True).pairs for columns in (1, 2, 3)] == [2, 5, 10]
    assert Grid(1, 1, wraps=False).pairs == 1


@pytest.mark.parametrize("devices", range(1, 7))
def test_in_full_every_path_is_one_link_and_over_a_switch_two(devices: int) -> None:
    vertices = range(devices + 1)
    check(Full(devices + 1), edges_of((one, other) for one in vertices for other in vertices), devices + 1)
    check(Star(devices + 1), edges_of((one, devices + 1) for one in vertices), devices + 2)
    assert Star(devices + 1).path(0, devices) == [0, devices + 1, devices]


@st.composite
def listed(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    vertices = draw(st.integers(2, 9))
    end = st.integers(0, vertices - 1)
    pairs = st.tuples(end, end).filter(lambda pair: pair[0] != pair[1])
    return vertices, draw(st.lists(pairs, unique_by=frozenset, max_size=20))


@given(listed())
def test_paths_over_listed_links_are_shortest(case: tuple[int, list[tuple[int, int]]]) -> None:
    vertices, pairs = case
    check(Listed(vertices, pairs), edges_of(pairs), vertices)


def test_of_equally_long_ways_the_one_listed_first_is_taken() -> None:
    diamond = [(0, 1), (0, 2), (1, 3), (2, 3)]
    assert Listed(4, diamond).path(0, 3) == [0, 1, 3]
    assert Listed(4, [diamond[1], diamond[0], *diamond[2:]]).path(0, 3) == [0, 2, 3]
    assert Listed(4, diamond).path(3, 0) == [3, 1, 0]
    assert Listed(4, [*diamond[:2], diamond[3], diamond[2]]).path(3, 0) == [3, 2, 0]


def test_round_a_ring_the_shorter_way_is_taken_and_of_equals_the_ascending_one() -> None:
    ring = Grid(1, 6, wraps=True)
    assert ring.path(1, 3) == [1, 2, 3]
    assert ring.path(1, 5) == [1, 0, 5]
    assert ring.path(1, 4) == [1, 2, 3, 4]
    assert ring.path(4, 1) == [4, 5, 0, 1]
    assert ring.path(6, 3) == [6, 0, 1, 2, 3]
    assert ring.path(3, 6) == [3, 4, 5, 0, 6]


def test_a_grid_is_crossed_along_the_row_first() -> None:
    #   0  1  2  3
    #   4  5  6  7
    #   8  9 10 11
    mesh, torus = Grid(3, 4, wraps=False), Grid(3, 4, wraps=True)
    assert mesh.path(0, 11) == [0, 1, 2, 3, 7, 11]
    assert mesh.path(11, 0) == [11, 10, 9, 8, 4, 0]
    assert torus.path(0, 11) == [0, 3, 11]
    assert torus.path(0, 6) == [0, 1, 2, 6]
    assert torus.path(2, 4) == [2, 3, 0, 4]
    assert torus.path(12, 10) == [12, 0, 1, 2, 10]


@pytest.mark.parametrize(
    ("devices", "shape"),
    [(1, (1, 1)), (2, (1, 2)), (4, (2, 2)), (6, (2, 3)), (7, (1, 7)), (12, (3, 4)), (36, (6, 6)), (10_000, (100, 100))],
)
def test_a_grid_is_as_near_to_a_square_as_can_be(devices: int, shape: tuple[int, int]) -> None:
    assert nearest_to_a_square(devices) == shape


@given(st.integers(1, 3000))
def test_no_other_factorisation_is_nearer_to_a_square(devices: int) -> None:
    rows, columns = nearest_to_a_square(devices)
    assert rows * columns == devices
    assert rows <= columns
    assert not any(devices % more == 0 for more in range(rows + 1, columns) if more * more <= devices)
