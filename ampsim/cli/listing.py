"""What `ampsim check` and `ampsim devices` print."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ampsim.config.catalogue import device_file, read_device
from ampsim.config.load import Experiment
from ampsim.config.network import make_network
from ampsim.errors import BadInput
from ampsim.sim.network import Network
from ampsim.sim.profile import DeviceProfile
from ampsim.units import format_quantity

_COMMENT_WIDTH = 80


def kinds_listing(profiles: Mapping[str, DeviceProfile], console: Console) -> RenderableType:
    """All kinds of devices, the fastest first, a line each; what they are comes below where it does not fit beside."""
    headings = ("kind", "compute", "bandwidth", "memory", "overhead")
    whole, figures = plain_table(*headings, "summary"), plain_table(*headings)
    summaries = plain_table("kind", "summary")
    for kind, profile in sorted(profiles.items(), key=lambda item: (-item[1].compute, item[0])):
        whole.add_row(kind, *_figures(profile), profile.summary)
        figures.add_row(kind, *_figures(profile))
        summaries.add_row(kind, profile.summary)
    unbounded = console.options.update(max_width=1_000)
    fits = console.measure(whole, options=unbounded).maximum <= console.width
    note = Text("`ampsim devices KIND` shows one, and where its figures come from.")
    return Group(*([whole] if fits else [figures, Text(""), summaries]), Text(""), note)


def kind_text(kind: str) -> str:
    """The device file of a kind (of the catalogue, or a path) with its sources, and what follows from its figures.

    It is a device file itself. Raises BadInput if there is no such kind, ConfigError if its file is faulty.
    """
    try:
        file = device_file(kind, ["."])
    except ValueError as error:
        raise BadInput(str(error)) from None
    profile = read_device(file)
    written = file.read_text(encoding="utf-8-sig").rstrip()
    derived = textwrap.wrap(
        _derived(profile), _COMMENT_WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )
    return "\n".join([written, "", *derived, ""])


def _derived(profile: DeviceProfile) -> str:
    # r rows by a large matrix [i, u]: 2riu FLOP, and little to move but the matrix's 4iu bytes.
    rows = max(1.0, 2 * profile.balance)
    worth = format_quantity(profile.overhead * profile.compute, "FLOP/s").removesuffix("/s")
    return (
        f"Balance: compute / memory_bandwidth = {profile.balance:.3g} FLOP per byte. A batch that does more arithmetic "
        "than that for each byte it moves takes overhead + flops / compute, one that does less takes overhead + "
        "bytes / memory_bandwidth. Weights are read once per batch, so that r rows on a large linear layer do about "
        f"r / 2 FLOP per byte: it is limited by memory below about {rows:.3g} {'row' if rows == 1 else 'rows'}. "
        f"The overhead is worth {worth}: a batch of less is mostly overhead."
    )


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
