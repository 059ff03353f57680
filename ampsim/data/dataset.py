"""What a data set gives: its description, and an iterator over the instances of a split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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
    fields: Mapping[str, int] = field(default_factory=dict)
    """the fields of a state behind the instance's key, and the bits of each (`Messages.fields` has their values)"""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """other numbers that a model builds on: `vocabulary`, `edge_types`, ..."""


Structure = Mapping[str, NDArray[np.int64]]
"""An instance's shape, for the nodes whose control flow asks for it: a tree's parents, a graph's edges."""


@dataclass(frozen=True)
class Messages:
    """What is injected by one input of the graph: one message, or several.

    `arrays` (`[sum(rows), ...]`) hold the messages' rows one after the other. `fields int64[n, k]` has the state of
    each message behind the instance's key, `rows int64[n]` its rows; by default it is one message of all rows, whose
    other fields are 0.
    """

    arrays: tuple[NDArray[np.generic], ...]
    fields: NDArray[np.int64] | None = None
    rows: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Instance:
    """What is injected under one key: a minibatch of equal inputs, or one tree or graph.

    `inputs` maps each input's name to its messages, `size` is how many examples it holds, `losses` how many messages
    will reach the loss nodes for it, by which a forward-only pass counts it home, and `structure` its shape, which
    goes to the nodes that ask for it.
    """

    inputs: Mapping[str, Messages]
    size: int
    losses: int = 1
    structure: Structure = field(default_factory=dict)


@dataclass(frozen=True)
class Split:
    """How many instances (keys) and examples a split has."""

    keys: int
    examples: int


class Dataset(Protocol):
    """A data set: a description that needs no data, and the instances, which load it on first use."""

    @property
    def spec(self) -> DataSpec:
        """What a model needs to know; needs no data, so that every process can ask for it."""
        ...

    @property
    def splits(self) -> Mapping[str, Split]:
        """The sizes of the splits; loads the data where these depend on it.

        Raises DataError if the data are missing or malformed.
        """
        ...

    def instances(self, split: str, epoch: int) -> Iterator[Instance]:
        """The instances of a split in the order of an epoch: a function of (seed, split, epoch) alone.

        Raises DataError if the data are missing or malformed.
        """
        ...
