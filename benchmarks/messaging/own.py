"""ampsim's own messaging: sockets.py, wire.py and messages.py as two devices use them, checks and all."""

from __future__ import annotations

from time import perf_counter

import numpy as np
from traffic import WARM_UP, WINDOW, Traffic, main

from ampsim import ArraySpec, Graph, GraphBuilder
from ampsim.ir.batch import Batch, Direction
from ampsim.ir.graph import Target
from ampsim.runtime.messages import MESSAGES, PacketReader, to_packet
from ampsim.runtime.sockets import DeviceSocket
from ampsim.runtime.wire import Bundle


def graph(values: int) -> Graph:
    """A linear node that takes rows of `values`."""
    builder = GraphBuilder({"x": ArraySpec((values,)), "y": ArraySpec((), "int64")})
    wire = builder.transform("linear", "linear", builder.input("x"), units=2)
    builder.loss("loss", "softmax_cross_entropy", wire, builder.input("y"))
    return builder.graph()


def send(folder: str, name: str, traffic: Traffic) -> float:
    """Send bundles as a device sends what its turn has made; the seconds until the last one has been read."""
    target = Target("linear", 0, Direction.FORWARD)
    fields = len(graph(traffic.values).schema.fields)
    with DeviceSocket(name, f"ipc://{folder}/controller") as socket:
        socket.bind(f"ipc://{folder}/{name}")
        socket.connect({"receiver": f"ipc://{folder}/receiver"})
        states, rows = np.ones((1, fields), np.int64), np.ones(1, np.int64)
        batches = [Batch(states.copy(), rows.copy(), (tensor,)) for tensor in traffic.tensors()]
        credit, began_s = WINDOW, 0.0
        for number in range(WARM_UP + traffic.bundles):
            if number == WARM_UP:
                credit += _drain(socket, WINDOW - credit)
                began_s = perf_counter()
            while credit == 0:
                socket.wait(1.0)
                credit += len(socket.receive())
            socket.send("receiver", Bundle(MESSAGES, name, None, [to_packet(target, batch) for batch in batches]))
            credit -= 1
        _drain(socket, WINDOW - credit)
        return perf_counter() - began_s


def receive(folder: str, name: str, traffic: Traffic) -> None:
    """Read bundles as a device does, up to the batch that its core is given, and send a credit for each."""
    reader = PacketReader(graph(traffic.values), frozenset({"linear"}))
    with DeviceSocket(name, f"ipc://{folder}/controller") as socket:
        socket.bind(f"ipc://{folder}/{name}")
        socket.connect({"sender": f"ipc://{folder}/sender"})
        total = left = traffic.bundles + WARM_UP
        heard = 0.0
        while left:
            socket.wait(1.0)
            for bundle in socket.receive():
                for packet in bundle.packets:
                    _, batch = reader.read(packet)
                    heard += batch.payload[0].item(0)
                socket.send("sender", Bundle("credit", name))
                left -= 1
        assert heard == total * sum(range(traffic.packets)), socket.refused.texts


def _drain(socket: DeviceSocket, credits_out: int) -> int:
    """Wait until all bundles under way have been answered."""
    got = 0
    while got < credits_out:
        socket.wait(1.0)
        got += len(socket.receive())
    return got


if __name__ == "__main__":
    main(send, receive)
