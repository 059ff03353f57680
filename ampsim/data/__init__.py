"""Data sets by name: `dataset(seed, **options) -> Dataset`. Their keywords are the data set's options."""

from __future__ import annotations

from collections.abc import Callable

from ampsim.data.babi15 import Babi15
from ampsim.data.dataset import Dataset
from ampsim.data.list_reduction import ListReduction
from ampsim.data.mnist import Mnist
from ampsim.data.qm9 import Qm9
from ampsim.data.sst import Sst

DATASETS: dict[str, Callable[..., Dataset]] = {
    "mnist": Mnist,
    "list-reduction": ListReduction,
    "sst": Sst,
    "babi15": Babi15,
    "qm9": Qm9,
}
