"""The device, without I/O: events in, actions out.

It queues what arrives, and at each turn lets one node answer the most urgent batch: backward before forward, oldest
instance first. What the answer sends to a node of the same device goes straight back into the queue; the rest
leaves as actions. It reads no clock and opens no socket, so the same core runs in a process of its own, and beside
all the others in one process.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from traceback import format_exception

from ampsim.ir.batch import Batch, Direction
from ampsim.ir.graph import CONTROLLER, Graph, Target
from ampsim.ir.node import Answer, TrainingSetup
from ampsim.ir.routing import partition
from ampsim.ir.store import DuplicateState, UnknownState
from ampsim.ir.structure import Structure, StructureTable
from ampsim.ops.table import Array
from ampsim.runtime.queues import MessageQueues
from ampsim.runtime.statistics import WorkCounts


@dataclass(frozen=True, slots=True)
class Deliver:
    """Event: messages have arrived for a node of this device."""

    target: Target
    batch: Batch


@dataclass(frozen=True, slots=True)
class DeliverStructure:
    """Event: the structure of an instance has arrived, for the nodes that ask for it."""

    instance: int
    structure: Structure


@dataclass(frozen=True, slots=True)
class DropStructures:
    """Event: these instances have retired."""

    instances: Sequence[int]


@dataclass(frozen=True, slots=True)
class Turn:
    """Event: handle the most urgent batch."""


@dataclass(frozen=True, slots=True)
class EndEpoch:
    """Event: the pipeline has drained; update with what is left below min_update_frequency."""


@dataclass(frozen=True, slots=True)
class Collect:
    """Event: hand out the parameters, of some nodes or of all."""

    nodes: Collection[str] | None = None


@dataclass(frozen=True, slots=True)
class Assign:
    """Event: replace parameters, `node.parameter -> array`."""

    values: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Send:
    """Action: carry messages to a node of another device, or home to the controller."""

    device: str
    target: Target
    batch: Batch


@dataclass(frozen=True, slots=True)
class Report:
    """Action: carry a loss node's figures to the controller."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Handled:
    """Action: note that this batch has just been handled (for the spans)."""

    target: Target
    messages: int


@dataclass(frozen=True, slots=True)
class EpochEnded:
    """Action: tell the controller that what the end of the epoch asked for has been carried out."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """Action: hand `node.parameter -> array` to the controller."""

    values: Mapping[str, Array]


DeviceEvent = Deliver | DeliverStructure | DropStructures | Turn | EndEpoch | Collect | Assign
DeviceAction = Send | Report | Handled | EpochEnded | Parameters


class NodeFailed(Exception):
    """A node raised; the cause is chained. `str()` names the node, the direction and the first state."""

    @property
    def traceback(self) -> str:
        """Where the node raised, as text that can cross processes."""
        return "".join(format_exception(self.__cause__)) if self.__cause__ else ""


class DeviceCore:
    """One device's nodes, queues and counts.

    `placement` maps every node of the graph to its device. Raises NodeFailed from `handle` if a node raises.
    """

    def __init__(
        self, name: str, graph: Graph, placement: Mapping[str, str], setup: TrainingSetup, max_batch: int = 1
    ) -> None:
        self.name = name
        self._graph = graph
        self._placement = {**placement, CONTROLLER: CONTROLLER}
        self._structures = StructureTable()
        specs = [spec for node, spec in graph.nodes.items() if placement[node] == name]
        self._nodes = {spec.name: spec.build(setup, self._structures) for spec in specs}
        self._structured = frozenset(spec.name for spec in specs if spec.needs_structure)
        self._parked: dict[int, list[tuple[Target, Batch]]] = {}
        self._max_batch = max_batch
        self._queues = MessageQueues(graph.nodes)
        self._counts = WorkCounts()
        self._parameter_bytes = sum(node.parameters.size_bytes for node in self._nodes.values() if node.parameters)
        self._cached_bytes = 0
        self._cached_of: dict[str, int] = {}

    @property
    def has_work(self) -> bool:
        """Whether a turn would do anything."""
        return self._queues.messages > 0

    def handle(self, event: DeviceEvent) -> list[DeviceAction]:
        """Take one event and say what is to be done about it."""
        match event:
            case Deliver(target, batch):
                self._enqueue(target, batch)
                self._counts.queue_max = max(self._counts.queue_max, self._queues.messages)
                return []
            case DeliverStructure(instance, structure):
                self._structures.add(instance, structure)
                for target, batch in self._parked.pop(instance, ()):
                    self._queues.put(target, batch)
                return []
            case DropStructures(instances):
                for instance in instances:
                    self._structures.drop(instance)
                return []
            case Turn():
                return self._turn()
            case EndEpoch():
                for name, states in self.held().items():
                    raise NodeFailed(
                        f"node {name} still waits for messages of ({states[0]}), and all instances have come home: "
                        "does an inverse bring a state back to another one?"
                    )
                for node in self._nodes.values():
                    if node.parameters is not None:
                        self._counts.node(node.name).updates += node.parameters.end_epoch()
                return [EpochEnded()]
            case Collect(nodes):
                return [
                    Parameters(
                        {
                            f"{node.name}.{name}": value
                            for node in self._nodes.values()
                            if node.parameters is not None and (nodes is None or node.name in nodes)
                            for name, value in node.parameters.values.items()
                        }
                    )
                ]
            case Assign(values):
                for node in self._nodes.values():
                    own = {name.partition(".")[2]: v for name, v in values.items() if name.startswith(f"{node.name}.")}
                    if own and node.parameters is not None:
                        node.parameters.assign(own)
                return [EpochEnded()]

    def take_counts(self) -> WorkCounts:
        """What was counted since the last call; levels start from what they are now."""
        counts = self._counts
        self._note_levels(counts)
        self._counts = WorkCounts(queue_max=self._queues.messages)
        return counts

    def held(self) -> dict[str, list[str]]:
        """What each node still waits for, as a person reads it: the first states of each."""
        described = {}
        for name, node in self._nodes.items():
            keys = node.held()
            if keys:
                described[name] = [self._graph.schema.describe(key) for key in keys[:8]]
        return described

    def _turn(self) -> list[DeviceAction]:
        taken = self._queues.take(self._max_batch)
        if taken is None:
            return []
        target, batch = taken
        try:
            answer = self._nodes[target.node].answer(target.direction, target.port, batch)
        except (Exception, SystemExit) as error:
            schema = self._graph.schema
            first, text = schema.keys(batch.states[:1])[0], str(error)
            if isinstance(error, DuplicateState | UnknownState):
                first, text = error.args[0], " ".join((type(error).__doc__ or "").split())
            raise NodeFailed(
                f"node {target.node} raised {type(error).__name__} in its {target.direction.name.lower()} pass "
                f"({schema.describe(first)}): {text}"
            ) from error
        self._count(target, batch, answer)
        actions: list[DeviceAction] = [Handled(target, len(batch))]
        if answer.report is not None:
            actions.append(Report(answer.report))
        for direction, port, messages in answer.emissions:
            destination = self._graph.target(target.node, direction, port)
            device = self._placement[destination.node]
            if device == self.name:
                self._enqueue(destination, messages)
            else:
                actions.append(Send(device, destination, messages))
        return actions

    def _enqueue(self, target: Target, batch: Batch) -> None:
        """Queue a batch; messages whose node needs a structure that is still on its way are parked until it comes."""
        if target.node not in self._structured:
            self._queues.put(target, batch)
            return
        if all(instance in self._structures for instance in set(batch.states[:, 0].tolist())):
            self._queues.put(target, batch)
            return
        for instance, part in partition(batch, batch.states[:, 0]):
            if instance in self._structures:
                self._queues.put(target, part)
            else:
                self._parked.setdefault(instance, []).append((target, part))

    def _count(self, target: Target, batch: Batch, answer: Answer) -> None:
        counts = self._counts
        counts.batches += 1
        if target.direction is Direction.BACKWARD:
            counts.backward_messages += len(batch)
        else:
            counts.forward_messages += len(batch)
        if answer.updates:
            counts.node(target.node).updates += answer.updates
        if answer.staleness is not None:
            counts.node(target.node).staleness.add(answer.staleness)
        cached = self._nodes[target.node].cached_bytes
        self._cached_bytes += cached - self._cached_of.get(target.node, 0)
        self._cached_of[target.node] = cached
        self._note_levels(counts)

    def _note_levels(self, counts: WorkCounts) -> None:
        memory = self._cached_bytes + self._parameter_bytes + self._queues.size_bytes
        counts.cached_bytes = max(counts.cached_bytes, self._cached_bytes)
        counts.queue_max = max(counts.queue_max, self._queues.messages)
        counts.peak_memory_bytes = max(counts.peak_memory_bytes, memory)
