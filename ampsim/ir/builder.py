"""Builds a graph node by node, and checks it whole: every problem is collected and told at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from ampsim.errors import GraphError
from ampsim.ir.check import structural_problems
from ampsim.ir.fan import Children, FlatmapSpec, GroupSpec, Member, RowState, UngroupSpec
from ampsim.ir.graph import CONTROLLER, Graph, Port
from ampsim.ir.loop import LoopSpec
from ampsim.ir.loss import LossSpec
from ampsim.ir.node import NodeSpec, Payload, gradients_of
from ampsim.ir.parameters import DrawsAs
from ampsim.ir.routing import BcastSpec, CondSpec, IsuSpec, PhiSpec, Select, Update
from ampsim.ir.scan import ScanSpec
from ampsim.ir.state import Field, StateSchema
from ampsim.ir.structure import Structures
from ampsim.ir.transform import TransformSpec
from ampsim.ops import OPS
from ampsim.ops.table import Array, ArraySpec, Op

INSTANCE_BITS = 24
"""What a state must leave for the instance: some 16 million of them in a run."""

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Wire:
    """An output port while the graph is being built.

    `payload` has the specs of its arrays, or is None behind a node that has a problem of its own. `trainable`: some
    node upstream has parameters, so that a gradient is wanted here.
    """

    port: Port
    payload: Payload | None
    trainable: bool = False


class GraphBuilder:
    """Collects nodes and edges; `graph()` checks them all.

    `inputs` are the arrays that the controller injects, by name (`DataSpec.inputs`), `fields` the bits of each field
    of a state behind the instance (`DataSpec.fields`). Nothing raises before `graph()`, so that one run of the check
    names every problem.
    """

    def __init__(self, inputs: Mapping[str, ArraySpec], fields: Mapping[str, int] | None = None) -> None:
        others = tuple(Field(name, bits) for name, bits in (fields or {}).items())
        left = 63 - sum(field.bits for field in others)
        self._problems: list[str] = []
        if left < INSTANCE_BITS:
            self._problems.append(
                f"the fields of a state leave {left} bits for the instance, and it needs {INSTANCE_BITS}: shrink one"
            )
        self.schema = StateSchema((Field("instance", max(left, 1)), *(others if left > 0 else ())))
        self._inputs = {
            name: Wire(Port(CONTROLLER, index), (spec,)) for index, (name, spec) in enumerate(inputs.items())
        }
        self._nodes: dict[str, NodeSpec | None] = {}
        self._connections: list[tuple[Port, Port]] = []
        self._open: dict[str, int] = {}
        self._replicas: list[tuple[str, ...]] = []

    def input(self, name: str) -> Wire:
        """The wire on which the controller injects the input `name`."""
        if name in self._inputs:
            return self._inputs[name]
        self._problems.append(f"the data have no input {name!r}{_nearest(name, list(self._inputs))}")
        return Wire(Port(CONTROLLER, -1), None)

    def transform(
        self,
        name: str,
        op: str | Op,
        *inputs: Wire,
        gain: float = 1.0,
        draws_as: DrawsAs | None = None,
        **options: Any,
    ) -> Wire:
        """A node that applies `op`, a registered name or an `Op`, to the wires' arrays side by side (PPT or NPT).

        Its first parameters are those that the op gives, times `gain`; to a node named `draws_as` if that is given.
        If it names several, the parameters are theirs one after the other along the first axis; if it names a
        `node.parameter` for each parameter, they are those.
        """
        wire = self._apply(name, op, inputs, options, TransformSpec)[0]
        spec = self._nodes.get(name)
        if isinstance(spec, TransformSpec):
            self._nodes[name] = replace(spec, gain=gain, draws_as=draws_as)
        return wire

    def scan(
        self,
        name: str,
        op: str | Op,
        elements: Wire,
        beginning: Wire,
        counter: str,
        length: str,
        draws_as: DrawsAs | None = None,
        **options: Any,
    ) -> Wire:
        """Scan: `op` on the first element and what it begins with, then on the next and what it gave, to the end.

        In one node what a loop does with a message a step. The field `counter` of a state numbers the elements,
        `length` says how many there are; `draws_as` as for a transform.
        """
        counts, until = self._column(name, counter), self._column(name, length)
        wire = self._apply(name, op, (elements, beginning), options, ScanSpec)[0]
        spec = self._nodes.get(name)
        if isinstance(spec, ScanSpec) and counts and until:
            self._nodes[name] = replace(spec, draws_as=draws_as, counter=counts, length=until)
        return wire

    def replicated(
        self,
        name: str,
        replicas: int,
        op: str | Op,
        *wires: Wire,
        draws_as: DrawsAs | None = None,
        scans: bool = False,
        **options: Any,
    ) -> Wire:
        """A transform, or a scan, in `replicas` copies `<name>_0`, ..., each for every n-th instance.

        A Cond by instance for each input leads to them, a Phi from them; 1 replica is the plain node `name`.
        """
        make: Callable[..., Wire] = self.scan if scans else self.transform
        if replicas == 1:
            return make(name, op, *wires, draws_as=draws_as, **options)

        def turn(states: Array, structures: Structures) -> Array:
            number: Array = states[:, 0] % replicas
            return number

        conds = [f"{name}_choose", *[f"{name}_choose{number}" for number in range(2, len(wires) + 1)]]
        ways = [self.cond(cond, wire, replicas, turn) for cond, wire in zip(conds, wires, strict=True)]
        names = tuple(f"{name}_{number}" for number in range(replicas))
        copies = [
            make(copy, op, *inputs, draws_as=draws_as or name, **options)
            for copy, *inputs in zip(names, *ways, strict=True)
        ]
        self._replicas.append(names)
        return self.phi(f"{name}_join", *copies, origin=turn)

    def concat(self, name: str, *inputs: Wire) -> Wire:
        """Concat: one message out of those of equal state, their arrays side by side along the last axis."""
        return self.transform(name, "concat", *inputs)

    def split(self, name: str, wire: Wire, *sizes: int) -> tuple[Wire, ...]:
        """Split: slices of `sizes` along the last axis, each to a successor of its own."""
        return self._apply(name, "split", (wire,), {"sizes": list(sizes)}, TransformSpec, ports=len(sizes))

    def loss(self, name: str, op: str | Op, prediction: Wire, target: Wire, **options: Any) -> None:
        """A loss node: the mean of `op(prediction, target)` over the rows of each message."""
        self._apply(name, op, (prediction, target), options, LossSpec, ports=0)

    def phi(
        self, name: str, *inputs: Wire, loops: int = 0, origin: Select | None = None, structured: bool = False
    ) -> Wire:
        """Phi: joins several edges into one; `loops` of them come later, through `back`.

        A message is remembered until its gradient comes back, unless its state tells by which input it came: `origin`
        gives that, `structured` if it looks at the instance's structure. That is faster.
        """
        count = len(inputs) + loops
        wire = self._route(
            name,
            inputs,
            lambda payload, wanted: PhiSpec(name, (payload,) * count, wanted, self.schema, origin, structured),
        )
        if count < 2:
            self._problems.append(f"{name}: a Phi joins at least two edges, this one has {count}")
        self._open[name] = loops
        return Wire(wire.port, wire.payload, trainable=any(w.trainable for w in inputs) or loops > 0)

    def back(self, phi: Wire, wire: Wire) -> None:
        """The edge that goes back to the next open input of a Phi, or of a Loop."""
        name = phi.port.node
        if not self._open.get(name):
            self._problems.append(
                f"{name}: has no open input left for an edge from {wire.port.node}: "
                "give a phi loops=..., and a loop one edge"
            )
            return
        spec = self._nodes.get(name)
        number = (len(spec.inputs) if spec else self._open[name]) - self._open[name]
        self._open[name] -= 1
        self._connections.append((wire.port, Port(name, number)))
        if spec and not wire.trainable:
            self._nodes[name] = replace(spec, wanted=(*spec.wanted[:number], False, *spec.wanted[number + 1 :]))
        self._check_payload(name, phi.payload, wire)

    def cond(self, name: str, wire: Wire, ports: int, select: Select, structured: bool = False) -> tuple[Wire, ...]:
        """Cond: to one of `ports` successors; `structured` if `select` looks at the instance's structure."""
        if ports < 2:
            self._problems.append(f"{name}: a Cond chooses between at least two successors, this one has {ports}")
        routed = self._route(
            name,
            (wire,),
            lambda payload, wanted: CondSpec(name, (payload,), wanted, self.schema, select, ports, structured),
        )
        return self._ports(routed, ports)

    def isu(self, name: str, wire: Wire, update: Update, inverse: Update) -> Wire:
        """Isu: `update` on the way forward, its `inverse` on the way back."""
        return self._route(
            name, (wire,), lambda payload, wanted: IsuSpec(name, (payload,), wanted, self.schema, update, inverse)
        )

    def count_up(self, name: str, wire: Wire, field: str) -> Wire:
        """The Isu that adds 1 to a field of the state."""
        column = self._column(name, field)
        if column is None:
            return Wire(wire.port, None)
        step = [int(number == column) for number in range(len(self.schema.fields))]
        return self.isu(name, wire, lambda states: states + step, lambda states: states - step)

    def loop(self, name: str, wire: Wire, counts: str, over: Select, structured: bool = False) -> tuple[Wire, Wire]:
        """Loop: what enters by `wire` goes round until `over` gives 1; `back` closes it. The way in, and the way out.

        The field `counts` of a state says how often it has been round: 0 in what enters. In one node what a Phi, a
        Cond and the Isu of `count_up` do; `structured` if `over` looks at the instance's structure.
        """
        column = self._column(name, counts) or 0
        routed = self._route(
            name,
            (wire,),
            lambda payload, wanted: LoopSpec(name, (payload,) * 2, wanted, self.schema, column, over, structured),
        )
        self._open[name] = 1
        body, leaving = self._ports(replace(routed, trainable=True), 2)
        return body, leaving

    def _column(self, name: str, field: str) -> int | None:
        """The column of a state that the node `name` counts in."""
        names = [known.name for known in self.schema.fields]
        if field in names[1:]:
            return names.index(field)
        self._problems.append(f"{name}: states have no field {field!r}{_nearest(field, names[1:])}")
        return None

    def bcast(self, name: str, wire: Wire, ports: int) -> tuple[Wire, ...]:
        """Bcast: to every one of `ports` successors."""
        if ports < 1:
            self._problems.append(f"{name}: a Bcast sends to at least one successor, this one has {ports}")
        routed = self._route(
            name, (wire,), lambda payload, wanted: BcastSpec(name, (payload,), wanted, self.schema, ports)
        )
        return self._ports(routed, ports)

    def group(self, name: str, wire: Wire, member: Member, sums: bool = False) -> Wire:
        """Group: the messages of a group, stacked, or with `sums` added up, if each has one row of floats.

        `member` says which group, at which place, of how many.
        """
        if sums and wire.payload is not None and gradients_of(wire.payload) != wire.payload:
            found = ", ".join(map(str, wire.payload))
            self._problems.append(f"{name}: a Group adds up floats, and {wire.port.node} brings {found}")
        return self._route(
            name, (wire,), lambda payload, wanted: GroupSpec(name, (payload,), wanted, self.schema, member, sums)
        )

    def ungroup(self, name: str, wire: Wire, row_state: RowState) -> Wire:
        """Ungroup: a message for each row."""
        return self._route(
            name, (wire,), lambda payload, wanted: UngroupSpec(name, (payload,), wanted, self.schema, row_state)
        )

    def flatmap(
        self,
        name: str,
        wire: Wire,
        children: Children,
        parent: Member | None = None,
        label: Select | None = None,
    ) -> Wire:
        """Flatmap: a copy of each message for each of its `children`.

        Whose a copy is, is remembered until its gradient comes back, unless the copy's state tells: `parent` gives the
        state of its message, its place among the copies, and how many there are. That is faster. `label` gives each
        copy an int, by its state: an array int64[rows] behind those of the payload.
        """
        return self._route(
            name,
            (wire,),
            lambda payload, wanted: FlatmapSpec(name, (payload,), wanted, self.schema, children, parent, label),
        )

    def graph(self) -> Graph:
        """The finished graph. Raises GraphError with every problem found."""
        nodes = {name: spec for name, spec in self._nodes.items() if spec is not None}
        losses = [name for name, spec in nodes.items() if isinstance(spec, LossSpec)]
        problems = list(self._problems)
        for name, left in self._open.items():
            if left:
                problems.append(f"{name}: {left} of its inputs are open: connect them with back(...)")
        problems += structural_problems(tuple(self._inputs), nodes, self._connections)
        if len(losses) > 1:
            problems.append(f"there are {len(losses)} loss nodes ({', '.join(losses)}): a graph has one")
        if not losses and not self._problems:
            problems.append("there is no loss node, so nothing can be learnt: end the graph with loss(...)")
        if problems:
            raise GraphError(problems)
        return Graph(tuple(self._inputs), nodes, dict(self._connections), self.schema, tuple(self._replicas))

    def _apply(
        self,
        name: str,
        op: str | Op,
        inputs: tuple[Wire, ...],
        options: dict[str, Any],
        kind: type[TransformSpec | ScanSpec | LossSpec],
        ports: int | None = None,
    ) -> tuple[Wire, ...]:
        """A node with an op; `ports` if its outputs leave by ports of their own."""
        problem = (
            f"{name}: there is no op {op!r}{_nearest(op, list(OPS))}" if isinstance(op, str) and op not in OPS else None
        )
        count = 1 if ports is None else ports
        if not self._admit(name, inputs, problem):
            return tuple(Wire(Port(name, number), None) for number in range(max(count, 1)))
        row = OPS[op] if isinstance(op, str) else op
        payloads = tuple(wire.payload for wire in inputs if wire.payload is not None)
        wanted = tuple(wire.trainable for wire in inputs)
        try:
            spec = kind(name, payloads, wanted, self.schema, row, options)
            if isinstance(spec, TransformSpec) and ports is not None:
                spec = TransformSpec(name, payloads, wanted, self.schema, row, options, separate=True)
            problem = spec.problem()
            outputs = spec.outputs
        except (TypeError, ValueError) as error:
            problem = str(error)
        if problem:
            self._problems.append(f"{name} ({row.name}): {problem}")
            return tuple(Wire(Port(name, number), None) for number in range(max(count, 1)))
        self._nodes[name] = spec
        trainable = any(wanted) or spec.parameterised
        return tuple(Wire(Port(name, number), payload, trainable) for number, payload in enumerate(outputs))

    def _route(
        self, name: str, inputs: tuple[Wire, ...], make: Callable[[Payload, tuple[bool, ...]], NodeSpec]
    ) -> Wire:
        """A node that passes payloads on as they are."""
        if not self._admit(name, inputs):
            return Wire(Port(name, 0), None, trainable=True)
        payload = inputs[0].payload
        assert payload is not None  # or it would not have been admitted
        for wire in inputs[1:]:
            self._check_payload(name, payload, wire)
        wanted = tuple(wire.trainable for wire in inputs)
        spec = make(payload, wanted)
        if len(spec.inputs) > len(wanted):
            spec = make(payload, wanted + (True,) * (len(spec.inputs) - len(wanted)))
        self._nodes[name] = spec
        return Wire(Port(name, 0), (*spec.outputs, payload)[0], any(wanted))

    def _admit(self, name: str, inputs: tuple[Wire, ...], problem: str | None = None) -> bool:
        """Connect a new node; whether it is sound so far, and so are its inputs."""
        problems = [problem] if problem else []
        if not NAME.fullmatch(name):
            problems.append(f"{name!r} is no name for a node: a letter, then letters, digits, '_' or '-'")
        elif name == CONTROLLER:
            problems.append(
                f"no node may be called {CONTROLLER!r}: the name stands for the process that injects instances"
            )
        if name in self._nodes:
            problems.append(f"there are two nodes named {name!r}")
        else:
            self._nodes[name] = None
            self._connections += [
                (wire.port, Port(name, number)) for number, wire in enumerate(inputs) if wire.port.number >= 0
            ]
        if not inputs:
            problems.append(f"{name}: a node needs at least one input")
        self._problems += problems
        return not problems and all(wire.payload is not None for wire in inputs)

    def _check_payload(self, name: str, payload: Payload | None, wire: Wire) -> None:
        if payload is not None and wire.payload is not None and payload != wire.payload:
            found, expected = (", ".join(map(str, specs)) for specs in (wire.payload, payload))
            self._problems.append(f"{name}: {wire.port.node} brings {found}, its other input {expected}")

    @staticmethod
    def _ports(wire: Wire, count: int) -> tuple[Wire, ...]:
        return tuple(Wire(Port(wire.port.node, number), wire.payload, wire.trainable) for number in range(count))


def _nearest(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f" ({hint}there are: {', '.join(sorted(known))})"
