"""What a data set gives: its description, and an iterator over the instances of a split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ampsim.ops.table import ArraySpec

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)


@dataclass(frozen=True)
class DataSpec:
    """What a model needs to know of its data: the inputs by name, and the number of classes (0: a regression)."""

    inputs: Mapping[str, ArraySpec]
    classes: int = 0
    rows: int = 1
    """rows of one message, typically: what the cost rules are asked about"""


@dataclass(frozen=True)
class Instance:
    """What is injected under one key: a minibatch of equal inputs, or one tree or graph.

    `inputs` maps each input's name to its arrays (`float32[rows, ...]`), `size` is how many examples it holds,
    and `losses` how many messages will reach the loss nodes for it, by which a forward-only pass counts it home.
    """

    inputs: Mapping[str, tuple[NDArray[np.generic], ...]]
    size: int
    losses: int = 1


@dataclass(frozen=True)
class Split:
    """How many instances (keys) and examples a split has."""

    keys: int
    examples: int


class Dataset(Protocol):
    """A data set: a description that needs no data, and the instances, which load it on first use."""

    spec: DataSpec
    splits: Mapping[str, Split]

    def instances(self, split: str, epoch: int) -> Iterator[Instance]:
        """The instances of a split in the order of an epoch: a function of (seed, split, epoch) alone.

        Raises DataError if the data are missing or malformed.
        """
        ...
