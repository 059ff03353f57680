"""Measures this machine: what a device process of it takes for each op, for a bundle, and on the way between two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from statistics import median

from ampsim.calibration.fit import (
    ControllerSample,
    Fitted,
    FittedHanding,
    HandedInRun,
    Sample,
    fit_controller,
    fit_handing,
    fit_lateness,
    fit_line,
    fit_rates,
    fit_spread,
)
from ampsim.calibration.machine import memory_bytes, time_copies, time_products
from ampsim.calibration.sockets import time_transfers
from ampsim.calibration.workloads import quick_workloads, workloads
from ampsim.runtime.controller_time import NAME as CONTROLLER
from ampsim.runtime.statistics import Edges
from ampsim.sim.profile import DeviceProfile
from ampsim.sim.rates import Way, kind_of

QUICK = 0.1
"""The share of the repetitions that --quick makes of what is repeated."""


@dataclass(frozen=True)
class Calibration:
    """The kind and the network that were measured, and what they were fitted to."""

    profile: DeviceProfile
    latency: float
    bandwidth: float
    rates: Mapping[str, Mapping[Way, Fitted]]
    products: list[tuple[tuple[int, int, int], float]]
    copies: list[tuple[int, float]]
    transfers: list[tuple[int, float]]
    send: FittedHanding
    receive: FittedHanding
    lateness: float
    """the part of the latency, in s, that whole runs told"""


def calibrate(kind: str, summary: str, quick: bool, tell: Callable[[str], None]) -> Calibration:
    """Measure; a good minute, some seconds if `quick`. `tell` is told what is being measured. In the main thread.

    Raises RunFailed and Interrupted.
    """
    share = QUICK if quick else 1.0
    tell("matrix products and copies")
    products, copies = time_products(round(100 * share)), time_copies(round(50 * share))
    tell("sockets")
    transfers = time_transfers(round(200 * share))
    samples: list[Sample] = []
    controls: list[ControllerSample] = []
    sent: list[HandedInRun] = []
    received: list[HandedInRun] = []
    edges: list[Edges] = []
    # Twice, some time apart: what a machine does beside changes within seconds.
    chosen, times = list(quick_workloads() if quick else workloads()), 1 if quick else 2
    for workload in times * chosen:
        tell(str(workload))
        timed = workload.time()
        edges.append(timed.edges)
        samples += timed.samples
        controls += timed.controls
        sent += timed.send
        received += timed.receive
    rates = {**fit_rates(samples), CONTROLLER: fit_controller(controls)}
    send, receive = fit_handing(sent), fit_handing(received)
    latency, bandwidth = fit_line(*zip(*transfers, strict=True))
    (large, large_s), (copied, copied_s) = products[-1], copies[-1]
    memory_bandwidth = 2 * copied / copied_s
    batch_s, message_s = _typical(rates)
    profile = DeviceProfile(
        kind,
        summary,
        compute=2 * prod(large) / large_s,
        memory_bandwidth=memory_bandwidth,
        memory=memory_bytes(),
        overhead=batch_s,
        message_overhead=message_s,
        turn=send.turn + receive.turn,
        spread=fit_spread(samples),
        send=send.handing,
        receive=receive.handing,
        rates={op: {way: fitted.rate for way, fitted in ways.items()} for op, ways in rates.items()},
    )
    # Where size made no difference that could be seen, copying is all that it can be.
    bandwidth = min(bandwidth, memory_bandwidth)
    tell("what whole runs would be by these figures")
    predicted = [workload.predict(profile, (latency, bandwidth)) for workload in chosen]
    late_s = fit_lateness(edges, times * predicted)
    network = latency + late_s, bandwidth
    return Calibration(profile, *network, rates, products, copies, transfers, send, receive, late_s)


def _typical(rates: Mapping[str, Mapping[Way, Fitted]]) -> tuple[float, float]:
    """Seconds per batch and per message of the ops in the middle: what is taken for ops that nobody measured."""
    measured = [
        fitted.rate
        for op, ways in rates.items()
        for way, fitted in ways.items()
        if way != "update" and op != CONTROLLER and op == kind_of(op)
    ]
    return median(rate.batch + rate.call for rate in measured), median(rate.message for rate in measured)
