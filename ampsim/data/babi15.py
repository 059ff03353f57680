"""bAbI task 15, basic deduction, as graphs; the text of its 10,000-question version ships inside the package
(babi15-train.txt.gz, babi15-test.txt.gz; babi15-licence.txt has the licence).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Gt
from numpy.typing import NDArray

from ampsim.data.babi_text import Story, read_stories
from ampsim.data.dataset import TEST, TRAIN, VALIDATION, DataSpec, Instance, Messages, Split
from ampsim.data.edges import graph_structure
from ampsim.errors import DataError
from ampsim.ops.table import ArraySpec

TRAIN_FILE = Path(__file__).with_name("babi15-train.txt.gz")
TEST_FILE = Path(__file__).with_name("babi15-test.txt.gz")
IS, FEAR, IS_REVERSED, FEAR_REVERSED = range(4)
ANSWER_FIELDS = np.zeros((1, 2), np.int64)


class Babi15:
    """One question an instance, for graph networks; its graph has a node for each individual and species of the story.

    Nodes are numbered from 0 in the order of their first appearance in the story. Edge types: 0 `is` (individual to
    species), 1 `fear` (species to species), 2 and 3 the reverses of these. Inputs: `annotation` `float32[n, 1]`, 1 at
    the node asked about, one message a node with fields (0, node); `answer` `int64[n]`, 1 at the node that is the
    answer, one message of n rows with fields (0, 0). Structure: that of `data.edges`,
    edges in both directions, sorted by (source, type, target).

    `validation` of the 10,000 training questions are held out as the validation set: stories drawn by the seed,
    rounded up to whole stories. `limit`, if given, keeps only that many questions of each split.
    """

    def __init__(
        self,
        seed: int,
        *,
        validation: Annotated[int, Gt(0)] = 1000,
        limit: Annotated[int, Gt(0)] | None = None,
    ) -> None:
        self._seed, self._validation, self._limit = seed, validation, limit
        self.spec = DataSpec(
            inputs={"annotation": ArraySpec((1,)), "answer": ArraySpec((), "int64")},
            rows=1,
            fields={"t": 8, "node": 16},
            sizes={"edge_types": 4, "annotation": 1},
        )

    @cached_property
    def splits(self) -> Mapping[str, Split]:
        """The questions of each split; reads the text."""
        return {split: Split(keys=len(some), examples=len(some)) for split, some in self._questions.items()}

    def instances(self, split: str, epoch: int) -> Iterator[Instance]:
        """The questions of a split; the training set is shuffled anew each epoch, by (seed, epoch)."""
        questions = self._questions[split]
        order = np.arange(len(questions))
        if split == TRAIN:
            order = np.random.default_rng([self._seed, 1, epoch]).permutation(order)
        return (questions[index] for index in order.tolist())

    @cached_property
    def _questions(self) -> dict[str, list[Instance]]:
        stories = read_stories(TRAIN_FILE)
        held_out, rest = list[Story](), list[Story]()
        missing = self._validation
        for index in np.random.default_rng([self._seed, 0]).permutation(len(stories)).tolist():
            (held_out if missing > 0 else rest).append(stories[index])
            missing -= len(stories[index].questions)
        if not rest:
            number = sum(len(story.questions) for story in stories)
            raise DataError(
                f"data.validation: {self._validation} of the {number} training questions leave none to train on"
            )
        splits = {TRAIN: rest, VALIDATION: held_out, TEST: read_stories(TEST_FILE)}
        return {
            split: [question for story in some for question in _questions(story)][: self._limit]
            for split, some in splits.items()
        }


def _questions(story: Story) -> list[Instance]:
    """The questions of a story; they share its graph, in which every node has an edge, and so its reverse, too."""
    nodes = story.nodes
    edges = list[tuple[int, int, int]]()
    for facts, forward, backward in ((story.species, IS, IS_REVERSED), (story.fears, FEAR, FEAR_REVERSED)):
        for what, other in facts.items():
            edges += [(nodes[what], forward, nodes[other]), (nodes[other], backward, nodes[what])]
    source, kind, target = np.array(sorted(edges), np.int64).T.copy()
    structure = graph_structure(len(nodes), source, target, kind)
    n = len(nodes)
    fields, ones = np.stack([np.zeros(n, np.int64), np.arange(n)], axis=1), np.ones(n, np.int64)
    return [
        Instance(
            {
                "annotation": Messages((_one_at(nodes[name], n, np.float32)[:, None],), fields, ones),
                "answer": Messages((_one_at(nodes[answer], n, np.int64),), ANSWER_FIELDS),
            },
            size=1,
            structure=structure,
        )
        for name, answer in story.questions
    ]


def _one_at(place: int, length: int, dtype: type[np.float32 | np.int64]) -> NDArray[np.float32 | np.int64]:
    """Zeros, but 1 at one place."""
    found = np.zeros(length, dtype)
    found[place] = 1
    return found
