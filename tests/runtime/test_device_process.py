"""When a device process looks for what has come, and what it holds back: with a socket and a clock of our own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import numpy as np
import pytest

from ampsim.config.load import load
from ampsim.ir.batch import FORWARD, Batch, Direction
from ampsim.ir.graph import CONTROLLER, Target
from ampsim.runtime import device_process
from ampsim.runtime.assemble import cluster_spec
from ampsim.runtime.device_process import DeviceProcess
from ampsim.runtime.messages import MESSAGES, to_packet
from ampsim.runtime.meter import Meter
from ampsim.runtime.sockets import Refusals
from ampsim.runtime.wire import Bundle

ONE_DEVICE = "cluster.devices={d0: {kind: cpu-core, nodes: ['*']}}"
TWO_DEVICES = (
    "cluster.devices={d0: {kind: cpu-core, nodes: [linear1, relu1]}, d1: {kind: cpu-core, nodes: [linear2, loss]}}"
)


class Told:
    """A socket whose every `receive` gives what it was told, and then goodbye; it keeps what was sent."""

    def __init__(self, name: str, rounds: list[list[Bundle]]) -> None:
        self.name, self.refused = name, Refusals()
        self.bytes_sent = self.bytes_received = 0
        self.done: list[str] = []
        self.sent: list[tuple[str, Bundle]] = []
        self._rounds = deque(rounds)

    def wait(self, timeout_s: float) -> bool:
        return True

    def receive(self) -> list[Bundle]:
        self.done.append("look")
        return self._rounds.popleft() if self._rounds else [Bundle("bye", CONTROLLER)]

    def send(self, destination: str, bundle: Bundle) -> None:
        self.done.append(destination)
        self.sent.append((destination, bundle))

    def bind(self, address: str) -> str:
        return address

    def connect(self, peers: Mapping[str, str]) -> None:
        pass

    def messages(self) -> list[tuple[str, list[tuple[Any, ...]]]]:
        """To whom each bundle of messages went, and the addresses in it."""
        return [
            (to, [packet.address for packet in bundle.packets]) for to, bundle in self.sent if bundle.kind == MESSAGES
        ]


def minibatches(numbers: range) -> Bundle:
    """Some minibatches of one image each, from the controller."""
    packets = []
    for number in numbers:
        states, rows = np.array([[number]]), np.array([1])
        image = Batch(states, rows, (np.zeros((1, 784), np.float32),))
        label = Batch(states, rows, (np.array([3]),))
        packets += [
            to_packet(Target("linear1", 0, FORWARD), image),
            to_packet(Target("loss", 1, FORWARD), label),
        ]
    return Bundle(MESSAGES, CONTROLLER, [], packets, 0.0)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Told]:
    """Let d0 serve some rounds of bundles, by a clock; the socket that it used."""

    def run(devices: str, clock: Callable[[], float], *rounds: list[Bundle], sets: tuple[str, ...] = ()) -> Told:
        experiment = load("mnist-mlp", [devices, "model.hidden=[4]", "cluster.clock=wall", *sets])
        welcome = Bundle("welcome", CONTROLLER, {"spec": cluster_spec(experiment).to_wire(), "inbox": "inproc://d0"})
        socket = Told("d0", [[welcome], [Bundle("go", CONTROLLER, {"peers": {}})], *rounds])
        monkeypatch.setattr(device_process, "Meter", lambda: Meter(clock))
        DeviceProcess(socket).run()  # type: ignore[arg-type]  # has all that it uses of a socket
        return socket

    return run


def standing() -> float:
    """A clock that does not move: all happens within a moment."""
    return 5.0


def ticking(step_s: float) -> Callable[[], float]:
    """A clock by which every look at it takes so long."""
    ticks = count()
    return lambda: next(ticks) * step_s


HOME, REPORT = (CONTROLLER, 0, int(Direction.BACKWARD)), (CONTROLLER, 0, int(FORWARD))


def test_what_comes_home_is_held_back_for_a_moment_while_there_is_work(serve: Callable[..., Told]) -> None:
    socket = serve(ONE_DEVICE, standing, [minibatches(range(4))])
    ((to, addresses),) = socket.messages()
    assert to == CONTROLLER
    assert addresses.count(HOME) == addresses.count(REPORT) == 4


def test_it_is_held_back_no_longer_than_a_moment(serve: Callable[..., Told]) -> None:
    socket = serve(ONE_DEVICE, ticking(device_process.HOLD_S), [minibatches(range(4))], *[[]] * 40)
    homes = [addresses.count(HOME) for _, addresses in socket.messages()]
    assert (sum(homes), max(homes)) == (4, 1)


def test_what_another_device_waits_for_leaves_after_the_turn_that_made_it(serve: Callable[..., Told]) -> None:
    socket = serve(TWO_DEVICES, standing, [minibatches(range(3))])
    ahead = [addresses for to, addresses in socket.messages() if to == "d1"]
    assert ahead == [[("linear2", 0, int(FORWARD))]] * 3


@pytest.mark.parametrize(("clock", "between"), [(standing, []), (ticking(device_process.LOOK_S), ["look"])])
def test_a_device_with_work_looks_for_more_only_now_and_then(
    serve: Callable[..., Told], clock: Callable[[], float], between: list[str]
) -> None:
    """Three minibatches go ahead through linear1, a turn for each."""
    socket = serve(TWO_DEVICES, clock, [minibatches(range(3))], [], [])
    assert socket.done[socket.done.index("d1") :][: 3 + 2 * len(between)] == ["d1", *between, "d1", *between, "d1"]
