"""A config file into an Experiment: every stage runs on what is sound of it, and all faults are told together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ampsim.config import overrides as command_line
from ampsim.config.catalogue import find_config, shipped, shown
from ampsim.config.faults import check
from ampsim.config.limits import check_limits
from ampsim.config.network import resolved_network
from ampsim.config.network_check import check_network
from ampsim.config.options import Chosen, call, choose
from ampsim.config.placement import PlacedDevice, kind_at, place
from ampsim.config.schema import Config, Device
from ampsim.config.tree import Document, read
from ampsim.config.wording import enumerated
from ampsim.data import DATASETS
from ampsim.data.dataset import Dataset
from ampsim.errors import BadInput
from ampsim.ir.graph import Graph
from ampsim.ir.replicas import replicated
from ampsim.models import BUILT_IN
from ampsim.ops.optimizers import OPTIMIZERS
from ampsim.sim.profile import DeviceProfile

__all__ = ["Experiment", "PlacedDevice", "load"]


@dataclass(frozen=True)
class Experiment:
    """A config that has been checked, and what it describes.

    `config` is the resolved one: every option has a value, and every device has a name and lists its nodes.
    `import_paths` are the folders in which the user's own modules are found.
    """

    config: Config
    dataset: Dataset
    graph: Graph
    devices: dict[str, PlacedDevice]
    import_paths: list[str]
    controller: DeviceProfile | None = None
    """what the controller's time on the simulated clock is told by, if it takes any"""


def load(
    config: str, overrides: Sequence[str] = (), import_paths: Sequence[str] = (), varied: Sequence[str] = ()
) -> Experiment:
    """The experiment in a file, or in the shipped config of that name, after `path=value` overrides.

    `varied` are overrides as well, made after the others: what a sweep varies. A module of the user's is looked for in
    `import_paths`, beside the config and in the current folder. Nothing is started and no data are read; a model of the
    user's own is imported and built. Raises ConfigError with every fault.
    """
    path = find_config(config)
    document = read(path, shown(path) if path in shipped("configs").values() else config)
    command_line.apply(document, overrides)
    command_line.apply(document, varied, "--vary")
    try:
        folders = dict.fromkeys((*import_paths, str(path.parent.resolve()), str(Path.cwd())))
    except FileNotFoundError:
        raise BadInput("the current folder is gone: change to one that exists") from None
    return _experiment(document, list(folders))


def _experiment(document: Document, import_paths: list[str]) -> Experiment:
    config = check(Config, document)
    data = choose(document, ("data",), "data set", DATASETS, ours=1)
    dataset = _dataset(document, data)
    model = choose(document, ("model",), "model", BUILT_IN, ours=1, import_paths=import_paths)
    graph = _graph(document, model, dataset, import_paths)
    if graph is not None and config is not None:
        graph = replicated(graph, config.training.replicas, config.training.share_gradients)
    optimizer = choose(document, ("training", "optimizer"), "optimizer", OPTIMIZERS)
    devices = place(document, graph, dataset.spec.rows if dataset else 1, import_paths)
    check_network(document, config, graph, devices)
    if graph is not None:
        _check_targets(document, graph)
    controller = kind_at(document, ("cluster", "controller"), import_paths)
    document.raise_faults()
    assert config and data and dataset and model and graph and optimizer  # noqa: PT018  (each missing one is a fault)
    chosen = optimizer.choice
    check_limits(document, config.cluster, devices, graph, OPTIMIZERS[chosen.name](**chosen.options))
    document.raise_faults()
    training = config.training.model_copy(update={"optimizer": optimizer.choice})
    named = {name: Device(kind=device.kind, nodes=list(device.nodes)) for name, device in devices.items()}
    network = resolved_network(config.cluster.network, list(devices))
    changed = {"devices": named, "placement": "explicit", "network": network, "controller": controller[0]}
    cluster = config.cluster.model_copy(update=changed)
    sections = {"model": model.choice, "data": data.choice, "training": training, "cluster": cluster}
    return Experiment(config.model_copy(update=sections), dataset, graph, devices, import_paths, controller[1])


def _dataset(document: Document, data: Chosen | None) -> Dataset | None:
    if data is None:
        return None
    seed = document.at("seed")
    dataset: Dataset | None = call(document, ("data",), data, seed if type(seed) is int and seed >= 0 else 0)
    return dataset


def _graph(document: Document, model: Chosen | None, dataset: Dataset | None, import_paths: list[str]) -> Graph | None:
    if model is None or dataset is None:
        return None
    before = len(document.faults)
    graph: Any = call(document, ("model",), model, dataset.spec, import_paths=import_paths)
    if graph is not None and not isinstance(graph, Graph):
        text = f"{model.name} returned {type(graph).__name__}, expected a Graph: end it with 'return graph.graph()'"
        document.fault(("model", "name"), text)
    elif graph is None and len(document.faults) == before and model.sound:
        document.fault(("model", "name"), f"{model.name} returned nothing, expected a Graph")
    return graph if isinstance(graph, Graph) else None


def _check_targets(document: Document, graph: Graph) -> None:
    """Each value to stop at must be one that the model's losses report."""
    targets = document.at("training", "stop_at")
    for key in targets if isinstance(targets, dict) else ():
        _, dot, metric = key.partition(".")
        if dot and metric in ("accuracy", "mae") and metric not in graph.metrics:
            text = f"the model's loss reports no {metric!r}: expected {enumerated(graph.metrics, 'or')}"
            document.fault(("training", "stop_at", key), text)
