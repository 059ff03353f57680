"""A picture as text: DOT for Graphviz, or Mermaid, which code forges and editors draw inside of Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape

from ampsim.config.wording import printable
from ampsim.report.graph_picture import Box, Colour, Link, Picture

FILLS = {
    Colour.INPUT: "#ffffff",
    Colour.LEARNS: "#bcd6f7",
    Colour.COMPUTES: "#e6effa",
    Colour.ROUTES: "#fcf0c8",
    Colour.LOSS: "#f8d0d0",
}
WITHIN, ACROSS, INJECTED, FRAME = "#333333", "#d9480f", "#888888", "#9aa4b1"
LEGEND = (
    Link("", "", ("within a device",)),
    Link("", "", ("across devices",), crosses=True),
    Link("", "", ("back in a loop",), back=True),
    Link("", "", ("from the controller",), injected=True),
)
"""A link of each style, and what the style means."""


def dot(picture: Picture) -> str:
    """The picture in DOT: each device is a cluster, each edge has the class `within`, `across` or `injected`.

    What an edge carries is a node in the middle of it, called `edge.<number>`: the layout lets labels of edges overlap,
    but nodes never.
    """
    lines = [
        "graph [newrank=true, outputorder=edgesfirst, fontname=Helvetica, labelloc=t, nodesep=0.3, ranksep=0.15]",
        'node [shape=box, style="filled,rounded", fontname=Helvetica, fontsize=11, height=0.3, margin="0.12,0.06"]',
        "edge [arrowsize=0.7]",
        f"label=<{_dot_title(picture.title)}>",
    ]
    inputs = "; ".join(_quoted(box.key) for box in picture.inputs)
    lines += _dot_cluster("controller", "controller", [*map(_dot_box, picture.inputs), f"{{rank=same; {inputs}}}"])
    for number, cluster in enumerate(picture.clusters):
        keys = {box.key for box in cluster.boxes}
        inside = [(place, link) for place, link in enumerate(picture.links) if {link.source, link.target} <= keys]
        body = [*map(_dot_box, cluster.boxes), *(_dot_text(place, link) for place, link in inside)]
        nothing = f'"empty.{number}" [label="no nodes", shape=plain, style=solid]'
        lines += _dot_cluster(f"device{number}", cluster.title, body or [nothing])
    for place, link in enumerate(picture.links):
        if link.crosses or link.injected:
            lines.append(_dot_text(place, link))
        lines += _dot_edge(place, link)
    return "\n".join([f"digraph {_quoted(picture.title)} {{", *(f"  {line}" for line in lines), "}"]) + "\n"


def mermaid(picture: Picture) -> str:
    """The picture as a Mermaid flowchart: each device is a subgraph, an edge across devices a thick one."""
    boxes = [*picture.inputs, *(box for cluster in picture.clusters for box in cluster.boxes)]
    keys = {box.key: f"n{number}" for number, box in enumerate(boxes)}
    lines = ["---", f"title: {json.dumps(picture.title)}", "---", "flowchart TB"]
    inside = [_mermaid_box(keys[box.key], box) for box in picture.inputs]
    lines += _mermaid_subgraph("controller", "controller", inside)
    for number, cluster in enumerate(picture.clusters):
        inside = [_mermaid_box(keys[box.key], box) for box in cluster.boxes]
        lines += _mermaid_subgraph(f"device{number}", cluster.title, inside or [f'empty{number}["no nodes"]'])
    lines += (f"  {_mermaid_edge(keys[link.source], link, keys[link.target])}" for link in picture.links)
    samples = [_mermaid_edge(f"s{number}(( ))", link, f"s{number + 1}(( ))") for number, link in enumerate(LEGEND)]
    lines += _mermaid_subgraph("legend", "legend", ["direction LR", *samples])
    lines += (f"  classDef {colour.value} fill:{fill},stroke:{WITHIN},color:#000" for colour, fill in FILLS.items())
    lines += _mermaid_link_styles([*picture.links, *LEGEND])
    return "\n".join(lines) + "\n"


def _style(link: Link) -> tuple[str, str]:
    """The class of a link and its colour."""
    return ("across", ACROSS) if link.crosses else ("injected", INJECTED) if link.injected else ("within", WITHIN)


def _dot_title(title: str) -> str:
    samples = "&#160;&#160;&#160;".join(map(_dot_sample, LEGEND))
    return f'<b>{_html(title)}</b><br/><font point-size="10">{samples}</font><br/> '


def _dot_sample(link: Link) -> str:
    _, colour = _style(link)
    line = "╌╌" if link.back else "━━" if link.crosses else "──"
    return f'<font color="{colour}">{line}▶ {_html(*link.lines)}</font>'


def _dot_cluster(name: str, title: str, body: Sequence[str]) -> Iterator[str]:
    yield f"subgraph cluster_{name} {{"
    yield f"  label=<{_html(title)}>; labeljust=l; fontsize=10; style=rounded; color={_quoted(FRAME)}"
    yield from (f"  {line}" for line in body)
    yield "}"


def _dot_box(box: Box) -> str:
    label = "<br/>".join([f"<b>{_html(box.name)}</b>", *map(_html, box.lines)])
    return f"{_quoted(box.key)} [label=<{label}>, fillcolor={_quoted(FILLS[box.colour])}]"


def _dot_text(place: int, link: Link) -> str:
    look = f"shape=plain, style=filled, fillcolor=white, fontsize=9, fontcolor={_quoted(_style(link)[1])}"
    return f'"edge.{place}" [label=<{"<br/>".join(map(_html, link.lines))}>, {look}]'


def _dot_edge(place: int, link: Link) -> Iterator[str]:
    name, colour = _style(link)
    look = f"class={name}, color={_quoted(colour)}, penwidth={2.5 if link.crosses else 1}"
    look += ", style=dashed" if link.back else ""
    yield f'{_quoted(link.source)} -> "edge.{place}" [arrowhead=none, {look}]'
    # What goes back must not pull the place that it goes to downward.
    free = ", constraint=false" if link.back else ""
    yield f'"edge.{place}" -> {_quoted(link.target)} [{look}{free}]'


def _mermaid_subgraph(key: str, title: str, lines: Sequence[str]) -> Iterator[str]:
    yield f"  subgraph {key}[{_label(title)}]"
    yield from (f"    {line}" for line in lines)
    yield "  end"


def _mermaid_box(key: str, box: Box) -> str:
    return f"{key}({_label(box.name, *box.lines)}):::{box.colour.value}"


def _mermaid_edge(source: str, link: Link, target: str) -> str:
    arrow = "-.->" if link.back else "==>" if link.crosses else "-->"
    return f"{source} {arrow}|{_label(*link.lines)}| {target}"


def _mermaid_link_styles(links: Sequence[Link]) -> Iterator[str]:
    """Mermaid knows an edge by its place among all edges."""
    for wanted, width in (("across", 3), ("injected", 1)):
        places = [str(place) for place, link in enumerate(links) if _style(link)[0] == wanted]
        colour = next(_style(link)[1] for link in LEGEND if _style(link)[0] == wanted)
        yield f"  linkStyle {','.join(places)} stroke:{colour},stroke-width:{width}px"


def _quoted(text: str) -> str:
    """A string of DOT; a backslash cannot end it early."""
    return '"' + printable(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _html(text: str) -> str:
    """Text for one of DOT's labels in HTML. A space of no width keeps a backslash from beginning an escape (`\\N`)."""
    return escape(printable(text), quote=False).replace("\\", "\\&#8203;")


def _label(*lines: str) -> str:
    """Mermaid's string of these lines; it has no escapes but entities of its own."""
    special = {'"': "#quot;", "#": "#35;", "&": "#amp;", "<": "#lt;", ">": "#gt;", "`": "#96;", "\\": "#92;"}
    escaped = ("".join(special.get(char, char) for char in printable(line)) for line in lines)
    return '"' + "<br/>".join(escaped) + '"'
