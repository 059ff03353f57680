"""Training throughput of a workload against PyTorch and DyNet; `../peers` has the contenders."""

from pathlib import Path
from runpy import run_path

from ampsim.bench.case import Case

PEERS = run_path(str(Path(__file__).parents[1] / "peers" / "cases.py"))


def case(quick: bool) -> Case:
    """Instances per second of training, and the loss on the way."""
    made: Case = PEERS["training"](
        "mnist",
        "training the perceptron of 3 x 784 units on MNIST, minibatches of 100",
        full=20_000,
        quick=2_000,
        at_least=0.95,
        is_quick=quick,
    )
    return made
