"""The account of a run: adds up what devices and passes report, and keeps the run directory and its summary."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from socket import gethostname
from typing import Any

from ampsim.data.dataset import TRAIN
from ampsim.ir.graph import CONTROLLER
from ampsim.ops.table import Array
from ampsim.runtime.cluster import DeviceIdentity, Interval, PassTiming, Refused
from ampsim.runtime.controller_events import Injection, PassEnded
from ampsim.runtime.meter import Activity
from ampsim.runtime.run_directory import RunDirectory
from ampsim.runtime.statistics import Edges, Staleness, WorkCounts
from ampsim.sim.bound import Bound, summed

RUNNING, FINISHED, STOPPED, FAILED = "running", "finished", "stopped", "failed"
MOST_EDGES = 64
"""Edges of which the summary tells: those that most packets took."""


@dataclass
class DeviceTotals:
    """A device's utilization log, added up."""

    kind: str
    spent_s: dict[str, float] = field(default_factory=lambda: {activity.value: 0.0 for activity in Activity})
    counts: WorkCounts = field(default_factory=WorkCounts)
    bytes_sent: int = 0
    bytes_received: int = 0
    refused: int = 0
    latest_utilization: float = 0.0

    def add(self, interval: Interval) -> None:
        """Add a line of the log."""
        for activity in self.spent_s:
            self.spent_s[activity] += interval.times[activity]
        length = interval.times["t1_s"] - interval.times["t0_s"]
        self.latest_utilization = interval.times["busy_s"] / length if length > 0 else 0.0
        self.counts.merge(interval.counts)
        self.bytes_sent += interval.bytes_sent
        self.bytes_received += interval.bytes_received
        self.refused += interval.refused_count

    @property
    def utilization(self) -> float:
        """The busy share of all the time that was logged."""
        total = sum(self.spent_s.values())
        return self.spent_s["busy_s"] / total if total else 0.0

    def to_json(self, identity: DeviceIdentity | None) -> dict[str, Any]:
        """The device's entry in the summary."""
        counts = self.counts
        return {
            "kind": self.kind,
            "pid": identity.pid if identity else None,
            "utilization": self.utilization,
            **self.spent_s,
            "forward_messages": counts.forward_messages,
            "backward_messages": counts.backward_messages,
            "batches": counts.batches,
            "updates": counts.updates,
            "bytes_sent": self.bytes_sent,
            "bytes_received": self.bytes_received,
            "queue_max": counts.queue_max,
            "peak_memory_bytes": counts.peak_memory_bytes,
            "staleness_mean": counts.staleness.mean,
            "staleness_max": counts.staleness.maximum,
            "refused_messages": self.refused,
        }


class RunRecord:
    """Everything that is known of a run so far; `save` writes the summary.

    `kinds` maps devices to their kinds, `header` has the summary's first entries (name, clock, seed, ...).
    """

    def __init__(self, directory: RunDirectory, header: Mapping[str, Any], kinds: Mapping[str, str]) -> None:
        self.directory = directory
        self.devices = {name: DeviceTotals(kind) for name, kind in kinds.items()}
        self.identities: Mapping[str, DeviceIdentity] = {}
        self.status = RUNNING
        self.time_s = 0.0
        self.validation_time_s = 0.0
        self.wall_s = 0.0
        self._header = dict(header)
        self._passes: dict[str, dict[str, Any]] = {}
        self._trained = 0
        self._refused = 0
        self._epochs = 0
        self._bounds: list[Bound] = []
        self._injections: list[Injection] = []
        self._closing: dict[str, Any] = {}

    def add_injection(self, injection: Injection) -> None:
        """Record an injection; written with the next interval or pass."""
        self._injections.append(injection)

    def add_interval(self, interval: Interval) -> None:
        """Log an interval of a device."""
        self._write_injections()
        self.devices[interval.device].add(interval)
        self.directory.add_interval(interval)

    def _write_injections(self) -> None:
        if self._injections:
            self.directory.add_injections(self._injections)
            self._injections = []

    def add_refused(self, refused: Refused) -> None:
        """Log messages to the controller that were refused."""
        self._refused += refused.count
        self.directory.add_refusals(CONTROLLER, self.wall_s, refused.texts)

    def add_pass(self, ended: PassEnded, timing: PassTiming) -> dict[str, Any]:
        """Log a pass; the line of metrics.jsonl that was written."""
        if ended.split == TRAIN:
            self.time_s += timing.duration_s
            self._trained += ended.instances
            self._epochs = ended.epoch
        else:
            self.validation_time_s += timing.duration_s
        line = {
            "epoch": ended.epoch,
            "split": ended.split,
            **ended.metrics,
            "instances": ended.instances,
            "time_s": self.time_s,
            "wall_s": self.wall_s,
            "duration_s": timing.duration_s,
        }
        if timing.bound:
            line["bound"] = timing.bound.to_json(timing.duration_s)
            if ended.split == TRAIN:
                self._bounds.append(timing.bound)
        self._passes[ended.split] = {**ended.metrics, "instances": ended.instances}
        self._write_injections()
        self.directory.add_metrics(line)
        self.save()
        return line

    def add_links(self, links: Mapping[str, Any]) -> None:
        """Note what the links of a simulated network have carried."""
        if links:
            self._closing["links"] = dict(links)

    def add_edges(self, edges: Edges) -> None:
        """Note how long packets were on the way, of the edges that most packets took; in one process there are none."""
        if edges:
            most = sorted(edges.items(), key=lambda edge: -edge[1].packets)[:MOST_EDGES]
            self._closing["edges"] = {
                f"{sender} -> {receiver}": {"packets": came.packets, "mean_s": came.mean_s}
                for (sender, receiver), came in most
            }

    def add_parameters(self, parameters: Mapping[str, Array]) -> None:
        """Write the final parameters; the clock alone has none."""
        if not parameters:
            return
        self._closing["parameters_sha256"] = self.directory.write_parameters(parameters)

    def close(self, status: str, **details: Any) -> dict[str, Any]:
        """Write the last summary: status `finished`, `stopped` or `failed`, and what else is to be said."""
        self.status = status
        self._closing.update(details)
        self.directory.close()
        return self.save()

    def save(self) -> dict[str, Any]:
        """Write the summary as of now, and return it."""
        summary = self._summary()
        self.directory.write_summary(summary)
        return summary

    def _summary(self) -> dict[str, Any]:
        staleness = Staleness()
        nodes: dict[str, Any] = {}
        for device, totals in self.devices.items():
            staleness.merge(totals.counts.staleness)
            for node, counts in totals.counts.nodes.items():
                nodes[node] = {
                    "device": device,
                    "updates": counts.updates,
                    "gradients": counts.staleness.gradients,
                    "staleness_mean": counts.staleness.mean,
                    "staleness_max": counts.staleness.maximum,
                }
        passes = dict(self._passes)
        if TRAIN in passes:
            rate = self._trained / self.time_s if self.time_s else 0.0
            passes[TRAIN] = {**passes[TRAIN], "instances": self._trained, "instances_per_second": rate}
        return {
            "name": self._header["name"],
            "status": self.status,
            "pid": os.getpid(),
            "host": gethostname(),
            **{key: value for key, value in self._header.items() if key != "name"},
            "epochs": self._epochs,
            "time_s": self.time_s,
            "validation_time_s": self.validation_time_s,
            "wall_s": self.wall_s,
            **passes,
            **({"bound": summed(self._bounds).to_json(self.time_s)} if self._bounds else {}),
            "staleness": {"mean": staleness.mean, "max": staleness.maximum},
            "refused_messages": self._refused,
            **self._closing,
            "devices": {name: totals.to_json(self.identities.get(name)) for name, totals in self.devices.items()},
            "nodes": nodes,
            "arithmetic": next((dict(identity.arithmetic) for identity in self.identities.values()), None),
        }
