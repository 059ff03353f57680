"""The rules that a whole graph must keep, beyond what each node checks of its own inputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from ampsim.ir.graph import CONTROLLER, Port
from ampsim.ir.loop import LoopSpec
from ampsim.ir.node import NodeSpec
from ampsim.ir.routing import CondSpec, IsuSpec, PhiSpec

_FUNCTIONS = ("select", "over", "update", "inverse", "member", "children", "row_state")
_OPTIONAL = ("origin", "parent")
"""Functions that a node can do without."""


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
    return problems + _endless_loops(nodes, connections) + _unsound_functions(nodes)


def _unsound_functions(nodes: Mapping[str, NodeSpec]) -> list[str]:
    """What a control node is given in place of a function, and Isus whose inverse does not bring a state back."""
    problems = []
    for name, spec in nodes.items():
        roles = {role: getattr(spec, role) for role in _FUNCTIONS if hasattr(spec, role)}
        roles |= {role: function for role in _OPTIONAL if (function := getattr(spec, role, None)) is not None}
        missing = [role for role, function in roles.items() if not callable(function)]
        problems += [f"{name}: {role} must be a function, not {roles[role]!r}" for role in missing]
        if isinstance(spec, IsuSpec) and not missing:
            problems += [f"{name}: {fault}" for fault in _faults_of_inverse(spec)]
    return problems


def _faults_of_inverse(spec: IsuSpec) -> list[str]:
    """Try the functions on some states: every combination of small numbers in every field."""
    states = np.array(list(product(range(1, 4), repeat=len(spec.schema.fields))), np.int64)
    try:
        moved = spec.update(states.copy())
        back = spec.inverse(moved.copy())
    except Exception as error:
        return [f"trying update and inverse on states {states.dtype}{states.shape} raised {error!r}"]
    if np.shape(moved) != states.shape or (moved[:, 0] != states[:, 0]).any():
        return ["update must give a state for each state, of the same instance (the first field)"]
    if not np.array_equal(back, states):
        wrong = int(np.argmax((back != states).any(axis=1))) if np.shape(back) == states.shape else 0
        return [f"inverse does not undo update: the state {states[wrong].tolist()} does not come back"]
    return []


def _endless_loops(nodes: Mapping[str, NodeSpec], connections: Sequence[tuple[Port, Port]]) -> list[str]:
    """Phis that a message comes back to for ever: on some way round, nothing that chooses has a branch that leads
    elsewhere."""
    successors: dict[str, set[str]] = defaultdict(set)
    for source, target in connections:
        successors[source.node].add(target.node)
    return [
        f"{phi}: a message that enters this loop can never leave it: put a cond into it"
        for phi, spec in nodes.items()
        if isinstance(spec, PhiSpec | LoopSpec) and _is_endless(phi, nodes, successors)
    ]


def _is_endless(phi: str, nodes: Mapping[str, NodeSpec], successors: Mapping[str, set[str]]) -> bool:
    """Whether a message can come back to a Phi for ever: cut at the Conds and Loops that lead out of it, then at
    those that lead out of what is left (a loop inside a loop), some way round remains."""
    uncut = dict(successors)
    while True:
        round_trip = _reachable(phi, uncut) & _reachable(phi, _reversed(uncut))
        if phi not in round_trip or not round_trip <= nodes.keys():
            return False  # a node with a problem of its own may be the cond
        leaving = [
            name
            for name in round_trip
            if isinstance(nodes[name], CondSpec | LoopSpec) and successors[name] - round_trip
        ]
        if not leaving:
            return True
        for name in leaving:
            del uncut[name]


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
