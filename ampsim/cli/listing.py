"""What `ampsim check` and `ampsim devices` print."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ampsim.config.load import Experiment
from ampsim.config.network import make_network
from ampsim.config.wording import did_you_mean
from ampsim.errors import BadInput
from ampsim.sim.network import Network
from ampsim.sim.profile import DeviceProfile
from ampsim.units import format_quantity


def kinds_table(profiles: Mapping[str, DeviceProfile]) -> Table:
    """All kinds of devices, a line each."""
    table = plain_table("kind", "compute", "memory bandwidth", "memory", "overhead", "summary")
    for kind, profile in sorted(profiles.items()):
        table.add_row(kind, *_figures(profile), profile.summary)
    return table


def kind_text(kind: str, profiles: Mapping[str, DeviceProfile]) -> str:
    """One kind in the format of its file. Raises BadInput for a kind that is not there."""
    if kind not in profiles:
        raise BadInput(f"no device kind {kind!r}{did_you_mean(kind, profiles)}")
    profile = profiles[kind]
    names = ("compute", "memory_bandwidth", "memory", "overhead")
    lines = [f"kind: {kind}", f"summary: {profile.summary}"]
    lines += [f"{name}: {figure}" for name, figure in zip(names, _figures(profile), strict=True)]
    return "\n".join(lines) + "\n"


def check_text(experiment: Experiment) -> RenderableType:
    """That the config is sound, and what each device would host and have to do for one minibatch."""
    graph, config = experiment.graph, experiment.config
    rows = experiment.dataset.spec.rows
    costs = graph.costs(rows)
    table = plain_table("device", "predicted work", "nodes")
    for name, device in experiment.devices.items():
        work_s = sum(device.profile.duration_s(cost) for node in device.nodes for cost in costs[node])
        table.add_row(f"{name} ({device.profile.kind})", format_quantity(work_s, "s"), ", ".join(device.nodes) or "-")
    counts = f"{len(graph.nodes)} nodes on {len(experiment.devices)} device{'s' if len(experiment.devices) > 1 else ''}"
    note = f"predicted work: forward and backward of one key of {rows} rows, by the cost rules and the device kinds"
    network = network_text(make_network(config.cluster.network, list(experiment.devices)))
    return Group(Text(f"{config.name}: ok; {counts}"), Text(network), Text(""), table, Text(""), Text(note))


def network_text(network: Network) -> str:
    """A network in a line: `network: mesh of 2 x 3, 8 pairs of links of 5 us and 1.25 GB/s`."""
    plan, pairs = network.plan, network.topology.pairs
    shape = f" of {plan.shape[0]} x {plan.shape[1]}" if plan.shape else ""
    switches = len(plan.switches)
    listed = f", {switches} switch{'es' if switches > 1 else ''}" if switches else ""
    values = " and ".join((_range(*network.latencies, "s"), _range(*network.bandwidths, "byte/s")))
    return f"network: {plan.topology}{shape}{listed}, {pairs} pair{'s' if pairs > 1 else ''} of links of {values}"


def _range(least: float, most: float, unit: str) -> str:
    ends = dict.fromkeys(format_quantity(value, unit) for value in (least, most))
    return " to ".join(ends)


def _figures(profile: DeviceProfile) -> tuple[str, ...]:
    return (
        format_quantity(profile.compute, "FLOP/s"),
        format_quantity(profile.memory_bandwidth, "byte/s"),
        format_quantity(profile.memory, "byte"),
        format_quantity(profile.overhead, "s"),
    )


def plain_table(*headings: str) -> Table:
    """A table with these headings, ruled by one line."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    for heading in headings:
        table.add_column(heading)
    return table
