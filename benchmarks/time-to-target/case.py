"""Time to the target of each shipped config against PyTorch and DyNet; `../peers` has the contenders."""

from pathlib import Path
from runpy import run_path

from ampsim.bench.case import Case

PEERS = run_path(str(Path(__file__).parents[1] / "peers" / "cases.py"))


def case(quick: bool) -> Case:
    """Seconds of training until the validation set says so."""
    made: Case = PEERS["time_to_target"](quick)
    return made
