"""The simulated clock with no arithmetic and no processes: messages per second of this machine's time, and memory."""

from __future__ import annotations

import json
import resource
import sys

from ampsim.bench.train import train

if __name__ == "__main__":
    summary, took_s = train([*sys.argv[1:], "--set=cluster.clock=simulated", "--set=cluster.numerics=off"])
    devices = summary["devices"].values()
    messages = sum(device["forward_messages"] + device["backward_messages"] for device in devices)
    # Of the largest process, which is the one that simulates; Linux tells KiB.
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    figures = {"messages_per_s": messages / summary["wall_s"], "wall_s": summary["wall_s"], "total_s": took_s}
    figures["peak_mb"] = peak_mb
    print(json.dumps(figures))
