"""A second implementation of the rules of the simulated clock, on SimPy: processes instead of cores.

It is written from docs/devices.md and docs/network.md, and shares no code with ampsim. Its rules in short:

- A device does one batch at a time, here one message: backward before forward, the oldest instance first, of one
  instance what came first; what it sends to itself comes before what arrives meanwhile.
- What a message brings about for nodes of the same device that have no weights (but the loss) is done in the same turn,
  one batch after the other in the order in which they were made; the turn ends with the last of them.
- A batch takes overhead + max(flops / compute, bytes / memory bandwidth), and only the overhead if it has to wait for a
  partner. Each `frequency` gradients a node updates, which is part of the turn; what is left over at the end of the
  epoch is updated then, one node of a device after the other.
- Messages leave when their turn ends, by the ports of the node in their order. What is for the controller is held back
  while the device's next turn is to be of the way back of the same instance, or of one that was injected with it. Then
  it leaves behind what else does: the reports of losses, and the gradients of each input, all of an input together.
- Links are first-come queues; a message is stored and forwarded. A state has 8 bytes here, the number of rows 8.
- The controller takes no time. It injects as many instances as may be in flight, or so many together as it is to; those
  that go together are one message for each input.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import pairwise
from math import isqrt
from random import Random
from typing import Any

import simpy

STAGE, JOIN, FORK, LOSS = "stage", "join", "fork", "loss"
CONTROLLER = "controller"
FORWARD, BACKWARD, INFERENCE = range(3)
Port = tuple[str, int]


@dataclass(frozen=True)
class Kind:
    """A node: where its inputs come from, how wide its output is, and (flops, bytes) a row; `values` are its weights,
    one byte of each of which is moved in a batch.
    """

    kind: str
    inputs: tuple[Port, ...]
    width: int
    forward: tuple[float, float] = (0.0, 0.0)
    backward: tuple[float, float] = (0.0, 0.0)
    values: int = 0


@dataclass(frozen=True)
class Case:
    """A model, a cluster, and what is trained; `devices` have overhead, compute and memory bandwidth."""

    nodes: dict[str, Kind]
    inputs: dict[str, int]
    placement: dict[str, str]
    devices: dict[str, tuple[float, float, float]]
    rows: list[int]
    keys: int
    at_once: int
    frequency: int
    topology: str
    latency: float
    bandwidth: float


def draw_case(random: Random) -> Case:
    """Chains with branches and a second input here and there, on a few devices."""
    nodes: dict[str, Kind] = {}
    inputs = {f"x{number}": random.randint(1, 6) for number in range(random.randint(1, 2))}

    def costs() -> tuple[float, float]:
        return random.uniform(1, 10), random.uniform(1, 10)

    def width(wire: Port) -> int:
        return list(inputs.values())[wire[1]] if wire[0] == CONTROLLER else nodes[wire[0]].width

    def add(kind: str, *wires: Port) -> Port:
        name = f"n{len(nodes)}"
        # What comes first learns, so that there is a gradient for all that follows.
        first = wires[0][0] == CONTROLLER
        values = random.randint(1, 9) if kind != FORK and (first or random.random() < 0.6) else 0
        nodes[name] = Kind(kind, wires, width(wires[0]), costs(), costs(), values)
        return name, 0

    def stages(wire: Port, count: int) -> Port:
        for _ in range(count):
            wire = add(STAGE, wire)
        return wire

    wires = [stages((CONTROLLER, index), random.randint(1, 2)) for index in range(len(inputs))]
    wire = wires[0] if len(wires) == 1 else add(JOIN, *wires)
    for _ in range(random.randint(0, 2)):
        if random.random() < 0.5:
            wire = add(STAGE, wire)
        else:
            fork, _ = add(FORK, wire)
            wire = add(JOIN, *(stages((fork, port), random.randint(0, 2)) for port in (0, 1)))
    nodes["loss"] = Kind(LOSS, (wire, (CONTROLLER, len(inputs))), 0, costs(), costs())
    count = random.randint(1, 5)
    devices = {
        f"d{number}": (random.choice([0.0, random.uniform(0.1, 3)]), random.uniform(1, 9), random.uniform(1, 9))
        for number in range(count)
    }
    return Case(
        nodes=nodes,
        inputs=inputs,
        placement={name: f"d{random.randrange(count)}" for name in nodes},
        devices=devices,
        rows=[random.randint(1, 3) for _ in range(random.randint(1, 8))],
        keys=random.randint(1, 5),
        at_once=random.randint(1, 3),
        frequency=random.choice([1, 2, 3, 100]),
        topology=random.choice(["full", "switch", "ring", "mesh"]),
        latency=random.uniform(0.0, 2.0),
        bandwidth=random.choice([20.0, 100.0, 1e4]) * random.uniform(1, 2),
    )


@dataclass
class Outcome:
    """When each device began which turn, how long it was busy, and when all was done."""

    turns: dict[str, list[tuple[str, int, float]]] = field(default_factory=lambda: defaultdict(list))
    busy_s: Counter[str] = field(default_factory=Counter)
    duration_s: float = 0.0


class Model:
    """One pass of a case."""

    def __init__(self, case: Case, training: bool) -> None:
        self.case, self.training = case, training
        self.env = simpy.Environment()
        self.outcome = Outcome()
        self.readers = {
            wire: (name, port) for name, kind in case.nodes.items() for port, wire in enumerate(kind.inputs)
        }
        self.links: dict[tuple[str, str], simpy.Resource] = {}
        self.queues: dict[str, list[Any]] = {name: [] for name in case.devices}
        self.arrivals: Counter[str] = Counter()
        self.awaken: dict[str, simpy.Event] = {}
        self.partners: Counter[Any] = Counter()
        self.gradients: Counter[str] = Counter()
        self.waiting = list(range(len(case.rows)))
        self.missing: Counter[int] = Counter()
        self.done = self.env.event()
        for name in case.devices:
            self.env.process(self.device(name))

    def run(self) -> Outcome:
        self.inject()
        self.env.run(until=self.done)
        left: Counter[str] = Counter()
        for name, gradients in self.gradients.items():
            if gradients:
                left[self.case.placement[name]] += self.seconds(name, 0, 0, updates=1)
        self.outcome.busy_s.update(left)
        self.outcome.duration_s = self.env.now + max(left.values(), default=0.0)
        return self.outcome

    # The controller.

    def inject(self) -> None:
        while self.waiting:
            free = self.case.keys - len(self.missing)
            # Injected by itself, what is free goes together; else so many as are asked for.
            wave = free if self.case.at_once == 1 else min(self.case.at_once, self.case.keys)
            size = min(wave, len(self.waiting))
            if not free or free < size:
                return
            self.inject_together(size)

    def inject_together(self, size: int) -> None:
        together, self.waiting = self.waiting[:size], self.waiting[size:]
        for instance in together:
            # A backward message for each input and the label, and the loss's report.
            self.missing[instance] = len(self.case.inputs) + 2 if self.training else 1
        for index in range(len(self.case.inputs) + 1):
            target = self.readers[CONTROLLER, index]
            self.carry(CONTROLLER, target, FORWARD if self.training else INFERENCE, together)

    def come_home(self) -> None:
        for instance in [instance for instance, messages in self.missing.items() if not messages]:
            del self.missing[instance]
        self.inject()
        if not self.missing and not self.waiting:
            self.done.succeed()

    # Devices.

    def device(self, name: str) -> Any:
        queue = self.queues[name]
        reports: list[int] = []
        home: dict[Port, list[int]] = {}
        while True:
            while not queue:
                self.awaken[name] = self.env.event()
                yield self.awaken[name]
            yield self.last_of_all()
            _, _, _, target, direction, instance = heappop(queue)
            duration, leaving, ahead = 0.0, [], [(target, direction)]
            for target, direction in ahead:  # it grows on the way
                self.outcome.turns[name].append((target[0], direction, self.env.now + duration))
                seconds, sends = self.answer(target, direction, instance)
                duration += seconds
                for destination, way in sends:
                    if destination == (CONTROLLER, -1):
                        reports.append(instance)
                    elif destination[0] == CONTROLLER:
                        home.setdefault(destination, []).append(instance)
                    elif self.host(destination) != name:
                        leaving.append((destination, way))
                    elif self.is_light(destination):
                        ahead.append((destination, way))
                    else:
                        self.put(name, destination, way, instance)
            goes_on = bool(queue) and not queue[0][0] and self.wave(queue[0][1]) == self.wave(instance)
            self.outcome.busy_s[name] += duration
            yield self.env.timeout(duration)
            for destination, way in leaving:
                self.carry(name, destination, way, [instance])
            if not goes_on:
                for reported in reports:
                    self.carry(name, (CONTROLLER, -1), direction, [reported])
                for destination, instances in home.items():
                    self.carry(name, destination, BACKWARD, instances)
                reports, home = [], {}

    def wave(self, instance: int) -> int:
        return instance // min(self.case.at_once, self.case.keys)

    def is_light(self, target: Port) -> bool:
        kind = self.case.nodes[target[0]]
        return kind.kind != LOSS and not kind.values

    def last_of_all(self) -> simpy.Event:
        """An event that comes after all others of this time: what arrives now is there when a device chooses."""
        event = self.env.event()
        event._ok, event._value = True, None
        self.env.schedule(event, priority=2)
        return event

    def put(self, name: str, target: Port, direction: int, instance: int, place: int | None = None) -> None:
        if place is None:
            place = self.arrivals[name]
            self.arrivals[name] += 1
        heappush(self.queues[name], (direction != BACKWARD, instance, place, target, direction, instance))
        if name in self.awaken and not self.awaken[name].triggered:
            self.awaken[name].succeed()

    def answer(self, target: Port, direction: int, instance: int) -> tuple[float, list[tuple[Port, int]]]:
        """What a node does about a message: how long it takes, and what leaves: (where to, which way)."""
        name, _ = target
        kind, rows = self.case.nodes[name], self.case.rows[instance]
        waits_for = 1
        if direction == BACKWARD:
            waits_for = 2 if kind.kind == FORK else 1
        elif kind.kind in (JOIN, LOSS):
            waits_for = 2
        if waits_for == 2:
            self.partners[name, direction, instance] += 1
            if self.partners[name, direction, instance] < 2:
                return self.seconds(name, 0, 0), []
        if direction == BACKWARD:
            updates = 0
            if kind.values:
                self.gradients[name] += 1
                updates = self.gradients[name] // self.case.frequency
                self.gradients[name] %= self.case.frequency
            flops, size = kind.backward
            if kind.kind == FORK:
                # The second gradient is added to the first: two are read, one is written, of 4 bytes a value.
                flops, size = kind.width, 3 * 4 * kind.width
            weights = self.case.nodes[name].values
            seconds = self.seconds(name, flops * rows, size * rows + weights, updates)
            return seconds, [(wire, BACKWARD) for wire in kind.inputs]
        if kind.kind == LOSS:
            (flops, size), report = kind.forward, [((CONTROLLER, -1), direction)]
            if direction == INFERENCE:
                return self.seconds(name, flops * rows, size * rows), report
            flops, size = flops + kind.backward[0], size + kind.backward[1]
            return self.seconds(name, flops * rows, size * rows), report + [(wire, BACKWARD) for wire in kind.inputs]
        if kind.kind == FORK:
            return self.seconds(name, 0, 0), [(self.readers[name, port], direction) for port in (0, 1)]
        flops, size = kind.forward
        return self.seconds(name, flops * rows, size * rows + kind.values), [(self.readers[name, 0], direction)]

    def seconds(self, name: str, flops: float, size: float, updates: int = 0) -> float:
        overhead, compute, memory_bandwidth = self.case.devices[self.case.placement[name]]
        # Of plain gradient descent: two operations a value; weight and gradient are read, the weight is written.
        values = updates * self.case.nodes[name].values
        return overhead + max((flops + 2 * values) / compute, (size + 12 * values) / memory_bandwidth)

    # The network.

    def host(self, target: Port) -> str:
        return CONTROLLER if target[0] == CONTROLLER else self.case.placement[target[0]]

    def carry(self, source: str, target: Port, direction: int, instances: list[int]) -> None:
        self.env.process(self.travel(source, target, direction, instances))

    def travel(self, source: str, target: Port, direction: int, instances: list[int]) -> Any:
        size, end = sum(self.size(target, direction, instance) for instance in instances), self.host(target)
        path = self.route(source, end)
        for ends in pairwise(path):
            link = self.links.setdefault(ends, simpy.Resource(self.env))
            with link.request() as turn:
                yield turn
                yield self.env.timeout(size / self.case.bandwidth)
            yield self.env.timeout(self.case.latency)
        if end == CONTROLLER:
            for instance in instances:
                self.missing[instance] -= 1
            self.come_home()
            return
        place = self.arrivals[end]
        self.arrivals[end] += 1
        for instance in instances:
            self.put(end, target, direction, instance, place)

    def size(self, target: Port, direction: int, instance: int) -> int:
        name, port = target
        rows, head = self.case.rows[instance], 8 + 8
        if name == CONTROLLER:
            return head + 24 if port == -1 else head  # a report has three figures of 8 bytes
        kind = self.case.nodes[name]
        if direction == BACKWARD:
            return head + 4 * kind.width * rows
        if kind.kind == LOSS and port == 1:
            return head + 8 * rows
        source, number = kind.inputs[port]
        width = list(self.case.inputs.values())[number] if source == CONTROLLER else self.case.nodes[source].width
        return head + 4 * width * rows

    def route(self, source: str, end: str) -> list[str]:
        if self.case.topology == "full":
            return [source, end]
        if self.case.topology == "switch":
            return [source, "switch", end]
        # The controller is beside d0.
        if source == CONTROLLER:
            return [CONTROLLER, *self.walk(0, int(end[1:]))]
        if end == CONTROLLER:
            return [*self.walk(int(source[1:]), 0), CONTROLLER]
        return self.walk(int(source[1:]), int(end[1:]))

    def walk(self, source: int, end: int) -> list[str]:
        count = len(self.case.devices)
        if self.case.topology == "ring":
            ahead = (end - source) % count
            steps = range(ahead + 1) if 2 * ahead <= count else range(0, ahead - count - 1, -1)
            return [f"d{(source + step) % count}" for step in steps]
        columns = count // next(rows for rows in range(isqrt(count), 0, -1) if count % rows == 0)
        (row, column), (to_row, to_column) = divmod(source, columns), divmod(end, columns)
        along = range(column, to_column, 1 if to_column > column else -1)
        down = range(row, to_row, 1 if to_row > row else -1)
        path = [row * columns + at for at in along] + [at * columns + to_column for at in down]
        return [f"d{number}" for number in [*path, end]]
