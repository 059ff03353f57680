"""`ampsim graph`: the model's graph and where its nodes would go, as a picture."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ampsim.cli.options import overrides_option
from ampsim.config.load import load
from ampsim.config.wording import did_you_mean, enumerated
from ampsim.errors import BadInput
from ampsim.report.graph_image import image
from ampsim.report.graph_picture import picture
from ampsim.report.graph_text import dot, mermaid

FORMATS = {"svg": (".svg",), "png": (".png",), "dot": (".dot", ".gv"), "mermaid": (".mmd", ".mermaid")}
"""Each format, and how the names of its files end."""


@click.command()
@click.argument("config")
@overrides_option
@click.option("--output", metavar="FILE", help="Where to write; by default standard output.")
@click.option(
    "--format",
    "chosen",
    metavar="FORMAT",
    help="svg, png, dot or mermaid; by default as FILE ends (.svg, .png, .dot, .gv, .mmd, .mermaid), else mermaid.",
)
def graph(config: str, overrides: tuple[str, ...], output: str | None, chosen: str | None) -> None:
    """Draw the graph of CONFIG, each device with its nodes; starts nothing.

    Edges that cross devices stand out, edges that go back in a loop are dashed. DOT and Mermaid are text, and need
    nothing. The layout of SVG and PNG is made by Graphviz: pip install 'ampsim[graph]'.
    """
    kind = _format(output, chosen)
    if kind == "png" and output is None and sys.stdout.isatty():
        raise BadInput("--format png: a terminal cannot show it: add --output FILE")
    experiment = load(config, overrides)
    drawn = picture(experiment.config.name, experiment.graph, experiment.devices)
    if kind == "mermaid":
        content = mermaid(drawn).encode()
    else:
        content = dot(drawn).encode() if kind == "dot" else image(dot(drawn), kind)
    if output is None:
        click.echo(content, nl=False)
        return
    try:
        Path(output).write_bytes(content)
    except OSError as error:
        raise BadInput(f"--output: cannot write {output}: {error.strerror}") from None


def _format(output: str | None, chosen: str | None) -> str:
    """The format asked for by name, else by the ending of the file, else Mermaid."""
    if chosen is not None:
        if chosen not in FORMATS:
            raise BadInput(f"--format: no format {chosen!r}{did_you_mean(chosen, FORMATS)}")
        return chosen
    if output is None:
        return "mermaid"
    ending = Path(output).suffix.lower()
    for name, endings in FORMATS.items():
        if ending in endings:
            return name
    known = enumerated([known for endings in FORMATS.values() for known in endings], "or")
    raise BadInput(f"--output: {output!r} does not say the format: let it end in {known}, or add --format")
