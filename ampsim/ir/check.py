"""The rules that a whole graph must keep, beyond what each node checks of its own inputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from ampsim.ir.graph import CONTROLLER, Port
from ampsim.ir.node import NodeSpec
from ampsim.ir.routing import CondSpec, PhiSpec


def structural_problems(
    inputs: Sequence[str], nodes: Mapping[str, NodeSpec], connections: Sequence[tuple[Port, Port]]
) -> list[str]:
    """Every way in which nodes and connections do not make a graph, one sentence each.

    Each input of the graph and each output port must lead to exactly one input port, since every forward message is
    answered by exactly one backward message; and what goes round a loop must be able to leave it.
    """
    readers: dict[Port, list[Port]] = defaultdict(list)
    for source, target in connections:
        readers[source].append(target)
    problems = []
    sources = [(Port(CONTROLLER, number), f"input {name!r}") for number, name in enumerate(inputs)]
    for name, spec in nodes.items():
        count = len(spec.outputs)
        sources += [(Port(name, n), name if count == 1 else f"{name} (output {n})") for n in range(count)]
    for port, label in sources:
        targets = readers[port]
        if not targets:
            problems.append(f"{label} goes nowhere: connect it, or leave it out")
        elif len(targets) > 1:
            names = " and ".join(target.node for target in targets)
            problems.append(f"{label} goes to {names}, but an output leads to exactly one input: put a bcast between")
    return problems + _endless_loops(nodes, connections)


def _endless_loops(nodes: Mapping[str, NodeSpec], connections: Sequence[tuple[Port, Port]]) -> list[str]:
    """Phis that a message comes back to for ever: no Cond on the way round has a branch that leads elsewhere."""
    successors: dict[str, set[str]] = defaultdict(set)
    for source, target in connections:
        successors[source.node].add(target.node)
    problems = []
    for phi in (name for name, spec in nodes.items() if isinstance(spec, PhiSpec)):
        round_trip = _reachable(phi, successors) & _reachable(phi, _reversed(successors))
        if phi in round_trip and not any(
            isinstance(nodes.get(name), CondSpec) and successors[name] - round_trip for name in round_trip
        ):
            problems.append(f"{phi}: a message that enters this loop can never leave it: put a cond into it")
    return problems


def _reachable(start: str, successors: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    front = list(successors.get(start, ()))
    while front:
        name = front.pop()
        if name not in found:
            found.add(name)
            front += successors.get(name, ())
    return found


def _reversed(successors: Mapping[str, set[str]]) -> dict[str, set[str]]:
    predecessors: dict[str, set[str]] = defaultdict(set)
    for source, targets in successors.items():
        for target in targets:
            predecessors[target].add(source)
    return predecessors
