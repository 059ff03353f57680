"""What a device cannot hold, and what a machine cannot start: found before any process is."""

from __future__ import annotations

from ampsim.config.placement import DEVICES, PlacedDevice
from ampsim.config.schema import Cluster
from ampsim.config.tree import Document
from ampsim.ir.graph import Graph
from ampsim.ir.parameters import training_bytes
from ampsim.ops.optimizers import Optimizer
from ampsim.units import format_quantity

MOST_PROCESSES = 1024
"""Devices that are processes of this machine."""


def check_limits(
    document: Document, cluster: Cluster, devices: dict[str, PlacedDevice], graph: Graph, optimizer: Optimizer
) -> None:
    """Note a fault for too many processes, and for each simulated device that its parameters alone would fill."""
    if cluster.numerics != "off" and len(devices) > MOST_PROCESSES:
        text = (
            f"{len(devices):,} devices would be as many processes of this machine, and {MOST_PROCESSES:,} is the most: "
            "with cluster.clock: simulated and cluster.numerics: off there are none"
        )
        document.fault(DEVICES, text)
    if cluster.clock != "simulated":
        return
    for name, device in devices.items():
        size = training_bytes(sum(graph.nodes[node].parameter_values for node in device.nodes), optimizer)
        if size > device.profile.memory:
            text = (
                f"{name} would hold {format_quantity(size, 'byte')} of parameters, gradients and optimizer state, and "
                f"a {device.profile.kind} has {format_quantity(device.profile.memory, 'byte')} of memory: "
                "give it fewer nodes, or choose a kind with more"
            )
            document.fault((*DEVICES, name) if document.at(*DEVICES, name) is not None else DEVICES, text)
