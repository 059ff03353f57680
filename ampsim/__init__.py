"""ampsim: a multiprocess simulator of a network of machine-learning devices.

How the tree hangs together, from the bottom up; every arrow of import points downward:

    errors, units, blas   what everything may use
    portable              the same arithmetic on every machine
    ops/                  stateless NumPy: forward, backward, shape and cost of each op; optimizers
    ir/                   messages, nodes, the graph and its check; how one node answers one message
    sim/                  device profiles, cost of work on a device, placement: pure
    data/  models/        data sets; functions that build graphs
    config/               YAML into checked objects, all faults at once
    runtime/              device core and controller core (events in, actions out), and what drives them
    report/               reads a run directory
    sweep/                one config over a grid of values, run after run in parallel
    bench/                the benchmark suite: contenders in fresh processes, by turns
    cli/                  on top

The names below are the public interface for models of one's own. They load on first use, so that
`python -m ampsim device` starts with nothing that a device does not need, and so that the command line
can choose the BLAS kernel before NumPy loads.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ampsim.data.dataset import DataSpec as DataSpec
    from ampsim.ir.builder import GraphBuilder as GraphBuilder
    from ampsim.ir.graph import Graph as Graph
    from ampsim.ops.gradient_check import check_gradients as check_gradients
    from ampsim.ops.table import ArraySpec as ArraySpec
    from ampsim.ops.table import Cost as Cost
    from ampsim.ops.table import Op as Op
    from ampsim.ops.table import ParameterSpec as ParameterSpec
    from ampsim.ops.table import elementwise as elementwise

__version__ = "0.1.0"

_PUBLIC = {
    "ArraySpec": "ampsim.ops.table",
    "Cost": "ampsim.ops.table",
    "DataSpec": "ampsim.data.dataset",
    "Graph": "ampsim.ir.graph",
    "GraphBuilder": "ampsim.ir.builder",
    "Op": "ampsim.ops.table",
    "ParameterSpec": "ampsim.ops.table",
    "check_gradients": "ampsim.ops.gradient_check",
    "elementwise": "ampsim.ops.table",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'ampsim' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
