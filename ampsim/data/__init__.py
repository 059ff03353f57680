"""Data sets by name: `dataset(seed, **options) -> Dataset`. Their keywords are the data set's options."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module

from ampsim.data.dataset import Dataset

_CLASSES = {
    "mnist": ("mnist", "Mnist"),
    "list-reduction": ("list_reduction", "ListReduction"),
    "sst": ("sst", "Sst"),
    "babi15": ("babi15", "Babi15"),
    "qm9": ("qm9", "Qm9"),
}
"""Where each is: the module here, and the class."""


class _Datasets(Mapping[str, Callable[..., Dataset]]):
    """The data sets, each of which is imported when it is asked for: a config names one."""

    def __getitem__(self, name: str) -> Callable[..., Dataset]:
        module, cls = _CLASSES[name]
        made: Callable[..., Dataset] = getattr(import_module(f"{__name__}.{module}"), cls)
        return made

    def __contains__(self, name: object) -> bool:
        return name in _CLASSES

    def __iter__(self) -> Iterator[str]:
        return iter(_CLASSES)

    def __len__(self) -> int:
        return len(_CLASSES)


DATASETS: Mapping[str, Callable[..., Dataset]] = _Datasets()
