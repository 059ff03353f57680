"""DOT text as an SVG or PNG image. Graphviz does the layout, in this process: the extra `ampsim[graph]`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ampsim.errors import BadInput


def image(dot: str, format: str) -> bytes:
    """The `svg` or `png` of a graph in DOT. Raises BadInput if Graphviz is not there."""
    try:
        from pygraphviz import AGraph  # the extra, imported where it is used
    except ModuleNotFoundError:
        raise BadInput(f"{format} is drawn by Graphviz, which is not installed: pip install 'ampsim[graph]'") from None
    except ImportError as error:
        # The wheels leave out what nearly every system has; Debian's graphviz depends on all of it.
        cure = "a library of the system is missing, which apt-get install graphviz brings along"
        raise BadInput(f"{format} is drawn by Graphviz, which cannot be loaded: {error}: {cure}") from None
    with _silent():
        drawn: bytes = AGraph(string=dot).draw(format=format, prog="dot")
    return drawn


@contextmanager
def _silent() -> Iterator[None]:
    """Without what libraries in C write to standard error: Fontconfig finds fault with most systems' font settings."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
