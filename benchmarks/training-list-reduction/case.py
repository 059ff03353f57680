"""Training throughput of a workload against PyTorch and DyNet; `../peers` has the contenders."""

from pathlib import Path
from runpy import run_path

from ampsim.bench.case import Case

PEERS = run_path(str(Path(__file__).parents[1] / "peers" / "cases.py"))


def case(quick: bool) -> Case:
    """Instances per second of training, and the loss on the way."""
    made: Case = PEERS["training"](
        "list-reduction",
        "training the recurrent network of 128 units on list reduction, minibatches of 100",
        full=40_000,
        quick=10_000,
        at_least=0.9,
        is_quick=quick,
    )
    return made
