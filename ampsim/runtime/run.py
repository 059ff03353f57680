"""Runs an experiment: opens the run directory, starts the cluster, and goes round until the controller core is done."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

from ampsim import portable
from ampsim.config.load import Experiment
from ampsim.config.resolved import to_yaml
from ampsim.errors import AmpsimError, DeviceFailed, Interrupted, RunFailed
from ampsim.runtime.assemble import assemble, cluster_spec, controller_core, records
from ampsim.runtime.cluster import Cluster, Delivery, Heartbeat, Interval, Refused
from ampsim.runtime.controller_core import ControllerCore, ProtocolError
from ampsim.runtime.controller_events import (
    AssignParameters,
    CollectReplicas,
    ControllerAction,
    DropStructure,
    EndEpochOnDevices,
    Injected,
    PassEnded,
    SendStructures,
    StartPass,
    TrainingEnded,
)
from ampsim.runtime.device_events import Send
from ampsim.runtime.launcher import LocalLauncher
from ampsim.runtime.record import FAILED, FINISHED, STOPPED, RunRecord
from ampsim.runtime.recording import Recording
from ampsim.runtime.run_directory import RunDirectory
from ampsim.runtime.signals import StopSignals
from ampsim.runtime.stall import StallWatch

WAIT_S = 0.2
COLLECT_S = 60.0
COLLECT_STOPPED_S = 1.0


@dataclass(frozen=True)
class Progress:
    """Where a run stands, for whoever watches. `utilization` is each device's in its latest interval."""

    epoch: int
    epochs: int
    split: str
    metrics: Mapping[str, float]
    instances: int
    instances_expected: int
    instances_per_second: float
    in_flight: int
    utilization: Mapping[str, float]


class Observer(Protocol):
    """Whoever watches a run."""

    def started(self, directory: Path) -> None:
        """The run directory is there, and the devices are being started."""

    def progress(self, progress: Progress) -> None:
        """Where the run stands; called a few times a second."""

    def pass_ended(self, line: Mapping[str, Any]) -> None:
        """A line of metrics.jsonl has been written."""


def run(
    experiment: Experiment,
    observer: Observer,
    out: Path | None = None,
    in_process: bool = False,
    recording: Recording | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Train, and return the run directory and its summary; with a recording, in its order. Must be called in the main
    thread.

    Raises BadInput if the data are missing or malformed, or the run directory cannot be made, or the arithmetic is to
    be portable and this process is not prepared for it; RunFailed and Interrupted after the summary was written.
    """
    config = experiment.config
    portable.require(config.cluster.numerics)
    # A data set that must look at its files to know its splits reads and checks them here, before anything is started.
    _ = experiment.dataset.splits
    with StopSignals() as stop, ExitStack() as leaving:
        directory = RunDirectory.create(config.name, out, to_yaml(experiment))
        header = {
            "name": config.name,
            "clock": config.cluster.clock,
            "numerics": config.cluster.numerics,
            "seed": config.seed,
        }
        kinds = {name: device.profile.kind for name, device in experiment.devices.items()}
        record = RunRecord(directory, header, kinds)
        try:
            directory.write_span_index(list(experiment.graph.nodes))
            if records(experiment):
                directory.write_order_index(cluster_spec(experiment))
            launcher = LocalLauncher(directory.summary, directory.logs)
            leaving.callback(launcher.close)
            record.save()
            observer.started(directory.path)
            cluster = assemble(experiment, launcher, stop, in_process, recording)
            core = controller_core(experiment, cluster.follows)
            return directory.path, _Run(experiment, core, record, observer, stop).go(cluster)
        except (Interrupted, KeyboardInterrupt) as error:
            record.close(STOPPED, error={"text": str(error) or "interrupted"})
            raise error if isinstance(error, Interrupted) else Interrupted("interrupted") from error
        except DeviceFailed as error:
            record.close(FAILED, error={"device": error.device, "text": error.text, "traceback": error.traceback})
            raise
        except (AmpsimError, ProtocolError, OSError) as error:
            record.close(FAILED, error={"text": str(error)})
            raise error if isinstance(error, AmpsimError) else RunFailed(str(error)) from error
        except BaseException as error:
            record.close(FAILED, error={"text": f"{type(error).__name__}: {error}"})
            raise


class _Run:
    """One go of the loop: events from the cluster to the core, its actions to the cluster and the record."""

    def __init__(
        self, experiment: Experiment, core: ControllerCore, record: RunRecord, observer: Observer, stop: StopSignals
    ) -> None:
        self._core = core
        self._records = records(experiment)
        self._stall = StallWatch(experiment.graph.schema, list(experiment.devices))
        self._epochs = experiment.config.training.epochs
        self._record, self._observer, self._stop = record, observer, stop
        self._ended: TrainingEnded | None = None
        self._pass_began_s = self._shown_s = self._zero_s = perf_counter()

    def go(self, cluster: Cluster) -> dict[str, Any]:
        with cluster:
            self._record.identities = cluster.identities
            self._record.save()
            self._zero_s = perf_counter()
            cluster.send(self._perform(self._core.next_pass(), cluster))
            self._stall.moved()
            while self._ended is None and self._stop.received is None:
                self._one_round(cluster)
            stopped = self._ended is None
            collected = cluster.collect(COLLECT_STOPPED_S if stopped else COLLECT_S)
            for interval in collected.intervals:
                self._record.add_interval(interval)
            self._record.add_links(collected.links)
            self._record.add_edges(collected.edges)
            if collected.missing and not stopped:
                raise DeviceFailed(collected.missing[0], f"did not hand out its parameters within {COLLECT_S:.0f} s")
            if not collected.missing:
                self._record.add_parameters(collected.parameters)
        self._record.wall_s = self._now_s()
        if self._ended is None:
            raise Interrupted(f"interrupted by {self._stop.received} in epoch {self._core.epoch}")
        reached = {"reached": dict(self._ended.reached)} if self._ended.reached else {}
        return self._record.close(FINISHED, **reached)

    def _one_round(self, cluster: Cluster) -> None:
        deliveries: list[Delivery] = []
        for event in cluster.wait(WAIT_S):
            if isinstance(event, Interval):
                self._record.add_interval(event)
                if event.held is not None:
                    self._stall.note(event)
            elif isinstance(event, Heartbeat):
                self._stall.note(event.interval)
            elif isinstance(event, Refused):
                self._record.add_refused(event)
            else:
                self._stall.moved()
                deliveries += self._perform(self._core.handle(event), cluster)
        cluster.send(deliveries)
        self._stall.check(self._core.keys_in_flight())
        self._show()

    def _now_s(self) -> float:
        return perf_counter() - self._zero_s

    def _perform(self, actions: list[ControllerAction], cluster: Cluster) -> list[Delivery]:
        """Carry out all but the deliveries, which are returned to be bundled."""
        self._record.wall_s = self._now_s()
        deliveries: list[Delivery] = []
        for action in actions:
            match action:
                case Send() | SendStructures() | DropStructure():
                    deliveries.append(action)
                case EndEpochOnDevices():
                    cluster.end_epoch()
                case CollectReplicas(device, nodes, awaited):
                    cluster.collect_replicas(device, nodes, awaited)
                case AssignParameters(device, values):
                    cluster.assign(device, values)
                case StartPass(epoch, split):
                    self._pass_began_s = perf_counter()
                    cluster.start_pass(epoch, split)
                case PassEnded():
                    self._observer.pass_ended(self._record.add_pass(action, cluster.end_pass()))
                    deliveries += self._perform(self._core.next_pass(), cluster)
                case Injected(injection):
                    cluster.injected(injection.instances)
                    if self._records:
                        self._record.add_injection(injection)
                case TrainingEnded():
                    self._ended = action
        return deliveries

    def _show(self) -> None:
        now = perf_counter()
        if now - self._shown_s < WAIT_S:
            return
        self._shown_s = now
        core = self._core
        done = core.instances_done
        self._observer.progress(
            Progress(
                epoch=core.epoch,
                epochs=self._epochs,
                split=core.split,
                metrics=core.means(),
                instances=done,
                instances_expected=core.instances_expected,
                instances_per_second=done / (now - self._pass_began_s),
                in_flight=core.in_flight,
                utilization={name: totals.latest_utilization for name, totals in self._record.devices.items()},
            )
        )
