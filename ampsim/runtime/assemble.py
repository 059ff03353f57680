"""The parts that a run is put together of: the controller core, and what runs the devices."""

from __future__ import annotations

from dataclasses import replace

from ampsim.config.load import Experiment
from ampsim.config.network import make_network
from ampsim.runtime.cluster import Cluster, OrderedCluster
from ampsim.runtime.controller_core import ControllerCore, Plan
from ampsim.runtime.followed_cluster import FollowingCluster, SimulatedTime
from ampsim.runtime.in_process import InProcessCluster
from ampsim.runtime.launcher import LocalLauncher
from ampsim.runtime.process_cluster import ProcessCluster
from ampsim.runtime.recording import Recording
from ampsim.runtime.signals import StopSignals
from ampsim.runtime.simulated_cluster import SimulatedCluster
from ampsim.runtime.simulation import Simulation
from ampsim.runtime.spec import Choice, ClusterSpec

HEARTBEAT_S = 1.0
"""How often a device that follows a simulation says what it has done in the host's time."""

AHEAD = 16
"""Instances that a simulation may be ahead of the devices, beside twice those in flight."""


def assemble(
    experiment: Experiment,
    launcher: LocalLauncher,
    stop: StopSignals,
    in_process: bool = False,
    recording: Recording | None = None,
) -> Cluster:
    """What runs the devices: processes or this one, on the host's clock, free or after a recording; or a simulation,
    alone or followed by processes."""
    config, graph = experiment.config.cluster, experiment.graph
    spec = cluster_spec(experiment)
    names = {name: str(device) for name, device in experiment.devices.items()}

    def devices(spec: ClusterSpec) -> OrderedCluster:
        if in_process:
            return InProcessCluster(spec, graph, names)
        return ProcessCluster(spec, graph, names, launcher, stop)

    if config.clock == "wall":
        if recording is None:
            return devices(spec)
        return FollowingCluster(devices(replace(spec, follows=True)), recording)
    off = config.numerics == "off"
    profiles = {name: device.profile for name, device in experiment.devices.items()}
    network = make_network(config.network, list(profiles))
    alone = in_process or off
    arithmetic = in_process and not off
    simulated = SimulatedCluster(
        spec,
        graph,
        profiles,
        names,
        network,
        arithmetic,
        followed=not alone,
        controller=experiment.controller,
        cores=config.cores,
    )
    if alone:
        return simulated
    simulation = Simulation(
        controller_core(experiment),
        simulated,
        ahead=2 * experiment.config.training.max_active_keys + AHEAD,
        may_stop_early=bool(experiment.config.training.stop_at),
    )
    following = replace(spec, follows=True, measures=False, log_interval_s=HEARTBEAT_S)
    return SimulatedTime(devices(following), simulation)


def records(experiment: Experiment) -> bool:
    """Whether the order of work is recorded: on the wall clock, unless the config says no; a simulation repeats it."""
    return experiment.config.cluster.clock == "wall" and experiment.config.cluster.record


def controller_core(experiment: Experiment, follows: bool = False) -> ControllerCore:
    """The controller of an experiment."""
    return ControllerCore(plan(experiment), experiment.graph, placement(experiment), experiment.dataset, follows)


def plan(experiment: Experiment) -> Plan:
    """How long an experiment trains, and with how many instances in flight."""
    rules = experiment.config.training
    return Plan(rules.epochs, rules.max_active_keys, rules.stop_at, rules.inject_at_once)


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
        wave=plan(experiment).wave,
        replicas=config.training.replicas,
        share_gradients=config.training.share_gradients,
        instances_per_update=config.training.instances_per_update,
    )


def placement(experiment: Experiment) -> dict[str, str]:
    """Each node's device."""
    return {node: name for name, device in experiment.devices.items() for node in device.nodes}
