"""Which device hosts which node: each node on exactly one, each device of a kind that there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ampsim.config.catalogue import device_file, device_profile, is_own, read_device
from ampsim.config.faults import parse
from ampsim.config.schema import MOST_DEVICES, Device, is_count
from ampsim.config.tree import Document, KeyPath
from ampsim.config.wording import did_you_mean, enumerated, nearest, shorten
from ampsim.errors import ConfigError
from ampsim.ir.graph import Graph
from ampsim.sim.placement import balance, is_pattern, matching
from ampsim.sim.profile import DeviceProfile

DEVICES: KeyPath = ("cluster", "devices")


@dataclass(frozen=True)
class PlacedDevice:
    """A device of the cluster, and the nodes that it hosts in topological order; prints as `d3 (cpu-core)`.

    `kind` is what a config names it by wherever it lies: a name of the catalogue, or the full path of a file.
    """

    name: str
    profile: DeviceProfile
    nodes: tuple[str, ...]
    kind: str

    def __str__(self) -> str:
        return f"{self.name} ({self.profile.kind})"


@dataclass(frozen=True)
class _Device:
    """A device as far as its part of the document can be understood; None is what cannot."""

    name: str
    path: KeyPath
    kind: str | None
    patterns: tuple[str, ...] | None


def place(document: Document, graph: Graph | None, rows: int, folders: Sequence[str]) -> dict[str, PlacedDevice]:
    """The devices of a document and their nodes; faults are noted in the document.

    Without a graph (because the model is faulty) what can be checked without one is checked. `rows` is the size of
    the message that an automatic placement balances for. The user's own device files are looked for in `folders`.
    """
    devices = _devices(document)
    kinds = _kinds(document, devices, folders)
    automatic = _is_automatic(document)
    hosts = _hosts(document, devices, list(graph.nodes) if graph else None, automatic)
    if document.faults or graph is None:
        return {}
    if automatic:
        _spread(hosts, [kinds[str(device.kind)][1] for device in devices], graph, rows)
    order = {node: index for index, node in enumerate(graph.nodes)}
    return {
        device.name: PlacedDevice(
            device.name,
            profile,
            tuple(sorted((node for node, host in hosts.items() if host == index), key=order.__getitem__)),
            kind,
        )
        for index, device in enumerate(devices)
        for kind, profile in [kinds[str(device.kind)]]
    }


def kind_at(document: Document, path: KeyPath, folders: Sequence[str]) -> tuple[str | None, DeviceProfile | None]:
    """The kind that a document names at `path`: what it is called wherever the config lies, and its profile."""
    written = document.at(*path)
    if not isinstance(written, str):
        return None, None
    found = _kinds(document, [_Device("", path[:-1], written, ())], folders, path[-1])
    return found.get(written, (None, None))


def _devices(document: Document) -> list[_Device]:
    listed = document.at(*DEVICES)
    if not isinstance(listed, dict):
        return []
    if is_count(listed):
        count, kind = listed.get("count"), listed.get("kind")
        known = type(count) is int and 1 <= count <= MOST_DEVICES
        names = [f"d{index}" for index in range(count)] if known and isinstance(count, int) else ["d0"]
        return [_Device(name, DEVICES, kind if isinstance(kind, str) else None, ()) for name in names]
    return [_device(name, (*DEVICES, name), value) for name, value in listed.items()]


def _device(name: str, path: KeyPath, value: Any) -> _Device:
    fields = value if isinstance(value, dict) else {}
    kind, nodes = fields.get("kind"), fields.get("nodes", [] if _is_sound(value) else None)
    texts = isinstance(nodes, list) and all(isinstance(node, str) and node for node in nodes)
    return _Device(name, path, kind if isinstance(kind, str) else None, tuple(map(str, nodes or ())) if texts else None)


def _is_sound(value: Any) -> bool:
    try:
        parse(Device, value)
    except ValueError:
        return False
    return True


def _is_automatic(document: Document) -> bool:
    """Whether nodes may be on no device; a count of devices with `placement: explicit` is a fault."""
    counted = is_count(document.at(*DEVICES))
    written = document.at("cluster", "placement")
    if counted and written == "explicit":
        text = "devices that are only counted cannot name their nodes: list them by name, or expected 'auto'"
        document.fault(("cluster", "placement"), text)
    return counted or written not in (None, "explicit")


def _kinds(
    document: Document, devices: Sequence[_Device], folders: Sequence[str], key: str | int = "kind"
) -> dict[str, tuple[str, DeviceProfile]]:
    """By what the document calls it, each kind: what it is called wherever the config lies, and its profile."""
    kinds: dict[str, tuple[str, DeviceProfile]] = {}
    told: set[KeyPath] = set()
    for device in devices:
        kind, path = device.kind, (*device.path, key)
        if kind is None or kind in kinds or path in told:
            continue
        told.add(path)
        try:
            file = device_file(kind, folders)
            kinds[kind] = (str(file), read_device(file)) if is_own(kind) else (kind, device_profile(kind))
        except ConfigError as error:
            document.faults += error.faults
        except ValueError as error:
            document.fault(path, str(error))
    return kinds


def _hosts(
    document: Document, devices: Sequence[_Device], nodes: Sequence[str] | None, automatic: bool
) -> dict[str, int]:
    """The device (by its number) of each node that a device names."""
    written = [pattern for device in devices for pattern in device.patterns or ()]
    known = nodes if nodes is not None else [name for name in dict.fromkeys(written) if not is_pattern(name)]
    hosts: dict[str, int] = {}
    meant: set[str] = set()
    for index, device in enumerate(devices):
        for item, pattern in enumerate(device.patterns or ()):
            path = (*device.path, "nodes", item)
            try:
                named = matching(pattern, known)
            except ValueError as error:
                document.fault(path, f"{shorten(pattern)!r} is no pattern: {error}")
                meant.update(known)
                continue
            if not named and nodes is not None:
                document.fault(path, f"no node {shorten(pattern)!r}{did_you_mean(pattern, known)}")
                meant.add(nearest(pattern, known) or pattern)
            _take(document, path, devices, index, named, hosts)
    torn = any(path[: len(DEVICES)] == DEVICES for path in document.torn)
    understood = not torn and all(device.patterns is not None for device in devices)
    if nodes is not None and devices and understood and not automatic:
        _tell_homeless(document, [node for node in nodes if node not in hosts and node not in meant], bool(hosts))
    return hosts


def _take(
    document: Document,
    path: KeyPath,
    devices: Sequence[_Device],
    index: int,
    named: Sequence[str],
    hosts: dict[str, int],
) -> None:
    """Put the named nodes on a device, unless another has them already."""
    taken: dict[int, list[str]] = {}
    for node in named:
        host = hosts.setdefault(node, index)
        if host != index:
            taken.setdefault(host, []).append(node)
    for host, nodes in taken.items():
        what, verb = _nodes(nodes)
        text = f"{what} {verb} on two devices, {devices[host].name} and {devices[index].name}: expected one"
        document.fault(path, text)


def _tell_homeless(document: Document, nodes: Sequence[str], any_named: bool) -> None:
    cure = "add it to the nodes of one" if len(nodes) == 1 else "add them to the nodes of some"
    if not any_named:
        text = "no device names its nodes: give each of them 'nodes: [...]', or set placement: auto"
        document.fault(DEVICES, text)
    elif nodes:
        what, verb = _nodes(nodes)
        document.fault(DEVICES, f"{what} {verb} on no device: {cure}, or set placement: auto")


def _nodes(names: Sequence[str]) -> tuple[str, str]:
    if len(names) == 1:
        return f"node {names[0]!r}", "is"
    listed = [repr(name) for name in names]
    return f"nodes {enumerated(listed if len(listed) <= 12 else [*listed[:11], f'{len(listed) - 11} more'])}", "are"


def _spread(hosts: dict[str, int], profiles: Sequence[DeviceProfile], graph: Graph, rows: int) -> None:
    """Place the nodes that no device names: the busiest device gets as little work as possible."""
    costs = graph.costs(rows)
    # Devices of one kind share a row: there may be thousands of both, nodes and devices.
    work_s = {
        profile: {
            node: profile.duration_s(forward) + profile.duration_s(backward)
            for node, (forward, backward) in costs.items()
        }
        for profile in set(profiles)
    }
    free = [node for node in graph.nodes if node not in hosts]
    pinned_s = [0.0] * len(profiles)
    for node, device in hosts.items():
        pinned_s[device] += work_s[profiles[device]][node]
    rows_s = {profile: [work[node] for node in free] for profile, work in work_s.items()}
    chosen = balance([rows_s[profile] for profile in profiles], pinned_s)
    hosts.update(zip(free, chosen, strict=True))
