"""Runs an experiment: opens the run directory, starts the cluster, and goes round until the controller core is done."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

from ampsim import portable
from ampsim.config.load import Experiment
from ampsim.config.network import make_network
from ampsim.config.resolved import to_yaml
from ampsim.errors import AmpsimError, DeviceFailed, Interrupted, RunFailed
from ampsim.runtime.cluster import Cluster, Delivery, Heartbeat, Interval, Refused
from ampsim.runtime.controller_core import ControllerCore, Plan, ProtocolError
from ampsim.runtime.controller_events import (
    AssignParameters,
    CollectReplicas,
    ControllerAction,
    DropStructure,
    EndEpochOnDevices,
    Injected,
    PassEnded,
    SendStructure,
    StartPass,
    TrainingEnded,
)
from ampsim.runtime.device_core import Send
from ampsim.runtime.followed_cluster import SimulatedTime
from ampsim.runtime.in_process import InProcessCluster
from ampsim.runtime.launcher import LocalLauncher
from ampsim.runtime.process_cluster import ProcessCluster
from ampsim.runtime.record import FAILED, FINISHED, STOPPED, RunRecord
from ampsim.runtime.run_directory import RunDirectory
from ampsim.runtime.signals import StopSignals
from ampsim.runtime.simulated_cluster import SimulatedCluster
from ampsim.runtime.simulation import Simulation
from ampsim.runtime.spec import Choice, ClusterSpec
from ampsim.runtime.stall import StallWatch

WAIT_S = 0.2
HEARTBEAT_S = 1.0
AHEAD = 16
"""Instances that a simulation may be ahead of the devices, beside twice those in flight."""
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
    experiment: Experiment, observer: Observer, out: Path | None = None, in_process: bool = False
) -> tuple[Path, dict[str, Any]]:
    """Train, and return the run directory and its summary. Must be called in the main thread.

    Raises BadInput if the data are missing or malformed, or the run directory cannot be made, or the arithmetic is to
    be portable and this process is not prepared for it; RunFailed and Interrupted after the summary was written.
    """
    config = experiment.config
    portable.require(config.cluster.numerics)
    # A data set that must look at its files to know its splits reads and checks them here, before anything is started.
    _ = experiment.dataset.splits
    with StopSignals() as stop, ExitStack() as leaving:
        directory = RunDirectory.create(config.name, out, to_yaml(experiment))
        header = {"name": config.name, "clock": config.cluster.clock, "seed": config.seed}
        kinds = {name: device.profile.kind for name, device in experiment.devices.items()}
        record = RunRecord(directory, header, kinds)
        try:
            directory.write_span_index(list(experiment.graph.nodes))
            launcher = LocalLauncher(directory.summary, directory.logs)
            leaving.callback(launcher.close)
            record.save()
            observer.started(directory.path)
            cluster = _cluster(experiment, launcher, stop, in_process)
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


def _cluster(experiment: Experiment, launcher: LocalLauncher, stop: StopSignals, in_process: bool) -> Cluster:
    """What runs the devices: processes or this one, on the host's clock; or a simulation, alone or followed."""
    config, graph = experiment.config.cluster, experiment.graph
    spec = cluster_spec(experiment)
    names = {name: str(device) for name, device in experiment.devices.items()}
    if config.clock == "wall":
        if in_process:
            return InProcessCluster(spec, graph, names)
        return ProcessCluster(spec, graph, names, launcher, stop)
    off = config.numerics == "off"
    profiles = {name: device.profile for name, device in experiment.devices.items()}
    network = make_network(config.network, list(profiles))
    simulated = SimulatedCluster(spec, graph, profiles, names, network, arithmetic=in_process and not off)
    if in_process or off:
        return simulated
    simulation = Simulation(
        controller_core(experiment),
        simulated,
        ahead=2 * experiment.config.training.max_active_keys + AHEAD,
        may_stop_early=bool(experiment.config.training.stop_at),
    )
    # Their own intervals, in the host's time, only tell that the devices are alive.
    following = replace(spec, follows=True, log_interval_s=HEARTBEAT_S)
    return SimulatedTime(ProcessCluster(following, graph, names, launcher, stop), simulation)


def records(experiment: Experiment) -> bool:
    """Whether the order of work is recorded: on the wall clock, unless the config says no; a simulation repeats it."""
    return experiment.config.cluster.clock == "wall" and experiment.config.cluster.record


def controller_core(experiment: Experiment, follows: bool = False) -> ControllerCore:
    """The controller of an experiment."""
    rules = experiment.config.training
    plan = Plan(rules.epochs, rules.max_active_keys, rules.stop_at, rules.inject_at_once)
    return ControllerCore(plan, experiment.graph, placement(experiment), experiment.dataset, follows)


def cluster_spec(experiment: Experiment) -> ClusterSpec:
    """The part of an experiment that every process needs."""
    config = experiment.config
    return ClusterSpec(
        seed=config.seed,
        model=Choice(config.model.name, config.model.options),
        data=experiment.dataset.spec,
        optimizer=Choice(config.training.optimizer.name, config.training.optimizer.options),
        min_update_frequency=config.training.min_update_frequency,
        learning_rate_decay=config.training.learning_rate_decay,
        max_batch=config.cluster.max_batch,
        placement=placement(experiment),
        import_paths=tuple(experiment.import_paths),
        log_interval_s=config.cluster.log_interval,
        fingerprint=experiment.graph.fingerprint,
        records=records(experiment),
        numerics=config.cluster.numerics,
    )


def placement(experiment: Experiment) -> dict[str, str]:
    """Each node's device."""
    return {node: name for name, device in experiment.devices.items() for node in device.nodes}


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
                case Send() | SendStructure() | DropStructure():
                    deliveries.append(action)
                case EndEpochOnDevices():
                    cluster.end_epoch()
                case CollectReplicas(device, nodes):
                    cluster.collect_replicas(device, nodes)
                case AssignParameters(device, values):
                    cluster.assign(device, values)
                case StartPass(epoch, split):
                    self._pass_began_s = perf_counter()
                    cluster.start_pass(epoch, split)
                case PassEnded():
                    self._observer.pass_ended(self._record.add_pass(action, cluster.end_pass()))
                    deliveries += self._perform(self._core.next_pass(), cluster)
                case Injected(instances):
                    cluster.injected(instances)
                    if self._records:
                        self._record.add_injection(instances)
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
