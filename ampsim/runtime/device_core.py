"""The device, without I/O: events in, actions out.

It queues what arrives, and at each turn lets one node answer the most urgent batch: backward before forward, oldest
instance first. What the answer sends to a light node of the same device (`NodeSpec.light`) is answered in the same
turn, and so on, in the order in which it was made; what goes to another node of the device goes back into the queue;
the rest leaves as actions. It has no clock of its own and opens no socket, so the same core runs in a process of its
own, and beside all the others in one process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from traceback import format_exception

from ampsim.ir.batch import BACKWARD, FORWARD, INFERENCE, UPDATE, Batch, Direction, concatenate
from ampsim.ir.graph import CONTROLLER, Graph, Target
from ampsim.ir.node import Answer, TrainingSetup
from ampsim.ir.store import DuplicateState, UnknownState
from ampsim.ir.structure import StructureTable
from ampsim.ops.table import Array
from ampsim.runtime.device_events import (
    Assign,
    Collect,
    Deliver,
    DeliverStructures,
    DeviceAction,
    DeviceEvent,
    DropStructures,
    EndEpoch,
    EpochEnded,
    Follow,
    HandedOut,
    Handled,
    HandOut,
    Parameters,
    Report,
    Send,
    Turn,
    Work,
)
from ampsim.runtime.queues import Entry, Queues, message_queues
from ampsim.runtime.schedule import ScheduledQueues
from ampsim.runtime.statistics import WorkCounts

MOST_AT_ONCE = 256
"""Batches that one turn handles; what is left then goes into the queue, so that no loop keeps a device in its turn."""


class NodeFailed(Exception):
    """A node raised; the cause is chained. `str()` names the node, the direction and the first state."""

    @property
    def traceback(self) -> str:
        """Where the node raised, as text that can cross processes."""
        return "".join(format_exception(self.__cause__)) if self.__cause__ else ""


class DeviceCore:
    """One device's nodes, queues and counts.

    `placement` maps every node of the graph to its device; `queues` decide what is handled next (by default those that
    `max_batch` and `wave` ask for), and `hosted` are the device's nodes, if that is known already. With a `clock` it
    notes when the batches of a turn began. Raises NodeFailed from `handle` if a node raises.
    """

    def __init__(
        self,
        name: str,
        graph: Graph,
        placement: Mapping[str, str],
        setup: TrainingSetup,
        max_batch: int = 1,
        queues: Queues | None = None,
        hosted: Sequence[str] | None = None,
        wave: int = 1,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.name = name
        self._graph = graph
        self._placement = placement
        self._structures = StructureTable()
        if hosted is None:
            hosted = [node for node in graph.nodes if placement[node] == name]
        specs = [graph.nodes[node] for node in hosted]
        self._nodes = {spec.name: spec.build(setup, self._structures) for spec in specs}
        shared = graph.sharing
        self._sharing = {n: node.parameters for n, node in self._nodes.items() if n in shared and node.parameters}
        self._to_hand_out: HandOut | None = None
        self._held_back: list[DeviceAction] = []
        self._come_home: dict[Target, list[Batch]] = {}
        self._on_its_way = -1
        """The wave of the last turn, but for what replicas had learnt."""
        self._wave = wave
        self._light = {(spec.name, direction) for spec in specs for direction in spec.light(max_batch > 1)}
        self._max_batch, self._clock = max_batch, clock
        self._awaiting: dict[Target, bool] = {}
        self._parked: list[tuple[set[int], Target, Batch, Entry]] = []
        self._arrived: dict[tuple[Target, str], int] = {}
        self._ways: dict[tuple[str, Direction, int], tuple[Target, str, bool]] = {}
        if queues is None:
            gathering = {spec.name for spec in specs if spec.gathers}
            queues = message_queues(graph.ranks, max_batch, wave, gathering)
        self._queues = queues
        self._queued_bytes = 0
        self._counts = WorkCounts()
        self._parameter_bytes = sum(node.parameters.size_bytes for node in self._nodes.values() if node.parameters)
        self._cached_bytes = 0
        self._cached_of = dict.fromkeys(self._nodes, 0)

    @property
    def has_work(self) -> bool:
        """Whether a turn would do anything."""
        return self._queues.ready

    @property
    def memory_bytes(self) -> int:
        """What the device keeps now: parameters with gradients and optimizer state, activations, queued messages."""
        return self._parameter_bytes + self._cached_bytes + self._queued_bytes

    def handle(self, event: DeviceEvent) -> list[DeviceAction]:
        """Take one event and say what is to be done about it."""
        # The two that are frequent come first, and without a pattern, whose captures take a microsecond.
        if isinstance(event, Turn):
            return self._turn()
        if isinstance(event, Deliver):
            self._enqueue(*event)
            return []
        match event:
            case DeliverStructures(structures):
                self._structures.add(structures)
                self._unpark(structures.instances.tolist())
                return []
            case DropStructures(instances):
                for instance in instances:
                    self._structures.drop(instance)
                return []
            case Follow(order):
                assert isinstance(self._queues, ScheduledQueues)  # what follows was given such
                self._queues.follow(order)
                return []
            case EndEpoch():
                for name, states in self.held().items():
                    raise NodeFailed(
                        f"node {name} still waits for messages of ({states[0]}), and all instances have come home: "
                        "does an inverse bring a state back to another one?"
                    )
                # Replicas that share their gradients end the epoch when they have those of all others: see HandOut.
                updated = self._end_epoch(name for name in self._nodes if name not in self._sharing)
                shared = {name: parameters.own_updates for name, parameters in self._sharing.items()}
                return [EpochEnded(updated, shared)]
            case Collect():
                return [Parameters(self._values(self._nodes))]
            case HandOut():
                self._to_hand_out = event
                return self._hand_out()
            case Assign(values):
                for node in self._nodes.values():
                    own = {name.partition(".")[2]: v for name, v in values.items() if name.startswith(f"{node.name}.")}
                    if own and node.parameters is not None:
                        node.parameters.assign(own)
                return [EpochEnded()]

    def _end_epoch(self, nodes: Iterable[str]) -> list[str]:
        """Make the updates that are left; the name of a node for each."""
        updated = []
        for name in nodes:
            parameters = self._nodes[name].parameters
            if parameters is not None and (updates := parameters.end_epoch()):
                self._counts.node(name).updates += updates
                updated += [name] * updates
        return updated

    def _hand_out(self) -> list[DeviceAction]:
        """The parameters that the controller waits for, once all gradients that belong to them have come."""
        event = self._to_hand_out
        if event is None or any(self._sharing[name].received_updates < n for name, n in event.awaited.items()):
            return []
        self._to_hand_out = None
        updated = self._end_epoch(name for name in event.nodes if name in self._sharing)
        return [HandedOut(self._values(event.nodes), updated)]

    def _values(self, nodes: Iterable[str]) -> dict[str, Array]:
        return {
            f"{node}.{name}": value
            for node in nodes
            if (parameters := self._nodes[node].parameters) is not None
            for name, value in parameters.values.items()
        }

    def parameter_bytes(self, nodes: Collection[str]) -> int:
        """Bytes of the parameters of some nodes."""
        return sum(
            node.parameters.values_bytes for node in self._nodes.values() if node.parameters and node.name in nodes
        )

    def describe_memory(self, capacity: float) -> str:
        """A sentence for people that says what fills the memory of a device that has too little of it."""
        filled = {
            "parameters with gradients and optimizer state": self._parameter_bytes,
            "activations kept for the backward pass": self._cached_bytes,
            "queued messages": self._queued_bytes,
        }
        parts = ", ".join(f"{size:,} bytes of {what}" for what, size in filled.items())
        largest = max(self._cached_of, key=self._cached_of.__getitem__, default="")
        node = f" (most of them by {largest})" if self._cached_of.get(largest) else ""
        return (
            f"its memory of {capacity:,.0f} bytes does not hold {parts}{node}: give it fewer nodes, lower "
            "max_active_keys, or choose a kind with more memory"
        )

    def take_counts(self) -> WorkCounts:
        """What was counted since the last call; levels start from what they are now."""
        counts = self._counts
        self._note_memory(counts)
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
        """Handle what is most urgent, and what comes of it for light nodes of this device, in the order it was made.

        A batch that is too large to be handled as one goes into the queue, which splits it. Memory is what is kept
        between turns: a batch that is handled in the turn that made it is not queued.
        """
        try:
            taken = self._queues.take()
        except ValueError as error:
            raise NodeFailed(str(error)) from error
        if taken is None:
            return []
        target, batch, parts = taken
        self._queued_bytes -= self._graph.size_bytes(target, batch)
        done: list[Work] = []
        began: list[float] = []
        made: list[Entry] = []
        actions: list[DeviceAction] = [Handled(done, parts, made, began)]
        at_once: deque[tuple[Target, Batch]] = deque()
        queued_as = len(parts)
        while True:
            node = target.node
            try:
                answer = self._nodes[node].answer(target.direction, target.port, batch)
            except (Exception, SystemExit) as error:
                raise self._failed(target, batch, error) from error
            done.append(Work(target, len(batch.rows), queued_as, answer.rows, answer.updates))
            self._count(target, len(batch.rows), answer)
            if answer.report is not None:
                self._held_back.append(Report(answer.report))
            for direction, port, messages in answer.emissions:
                way = self._ways.get((node, direction, port)) or self._way(node, direction, port)
                destination, device, light = way
                if device == CONTROLLER:
                    self._come_home.setdefault(destination, []).append(messages)
                elif device != self.name:
                    leaving = self._held_back if direction is UPDATE else actions
                    leaving.append(Send(device, destination, messages))
                elif light and len(messages.rows) <= self._max_batch and len(done) + len(at_once) < MOST_AT_ONCE:
                    at_once.append((destination, messages))
                else:
                    made.append(self._enqueue(destination, messages, self.name))
            if not at_once:
                break
            (target, batch), queued_as = at_once.popleft(), 0
            if self._clock is not None:
                began.append(self._clock())
        self._note_memory(self._counts)
        if taken.target.direction is not UPDATE:
            self._on_its_way = taken.batch.states.item(0) // self._wave
        if (self._come_home or self._held_back) and not self._goes_on:
            actions += self._held_back
            actions += [Send(CONTROLLER, port, concatenate(batches)) for port, batches in self._come_home.items()]
            self._held_back, self._come_home = [], {}
        if taken.target.direction is UPDATE:
            actions += self._hand_out()
        return actions

    @property
    def _goes_on(self) -> bool:
        """Whether the next turn is of the way back of the same wave, or of what a replica has learnt in between.

        As long as it is, losses, what has come home, and what nodes have learnt for their replicas are held back, to
        leave together: the controller waits for the last of them, and a bundle for each would take longer.
        """
        following = self._queues.next_up
        if following is None:
            return False
        direction, instance = following
        return direction is UPDATE or (direction is BACKWARD and instance // self._wave == self._on_its_way)

    def _failed(self, target: Target, batch: Batch, error: BaseException) -> NodeFailed:
        """What to raise from an error of a node."""
        schema = self._graph.schema
        first, text = schema.keys(batch.states[:1])[0], str(error)
        if isinstance(error, DuplicateState | UnknownState):
            first, text = error.args[0], " ".join((type(error).__doc__ or "").split())
        return NodeFailed(
            f"node {target.node} raised {type(error).__name__} in its {target.direction.name.lower()} pass "
            f"({schema.describe(first)}): {text}"
        )

    def _way(self, node: str, direction: Direction, port: int) -> tuple[Target, str, bool]:
        """Where a message goes that leaves a node by a port, on which device that is, and whether it is light there."""
        target = self._graph.target(node, direction, port)
        light = (target.node, direction) in self._light
        way = self._ways[node, direction, port] = target, self._placement.get(target.node, CONTROLLER), light
        return way

    def _awaits_structure(self, target: Target) -> bool:
        """Whether what comes to `target` is for a node that asks for structures, or may reach such in the same turn.

        None does on the way back: there the message went forward by it before. Nor does what a replica has learnt.
        """
        onward = target.direction is FORWARD or target.direction is INFERENCE
        reached, ahead = {target.node}, [target.node] if onward else []
        while ahead:
            node = ahead.pop()
            for port in range(len(self._graph.nodes[node].outputs)):
                following, _, light = self._way(node, target.direction, port)
                if light and following.node not in reached:
                    reached.add(following.node)
                    ahead.append(following.node)
        return onward and any(self._graph.nodes[node].needs_structure for node in reached)

    def _enqueue(self, target: Target, batch: Batch, source: str, path_s: float = 0.0) -> Entry:
        """Queue a batch; it is parked while the structure of one of its instances is awaited and still on its way."""
        number = self._arrived.get((target, source), 0)
        self._arrived[target, source] = number + 1
        entry = Entry(source, number, path_s)
        self._queued_bytes += self._graph.size_bytes(target, batch)
        awaits = self._awaiting.get(target)
        if awaits is None:
            awaits = self._awaiting[target] = self._awaits_structure(target)
        if awaits and (missing := self._structures.missing(batch.states[:, 0])):
            self._parked.append((missing, target, batch, entry))
            return entry
        self._put(target, batch, entry)
        return entry

    def _put(self, target: Target, batch: Batch, entry: Entry) -> None:
        self._queues.put(target, batch, entry)
        if self._queues.messages > self._counts.queue_max:
            self._counts.queue_max = self._queues.messages

    def _unpark(self, instances: Sequence[int]) -> None:
        """Queue what waited for the structures of some instances, and for no other any more."""
        still = []
        for missing, target, batch, entry in self._parked:
            missing.difference_update(instances)
            if missing:
                still.append((missing, target, batch, entry))
            else:
                self._put(target, batch, entry)
        self._parked = still

    def _count(self, target: Target, messages: int, answer: Answer) -> None:
        counts = self._counts
        counts.batches += 1
        if target.direction is BACKWARD:
            counts.backward_messages += messages
        elif target.direction is not UPDATE:
            counts.forward_messages += messages
        if answer.updates:
            counts.node(target.node).updates += answer.updates
        if answer.gradients:
            counts.node(target.node).staleness.add(answer.gradients, answer.staleness)
        cached, before = self._nodes[target.node].cached_bytes, self._cached_of[target.node]
        if cached != before:
            self._cached_bytes += cached - before
            self._cached_of[target.node] = cached

    def _note_memory(self, counts: WorkCounts) -> None:
        if self._cached_bytes > counts.cached_bytes:
            counts.cached_bytes = self._cached_bytes
        memory = self.memory_bytes
        if memory > counts.peak_memory_bytes:
            counts.peak_memory_bytes = memory
