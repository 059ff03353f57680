"""Batches of messages as packets of the wire, and back, with everything checked on the way in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from ampsim.ir.batch import Batch, Direction, single_rows
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

REPORT = Target(CONTROLLER, 0, Direction.FORWARD)
"""Where loss nodes send their figures."""

_FIGURES: Payload = (ArraySpec((3,), "float64"),)


def to_packet(target: Target, batch: Batch) -> Packet:
    """Address (node, port, direction); arrays: states, row counts, payload."""
    return Packet((target.node, target.port, int(target.direction)), (batch.states, batch.rows, *batch.payload))


def from_packet(packet: Packet, graph: Graph, here: Collection[str]) -> tuple[Target, Batch]:
    """The batch in a packet. Raises WireError unless it is for a node in `here` and fits its port."""
    target = _target(packet.address)
    if target.node not in here:
        raise WireError(f"node {target.node!r} is not hosted here")
    expected = _expected(target, graph)
    if expected is None:
        raise WireError(f"node {target.node} has no port {target.port} for {target.direction.name.lower()} messages")
    if len(packet.arrays) < 2:
        raise WireError("a batch has at least its states and row counts")
    states, rows, *payload = packet.arrays
    count = len(states) if states.ndim else 0
    if states.dtype != np.int64 or states.shape != (count, len(graph.schema.fields)) or count == 0:
        raise WireError(f"states int64[n, {len(graph.schema.fields)}] expected, found {states.dtype}{states.shape}")
    if rows.dtype != np.int64 or rows.shape != (count,) or int(rows.min()) < 1:
        raise WireError(f"row counts int64[{count}] of at least 1 expected, found {rows.dtype}{rows.shape}")
    total = sum(rows.tolist())
    if total == count:
        rows = single_rows(count)
    if target == REPORT and total != count:
        raise WireError(f"one row of figures for each of {count} states expected, found {total} rows")
    found = [(array.dtype.name, array.shape) for array in payload]
    if found != [(spec.dtype, (total, *spec.shape)) for spec in expected]:
        takes = ", ".join(map(str, expected)) or "no payload"
        raise WireError(f"{target.node} takes {takes} for {total} rows, found {found}")
    return target, Batch(states, rows, tuple(payload))


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
        known = target.direction is Direction.BACKWARD and 0 <= target.port < len(graph.inputs)
        return () if known else None
    return graph.payload(target)
