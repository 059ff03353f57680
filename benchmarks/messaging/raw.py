"""Raw pyzmq, as one who knows it would write it: multipart bundles, small messages copied, large ones not."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import zmq
from traffic import WARM_UP, WINDOW, Traffic, main

COPIED_BELOW = 64 * 1024
"""pyzmq's own threshold: below it, a copy is cheaper than keeping track of a buffer."""


def send(folder: str, name: str, traffic: Traffic) -> float:
    """Push bundles of bare buffers; the seconds until the last one has been read."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as outbox, context.socket(zmq.PULL) as answers:
        outbox.sndhwm = answers.rcvhwm = 0
        outbox.connect(f"ipc://{folder}/receiver")
        answers.bind(f"ipc://{folder}/{name}")
        copy = traffic.values * 4 < COPIED_BELOW
        tensors = traffic.tensors()
        credit, began_s = WINDOW, 0.0
        for number in range(WARM_UP + traffic.bundles):
            if number == WARM_UP:
                while credit < WINDOW:
                    answers.recv()
                    credit += 1
                began_s = perf_counter()
            while credit == 0 or answers.poll(0):
                answers.recv()
                credit += 1
            outbox.send_multipart([tensor.data for tensor in tensors], copy=copy)
            credit -= 1
        while credit < WINDOW:
            answers.recv()
            credit += 1
        return perf_counter() - began_s


def receive(folder: str, name: str, traffic: Traffic) -> None:
    """Pull bundles and send a credit for each."""
    with zmq.Context() as context, context.socket(zmq.PULL) as inbox, context.socket(zmq.PUSH) as answers:
        inbox.rcvhwm = answers.sndhwm = 0
        inbox.bind(f"ipc://{folder}/{name}")
        answers.connect(f"ipc://{folder}/sender")
        copy = traffic.values * 4 < COPIED_BELOW
        total = traffic.bundles + WARM_UP
        heard = 0.0
        for _ in range(total):
            frames = inbox.recv_multipart(copy=copy)
            for frame in frames:
                heard += np.frombuffer(frame if copy else frame.buffer, np.float32, 1).item(0)
            answers.send(b"")
        assert heard == total * sum(range(traffic.packets))


if __name__ == "__main__":
    main(send, receive)
