"""Batches of messages as packets of the wire, and back, with everything checked on the way in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ampsim.ir.batch import BACKWARD, FORWARD, Batch, Direction, single_rows
from ampsim.ir.graph import CONTROLLER, Graph, Target
from ampsim.ir.node import Payload
from ampsim.ir.structure import StructureBatch
from ampsim.ops.table import Array, ArraySpec
from ampsim.runtime.schedule import Order
from ampsim.runtime.wire import Packet, WireError

MESSAGES = "messages"
"""The kind of a bundle that carries batches."""

ORDER = "order"
"""The kind of a bundle that appends to a device's order of work."""

REPORT = Target(CONTROLLER, 0, FORWARD)
"""Where loss nodes send their figures."""

_INT64 = np.dtype(np.int64)
_FIGURES: Payload = (ArraySpec((3,), "float64"),)


def to_packet(target: Target, batch: Batch) -> Packet:
    """Address (node, port, direction); arrays: states, row counts, payload."""
    return Packet(target, (batch.states, batch.rows, *batch.payload))


class PacketReader:
    """Batches out of packets for the nodes of `here`, with everything checked."""

    def __init__(self, graph: Graph, here: Collection[str]) -> None:
        self._graph, self._here = graph, here
        self._fields = len(graph.schema.fields)
        self._takes: dict[tuple[str | int, ...], tuple[Target, list[tuple[np.dtype[Any], tuple[int, ...]]]]] = {}

    def read(self, packet: Packet) -> tuple[Target, Batch]:
        """The batch in a packet. Raises WireError unless it is for a node that is here and fits its port."""
        address, arrays = packet
        target, expected = self._takes.get(address) or self._look_up(address)
        if len(arrays) != 2 + len(expected):
            raise self._misfit(target, arrays)
        states, rows, *payload = arrays
        shape = states.shape
        count = shape[0] if shape else 0
        if not _is_int64(states) or shape != (count, self._fields) or count == 0:
            raise WireError(f"states int64[n, {self._fields}] expected, found {states.dtype}{shape}")
        if not _is_int64(rows) or rows.shape != (count,):
            raise _misfit_rows(count, rows)
        if count == 1:
            least = total = rows.item(0)
        else:
            counts = rows.tolist()
            least, total = min(counts), sum(counts)
        if least < 1:
            raise _misfit_rows(count, rows)
        if total == count:
            rows = single_rows(count)
        elif target is REPORT:
            raise WireError(f"one row of figures for each of {count} states expected, found {total} rows")
        for array, (dtype, row) in zip(payload, expected, strict=True):
            if (array.dtype is not dtype and array.dtype != dtype) or array.shape != (total, *row):
                raise self._misfit(target, arrays)
        return target, Batch(states, rows, tuple(payload))

    def _look_up(self, address: tuple[str | int, ...]) -> tuple[Target, list[tuple[np.dtype[Any], tuple[int, ...]]]]:
        """The target at an address, and what its payload is to be; remembered, since there are only so many."""
        target = _target(address)
        if target.node not in self._here:
            raise WireError(f"node {target.node!r} is not hosted here")
        expected = _expected(target, self._graph)
        if expected is None:
            raise WireError(
                f"node {target.node} has no port {target.port} for {target.direction.name.lower()} messages"
            )
        if target == REPORT:
            target = REPORT
        takes = target, [(np.dtype(spec.dtype), spec.shape) for spec in expected]
        self._takes[address] = takes
        return takes

    def _misfit(self, target: Target, arrays: Sequence[Array]) -> WireError:
        if len(arrays) < 2:
            return WireError("a batch has at least its states and row counts")
        takes = ", ".join(map(str, _expected(target, self._graph) or ())) or "no payload"
        found = [(array.dtype.name, array.shape) for array in arrays[2:]]
        return WireError(f"{target.node} takes {takes} for {arrays[1].sum()} rows, found {found}")


def structures_to_packet(structures: StructureBatch) -> Packet:
    """Address: how many names there are, and the names; arrays: instances, lengths, values."""
    names, *arrays = structures
    return Packet((len(names), *names), tuple(arrays))


def is_structure(packet: Packet) -> bool:
    """Whether a packet carries instances' structures: its address begins with a number."""
    return bool(packet.address) and isinstance(packet.address[0], int)


def structures_from_packet(packet: Packet) -> StructureBatch:
    """The structures in a packet. Raises WireError unless its arrays fit each other and the names."""
    names = tuple(map(str, packet.address[1:]))
    shapes = [(array.dtype.name, array.ndim) for array in packet.arrays]
    if shapes != [("int64", 1), ("int64", 2), ("int64", 1)] or len(set(names)) != len(names):
        raise WireError(f"structures are instances int64[n], lengths int64[n, names], values int64[k], found {shapes}")
    instances, lengths, values = packet.arrays
    if lengths.shape != (len(instances), len(names)) or not len(instances):
        raise WireError(f"{len(instances)} instances and {len(names)} names do not fit lengths {lengths.shape}")
    if instances.min() < 0 or len(np.unique(instances)) != len(instances):
        raise WireError(f"each instance has one structure, found those of {instances.tolist()}")
    if (lengths < -1).any() or np.maximum(lengths, 0).sum() != len(values):
        raise WireError(f"lengths {lengths.tolist()} do not add up to {len(values)} values")
    return StructureBatch(names, instances, lengths, values)


def order_to_packet(order: Order) -> Packet:
    """Address: nothing; arrays: turns, parts."""
    return Packet((), (order.turns, order.parts))


def order_from_packet(packet: Packet) -> Order:
    """The order in a packet. Raises WireError unless it has the form of one."""
    shapes = [(array.dtype.name, array.ndim, array.shape[-1:]) for array in packet.arrays]
    if shapes != [("int32", 2, (2,)), ("int32", 2, (3,))]:
        raise WireError(f"an order is turns int32[k, 2] and parts int32[m, 3], found {shapes}")
    return Order(*packet.arrays)


def parameter_packets(values: Mapping[str, Array]) -> list[Packet]:
    """A packet for each parameter, addressed by its name."""
    return [Packet((name,), (value,)) for name, value in values.items()]


def parameters_from_packets(packets: Iterable[Packet]) -> dict[str, Array]:
    """The parameters by name."""
    return {str(packet.address[0]): packet.arrays[0] for packet in packets}


def _target(address: tuple[str | int, ...]) -> Target:
    match address:
        case (str(node), int(port), int(direction)) if direction in Direction.__members__.values():
            return Target(node, port, Direction(direction))
    raise WireError(f"no node, port and direction: {address!r}")


def _expected(target: Target, graph: Graph) -> Payload | None:
    if target == REPORT:
        return _FIGURES
    if target.node == CONTROLLER:
        known = target.direction is BACKWARD and 0 <= target.port < len(graph.entries)
        return () if known else None
    return graph.payload(target)


def _is_int64(array: Array) -> bool:
    # There is one object for it as a rule, and comparing costs more.
    return array.dtype is _INT64 or array.dtype == _INT64


def _misfit_rows(count: int, rows: Array) -> WireError:
    return WireError(f"row counts int64[{count}] of at least 1 expected, found {rows.dtype}{rows.shape}")
