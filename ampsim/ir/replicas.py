"""A whole graph several times over: each copy answers some of the instances, and learns for all of them."""

from __future__ import annotations

from dataclasses import replace

from ampsim.ir.graph import CONTROLLER, Graph, Port
from ampsim.ir.node import NodeSpec
from ampsim.ir.op_node import OpSpec


def replicated(graph: Graph, copies: int, share: bool) -> Graph:
    """`graph` in `copies`, its node `name` as `name_0`, `name_1`, ..., which draw the same first parameters.

    The nodes of a copy follow each other, and so do its inputs among the controller's ports. With `share`, nodes that
    stand for one tell each other the gradient of each update, beside being averaged at the end of an epoch (PAPER.md,
    "Replicas"). 1 copy is the graph itself.
    """
    if copies == 1:
        return _sharing(graph) if share and graph.replicas else graph
    nodes = {f"{name}_{copy}": _copied(spec, copy) for copy in range(copies) for name, spec in graph.nodes.items()}
    inputs = len(graph.inputs)
    edges = {
        _moved(source, copy, inputs): _moved(target, copy, inputs)
        for copy in range(copies)
        for source, target in graph.edges.items()
    }
    grouped = {name for group in graph.replicas for name in group}
    alone = [(name,) for name, spec in graph.nodes.items() if spec.parameterised and name not in grouped]
    groups = tuple(
        tuple(f"{name}_{copy}" for copy in range(copies) for name in group) for group in (*graph.replicas, *alone)
    )
    whole = replace(graph, nodes=nodes, edges=edges, replicas=groups, copies=copies)
    return _sharing(whole) if share else whole


def _sharing(graph: Graph) -> Graph:
    siblings = {name: len(group) - 1 for group in graph.replicas for name in group}
    nodes = {
        name: replace(spec, siblings=siblings.get(name, 0)) if isinstance(spec, OpSpec) else spec
        for name, spec in graph.nodes.items()
    }
    return replace(graph, nodes=nodes, shares=True)


def _copied(spec: NodeSpec, copy: int) -> NodeSpec:
    name = f"{spec.name}_{copy}"
    if isinstance(spec, OpSpec):
        return replace(spec, name=name, draws_as=spec.draws_as or spec.name)
    return replace(spec, name=name)


def _moved(port: Port, copy: int, inputs: int) -> Port:
    if port.node == CONTROLLER:
        return Port(CONTROLLER, copy * inputs + port.number)
    return Port(f"{port.node}_{copy}", port.number)
