"""Functions that build graphs: `build(data: DataSpec, **options) -> Graph`. Their keywords are the model's options."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from ampsim.ir.graph import Graph
from ampsim.models.ggsnn import ggsnn
from ampsim.models.mlp import mlp
from ampsim.models.rnn import rnn
from ampsim.models.tree_lstm import tree_lstm

Build = Callable[..., Graph]

BUILT_IN: dict[str, Build] = {"mlp": mlp, "rnn": rnn, "tree_lstm": tree_lstm, "ggsnn": ggsnn}


def find_model(name: str) -> Build:
    """The function behind `mlp` (built in) or `module:function` (imported).

    Raises KeyError for an unknown built-in name; whatever importing the user's module raises; AttributeError if the
    module has no such function.
    """
    module, colon, function = name.partition(":")
    if not colon:
        return BUILT_IN[name]
    build: Build = getattr(import_module(module), function)
    return build
