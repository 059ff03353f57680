"""Measures this machine: what a device process of it takes for each op, for a bundle, and on the way between two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from statistics import median

from ampsim.calibration.fit import (
    ControllerSample,
    Fitted,
    HandingSample,
    Sample,
    fit_controller,
    fit_handing,
    fit_line,
    fit_rates,
)
from ampsim.calibration.machine import memory_bytes, time_copies, time_products
from ampsim.calibration.sockets import time_transfers
from ampsim.calibration.workloads import quick_workloads, workloads
from ampsim.runtime.controller_time import NAME as CONTROLLER
from ampsim.sim.profile import DeviceProfile
from ampsim.sim.rates import Rate, Way

QUICK = 0.1
"""The share of the repetitions that --quick makes of what is repeated."""


@dataclass(frozen=True)
class Calibration:
    """The kind and the network that were measured, and what they were fitted to.

    `handing_errors` are those of sending and receiving; `loop_s` is what a turn of a device's loop takes beside all.
    """

    profile: DeviceProfile
    latency: float
    bandwidth: float
    rates: Mapping[str, Mapping[Way, Fitted]]
    products: list[tuple[tuple[int, int, int], float]]
    copies: list[tuple[int, float]]
    transfers: list[tuple[int, float]]
    handing_errors: tuple[float, float]
    loop_s: float


def calibrate(kind: str, summary: str, quick: bool, tell: Callable[[str], None]) -> Calibration:
    """Measure; a minute, some seconds if `quick`. `tell` is told what is being measured. In the main thread.

    Raises RunFailed and Interrupted.
    """
    share = QUICK if quick else 1.0
    tell("matrix products and copies")
    products, copies = time_products(round(100 * share)), time_copies(round(50 * share))
    tell("sockets")
    transfers = time_transfers(round(200 * share))
    samples: list[Sample] = []
    controls: list[ControllerSample] = []
    sent: list[HandingSample] = []
    received: list[HandingSample] = []
    for workload in quick_workloads() if quick else workloads():
        tell(str(workload))
        timed = workload.time()
        samples += timed.samples
        controls += timed.controls
        sent += timed.send
        received += timed.receive
    rates = {**fit_rates(samples), CONTROLLER: fit_controller(controls)}
    (send, after_s, send_error), (receive, before_s, receive_error) = fit_handing(sent), fit_handing(received)
    loop_s = before_s + after_s
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
        overhead=batch_s + loop_s,
        message_overhead=message_s,
        send=send,
        receive=receive,
        rates=_with_the_loop(rates, loop_s),
    )
    # Where size made no difference that could be seen, copying is all that it can be.
    network = latency, min(bandwidth, memory_bandwidth)
    return Calibration(profile, *network, rates, products, copies, transfers, (send_error, receive_error), loop_s)


def _typical(rates: Mapping[str, Mapping[Way, Fitted]]) -> tuple[float, float]:
    """Seconds per batch and per message of the ops in the middle: what is taken for ops that nobody measured."""
    measured = [
        fitted.rate
        for op, ways in rates.items()
        for way, fitted in ways.items()
        if way != "update" and op != CONTROLLER
    ]
    return median(rate.batch + rate.call for rate in measured), median(rate.message for rate in measured)


def _with_the_loop(rates: Mapping[str, Mapping[Way, Fitted]], loop_s: float) -> dict[str, dict[Way, Rate]]:
    """The rates, those of batches with what a turn of the device's loop takes around them.

    An update is part of a batch, and the controller has another loop.
    """

    def with_the_loop(op: str, way: Way, rate: Rate) -> Rate:
        return rate if way == "update" or op == CONTROLLER else replace(rate, batch=rate.batch + loop_s)

    return {
        op: {way: with_the_loop(op, way, fitted.rate) for way, fitted in ways.items()} for op, ways in rates.items()
    }
