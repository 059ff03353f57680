"""Pictures of placed graphs as DOT and as Mermaid: every shipped config, names that need escapes, and golden texts."""

from __future__ import annotations

import os
import re
from collections import Counter
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pygraphviz import AGraph

from ampsim.config.catalogue import shipped
from ampsim.config.load import Experiment, load
from ampsim.ir.graph import CONTROLLER
from ampsim.report.graph_image import image
from ampsim.report.graph_picture import Box, Cluster, Colour, Link, Picture, picture
from ampsim.report.graph_text import dot, mermaid

GOLDEN = Path(__file__).parent / "golden"
REWRITE = "AMPSIM_REWRITE_GOLDEN"
STRANGE = 'a"b\\N <c> &amp; #35; `d` é 日 {x|y}'
"""What an op of the user's own may be called."""


def drawn(experiment: Experiment) -> Picture:
    return picture(experiment.config.name, experiment.graph, experiment.devices)


@pytest.fixture(params=shipped("configs"))
def experiment(request: pytest.FixtureRequest) -> Experiment:
    return load(request.param)


def expected_edges(experiment: Experiment) -> Counter[tuple[str, str, str, bool]]:
    """Source, target, `within`, `across` or `injected`, and whether the edge goes back: read off the graph itself."""
    hosts = {node: name for name, device in experiment.devices.items() for node in device.nodes}
    names = list(experiment.graph.nodes)
    edges: Counter[tuple[str, str, str, bool]] = Counter()
    for source, target in experiment.graph.edges.items():
        if source.node == CONTROLLER:
            edges[f"controller.{source.number}", target.node, "injected", False] += 1
        else:
            look = "within" if hosts[source.node] == hosts[target.node] else "across"
            edges[source.node, target.node, look, names.index(source.node) >= names.index(target.node)] += 1
    return edges


def clusters_of(parsed: AGraph) -> dict[str, list[str]]:
    """The title of each cluster and the boxes in it, without the texts of edges."""
    return {
        str(cluster.graph_attr["label"]).strip("<>"): [
            str(node) for node in cluster.nodes() if not node.startswith("edge.")
        ]
        for cluster in parsed.subgraphs()
        if cluster.name and cluster.name.startswith("cluster_")
    }


def dot_edges(parsed: AGraph) -> Counter[tuple[str, str, str, bool]]:
    """The edges of which each is drawn in two halves, with its text in the middle."""
    second = {edge[0]: edge for edge in parsed.edges() if edge[0].startswith("edge.")}
    edges: Counter[tuple[str, str, str, bool]] = Counter()
    for edge in parsed.edges():
        if edge[1].startswith("edge."):
            other = second.pop(edge[1])
            assert [edge.attr[key] for key in ("class", "style")] == [other.attr[key] for key in ("class", "style")]
            edges[edge[0], other[1], edge.attr["class"], edge.attr["style"] == "dashed"] += 1
    assert not second
    return edges


def test_each_device_is_a_cluster_of_its_nodes_in_dot(experiment: Experiment) -> None:
    clusters = clusters_of(AGraph(string=dot(drawn(experiment))))
    inputs = [f"controller.{number}" for number in range(len(experiment.graph.entries))]
    hosted = {str(device): list(device.nodes) for device in experiment.devices.values()}
    assert clusters == {"controller": inputs, **hosted}


def test_each_edge_is_drawn_in_dot_and_stands_out_if_it_crosses_devices(experiment: Experiment) -> None:
    parsed = AGraph(string=dot(drawn(experiment)))
    assert dot_edges(parsed) == expected_edges(experiment)
    for edge in parsed.edges():
        crosses = edge.attr["class"] == "across"
        assert (edge.attr["penwidth"], edge.attr["color"] == "#d9480f") == ("2.5" if crosses else "1", crosses)


def test_mermaid_has_a_subgraph_for_each_device_and_marks_the_edges_that_cross(experiment: Experiment) -> None:
    subgraphs: dict[str, list[str]] = {}
    inside: list[str] = []
    names, edges = {}, []
    for line in mermaid(drawn(experiment)).splitlines():
        if match := re.fullmatch(r'  subgraph \w+\["(.*)"\]', line):
            inside = subgraphs.setdefault(match[1], [])
        elif match := re.fullmatch(r'    (n\d+)\("(.*?)<br/>(.*)"\):::\w+', line):
            names[match[1]] = match[2]
            inside.append(match[2])
        elif match := re.fullmatch(r' +(\w+)(?:\(\( \)\))? (-->|==>|-\.->)\|"(.+)"\| (\w+)(?:\(\( \)\))?', line):
            edges.append((match[1], match[4], match[2]))
    hosted = {str(device): list(device.nodes) for device in experiment.devices.values()}
    assert subgraphs == {"controller": list(experiment.graph.entries), **hosted, "legend": []}

    orange, grey = re.findall(r"linkStyle ([\d,]+) stroke:#\w+", mermaid(drawn(experiment)))
    looks = {int(place): "across" for place in orange.split(",")} | {int(p): "injected" for p in grey.split(",")}
    inputs = {f"n{number}": f"controller.{number}" for number in range(len(experiment.graph.entries))}
    found: Counter[tuple[str, str, str, bool]] = Counter()
    for place, (source, target, arrow) in enumerate(edges):
        look = looks.get(place, "within")
        assert arrow == "-.->" or (arrow == "==>") == (look == "across")
        if source in names:
            found[inputs.get(source) or names[source], names[target], look, arrow == "-.->"] += 1
    assert found == expected_edges(experiment)
    assert len(edges) == found.total() + 4, "a legend of four styles"


@pytest.mark.parametrize(("ending", "text"), [("dot", dot), ("mmd", mermaid)])
@pytest.mark.parametrize("name", ["mnist-mlp", "sst-tree-lstm"])
def test_the_text_is_the_golden_one(name: str, ending: str, text) -> None:
    golden = GOLDEN / f"{name}.{ending}"
    found = text(drawn(load(name)))
    if os.environ.get(REWRITE):
        golden.write_text(found)
    assert found == golden.read_text(), "if this is meant, run: make golden"


def test_a_box_tells_kind_op_and_parameters() -> None:
    nodes = load("list-reduction-rnn").graph.nodes
    lines = {box.name: box.lines for cluster in drawn(load("list-reduction-rnn")).clusters for box in cluster.boxes}
    assert lines["linear1"] == ("PPT linear", "32,896 parameters")
    assert nodes["linear1"].parameter_values == 256 * 128 + 128
    assert lines["relu1"] == ("NPT relu",)
    assert lines["loss"] == ("Loss softmax_cross_entropy",)
    assert (lines["loop"], lines["leave"], lines["step"]) == (("Phi",), ("Cond",), ("Isu",))
    assert [nodes[name].parameter_values for name in ("relu1", "loop", "loss")] == [0, 0, 0]


def test_a_scan_tells_its_op() -> None:
    boxes = [box for cluster in drawn(load("list-reduction-rnn-2-replicas")).clusters for box in cluster.boxes]
    lines = {box.name: box.lines for box in boxes}
    assert lines["cell1_0"] == ("Scan token_rnn", f"{14 * 128 + 256 * 128 + 128:,} parameters")


def test_an_edge_tells_its_arrays_and_which_of_several_ports_it_leaves_by() -> None:
    links = {(link.source, link.target): link.lines for link in drawn(load("sst-tree-lstm")).links}
    assert links["embed", "leaf"] == ("float32[rows, 128]",)
    assert links["is_root", "class"] == ("1: float32[rows, 128]", "float32[rows, 128]")
    assert links["controller.0", "embed"] == ("int64[rows]",)


STRANGE_PICTURE = Picture(
    STRANGE,
    (Box("controller.0", "x", ("input",), Colour.INPUT),),
    (Cluster("d0 (k)", (Box("n", "n", (STRANGE,), Colour.COMPUTES),)), Cluster(f"d1 {STRANGE}", ())),
    (Link("controller.0", "n", ("float32[rows, 1]",), injected=True),),
)


def test_strange_names_come_out_of_graphviz_as_they_went_in() -> None:
    svg = ElementTree.fromstring(image(dot(STRANGE_PICTURE), "svg"))
    texts = [(element.text or "").replace("\u200b", "") for element in svg.iter() if element.tag.endswith("text")]
    assert [text for text in texts if STRANGE in text] == [STRANGE, f"d1 {STRANGE}", STRANGE]
    assert "no nodes" in texts, "a device without nodes is there, too"


def test_strange_names_do_not_end_a_string_of_mermaid() -> None:
    text = mermaid(STRANGE_PICTURE)
    labels = re.findall(r'n1\("(.*)"\):::', text) + re.findall(r'device1\["(.*)"\]', text)
    entities = {"#92;": "\\", "#96;": "`"}
    for label, name in zip(labels, [f"n<br/>{STRANGE}", f"d1 {STRANGE}"], strict=True):
        assert '"' not in label
        restored = re.sub(r"#(\d+|\w+);", lambda m: entities.get(m[0]) or unescape(_as_html(m[1])), label)
        assert restored == name
    assert 'empty1["no nodes"]' in text


def _as_html(entity: str) -> str:
    return f"&#{entity};" if entity.isdigit() else f"&{entity};"


def test_a_line_break_in_a_name_does_not_break_the_text() -> None:
    broken = Picture("t\nu", (), (Cluster("d\n0", (Box("n", "n", ("a\nb",), Colour.ROUTES),)),), ())
    assert "a#92;nb" in mermaid(broken)
    assert "a\\\u200bnb" in image(dot(broken), "svg").decode()
