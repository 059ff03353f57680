"""Faults of `cluster.network` beyond its keys, and what its plan is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import ampsim
from ampsim.config.load import load
from ampsim.config.network import make_network, network_plan
from ampsim.config.network_check import exchanges
from ampsim.ir.graph import CONTROLLER
from ampsim.sim.network import Connection

SECTION = "{topology: switch, latency: 5 us, bandwidth: 10 Gbit/s}"
LINE = """\
topology: links
    links:
      - between: [controller, d0]
      - between: [d0, d1]
      - between: [d1, d2]
      - between: [d2, d3]
"""

# the section in lines, then line and key path below cluster.network of the fault, and a telling part of its text
FAULTS = [
    ("topology: ring\nshape: [2, 2]", 26, "shape", "topology 'ring' has no shape: leave it out, or set topology: mesh"),
    ("shape: [2, 2]", 25, "shape", "topology 'switch' has no shape"),
    ("topology: mesh\nshape: [2, 3]", 26, "shape", "the product is 4, such as [2, 2], found [2, 3]: there are 4 dev"),
    ("topology: torus\nshape: [4, 4]", 26, "shape", "the product is 4, such as [2, 2], found [4, 4]"),
    ("topology: mesh\nshape: [4]", 26, "shape", "expected a list of 2, each item a whole number above 0"),
    ("topology: mesh\nshape: [2, 2, 1]", 26, "shape", "expected a list of 2"),
    ("topology: mesh\nshape: 2 x 2", 26, "shape", "found the text '2 x 2'"),
    ("topology: mesh\nshape: [2, 0]", 26, "shape.1", "expected a whole number above 0, found 0"),
    ("topology: mesh\nshape: [2, true]", 26, "shape.1", "expected a whole number above 0, found true"),
    ("links: [{between: [d0, d1]}]", 25, "links", "expected none for topology 'switch': leave 'links' out, or set"),
    ("topology: full\nswitches: [s]", 26, "switches", "expected none for topology 'full': leave 'switches' out"),
    ("topology: links", 24, "links", "topology 'links' needs a list of them, such as 'links: [{between: [d0, con"),
    ("topology: links\nlinks: []", 26, "links", "needs a list of them"),
    ("topology: links\nlinks: all", 26, "links", "expected a list, each item a mapping with the key 'between'"),
    ("topology: links\nlinks:\n- latency: 1 us", 27, "links.0.between", "missing key 'between': the two vertices"),
]
# what to replace in a sound list of links, by what
LIST_FAULTS = [
    ("[d2, d3]", "[d2, d7]", 30, "links.3.between.1", "no device or switch 'd7' (there are: d0, d1, d2, d3, c"),
    ("[controller", "[contoller", 27, "links.0.between.0", "(did you mean 'controller'? there are: d0, d1, d2, d3, c"),
    ("[d1, d2]", "[d2, d2]", 29, "links.2.between", "a link leads from 'd2' to itself: expected two vertices"),
    ("[d1, d2]", "[d1, d0]", 29, "links.2.between", "'d1' and 'd0' are linked by item 1 already"),
    ("[d1, d2]", "[d1, d2, d3]", 29, "links.2.between", "expected a list of 2, each item a text, found a list"),
    ("[d1, d2]", "[d1, 2]", 29, "links.2.between.1", "expected a text, found 2"),
    ("[d1, d2]", "d1", 29, "links.2.between", "expected a list of 2, each item a text, found the text 'd1'"),
    ("[d1, d2]", "[d1, d2]\n        latency: 5", 30, "links.2.latency", "found 5: write the unit"),
    ("[d1, d2]", "[d1, d2]\n        bandwidth: 0 bit/s", 30, "links.2.bandwidth", "it must be above 0"),
    ("[d1, d2]", "[d1, d2]\n        latancy: 5 us", 30, "links.2.latancy", "did you mean 'latency'?"),
    ("[controller, d0]", "[d0, d3]", 26, "links", "no link leads to the controller, which injects the instances"),
    ("    links:", "    switches: [s, d1]\n    links:", 26, "switches.1", "a device is called 'd1' too"),
    ("    links:", "    switches: [s, t, s]\n    links:", 26, "switches.2", "another switch is called 's' too"),
    ("    links:", "    switches: [controller]\n    links:", 26, "switches.0", "'controller' is not free"),
    ("    links:", "    switches: [a/b]\n    links:", 26, "switches.0", "expected letters, digits"),
]


def section(lines: str) -> str:
    """A network in block style, its first line being line 25."""
    return "\n    " + "\n    ".join(lines.splitlines())


@pytest.mark.parametrize(("lines", "line", "path", "text"), FAULTS, ids=range(len(FAULTS)))
def test_a_fault_of_the_network_is_told_in_one_line(bench: Any, lines: str, line: int, path: str, text: str) -> None:
    (fault,) = bench.faults((SECTION, section(lines)))
    assert fault.startswith(f"x.yaml:{line}: cluster.network.{path}: ")
    assert text in fault


@pytest.mark.parametrize(("old", "new", "line", "path", "text"), LIST_FAULTS, ids=range(len(LIST_FAULTS)))
def test_a_fault_of_a_list_of_links_is_told_in_one_line(
    bench: Any, old: str, new: str, line: int, path: str, text: str
) -> None:
    assert LINE.count(old) == 1
    (fault,) = bench.faults((SECTION, "\n    " + LINE.replace(old, new)))
    assert fault.startswith(f"x.yaml:{line}: cluster.network.{path}: ")
    assert text in fault


def test_all_faults_of_the_network_are_told_at_once_beside_others(bench: Any) -> None:
    lines = """\
topology: links
latency: 5
switches: [d0]
links:
- between: [d0, d1]
- between: [d1, d0]
- between: [d1, d9]
- between: [s, s]
- between: [d2, d3]
  bandwidth: 10
"""
    found = bench.faults((SECTION, section(lines)), ("epochs: 10", "epochs: 0"))
    assert [fault.split(": ")[1].removeprefix("cluster.network.") for fault in found] == [
        "training.epochs",
        "latency",
        "switches.0",
        "links.1.between",
        "links.2.between.1",
        "links.3.between",
        "links.3.between.0",
        "links.3.between.1",
        "links.4.bandwidth",
    ]


def test_devices_that_cannot_be_understood_make_no_vertex_unknown_and_no_shape_wrong(bench: Any) -> None:
    counted = bench.text[bench.text.index("  devices:") : bench.text.index("  network:")]
    devices = (counted, "  devices: {count: 0, kind: cpu-core}\n")
    (fault,) = bench.faults((SECTION, "\n    " + LINE), devices)
    assert "cluster.devices.count" in fault
    (fault,) = bench.faults((SECTION, "{topology: mesh, shape: [7, 7]}"), devices)
    assert "cluster.devices.count" in fault


def test_counted_devices_are_vertices_and_have_a_shape(bench: Any) -> None:
    counted = "cluster.devices={count: 6, kind: cpu-core}"
    config = bench.load(overrides=(counted, "cluster.network={topology: mesh}")).config
    assert config.cluster.network.shape == [2, 3]
    (fault,) = bench.faults((SECTION, "\n    " + LINE.replace("d3", "d6")), overrides=(counted,))
    assert "no device or switch 'd6'" in fault


def test_vertices_that_exchange_messages_and_are_left_apart_are_told_with_their_nodes(bench: Any) -> None:
    # controller - d0 - d1     d2 - d3
    found = bench.faults((SECTION, "\n    " + LINE.replace("      - between: [d1, d2]\n", "")))
    start, end = "x.yaml:26: cluster.network.links: no route connects", "add links between them, or place the nodes"
    assert len(found) == 2
    assert f"{start} controller and d3, which exchange messages (input 'label' -> loss): {end}" in found[0]
    assert f"{start} d1 and d2, which exchange messages (relu2 -> linear3): {end}" in found[1]


def test_a_device_that_exchanges_messages_with_nobody_needs_no_link(bench: Any) -> None:
    nodes = ("d1: {kind: cpu-core, nodes: [linear2, relu2]}", "d1: {kind: cpu-core}")
    moved = ("[linear1, relu1]", "[linear1, relu1, linear2, relu2]")
    links = LINE.replace("      - between: [d0, d1]\n", "").replace("[d1, d2]", "[d0, d2]")
    assert bench.load((SECTION, "\n    " + links), nodes, moved).devices["d1"].nodes == ()


def test_of_many_left_apart_some_are_told_and_the_rest_is_counted(bench: Any) -> None:
    overrides = ("model.hidden=[2, 2, 2, 2, 2, 2, 2, 2, 2, 2]", "cluster.devices={count: 22, kind: cpu-core}")
    lines = "topology: links\nlinks:\n- between: [controller, d21]"
    found = bench.faults((SECTION, section(lines)), overrides=overrides)
    assert len(found) == 9
    assert found[-1].endswith("cluster.network.links: nor 14 more pairs of vertices that exchange messages")


def test_devices_and_switches_pass_on_what_is_for_others(bench: Any) -> None:
    lines = """\
topology: links
switches: [s1, s2]
links:
- between: [s2, controller]
- between: [d3, s1]
- between: [s1, s2]
- between: [d3, d2]
- between: [d1, d2]
- between: [d0, d1]
"""
    experiment = bench.load((SECTION, section(lines)))
    net = make_network(experiment.config.cluster.network, list(experiment.devices))
    route = [str(link) for link in net.route(CONTROLLER, "d1")]
    assert route == ["controller -> s2", "s2 -> s1", "s1 -> d3", "d3 -> d2", "d2 -> d1"]


def test_devices_exchange_messages_along_edges_and_the_controller_gives_inputs_and_structures(bench: Any) -> None:
    experiment = bench.load()
    assert exchanges(experiment.graph, experiment.devices) == {
        (CONTROLLER, "d0"): "input 'image' -> linear1",
        (CONTROLLER, "d3"): "input 'label' -> loss",
        ("d0", "d1"): "relu1 -> linear2",
        ("d1", "d2"): "relu2 -> linear3",
        ("d2", "d3"): "relu3 -> linear4",
    }
    many = load("sst-tree-lstm", ("cluster.devices={count: 30, kind: cpu-core}",))
    host = {node: name for name, device in many.devices.items() for node in device.nodes}
    found = exchanges(many.graph, many.devices)
    loss = next(name for name, spec in many.graph.nodes.items() if not spec.outputs)
    needing = {host[name] for name, spec in many.graph.nodes.items() if spec.needs_structure}
    injected = {host[target.node] for source, target in many.graph.edges.items() if source.node == CONTROLLER}
    assert needing - injected - {host[loss]}
    assert {other for one, other in found if one == CONTROLLER} == needing | injected | {host[loss]}
    assert not any((other, one) in found or one == other for one, other in found)


def test_the_plan_has_every_value_and_the_devices_in_their_order(bench: Any) -> None:
    links = LINE.replace("[d1, d2]", "[d1, d2]\n        latency: 1 us")
    links = links.replace("[d2, d3]", "[d3, d2]\n        bandwidth: 1 GB/s")
    experiment = bench.load((SECTION, "\n    latency: 7 us\n    " + links))
    plan = network_plan(experiment.config.cluster.network, list(experiment.devices))
    assert (plan.topology, plan.devices, plan.shape, plan.switches) == ("links", ("d0", "d1", "d2", "d3"), None, ())
    assert plan.connections == (
        Connection(("controller", "d0"), 7e-6, 1.25e9),
        Connection(("d0", "d1"), 7e-6, 1.25e9),
        Connection(("d1", "d2"), 1e-6, 1.25e9),
        Connection(("d3", "d2"), 7e-6, 1e9),
    )


def test_the_example_of_the_docs_takes_the_time_that_they_say(bench: Any) -> None:
    docs = (Path(ampsim.__file__).parent.parent / "docs" / "network.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", docs, re.DOTALL)
    cluster = YAML(typ="safe").load(example)["cluster"]
    experiment = bench.load(overrides=[f"cluster.{key}={json.dumps(value)}" for key, value in cluster.items()])
    net = make_network(experiment.config.cluster.network, list(experiment.devices))
    assert net.delay("d0", "d3", 1_000_000) == pytest.approx(1_012e-6)
    assert "= 1,012 us`" in docs
