"""What can be wrong with a network beyond its keys: names, shape, and vertices that are left apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, get_args

from ampsim.config.faults import parse
from ampsim.config.network import GRIDS, make_network
from ampsim.config.placement import DEVICES, PlacedDevice
from ampsim.config.schema import Config, DeviceCount, is_count
from ampsim.config.schema import Network as NetworkSection
from ampsim.config.tree import Document, KeyPath
from ampsim.config.wording import describe, did_you_mean, shorten
from ampsim.ir.graph import CONTROLLER, Graph
from ampsim.ir.loss import LossSpec
from ampsim.sim.topology import TopologyName, nearest_to_a_square

NETWORK: KeyPath = ("cluster", "network")
MOST_TOLD = 8


def check_network(
    document: Document, config: Config | None, graph: Graph | None, placed: Mapping[str, PlacedDevice]
) -> None:
    """Note the faults of `cluster.network` in the document, as far as it can be understood.

    `config` is None if some keys are faulty, `placed` has no devices if their nodes could not be placed: then it is
    not known who exchanges messages.
    """
    section = document.at(*NETWORK)
    if not isinstance(section, dict) or NETWORK in document.torn:
        return
    before = len(document.faults)
    topology = section.get("topology", NetworkSection.model_fields["topology"].default)
    if topology not in get_args(TopologyName):
        return
    devices = _device_names(document)
    _check_keys(document, section, topology)
    if topology in GRIDS and devices is not None:
        _check_shape(document, section.get("shape"), len(devices))
    if topology == "links":
        _check_links(document, section, devices)
    if config and graph and placed and len(document.faults) == before:
        _check_routes(document, config.cluster.network, graph, placed)


def _device_names(document: Document) -> list[str] | None:
    """The devices in their order; None if it cannot be understood which there are."""
    listed = document.at(*DEVICES)
    if not isinstance(listed, dict) or DEVICES in document.torn:
        return None
    if not is_count(listed):
        return list(listed)
    try:
        return [f"d{number}" for number in range(parse(DeviceCount, listed).count)]
    except ValueError:
        return None


def _check_keys(document: Document, section: Mapping[str, Any], topology: str) -> None:
    """Each optional key stands beside a topology that has it; what is no list has been told."""
    for key in ("links", "switches"):
        if isinstance(section.get(key), list) and section[key] and topology != "links":
            text = f"expected none for topology {topology!r}: leave {key!r} out, or set topology: links"
            document.fault((*NETWORK, key), text)
    if topology == "links" and section.get("links", []) == []:
        example = f"links: [{{between: [d0, {CONTROLLER}]}}, ...]"
        document.fault((*NETWORK, "links"), f"topology 'links' needs a list of them, such as '{example}'")
    if isinstance(section.get("shape"), list) and topology not in GRIDS:
        text = f"topology {topology!r} has no shape: leave it out, or set topology: mesh or torus"
        document.fault((*NETWORK, "shape"), text)


def _check_shape(document: Document, shape: Any, devices: int) -> None:
    """A grid has a place for each device, and a device on each place."""
    if not isinstance(shape, list) or len(shape) != 2 or any(type(part) is not int or part < 1 for part in shape):
        return  # not given, or told
    if shape[0] * shape[1] != devices:
        count = "there is 1 device" if devices == 1 else f"there are {devices} devices"
        rows, columns = nearest_to_a_square(devices)
        expected = f"expected rows and columns of which the product is {devices}, such as [{rows}, {columns}]"
        found = f"[{describe(shape[0])}, {describe(shape[1])}]"
        document.fault((*NETWORK, "shape"), f"{expected}, found {found}: {count}")


def _check_links(document: Document, section: Mapping[str, Any], devices: Sequence[str] | None) -> None:
    """Switches have names of their own, and each link connects two of the vertices that there are, once."""
    switches, links = section.get("switches", []), section.get("links", [])
    names = dict.fromkeys(devices or ())
    for item, switch in enumerate(switches if isinstance(switches, list) else ()):
        if isinstance(switch, str) and switch in names:
            what = "a device" if devices and switch in devices else "another switch"
            text = f"{what} is called {shorten(switch)!r} too: expected a name of its own"
            document.fault((*NETWORK, "switches", item), text)
        elif isinstance(switch, str):
            names[switch] = None
    if isinstance(links, list) and links:
        known = devices is not None and isinstance(switches, list)
        _check_ends(document, links, (*names, CONTROLLER) if known else None)


def _check_ends(document: Document, links: Sequence[Any], names: Sequence[str] | None) -> None:
    """The ends of each link; without `names`, what can be checked without knowing which vertices there are."""
    known = set(names or ())
    hints = cache(lambda end: did_you_mean(end, names or ()))
    first: dict[frozenset[str], int] = {}
    connected = False
    for item, link in enumerate(links):
        between = link.get("between") if isinstance(link, dict) else None
        path: KeyPath = (*NETWORK, "links", item, "between")
        if not isinstance(between, list) or len(between) != 2 or any(not isinstance(end, str) for end in between):
            connected = True  # it has been told, and may have been the controller's
            continue
        unknown = [place for place, end in enumerate(between) if names is not None and end not in known]
        for place in unknown:
            document.fault((*path, place), f"no device or switch {shorten(between[place])!r}{hints(between[place])}")
        connected = connected or CONTROLLER in between or bool(unknown)
        one, other = (repr(shorten(end)) for end in between)
        pair = frozenset(between)
        if between[0] == between[1]:
            document.fault(path, f"a link leads from {one} to itself: expected two vertices")
        elif pair in first:
            text = f"{one} and {other} are linked by item {first[pair]} already: expected once (it is a link each way)"
            document.fault(path, text)
        first.setdefault(pair, item)
    if not connected:
        text = f"no link leads to the controller, which injects the instances: add '{{between: [{CONTROLLER}, ...]}}'"
        document.fault((*NETWORK, "links"), text)


def _check_routes(
    document: Document, section: NetworkSection, graph: Graph, placed: Mapping[str, PlacedDevice]
) -> None:
    """A route leads from each vertex to all that it exchanges messages with."""
    network = make_network(section, list(placed))
    apart: list[str] = []
    for (one, other), what in exchanges(graph, placed).items():
        try:
            network.route(one, other)  # and so back: links come in pairs
        except LookupError:
            apart.append(f"no route connects {one} and {other}, which exchange messages ({what})")
    for text in apart[: MOST_TOLD if len(apart) > MOST_TOLD + 1 else None]:
        document.fault((*NETWORK, "links"), f"{text}: add links between them, or place the nodes elsewhere")
    if len(apart) > MOST_TOLD + 1:
        # Faults of a line are sorted by their text: this one comes after the others.
        text = f"nor {len(apart) - MOST_TOLD} more pairs of vertices that exchange messages"
        document.fault((*NETWORK, "links"), text)


def exchanges(graph: Graph, placed: Mapping[str, PlacedDevice]) -> dict[tuple[str, str], str]:
    """The vertices of the network that exchange messages, and the first reason why: `linear1 -> relu1`."""
    host = {node: name for name, device in placed.items() for node in device.nodes}
    found: dict[tuple[str, str], str] = {}
    for one, other, what in _exchanges(graph, host):
        if one != other and (other, one) not in found:  # messages go both ways
            found.setdefault((one, other), what)
    return found


def _exchanges(graph: Graph, host: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for source, target in graph.edges.items():
        if source.node == CONTROLLER:
            yield CONTROLLER, host[target.node], f"input {graph.entries[source.number]!r} -> {target.node}"
        else:
            yield host[source.node], host[target.node], f"{source.node} -> {target.node}"
    for group in graph.replicas:
        for name in group:
            yield CONTROLLER, host[name], f"averages of {name}"
            if graph.shares:
                yield host[group[0]], host[name], f"gradients of {group[0]} -> {name}"
    for name, spec in graph.nodes.items():
        if isinstance(spec, LossSpec):
            yield CONTROLLER, host[name], f"losses of {name}"
        if spec.needs_structure:
            yield CONTROLLER, host[name], f"structures for {name}"
