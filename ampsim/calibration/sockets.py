"""Times the way over the runtime's own sockets: bundles of many makes go to another process and back.

The lower quartile counts, since a machine that has other things to do only ever makes it longer; what handing out and
taking in take of it, in the thread's time on the CPU, is no part of the way.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter, thread_time

import numpy as np

from ampsim.data.dataset import DataSpec
from ampsim.errors import RunFailed
from ampsim.ir.batch import FORWARD, Batch
from ampsim.ir.builder import GraphBuilder
from ampsim.ir.graph import Graph, Target
from ampsim.ir.node import TrainingSetup
from ampsim.ir.structure import stack
from ampsim.ops.optimizers import sgd
from ampsim.ops.table import ArraySpec
from ampsim.runtime.device_core import DeviceCore
from ampsim.runtime.device_events import Deliver, DeliverStructures
from ampsim.runtime.launcher import child_environment, short_temporary_folder
from ampsim.runtime.messages import (
    MESSAGES,
    PacketReader,
    is_structure,
    structures_from_packet,
    structures_to_packet,
    to_packet,
)
from ampsim.runtime.sockets import DeviceSocket
from ampsim.runtime.wire import Bundle

HERE, THERE = "here", "there"
PATIENCE_S = 30.0
STRUCTURE = {name: np.arange(20) for name in "abcdefg"}
MAKES = [
    # batches in a bundle, messages (of one row) in a batch, values in a row, structures in the bundle
    (1, 1, 8, 0),
    (1, 32, 32, 0),
    (1, 128, 128, 0),
    (1, 100, 784, 0),
    (1, 400, 784, 0),
    (2, 1, 8, 0),
    (2, 64, 128, 0),
    (4, 16, 64, 0),
    (8, 1, 8, 0),
    (8, 32, 32, 0),
    (16, 4, 8, 0),
    (2, 32, 32, 1),
    (2, 64, 32, 4),
    (2, 128, 32, 16),
]


class _Partner:
    """One end: hands out and takes in as a device process does."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.other = name, THERE if name == HERE else HERE
        # Both devices have a dealer to a controller; here nobody is at its other end.
        self.socket = DeviceSocket(name, f"ipc://{folder / 'controller'}")
        self.socket.bind(f"ipc://{folder / name}")
        self.socket.connect({self.other: f"ipc://{folder / self.other}"})

    def send(self, batches: Sequence[tuple[Target, Batch]], structures: int) -> float:
        """Hand out a bundle with these batches and so many structures; the seconds that it took."""
        began_s = thread_time()
        packets = [structures_to_packet(stack({instance: STRUCTURE})) for instance in range(structures)]
        packets += [to_packet(*batch) for batch in batches]
        self.socket.send(self.other, Bundle(MESSAGES, self.name, None, packets))
        return thread_time() - began_s

    def receive(self, graph: Graph) -> tuple[list[tuple[Target, Batch]], float]:
        """Take in the next bundle for a device of this graph; its batches, and the seconds without the wait."""
        core, reader = _core(graph), PacketReader(graph, graph.nodes)
        if not self.socket.wait(PATIENCE_S):
            raise RunFailed(f"calibrate: nothing came from the other process within {PATIENCE_S:.0f} s")
        began_s = thread_time()
        found = []
        for bundle in self.socket.receive():
            for packet in bundle.packets:
                if is_structure(packet):
                    core.handle(DeliverStructures(structures_from_packet(packet)))
                    continue
                target, batch = reader.read(packet)
                core.handle(Deliver(target, batch, bundle.sender))
                found.append((target, batch))
        return found, thread_time() - began_s


def _graph(width: int) -> Graph:
    """Nodes that take rows of so many values."""
    builder = GraphBuilder(DataSpec({"x": ArraySpec((width,)), "label": ArraySpec((), "int64")}).inputs)
    builder.loss("loss", "softmax_cross_entropy", builder.input("x"), builder.input("label"))
    return builder.graph()


def _core(graph: Graph) -> DeviceCore:
    placement = dict.fromkeys(graph.nodes, HERE)
    return DeviceCore(HERE, graph, placement, TrainingSetup(0, sgd(learning_rate=0.1)))


def time_transfers(repeats: int) -> list[tuple[int, float]]:
    """Send each make of bundle `repeats` times there and back: its bytes, and seconds on the way to one side.

    Raises RunFailed if nothing comes back.
    """
    folder = Path(tempfile.mkdtemp(prefix="ampsim-", dir=short_temporary_folder()))
    command = [sys.executable, "-P", "-m", "ampsim.calibration.sockets", str(folder), str(repeats)]
    partner = _Partner(HERE, folder)
    other = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=child_environment())
    try:
        with partner.socket:
            return [_exchange(partner, make, repeats) for make in MAKES]
    finally:
        other.kill()
        other.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _exchange(partner: _Partner, make: tuple[int, int, int, int], repeats: int) -> tuple[int, float]:
    """One make there and back; the way is half of it, without what both ends work on it."""
    batches, messages, width, structures = make
    graph = _graph(width)
    target = Target("loss", 0, FORWARD)
    sent_s, received_s, round_s = [], [], []
    for repeat in range(repeats):
        states = np.full((messages, 1), repeat)
        payload = np.random.default_rng(repeat).random((messages, width), np.float32)
        batch = Batch(states, np.ones(messages, np.int64), (payload,))
        began_s = perf_counter()
        sent_s.append(partner.send([(target, batch)] * batches, structures))
        received_s.append(partner.receive(graph)[1])
        round_s.append(perf_counter() - began_s)
    size = batches * batch.size_bytes + structures * stack({0: STRUCTURE}).size_bytes
    # The other end does what this one does.
    return size, max(0.0, float(np.quantile(round_s, 0.25)) / 2 - median(received_s) - median(sent_s))


def main(arguments: list[str]) -> int:
    """The other end: sends back what comes, until it is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("repeats", type=int)
    options = parser.parse_args(arguments)
    partner = _Partner(THERE, options.folder)
    with partner.socket:
        for _, _, width, structures in MAKES:
            graph = _graph(width)
            for _ in range(options.repeats):
                partner.send(partner.receive(graph)[0], structures)
        partner.socket.wait(PATIENCE_S)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
