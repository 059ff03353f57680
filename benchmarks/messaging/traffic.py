"""What both sides of the messaging case send, and the frame of a process that measures: a sender and a receiver.

The receiver, a second process, tells when it has had everything; the sender measures from its first bundle on to that
answer. A credit for each bundle that was received bounds what is under way, as max_active_keys does in a run.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

WINDOW = 64
"""Bundles under way at most."""
PATIENCE_S = 120
WARM_UP = 50
"""Bundles before the clock starts."""


@dataclass(frozen=True)
class Traffic:
    """`bundles` times `packets` messages of float32[values] each."""

    bundles: int
    packets: int
    values: int

    def tensors(self) -> list[np.ndarray]:
        """The tensors of one bundle, an allocation each, as a device has them."""
        return [np.full((1, self.values), index, np.float32) for index in range(self.packets)]

    @property
    def total(self) -> int:
        """What arrives of the first values of all tensors added up, by which both sides see that all was read."""
        return self.bundles * sum(range(self.packets))


def main(send: Callable[[str, str, Traffic], float], receive: Callable[[str, str, Traffic], None]) -> None:
    """Start the receiver, send in this process, and print messages and bytes per second.

    Both are called with the folder of the sockets, the name of the side and the traffic; `send` returns seconds.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundles", type=int, required=True)
    parser.add_argument("--packets", type=int, required=True, help="messages of a bundle")
    parser.add_argument("--bytes", type=int, required=True, help="bytes of a message's tensor")
    options = parser.parse_args()
    traffic = Traffic(options.bundles, options.packets, options.bytes // 4)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        arguments = (folder, "receiver", traffic)
        receiver = multiprocessing.get_context("fork").Process(target=receive, args=arguments, daemon=True)
        receiver.start()
        signal.alarm(PATIENCE_S)  # the receiver may have failed
        seconds = send(folder, "sender", traffic)
        receiver.join(30)
    if receiver.exitcode:
        raise SystemExit(f"the receiver ended with exit code {receiver.exitcode}")
    messages = traffic.bundles * traffic.packets
    figures = {"messages_per_s": messages / seconds, "bytes_per_s": messages * traffic.values * 4 / seconds}
    print(json.dumps(figures))
