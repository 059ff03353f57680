"""The controller, without I/O: events in, actions out.

An epoch is a training pass and a validation pass; the test set comes once, at the end. In each pass up to
`max_active_keys` instances are in flight, and new ones are injected in waves of `inject_at_once`. A training
instance has come home when the backward messages of all that was injected for it are back; one that is passed forward
only, when its losses have been reported. At the end of a pass the pipeline drains.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from ampsim.data.dataset import TEST, TRAIN, VALIDATION, Dataset, Instance, Messages
from ampsim.ir.batch import FORWARD, INFERENCE, Batch, single_rows
from ampsim.ir.graph import CONTROLLER, Graph
from ampsim.ir.structure import stack
from ampsim.ops.table import Array
from ampsim.runtime.controller_events import (
    AssignParameters,
    CollectReplicas,
    ControllerAction,
    ControllerEvent,
    DeviceEndedEpoch,
    DropStructure,
    EndEpochOnDevices,
    Home,
    Injected,
    Injection,
    InjectionsKnown,
    PassEnded,
    ReplicasCollected,
    SendStructures,
    StartPass,
    TrainingEnded,
)
from ampsim.runtime.device_events import Report, Send
from ampsim.runtime.exact_sum import ExactSum

_MORE_IF_FOLLOWED = 2
"""Times max_active_keys: the instances that may have been sent to devices which follow an order, and are not home."""


@dataclass(frozen=True)
class Plan:
    """How long to train: at most `epochs`, or until every metric of `stop_at` (`validation.accuracy`) is reached."""

    epochs: int
    max_active_keys: int
    stop_at: Mapping[str, float] = field(default_factory=dict)
    inject_at_once: int = 1

    @property
    def wave(self) -> int:
        """How many instances are injected together: no more than may be in flight."""
        return min(self.inject_at_once, self.max_active_keys)


@dataclass(slots=True)
class _InFlight:
    backward: int
    losses: int
    size: int


class _Sums:
    """What the loss nodes have reported in a pass, added up."""

    def __init__(self) -> None:
        self.loss, self.metric, self.rows = ExactSum(), ExactSum(), ExactSum()

    def add(self, figures: Array) -> None:
        """`figures float64[n, 3]`: a message's loss, metric and rows each."""
        for total, column in zip((self.loss, self.metric, self.rows), figures.T.tolist(), strict=True):
            total.add(column)


class ProtocolError(Exception):
    """A message came home for an instance that is not in flight."""


class ControllerCore:
    """Injects instances, counts them home, adds up what the loss nodes report, and decides when to stop.

    Of several copies of the graph, the one with the fewest instances in flight is given the next ones; an instance's
    number says which it was: copies take turns, wave by wave.

    If it `follows` a recording or a simulation, how many instances go together, and to which copy, is not decided here
    but told, by InjectionsKnown; and they may be sent before those told of them had a key free.
    """

    def __init__(
        self,
        plan: Plan,
        graph: Graph,
        placement: Mapping[str, str],
        dataset: Dataset,
        follows: bool = False,
    ) -> None:
        self._plan, self._graph, self._placement, self._dataset = plan, graph, placement, dataset
        self._wave = plan.wave
        self._follows = follows
        self._known: deque[Injection] = deque()
        self._devices = frozenset(placement.values())
        self._structured = [
            frozenset(placement[name] for name in graph.nodes_of_copy(copy) if graph.nodes[name].needs_structure)
            for copy in range(graph.copies)
        ]
        self._metric = next((metric for metric in graph.metrics if metric != "loss"), None)
        self._passes = self._order_of_passes()
        self._instances: Iterator[Instance] = iter(())
        self._waves = [0] * graph.copies
        self._left = 0
        self._in_flight: dict[int, _InFlight] = {}
        self._at_copy = [0] * graph.copies
        self._waiting_for: set[str] = set()
        self._sums = _Sums()
        self._size = self._done = 0
        self._collected: dict[str, Array] = {}
        self._averaged = False
        self._shared: dict[str, int] = {}
        self._stop = False
        self._results: dict[str, float] = {}
        self.epoch, self.split = 0, TRAIN

    def next_pass(self, stop: bool | None = None) -> list[ControllerAction]:
        """Begin the first pass, and the next one after each PassEnded; after the last, training has ended.

        `stop` says whether the last epoch has been trained; by default, whether the targets are met.
        """
        self._stop = self._targets_met() if stop is None else stop
        following = next(self._passes, None)
        if following is None:
            return [TrainingEnded(self._plan.stop_at if self._targets_met() else {})]
        self.epoch, self.split = following
        self._instances = self._dataset.instances(self.split, self.epoch)
        self._left = self._dataset.splits[self.split].keys
        self._sums = _Sums()
        self._size = self._done = 0
        actions: list[ControllerAction] = [StartPass(self.epoch, self.split), *self._fill()]
        return actions if self._in_flight or self._left else actions + self._drained()

    def handle(self, event: ControllerEvent) -> list[ControllerAction]:
        """Take one event and say what is to be done about it. Raises ProtocolError for what cannot be."""
        actions: list[ControllerAction] = []
        match event:
            case Home(batch):
                for instance, messages in Counter(batch.states[:, 0].tolist()).items():
                    entry = self._entry(instance)
                    entry.backward -= messages
                    if entry.backward <= 0:
                        actions += self._retire(instance, entry)
            case Report(batch):
                if batch.payload:
                    self._sums.add(batch.payload[0])
                for instance, messages in Counter(batch.states[:, 0].tolist()).items():
                    entry = self._entry(instance)
                    entry.losses -= messages
                    if entry.losses <= 0:
                        actions += self._retire(instance, entry)
            case InjectionsKnown(injections):
                self._known.extend(injections)
            case DeviceEndedEpoch(device, shared):
                if device not in self._waiting_for:
                    return []
                self._shared.update(shared)
                self._waiting_for.remove(device)
                return [] if self._waiting_for else self._epoch_ended()
            case ReplicasCollected(device, values):
                if device not in self._waiting_for:
                    return []
                self._waiting_for.remove(device)
                self._collected.update(values)
                return [] if self._waiting_for else self._assign_averages()
        actions += self._fill()
        if self._in_flight or self._left or self._waiting_for:
            return actions
        return actions + self._drained()

    @property
    def in_flight(self) -> int:
        """Instances in flight."""
        return len(self._in_flight)

    @property
    def instances_done(self) -> int:
        """Examples of this pass whose instances have come home."""
        return self._done

    @property
    def instances_expected(self) -> int:
        """Examples of this pass."""
        return self._dataset.splits[self.split].examples

    def keys_in_flight(self) -> list[int]:
        """The instances in flight, oldest first."""
        return list(self._in_flight)

    def _order_of_passes(self) -> Iterator[tuple[int, str]]:
        epoch = 0
        for epoch in range(1, self._plan.epochs + 1):
            yield epoch, TRAIN
            yield epoch, VALIDATION
            if self._stop:
                break
        yield epoch, TEST

    def _fill(self) -> list[ControllerAction]:
        """Inject what may be in flight, `inject_at_once` together; the last of a pass may be fewer."""
        actions: list[ControllerAction] = []
        while injection := self._next_injection():
            size, copy = injection
            instances = islice(self._instances, size)
            self._left -= size
            actions.append(Injected(injection))
            actions += self._inject(dict(zip(self._next_keys(size, copy), instances, strict=True)), copy)
        return actions

    def _next_keys(self, size: int, copy: int) -> list[int]:
        """Numbers for so many instances of a copy, from a wave of their own on; those of one wave have one quotient."""
        wave, copies, first = self._wave, self._graph.copies, self._waves[copy]
        self._waves[copy] += -(-size // wave)
        return [((first + number // wave) * copies + copy) * wave + number % wave for number in range(size)]

    def _copy_of(self, key: int) -> int:
        """The copy of the graph that answers an instance."""
        return key // self._wave % self._graph.copies

    def _next_injection(self) -> Injection | None:
        """What is to be injected now, if anything."""
        if self._follows:
            # Devices follow an order: what is there before its time waits, and nobody waits for it to be sent.
            free = _MORE_IF_FOLLOWED * self._plan.max_active_keys - len(self._in_flight)
            return self._known.popleft() if self._known and self._known[0].instances <= min(free, self._left) else None
        free = self._plan.max_active_keys - len(self._in_flight)
        may = min(free, self._left)
        copy = min(range(self._graph.copies), key=lambda copy: (self._at_copy[copy], self._waves[copy]))
        if self._wave == 1:
            # All together that fill the copy up to its share.
            share = -(-(len(self._in_flight) + may) // self._graph.copies)
            size = min(may, share - self._at_copy[copy])
        else:
            size = min(self._wave, self._left)
        return Injection(size, copy) if 0 < size <= may else None

    def _inject(self, instances: Mapping[int, Instance], copy: int) -> list[ControllerAction]:
        """Send the messages of some instances, by their keys, to a copy of the graph; those of one input together."""
        training = self.split == TRAIN
        direction = FORWARD if training else INFERENCE
        keys = list(instances)
        actions: list[ControllerAction] = []
        if self._structured[copy]:
            structures = stack({key: instance.structure for key, instance in instances.items()})
            actions.append(SendStructures(self._structured[copy], structures))
        injected = np.zeros(len(instances), np.int64)
        inputs = self._graph.inputs
        for port, name in enumerate(inputs, start=copy * len(inputs)):
            target = self._graph.target(CONTROLLER, direction, port)
            batch, counts = self._batch(keys, [instance.inputs[name] for instance in instances.values()])
            injected += counts
            actions.append(Send(self._placement[target.node], target, batch))
        for (key, instance), messages in zip(instances.items(), injected.tolist(), strict=True):
            self._size += instance.size
            self._in_flight[key] = _InFlight(messages if training else 0, instance.losses, instance.size)
        self._at_copy[copy] += len(instances)
        return actions

    def _batch(self, keys: Sequence[int], messages: Sequence[Messages]) -> tuple[Batch, Array]:
        """What is injected by one input for some instances, and how many messages that is for each: int64[n]."""
        counts = np.array([1 if one.fields is None else len(one.fields) for one in messages])
        total = int(counts.sum())
        states = np.zeros((total, len(self._graph.schema.fields)), np.int64)
        states[:, 0] = np.repeat(keys, counts)
        if messages[0].fields is not None:
            fields = np.concatenate([one.fields for one in messages if one.fields is not None])
            states[:, 1 : 1 + fields.shape[1]] = fields
        arrays = messages[0].arrays
        if len(messages) > 1:
            arrays = tuple(map(np.concatenate, zip(*(one.arrays for one in messages), strict=True)))
        if len(arrays[0]) == total:
            rows = single_rows(total)
        else:
            rows = np.concatenate([[len(one.arrays[0])] if one.rows is None else one.rows for one in messages])
        return Batch(states, rows, arrays), counts

    def _entry(self, key: int) -> _InFlight:
        entry = self._in_flight.get(key)
        if entry is None:
            raise ProtocolError(f"a message came home for instance {key}, which is not in flight")
        return entry

    def _retire(self, key: int, entry: _InFlight) -> list[ControllerAction]:
        """What is to be done about an instance, if nothing of it is on its way any more."""
        if entry.backward > 0 or entry.losses > 0:
            return []
        del self._in_flight[key]
        self._done += entry.size
        copy = self._copy_of(key)
        self._at_copy[copy] -= 1
        devices = self._structured[copy]
        return [DropStructure(devices, key)] if devices else []

    def _drained(self) -> list[ControllerAction]:
        if self.split != TRAIN:
            return self._end_pass()
        self._waiting_for = set(self._devices)
        return [EndEpochOnDevices()]

    def _epoch_ended(self) -> list[ControllerAction]:
        """Every device has ended the epoch: average the replicas, unless that was what they ended."""
        hosts = self._replicas_of_devices()
        if not hosts or self._averaged:
            self._averaged = False
            return self._end_pass()
        self._waiting_for = set(hosts)
        groups = [group for group in self._graph.replicas if group[0] in self._shared]
        sent = {name: sum(self._shared[other] for other in group) for group in groups for name in group}
        return [
            CollectReplicas(device, nodes, {name: sent[name] - self._shared[name] for name in nodes if name in sent})
            for device, nodes in hosts.items()
        ]

    def _assign_averages(self) -> list[ControllerAction]:
        averages: dict[str, Array] = {}
        for group in self._graph.replicas:
            for name in (key.partition(".")[2] for key in self._collected if key.startswith(f"{group[0]}.")):
                # In float64 and in the order of the replicas: the same average wherever they are placed.
                values = [self._collected[f"{node}.{name}"] for node in group]
                average = np.mean(values, axis=0, dtype=np.float64).astype(values[0].dtype)
                averages.update({f"{node}.{name}": average for node in group})
        self._collected = {}
        self._averaged = True
        hosts = self._replicas_of_devices()
        self._waiting_for = set(hosts)
        return [
            AssignParameters(device, {key: averages[key] for key in averages if key.partition(".")[0] in nodes})
            for device, nodes in hosts.items()
        ]

    def _replicas_of_devices(self) -> dict[str, list[str]]:
        """The replicas that each device hosts."""
        hosts: dict[str, list[str]] = {}
        for node in (node for group in self._graph.replicas for node in group):
            hosts.setdefault(self._placement[node], []).append(node)
        return hosts

    def _end_pass(self) -> list[ControllerAction]:
        means = self.means()
        self._results.update({f"{self.split}.{name}": value for name, value in means.items()})
        return [PassEnded(self.epoch, self.split, means, self._size)]

    def means(self) -> dict[str, float]:
        """The means over what has been reported in this pass: `loss`, and the model's metric; none on shapes alone."""
        count = self._sums.rows.value
        if not count:
            return {}
        means = {"loss": self._sums.loss.value / count}
        if self._metric:
            means[self._metric] = self._sums.metric.value / count
        return means

    def _targets_met(self) -> bool:
        targets = self._plan.stop_at
        return bool(targets) and all(
            name in self._results and is_reached(name, self._results[name], target) for name, target in targets.items()
        )


def is_reached(name: str, value: float, target: float) -> bool:
    """Whether a metric such as `validation.accuracy` has met its target: from below if an accuracy, else from above."""
    return value >= target if name.endswith(".accuracy") else value <= target
