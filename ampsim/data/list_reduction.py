"""List reduction: an operator token and 1 to 10 digits; the class is a digit that the operator makes of the list.

Generated from the seed, as in the AMPNet paper: nothing is read or fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated

import numpy as np
from annotated_types import Gt, Le
from numpy.typing import NDArray

from ampsim.data.dataset import SPLITS, TEST, TRAIN, VALIDATION, DataSpec, Instance, Messages, Split
from ampsim.ops.table import ArraySpec

DIGITS, LONGEST = 10, 10


OPERATORS = (1, 2, 3, 4)
VOCABULARY = DIGITS + len(OPERATORS)
"""Tokens 0 to 9 are the digits, 10 to 13 the operators 1 to 4."""


def reduce(operator: int, digits: Sequence[int], *, round_each_mean: bool = False) -> int:
    """The class of a list. Operators, all modulo 10, rounded down, with positions counted from 0:

    1. the mean; 2. the mean of the even positions less that of the odd ones (0 if there are none); 3. the greatest
    digit less the smallest; 4. the length. With `round_each_mean` the second operator rounds both means before it
    subtracts. Raises ValueError for an empty list, a digit or an operator out of range.
    """
    if operator not in OPERATORS:
        raise ValueError(f"operator {operator!r} is not in 1 to {len(OPERATORS)}")
    if not len(digits):
        raise ValueError("the list is empty: expected at least one digit")
    for position, digit in enumerate(digits):
        if digit not in range(DIGITS):
            raise ValueError(f"digit {digit!r} at position {position} is not in 0 to {DIGITS - 1}")
    (label,) = _reduce_all(np.array([operator]), np.array(digits, np.int64)[:, None], round_each_mean).tolist()
    return int(label)


def _reduce_all(operators: NDArray[np.int64], digits: NDArray[np.int64], round_each_mean: bool) -> NDArray[np.int64]:
    """`reduce` of lists of one length: operators `int64[n]` and digits `int64[length, n]` to classes `int64[n]`."""
    length = len(digits)
    even, odd = digits[::2], digits[1::2]
    (even_sum, evens), (odd_sum, odds) = ((part.sum(axis=0), max(len(part), 1)) for part in (even, odd))
    if round_each_mean:
        difference = even_sum // evens - odd_sum // odds
    else:
        difference = (even_sum * odds - odd_sum * evens) // (evens * odds)
    classes = [
        digits.sum(axis=0) // length,
        difference,
        digits.max(axis=0) - digits.min(axis=0),
        np.full(digits.shape[1], length),
    ]
    return np.choose(operators - 1, classes) % 10


class ListReduction:
    """Minibatches of lists of equal length, for recurrent networks; `steps` is the length and 1 for the operator.

    Inputs: `token`, `steps` messages of one row a list, with fields (t, steps); `start`, zeros, one message with
    fields (0, steps); `label`, one message with fields (steps, steps); all `int64[lists]`.

    `batch` lists are in a minibatch, the last of each length may be smaller. `train`, `validation` and `test` are the
    numbers of lists in the splits. Operators, lengths and digits are drawn uniformly. `round_each_mean` is for the
    second operator (`reduce`).
    """

    def __init__(
        self,
        seed: int,
        *,
        batch: Annotated[int, Gt(0), Le(10_000)] = 100,
        train: Annotated[int, Gt(0), Le(10_000_000)] = 100_000,
        validation: Annotated[int, Gt(0), Le(10_000_000)] = 10_000,
        test: Annotated[int, Gt(0), Le(10_000_000)] = 10_000,
        round_each_mean: bool = False,
    ) -> None:
        self._seed, self._batch, self._round_each_mean = seed, batch, round_each_mean
        self._sizes = {TRAIN: train, VALIDATION: validation, TEST: test}
        token = ArraySpec((), "int64")
        self.spec = DataSpec(
            inputs={"token": token, "start": token, "label": token},
            classes=DIGITS,
            rows=batch,
            fields={"t": 8, "length": 8},
            sizes={"vocabulary": VOCABULARY},
        )

    @cached_property
    def splits(self) -> Mapping[str, Split]:
        """The minibatches and lists of each split."""
        return {
            split: Split(sum(-(-len(label) // self._batch) for _, label in self._lists[split]), self._sizes[split])
            for split in SPLITS
        }

    def instances(self, split: str, epoch: int) -> Iterator[Instance]:
        """Minibatches of a split; the training set's lists and minibatches are shuffled anew by (seed, epoch)."""
        shuffle = np.random.default_rng([self._seed, len(SPLITS), epoch]) if split == TRAIN else None
        minibatches: list[tuple[int, NDArray[np.int64]]] = []
        for bucket, (_, label) in enumerate(self._lists[split]):
            rows = np.arange(len(label)) if shuffle is None else shuffle.permutation(len(label))
            minibatches += [(bucket, rows[start : start + self._batch]) for start in range(0, len(rows), self._batch)]
        order = range(len(minibatches)) if shuffle is None else shuffle.permutation(len(minibatches)).tolist()
        for bucket, rows in (minibatches[index] for index in order):
            tokens, labels = self._lists[split][bucket]
            yield _minibatch(tokens[:, rows], labels[rows])

    @cached_property
    def _lists(self) -> dict[str, list[tuple[NDArray[np.int64], NDArray[np.int64]]]]:
        """Per split and length (from 1): tokens `int64[steps, lists]` and classes `int64[lists]`."""
        return {split: self._draw(number, self._sizes[split]) for number, split in enumerate(SPLITS)}

    def _draw(self, number: int, size: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        generator = np.random.default_rng([self._seed, number])
        lengths = generator.integers(1, LONGEST + 1, size)
        operators = generator.integers(1, len(OPERATORS) + 1, size)
        digits = generator.integers(0, DIGITS, (LONGEST, size))
        buckets = []
        for length in range(1, LONGEST + 1):
            chosen = lengths == length
            ours, theirs = digits[:length, chosen], operators[chosen]
            buckets.append((np.vstack([theirs + DIGITS - 1, ours]), _reduce_all(theirs, ours, self._round_each_mean)))
        return buckets


def _minibatch(tokens: NDArray[np.int64], labels: NDArray[np.int64]) -> Instance:
    """An instance of tokens `int64[steps, lists]` and labels `int64[lists]`."""
    steps, size = tokens.shape
    fields = np.stack([np.arange(steps), np.full(steps, steps)], axis=1)
    inputs = {
        "token": Messages((tokens.reshape(-1),), fields, np.full(steps, size)),
        "start": Messages((np.zeros(size, np.int64),), np.array([[0, steps]])),
        "label": Messages((labels,), np.array([[steps, steps]])),
    }
    return Instance(inputs, size=size)
