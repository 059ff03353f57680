"""ZeroMQ sockets for bundles: a router at the controller; at each device a dealer to it, an inbox, a push per peer.

Large arrays are handed over without a copy on either side. No socket drops or blocks:
what is under way is bounded by max_active_keys, so the queues need no limit of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import zmq

from ampsim.runtime.wire import LARGE_BYTES, Buffer, Bundle, WireError, decode, encode

MAX_FRAME_BYTES = 2**30
LINGER_MS = 1000
MAX_DRAINED = 256
TOLD_REFUSALS = 20
LONGEST_REFUSAL = 500
CONTROLLER = "controller"

_OPTIONS = {zmq.SNDHWM: 0, zmq.RCVHWM: 0, zmq.LINGER: LINGER_MS, zmq.MAXMSGSIZE: MAX_FRAME_BYTES}


class Refusals:
    """Messages that were refused since the last `take`: how many, and what was wrong with the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self.texts: list[str] = []

    def add(self, text: str) -> None:
        """Note a refused message; `text` is cut, since it may quote what a stranger sent."""
        self.count += 1
        if len(self.texts) < TOLD_REFUSALS:
            self.texts.append(text[:LONGEST_REFUSAL])

    def take(self) -> tuple[int, list[str]]:
        """Their number, and the texts of the first; both are then forgotten."""
        taken = self.count, self.texts
        self.count, self.texts = 0, []
        return taken


class _Sockets:
    """A context, its sockets and a poller; closes them all on leaving. Counts bytes each way, and refused messages."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bytes_sent = 0
        self.bytes_received = 0
        self.refused = Refusals()
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        self._ready: list[Any] = []  # what `wait` has found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.destroy(linger=LINGER_MS)

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        for option, value in _OPTIONS.items():
            socket.setsockopt(option, value)
        return socket

    def _send(self, socket: zmq.Socket[bytes], frames: Sequence[Buffer]) -> None:
        last = len(frames) - 1
        for number, frame in enumerate(frames):
            size = len(frame)
            self.bytes_sent += size
            socket.send(frame, zmq.SNDMORE if number < last else 0, copy=size < LARGE_BYTES)

    def _drain(self, *sockets: zmq.Socket[bytes]) -> Iterable[list[memoryview]]:
        """Multipart messages that have arrived, as buffers; at most MAX_DRAINED, so that a flood starves nobody."""
        polled = [(socket, zmq.POLLIN) for socket in sockets]
        left = MAX_DRAINED
        # To ask first costs less than the exception where there is nothing.
        ready, self._ready = self._ready or zmq.zmq_poll(polled, 0), []
        while ready:
            for socket, _ in ready:
                frame = socket.recv(copy=False)
                buffers = [frame.buffer]
                while frame.more:
                    frame = socket.recv(copy=False)
                    buffers.append(frame.buffer)
                self.bytes_received += sum([len(buffer) for buffer in buffers])
                left -= 1
                yield buffers
            ready = zmq.zmq_poll(polled, 0) if left > 0 else []

    def _decoded(self, frames: Sequence[Buffer]) -> Bundle | None:
        try:
            return decode(frames)
        except WireError as error:
            self.refused.add(str(error))
            return None


class ControllerSocket(_Sockets):
    """The controller's end: devices are addressed by their names."""

    def __init__(self, address: str, devices: Iterable[str]) -> None:
        super().__init__(CONTROLLER)
        self._router = self._socket(zmq.ROUTER)
        self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._router.bind(address)
        self._devices = frozenset(devices)
        self._poller.register(self._router, zmq.POLLIN)

    def watch(self, descriptor: int) -> None:
        """Let `wait` also wake up when a file descriptor becomes readable."""
        self._poller.register(descriptor, zmq.POLLIN)

    def unwatch(self, descriptor: int) -> None:
        """Undo `watch`."""
        self._poller.unregister(descriptor)

    def wait(self, timeout_s: float) -> set[int]:
        """Wait until something has come; the watched file descriptors that are readable."""
        return {int(source) for source, _ in self._poller.poll(round(timeout_s * 1000)) if isinstance(source, int)}

    def send(self, device: str, bundle: Bundle) -> None:
        """Send a bundle; one for a device that is gone is dropped, since its end is noticed elsewhere."""
        try:
            self._send(self._router, [device.encode(), *encode(bundle)])
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise

    def receive(self) -> list[Bundle]:
        """The bundles that have arrived; what does not parse or names another sender is refused."""
        bundles = []
        for identity, *frames in self._drain(self._router):
            bundle = self._decoded(frames)
            sender = bytes(identity).decode(errors="replace")
            if bundle is None:
                continue
            if bundle.sender != sender or sender not in self._devices:
                self.refused.add(f"a message from {sender!r} that says it is from {bundle.sender!r}")
                continue
            bundles.append(bundle)
        return bundles


class DeviceSocket(_Sockets):
    """A device's end: `controller` is its parent's address, `inbox` the one at which its peers reach it."""

    def __init__(self, name: str, controller: str) -> None:
        super().__init__(name)
        self._dealer = self._socket(zmq.DEALER)
        self._dealer.setsockopt(zmq.ROUTING_ID, name.encode())
        self._dealer.connect(controller)
        self._inbox = self._socket(zmq.PULL)
        self._peers = {CONTROLLER: self._dealer}
        for socket in (self._dealer, self._inbox):
            self._poller.register(socket, zmq.POLLIN)

    def bind(self, address: str) -> str:
        """Bind the inbox; the address to tell the peers."""
        self._inbox.bind(address)
        return str(self._inbox.getsockopt_string(zmq.LAST_ENDPOINT))

    def connect(self, peers: Mapping[str, str]) -> None:
        """Connect to every peer but oneself."""
        for peer, address in peers.items():
            if peer != self.name:
                self._peers[peer] = self._socket(zmq.PUSH)
                self._peers[peer].connect(address)

    def wait(self, timeout_s: float) -> bool:
        """Wait until something has come; whether it has."""
        self._ready = self._poller.poll(round(timeout_s * 1000))
        return bool(self._ready)

    def send(self, destination: str, bundle: Bundle) -> None:
        """Send a bundle to a peer, or to the controller."""
        self._send(self._peers[destination], encode(bundle))

    def receive(self) -> list[Bundle]:
        """The bundles that have arrived; what does not parse is refused."""
        decoded = [self._decoded(frames) for frames in self._drain(self._dealer, self._inbox)]
        return [bundle for bundle in decoded if bundle is not None]
