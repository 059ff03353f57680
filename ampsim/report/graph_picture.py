"""What a picture of a placed graph shows: boxes for nodes, one cluster for each device, and links between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from ampsim.config.load import PlacedDevice
from ampsim.ir.graph import CONTROLLER, Graph, Port
from ampsim.ir.loss import LossSpec
from ampsim.ir.node import NodeSpec
from ampsim.ir.op_node import OpSpec
from ampsim.ir.transform import TransformSpec


class Colour(Enum):
    """What a box is filled by: whether its node learns, computes, routes, or is the loss."""

    INPUT = "input"
    LEARNS = "learns"
    COMPUTES = "computes"
    ROUTES = "routes"
    LOSS = "loss"


@dataclass(frozen=True)
class Box:
    """A node, or an input of the controller: its name, and the lines below it (`PPT linear`, `615,440 parameters`)."""

    key: str
    name: str
    lines: tuple[str, ...]
    colour: Colour


@dataclass(frozen=True)
class Link:
    """An edge between the boxes of two keys; `lines` has its arrays (`float32[rows, 784]`).

    `injected`: it comes from the controller. `crosses`: it leads from one device to another. `back`: it closes a loop.
    """

    source: str
    target: str
    lines: tuple[str, ...]
    injected: bool = False
    crosses: bool = False
    back: bool = False


@dataclass(frozen=True)
class Cluster:
    """A device (`d0 (cpu-core)`) and the boxes of its nodes; there may be none."""

    title: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Picture:
    """A graph, ready to be drawn: in each part the order is that of the graph."""

    title: str
    inputs: tuple[Box, ...]
    clusters: tuple[Cluster, ...]
    links: tuple[Link, ...]


def picture(title: str, graph: Graph, devices: Mapping[str, PlacedDevice]) -> Picture:
    """The picture of a graph of which `devices` host all nodes, each node once."""
    inputs = tuple(Box(_input_key(number), name, ("input",), Colour.INPUT) for number, name in enumerate(graph.entries))
    clusters = tuple(
        Cluster(str(device), tuple(_box(graph.nodes[name]) for name in device.nodes)) for device in devices.values()
    )
    hosts = {node: name for name, device in devices.items() for node in device.nodes}
    order = {node: place for place, node in enumerate(graph.nodes)}
    links: list[Link] = []
    for source, target in sorted(graph.edges.items(), key=lambda edge: (order.get(edge[0].node, -1), edge)):
        arrays = _arrays(graph, source, target)
        if source.node == CONTROLLER:
            links.append(Link(_input_key(source.number), target.node, arrays, injected=True))
        else:
            crosses, back = hosts[source.node] != hosts[target.node], order[source.node] >= order[target.node]
            links.append(Link(source.node, target.node, arrays, crosses=crosses, back=back))
    return Picture(title, inputs, clusters, tuple(links))


def kind(spec: NodeSpec) -> str:
    """What a node is called in the paper: PPT or NPT (a payload transform with or without parameters), Phi, ..."""
    if isinstance(spec, TransformSpec):
        return "PPT" if spec.parameterised else "NPT"
    return type(spec).__name__.removesuffix("Spec")


def _box(spec: NodeSpec) -> Box:
    if isinstance(spec, LossSpec):
        return Box(spec.name, spec.name, (f"{kind(spec)} {spec.op.name}",), Colour.LOSS)
    if not isinstance(spec, OpSpec):
        return Box(spec.name, spec.name, (kind(spec),), Colour.ROUTES)
    lines = [f"{kind(spec)} {spec.op.name}"]
    if spec.parameterised:
        lines.append(f"{spec.parameter_values:,} parameters")
    return Box(spec.name, spec.name, tuple(lines), Colour.LEARNS if spec.parameterised else Colour.COMPUTES)


def _arrays(graph: Graph, source: Port, target: Port) -> tuple[str, ...]:
    """The arrays that an edge carries, a line each; before the first, by which of several output ports it leaves."""
    first, *others = [str(array) for array in graph.nodes[target.node].inputs[target.number]] or ["no arrays"]
    several = source.node != CONTROLLER and len(graph.nodes[source.node].outputs) > 1
    return (f"{source.number}: {first}" if several else first, *others)


def _input_key(number: int) -> str:
    """No node is called so: a name has no dot."""
    return f"{CONTROLLER}.{number}"
