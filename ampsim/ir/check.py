"""The rules that a whole graph must keep, beyond what each node checks of its own inputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from ampsim.ir.graph import CONTROLLER, Port


def structural_problems(
    inputs: Sequence[str], outputs: Mapping[str, int], connections: Sequence[tuple[Port, Port]]
) -> list[str]:
    """Every way in which the connections do not make a graph, one sentence each.

    `outputs` has the number of output ports of each sound node. Each input of the graph and each output port must
    lead to exactly one input port, since every forward message is answered by exactly one backward message.
    """
    readers: dict[Port, list[Port]] = defaultdict(list)
    for source, target in connections:
        readers[source].append(target)
    problems = []
    sources = [(Port(CONTROLLER, index), f"input {name!r}") for index, name in enumerate(inputs)]
    sources += [(Port(node, index), node) for node, count in outputs.items() for index in range(count)]
    for port, label in sources:
        targets = readers[port]
        if not targets:
            problems.append(f"{label} goes nowhere: connect it, or leave it out")
        elif len(targets) > 1:
            names = " and ".join(target.node for target in targets)
            problems.append(f"{label} goes to {names}, but an output leads to exactly one input")
    return problems
