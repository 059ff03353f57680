"""Placements to compare: a config's own, the balanced one, and others that cut the graph elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ampsim.sim.placement import balance

Placement = tuple[tuple[str, ...], ...]
"""The nodes of each device, in the devices' order."""

TRIES = 200


def placements(own: Placement, work_s: Mapping[str, float], count: int) -> list[Placement]:
    """Up to `count` placements that differ, `own` first; fewer if no more are found.

    `work_s` has the work of each node, in topological order. The generated ones deal the nodes out in contiguous runs:
    the second so that the busiest device has as little to do as possible, the others at cuts drawn with a fixed seed.
    A device that hosts nothing in `own` hosts nothing in the others either, so that as many devices work.
    """
    nodes = list(work_s)
    hosts = [number for number, device in enumerate(own) if device]
    found = [own]
    generator = np.random.default_rng(0)
    for attempt in range(TRIES):
        if len(found) >= count or len(hosts) < 2:
            break
        if attempt == 0:
            cuts = np.flatnonzero(np.diff(balance([list(work_s.values())] * len(hosts)))) + 1
        else:
            cuts = np.sort(generator.choice(np.arange(1, len(nodes)), len(hosts) - 1, replace=False))
        candidate: list[tuple[str, ...]] = [()] * len(own)
        for host, run in zip(hosts, np.split(np.arange(len(nodes)), cuts), strict=True):
            candidate[host] = tuple(nodes[index] for index in run)
        if tuple(candidate) not in found:
            found.append(tuple(candidate))
    return found
