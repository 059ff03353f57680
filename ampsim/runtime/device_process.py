"""A device as a process on the wall clock: receive, ask the core, act.

`python -m ampsim device --controller ADDRESS --name NAME` connects to the controller, says hello, gets the run's
spec, builds its part of the model, binds its inbox, reports that it is ready, and begins when it is told to go.
"""

from __future__ import annotations

import argparse
import os
import signal
from collections import defaultdict
from collections.abc import Iterable, Sequence
from traceback import format_exc
from typing import Any

import numpy as np

from ampsim import blas, portable
from ampsim.ir.graph import CONTROLLER, Graph
from ampsim.runtime.device_core import DeviceCore, NodeFailed
from ampsim.runtime.device_events import (
    Assign,
    Collect,
    Deliver,
    DeliverStructures,
    DeviceAction,
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
)
from ampsim.runtime.messages import (
    MESSAGES,
    REPORT,
    PacketReader,
    is_structure,
    order_from_packet,
    order_to_packet,
    parameter_packets,
    parameters_from_packets,
    structures_from_packet,
    to_packet,
)
from ampsim.runtime.meter import Activity, Meter
from ampsim.runtime.schedule import OrderWriter, ScheduledQueues
from ampsim.runtime.signals import die_with_the_parent
from ampsim.runtime.sockets import DeviceSocket
from ampsim.runtime.spans import SpanRecorder
from ampsim.runtime.spec import ClusterSpec
from ampsim.runtime.statistics import OnTheWay
from ampsim.runtime.wire import Bundle, Packet, WireError

PARENT_CHECK_S = 0.5
HANDSHAKE_S = 120.0
LOOK_S = 100e-6
"""How long a device that has work goes on without a look at its sockets, which takes a third of a short turn."""


def main(arguments: list[str]) -> int:
    """Run one device until the controller says goodbye; 0, or 1 if it failed (the controller has been told why)."""
    parser = argparse.ArgumentParser(prog="ampsim device")
    parser.add_argument("--controller", required=True, help="address of the controller's socket")
    parser.add_argument("--name", required=True, help="name of this device in the config")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_the_parent()
    with DeviceSocket(options.name, options.controller) as socket:
        try:
            DeviceProcess(socket).run()
        except ControllerGone:
            return 1
        except NodeFailed as error:
            return _fail(socket, str(error), error.traceback)
        except Exception as error:
            return _fail(socket, f"{type(error).__name__}: {error}", format_exc())
    return 0


def _fail(socket: DeviceSocket, text: str, remote_traceback: str) -> int:
    socket.send(CONTROLLER, Bundle("failed", socket.name, {"text": text, "traceback": remote_traceback}))
    return 1


class ControllerGone(Exception):
    """The parent process has ended."""


class DeviceProcess:
    """The loop around a device core: it alone knows sockets and the clock."""

    def __init__(self, socket: DeviceSocket) -> None:
        self._socket = socket
        self._parent = os.getppid()
        self._meter = Meter()
        self._outbox: dict[str, list[Packet]] = defaultdict(list)
        self._came: dict[str, OnTheWay] = defaultdict(OnTheWay)
        self._looked_s = 0.0
        self._finished = False
        self._graph: Graph
        self._core: DeviceCore
        self._spec: ClusterSpec
        self._spans: SpanRecorder
        self._order: OrderWriter
        self._reader: PacketReader

    def run(self) -> None:
        """Shake hands, then serve until the controller says goodbye."""
        early = self._shake_hands()
        self._meter.start()
        self._take_in(early)
        while not self._finished:
            self._one_turn()

    def _one_turn(self) -> None:
        meter, socket, core = self._meter, self._socket, self._core
        if not core.has_work:
            meter.switch(Activity.IDLE)
            left = self._spec.log_interval_s - meter.interval_s
            socket.wait(min(max(left, 0.0), PARENT_CHECK_S))
            self._raise_for_lost_parent()
        if core.has_work and meter.switched_s - self._looked_s < LOOK_S:
            began_s = meter.switch(Activity.BUSY)
        else:
            meter.switch(Activity.RECEIVE)
            began_s = self._take_in(socket.receive())
            self._looked_s = meter.switched_s
        if core.has_work:
            actions = core.handle(Turn())
            ended_s = meter.switch(Activity.SEND)
            self._act(actions, began_s, ended_s)
            self._flush()
        if meter.interval_s >= self._spec.log_interval_s:
            self._send_interval()
            self._raise_for_lost_parent()

    def _raise_for_lost_parent(self) -> None:
        if os.getppid() != self._parent:
            raise ControllerGone

    def _shake_hands(self) -> list[Bundle]:
        """Say hello, build the model, report ready, wait for go; messages of faster peers may come with it."""
        name = self._socket.name
        self._socket.send(CONTROLLER, Bundle("hello", name, {"pid": os.getpid()}))
        welcome = self._await("welcome")[0]
        self._spec = spec = ClusterSpec.from_wire(welcome.body["spec"])
        self._graph = graph = spec.build_graph()
        queues = ScheduledQueues(graph.targets, spec.processes) if spec.follows else None
        clock = self._meter.now_s if spec.measures else None
        self._core = DeviceCore(
            name, graph, spec.placement, spec.setup(), spec.max_batch, queues, wave=spec.wave, clock=clock
        )
        here = frozenset(node for node, device in spec.placement.items() if device == name)
        self._reader = PacketReader(graph, here)
        self._spans = SpanRecorder(graph.ranks)
        self._order = OrderWriter(graph.targets, spec.processes)
        inbox = self._socket.bind(welcome.body["inbox"])
        arithmetic = blas.record(spec.numerics)
        if spec.numerics == "portable" and (problems := portable.unpinned(arithmetic)):
            raise RuntimeError(f"its arithmetic is not the portable one: {'; '.join(problems)}")
        self._socket.send(CONTROLLER, Bundle("ready", name, {"inbox": inbox, "arithmetic": arithmetic}))
        go, *early = self._await("go")
        self._socket.connect(go.body["peers"])
        return early

    def _await(self, kind: str) -> list[Bundle]:
        """The bundles from the first of `kind` on."""
        early: list[Bundle] = []
        for _ in range(int(HANDSHAKE_S / PARENT_CHECK_S)):
            self._socket.wait(PARENT_CHECK_S)
            early += self._socket.receive()
            first = next((bundle for bundle in early if bundle.kind == kind), None)
            if first is not None:
                return [first, *(bundle for bundle in early if bundle is not first)]
            self._raise_for_lost_parent()
        raise TimeoutError(f"the controller did not say {kind!r} within {HANDSHAKE_S:.0f} s")

    def _take_in(self, bundles: Sequence[Bundle]) -> float:
        """Take in what has come, and note how long it was on the way; when that is done, on the run's clock."""
        for bundle in bundles:
            self._receive(bundle)
        done_s = self._meter.switch(Activity.BUSY if self._core.has_work else Activity.SEND)
        for bundle in bundles:
            if bundle.sent_s is not None and bundle.packets:
                self._came[bundle.sender].add(len(bundle.packets), self._meter.switched_s - bundle.sent_s)
        return done_s

    def _receive(self, bundle: Bundle) -> None:
        match bundle.kind:
            case "messages":
                if bundle.body:
                    self._core.handle(DropStructures(bundle.body))
                for packet in bundle.packets:
                    try:
                        if is_structure(packet):
                            self._core.handle(DeliverStructures(structures_from_packet(packet)))
                        else:
                            target, batch = self._reader.read(packet)
                            self._core.handle(Deliver(target, batch, bundle.sender))
                    except WireError as error:
                        self._socket.refused.add(f"from {bundle.sender}: {error}")
            case "order" if self._spec.follows:
                for packet in bundle.packets:
                    self._follow(bundle.sender, packet)
            case "end_epoch":
                self._act(self._core.handle(EndEpoch()))
            case "collect":
                self._send_interval()
                self._act(self._core.handle(Collect()))
            case "hand_out":
                self._act(self._core.handle(HandOut(bundle.body["nodes"], bundle.body["awaited"])))
            case "assign":
                self._act(self._core.handle(Assign(parameters_from_packets(bundle.packets))))
            case "bye":
                self._finished = True
            case _:
                self._socket.refused.add(f"from {bundle.sender}: no such kind of message: {bundle.kind!r}")

    def _follow(self, sender: str, packet: Packet) -> None:
        try:
            self._core.handle(Follow(order_from_packet(packet)))
        except (WireError, ValueError) as error:
            self._socket.refused.add(f"from {sender}: {error}")

    def _act(self, actions: Iterable[DeviceAction], began_s: float = 0.0, ended_s: float = 0.0) -> None:
        name = self._socket.name
        for action in actions:
            # The two that are frequent come first, and without a pattern, whose captures take a microsecond.
            if isinstance(action, Handled):
                if self._spec.measures:
                    self._spans.add_turn(began_s, ended_s, action)
                if self._spec.records:
                    self._order.add(action.target, action.parts)
                continue
            if isinstance(action, Send):
                self._outbox[action.device].append(to_packet(action.target, action.batch))
                continue
            match action:
                case Report(batch):
                    self._outbox[CONTROLLER].append(to_packet(REPORT, batch))
                case EpochEnded(_, shared):
                    self._socket.send(CONTROLLER, Bundle("epoch_ended", name, dict(shared)))
                case HandedOut(values):
                    self._socket.send(CONTROLLER, Bundle("handed_out", name, None, parameter_packets(values)))
                case Parameters(values):
                    self._socket.send(CONTROLLER, Bundle("parameters", name, None, parameter_packets(values)))

    def _flush(self) -> None:
        """One bundle to each peer that there is something for."""
        for peer, packets in self._outbox.items():
            self._socket.send(peer, Bundle(MESSAGES, self._socket.name, None, packets, self._meter.switched_s))
        self._outbox.clear()

    def _send_interval(self) -> None:
        socket = self._socket
        counts = self._core.take_counts()
        count, texts = socket.refused.take()
        body: dict[str, Any] = {
            "times": self._meter.take_interval(),
            "counts": counts.to_wire(),
            "bytes_sent": socket.bytes_sent,
            "bytes_received": socket.bytes_received,
            "refused": texts,
            "refused_count": count,
            "held": {} if counts.batches else self._core.held(),
            "came": {sender: [came.packets, came.total_s] for sender, came in self._came.items()},
        }
        self._came.clear()
        socket.bytes_sent = socket.bytes_received = 0
        spans: np.ndarray[Any, Any] = self._spans.take()
        packets = [Packet(("spans",), (spans,)), order_to_packet(self._order.take())]
        socket.send(CONTROLLER, Bundle("interval", socket.name, body, packets))
