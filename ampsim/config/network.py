"""The network of a config: its plan for the simulated clock, and what is written into the resolved config."""

from __future__ import annotations

from collections.abc import Sequence

from ampsim.config.schema import Network as NetworkSection
from ampsim.sim.network import Connection, Network, NetworkPlan
from ampsim.sim.topology import nearest_to_a_square

GRIDS = ("mesh", "torus")


def make_network(section: NetworkSection, devices: Sequence[str]) -> Network:
    """The network of these devices, in their order.

    Raises ValueError or LookupError for a section that `check_network` has not seen, or not let pass.
    """
    return Network(network_plan(section, devices))


def network_plan(section: NetworkSection, devices: Sequence[str]) -> NetworkPlan:
    """What the network is made of, with the shape of a grid and the values of each link filled in."""
    shape = (section.shape[0], section.shape[1]) if section.shape else None
    if section.topology in GRIDS and shape is None:
        shape = nearest_to_a_square(len(devices))
    connections = [
        Connection(
            (link.between[0], link.between[1]),
            section.latency if link.latency is None else link.latency,
            section.bandwidth if link.bandwidth is None else link.bandwidth,
        )
        for link in section.links
    ]
    return NetworkPlan(
        section.topology,
        tuple(devices),
        section.latency,
        section.bandwidth,
        shape,
        tuple(section.switches),
        tuple(connections),
    )


def resolved_network(section: NetworkSection, devices: Sequence[str]) -> NetworkSection:
    """The section as its plan has it: nothing is left to a default."""
    plan = network_plan(section, devices)
    links = [
        link.model_copy(update={"latency": connection.latency, "bandwidth": connection.bandwidth})
        for link, connection in zip(section.links, plan.connections, strict=True)
    ]
    return section.model_copy(update={"shape": list(plan.shape) if plan.shape else None, "links": links})
