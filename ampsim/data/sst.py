"""Stanford Sentiment Treebank: sentences as binary trees, a label from 0 (very negative) to 4 at every node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from ampsim.data.cache import locate
from ampsim.data.dataset import SPLITS, TEST, TRAIN, VALIDATION, DataSpec, Instance, Messages, Split
from ampsim.data.treebank import CLASSES, MOST_NODES, Trees, read_trees
from ampsim.errors import DataError
from ampsim.ops.table import ArraySpec

FILES = {TRAIN: "sst/train.txt.gz", VALIDATION: "sst/dev.txt.gz", TEST: "sst/test.txt.gz"}
FREQUENT_WORDS = 8_736
"""Words that the training trees have at least twice."""
"""Distinct words of the training trees, case kept."""


class Sst:
    """One tree an instance, for tree-structured networks. Its k leaves are nodes 0 to k - 1 from left to right, then
    come the inner nodes in post-order, the root last: n nodes together.

    Inputs: `token` `int64[k]`, one message a leaf, and `label` `int64[n]`, one message a node; their field is the
    node. Structure: `parent` `int64[n]` (-1 at the root) and `side` `int64[n]` (0 left child, 1 right; 0 at the root).
    Tokens are 1, 2, ... for the words that the training trees have more than `rare` times, in the order of their first
    appearance, case kept, and 0 for any other word: so the token of unknown words is trained, too. `limit`, if given,
    keeps only that many trees of each split, drawn by the seed; the words stay the same. `vocabulary` is the number of
    tokens, and needs changing only with `rare`, and for a treebank of your own with more words.
    """

    def __init__(
        self,
        seed: int,
        *,
        limit: Annotated[int, Gt(0)] | None = None,
        rare: Annotated[int, Ge(0)] = 1,
        vocabulary: Annotated[int, Gt(1), Le(10_000_000)] = FREQUENT_WORDS + 1,
    ) -> None:
        self._seed, self._limit, self._rare, self._vocabulary = seed, limit, rare, vocabulary
        self.spec = DataSpec(
            inputs={"token": ArraySpec((), "int64"), "label": ArraySpec((), "int64")},
            classes=CLASSES,
            rows=1,
            fields={"node": 16},
            sizes={"vocabulary": vocabulary},
        )

    @cached_property
    def splits(self) -> Mapping[str, Split]:
        """The trees of each split; reads them all."""
        sizes = {split: len(rows) for split, rows in self._rows.items()}
        return {split: Split(keys=size, examples=size) for split, size in sizes.items()}

    def instances(self, split: str, epoch: int) -> Iterator[Instance]:
        """The trees of a split; the training set is shuffled anew each epoch, by (seed, epoch)."""
        trees, tokens = self._trees[split]
        rows = self._rows[split]
        if split == TRAIN:
            rows = np.random.default_rng([self._seed, 1, epoch]).permutation(rows)
        return _instances(trees, tokens, rows)

    @cached_property
    def _rows(self) -> dict[str, NDArray[np.int64]]:
        """Which trees of its file each split has."""
        rows = {}
        for number, split in enumerate(SPLITS):
            order = np.random.default_rng([self._seed, 0, number]).permutation(len(self._trees[split][0]))
            rows[split] = np.sort(order[: self._limit])
        return rows

    @cached_property
    def _trees(self) -> dict[str, tuple[Trees, NDArray[np.int64]]]:
        """Per split, its trees and the tokens of their leaves. Raises DataError with the faults of all three files."""
        folder = locate("sst")
        trees, faults = dict[str, Trees](), list[str]()
        for split, file in FILES.items():
            try:
                trees[split] = read_trees(folder / file)
            except DataError as error:
                faults.append(str(error))
        if faults:
            raise DataError("\n".join(faults))
        counts = Counter(trees[TRAIN].words)
        tokens = {word: token for token, word in enumerate((w for w in counts if counts[w] > self._rare), start=1)}
        if len(tokens) >= self._vocabulary:
            raise DataError(
                f"{folder / FILES[TRAIN]}: {len(tokens)} words that come more than {self._rare} times, and token 0 for "
                f"all others, do not fit a vocabulary of {self._vocabulary}: set data.vocabulary to {len(tokens) + 1}"
            )
        return {
            split: (some, np.array([tokens.get(word, 0) for word in some.words], np.int64))
            for split, some in trees.items()
        }


def _instances(trees: Trees, tokens: NDArray[np.int64], order: NDArray[np.int64]) -> Iterator[Instance]:
    """An instance for each tree of `order`; all arrays are views."""
    nodes, leaves = list(pairwise(trees.node_start.tolist())), list(pairwise(trees.leaf_start.tolist()))
    most = min(max(end - start for start, end in nodes), MOST_NODES)
    numbers, ones = np.arange(most, dtype=np.int64)[:, None], np.ones(most, np.int64)
    for tree in order.tolist():
        (start, end), (first, last) = nodes[tree], leaves[tree]
        n, k = end - start, last - first
        inputs = {
            "token": Messages((tokens[first:last],), numbers[:k], ones[:k]),
            "label": Messages((trees.labels[start:end],), numbers[:n], ones[:n]),
        }
        structure = {"parent": trees.parent[start:end], "side": trees.side[start:end]}
        yield Instance(inputs, size=1, losses=n, structure=structure)
