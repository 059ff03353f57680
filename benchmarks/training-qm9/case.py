"""Training throughput of a workload against PyTorch and DyNet; `../peers` has the contenders."""

from pathlib import Path
from runpy import run_path

from ampsim.bench.case import Case

PEERS = run_path(str(Path(__file__).parents[1] / "peers" / "cases.py"))


def case(quick: bool) -> Case:
    """Instances per second of training, and the loss on the way."""
    made: Case = PEERS["training"](
        "qm9",
        "training the graph network of 100 units on QM9, 20 molecules an update",
        full=4_000,
        quick=200,
        at_least=0.6,
        is_quick=quick,
    )
    return made
