"""Where links are: which vertices of the network are connected, and which way leads from one to another. Pure.

Vertices are numbers here: the n devices are 0 to n - 1 in their order, the controller is n, and what else there is
(switches) comes behind. A way has the fewest links that there are; of equals it is always the same one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isqrt
from typing import Literal

TopologyName = Literal["switch", "full", "ring", "mesh", "torus", "links"]


class Topology(ABC):
    """Which vertices are connected. Every connection is a pair of links, one each way."""

    @abstractmethod
    def path(self, source: int, destination: int) -> list[int] | None:
        """The vertices on the way between two different ones, both ends included; None if there is no way."""

    @property
    @abstractmethod
    def pairs(self) -> int:
        """How many pairs of links there are."""


@dataclass(frozen=True)
class Full(Topology):
    """Each two of the `vertices` (devices and controller) are connected."""

    vertices: int

    def path(self, source: int, destination: int) -> list[int]:
        return [source, destination]

    @property
    def pairs(self) -> int:
        return self.vertices * (self.vertices - 1) // 2


@dataclass(frozen=True)
class Star(Topology):
    """Devices and controller, numbers 0 to `centre` - 1, are connected to a switch: vertex `centre`."""

    centre: int

    def path(self, source: int, destination: int) -> list[int]:
        if self.centre in (source, destination):
            return [source, destination]
        return [source, self.centre, destination]

    @property
    def pairs(self) -> int:
        return self.centre


@dataclass(frozen=True)
class Grid(Topology):
    """`rows` x `columns` devices, row by row, each connected to its neighbours; device 0 also to the controller.

    If the grid `wraps`, the ends of each row and of each column are neighbours: a torus, or with one row a ring. A way
    goes along the row first, then along the column; round a torus the shorter way, of equals the ascending one.
    """

    rows: int
    columns: int
    wraps: bool

    def path(self, source: int, destination: int) -> list[int]:
        controller = self.rows * self.columns
        if source == controller:
            return [controller, *self._walk(0, destination)]
        if destination == controller:
            return [*self._walk(source, 0), controller]
        return self._walk(source, destination)

    @property
    def pairs(self) -> int:
        along_rows = self.rows * self._pairs_of_a_line(self.columns)
        along_columns = self.columns * self._pairs_of_a_line(self.rows)
        return along_rows + along_columns + 1  # the controller's

    def _walk(self, source: int, destination: int) -> list[int]:
        row, column = divmod(source, self.columns)
        to_row, to_column = divmod(destination, self.columns)
        path = [source]
        path += (row * self.columns + at for at in self._line(column, to_column, self.columns))
        path += (at * self.columns + to_column for at in self._line(row, to_row, self.rows))
        return path

    def _line(self, start: int, end: int, length: int) -> Iterator[int]:
        """The places on a line of so many vertices that lead from `start`, not included, to `end`."""
        step, steps = (1, end - start) if end >= start else (-1, start - end)
        if self.wraps:
            ascending = (end - start) % length
            step, steps = (1, ascending) if 2 * ascending <= length else (-1, length - ascending)
        return ((start + step * taken) % length for taken in range(1, steps + 1))

    def _pairs_of_a_line(self, length: int) -> int:
        # Two vertices that are neighbours both ways round are connected once.
        return length if self.wraps and length > 2 else length - 1


class Listed(Topology):
    """Any connections, as listed; a way is found breadth-first, neighbours in the order of the list.

    Every vertex passes on what is not for itself: devices and the controller as well as switches.
    """

    def __init__(self, vertices: int, connections: Iterable[tuple[int, int]]) -> None:
        self._neighbours: list[list[int]] = [[] for _ in range(vertices)]
        for one, other in connections:
            self._neighbours[one].append(other)
            self._neighbours[other].append(one)

    def path(self, source: int, destination: int) -> list[int] | None:
        came_from = {source: source}
        frontier = deque([source])
        while frontier and destination not in came_from:
            vertex = frontier.popleft()
            for neighbour in self._neighbours[vertex]:
                if neighbour not in came_from:
                    came_from[neighbour] = vertex
                    frontier.append(neighbour)
        if destination not in came_from:
            return None
        path = [destination]
        while path[-1] != source:
            path.append(came_from[path[-1]])
        return path[::-1]

    @property
    def pairs(self) -> int:
        return sum(map(len, self._neighbours)) // 2


def nearest_to_a_square(devices: int) -> tuple[int, int]:
    """Rows and columns of a grid of so many devices: of all factorisations with rows <= columns the last."""
    rows = next(rows for rows in range(isqrt(devices), 0, -1) if devices % rows == 0)
    return rows, devices // rows
