"""The simulation that runs ahead: how far, and what it leaves to others of the machine meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ampsim.config.load import load
from ampsim.config.network import make_network
from ampsim.runtime.assemble import cluster_spec, controller_core
from ampsim.runtime.simulated_cluster import SimulatedCluster
from ampsim.runtime.simulation import Simulation

AHEAD = 8
SETS = ("data.limit=2000", "data.batch=50", "training.max_active_keys=2", "training.epochs=1", "training.stop_at={}")
INSTANCES = 3 * 40
"""minibatches of the three splits"""


@pytest.fixture
def simulation(sample: Path) -> Simulation:
    experiment = load("mnist-mlp", list(SETS))
    profiles = {name: device.profile for name, device in experiment.devices.items()}
    network = make_network(experiment.config.cluster.network, list(profiles))
    names = {name: name for name in profiles}
    cluster = SimulatedCluster(cluster_spec(experiment), experiment.graph, profiles, names, network, arithmetic=False)
    return Simulation(controller_core(experiment), cluster, AHEAD, may_stop_early=False)


@pytest.fixture
def yields(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Grows whenever others of the machine are let go first."""
    noted: list[bool] = []
    monkeypatch.setattr(os, "sched_yield", lambda: noted.append(True))
    return noted


def known(simulation: Simulation) -> int:
    return sum(injection.instances for injection in simulation.injections())


def test_it_is_so_far_ahead_of_the_run_that_follows_and_no_further(simulation: Simulation) -> None:
    assert simulation.advance(injected=0, host_s=60.0)
    assert known(simulation) == AHEAD
    assert not simulation.advance(injected=0, host_s=60.0)
    assert simulation.advance(injected=3, host_s=60.0)
    assert known(simulation) == 3


def test_others_go_first_while_it_is_well_ahead(simulation: Simulation, yields: list[bool]) -> None:
    simulation.advance(injected=0, host_s=60.0)
    assert yields


def test_nobody_goes_first_while_devices_wait_for_it(simulation: Simulation, yields: list[bool]) -> None:
    simulation.advance(injected=INSTANCES, host_s=60.0)  # all that there are, so that it is behind to the end
    assert known(simulation) == INSTANCES
    assert not yields
