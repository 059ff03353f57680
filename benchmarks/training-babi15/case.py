"""Training throughput of a workload against PyTorch and DyNet; `../peers` has the contenders."""

from pathlib import Path
from runpy import run_path

from ampsim.bench.case import Case

PEERS = run_path(str(Path(__file__).parents[1] / "peers" / "cases.py"))


def case(quick: bool) -> Case:
    """Instances per second of training, and the loss on the way."""
    made: Case = PEERS["training"](
        "babi15",
        "training the graph network of 5 units on bAbI task 15, 20 questions an update",
        full=9_000,
        quick=1_000,
        at_least=0.4,
        is_quick=quick,
    )
    return made
