"""Training throughput of a workload against PyTorch and DyNet; `../peers` has the contenders."""

from pathlib import Path
from runpy import run_path

from ampsim.bench.case import Case

PEERS = run_path(str(Path(__file__).parents[1] / "peers" / "cases.py"))


def case(quick: bool) -> Case:
    """Instances per second of training, and the loss on the way."""
    made: Case = PEERS["training"](
        "sst",
        "training the Tree-LSTM of 128 units on the Stanford Sentiment Treebank, 25 trees an update",
        full=3_000,
        quick=100,
        at_least=0.7,
        is_quick=quick,
    )
    return made
