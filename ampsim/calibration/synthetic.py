"""Data for measuring: random trees and molecules of the sizes of real ones, so that nothing has to be fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ampsim.data.dataset import SPLITS, DataSpec, Instance, Messages, Split
from ampsim.data.edges import graph_structure
from ampsim.ops.table import ArraySpec

WORDS = 8_737
CLASSES = 5
EDGE_TYPES, COLUMNS = 4, 10
LEAVES, MOST_LEAVES = 19, 50
ATOMS = (6, 10)


class Synthetic:
    """`size` instances a split, drawn anew by (split, epoch) alone."""

    def __init__(self, spec: DataSpec, size: int, draw: Callable[[np.random.Generator], Instance]) -> None:
        self.spec = spec
        self.splits = {split: Split(size, size) for split in SPLITS}
        self._size, self._draw = size, draw

    def instances(self, split: str, epoch: int) -> Iterator[Instance]:
        """The instances of a split; drawn before the first is given, so that giving one takes no longer than usual."""
        generator = np.random.default_rng([SPLITS.index(split), epoch])
        return iter([self._draw(generator) for _ in range(self._size)])


def trees(size: int) -> Synthetic:
    """Binary trees as those of Stanford's Sentiment Treebank: inputs and structure as of `data.sst`."""
    inputs = {"token": ArraySpec((), "int64"), "label": ArraySpec((), "int64")}
    spec = DataSpec(inputs, CLASSES, fields={"node": 16}, sizes={"vocabulary": WORDS})
    return Synthetic(spec, size, _tree)


def molecules(size: int) -> Synthetic:
    """Graphs as those of QM9's heavy atoms: inputs and structure as of `data.qm9`."""
    inputs = {"annotation": ArraySpec((COLUMNS,)), "dipole": ArraySpec((1,))}
    sizes = {"edge_types": EDGE_TYPES, "annotation": COLUMNS}
    return Synthetic(DataSpec(inputs, fields={"t": 8, "node": 16}, sizes=sizes), size, _molecule)


def _tree(generator: np.random.Generator) -> Instance:
    leaves = int(np.clip(generator.normal(LEAVES, LEAVES / 2), 2, MOST_LEAVES))
    nodes = 2 * leaves - 1
    parent, side = np.full(nodes, -1), np.zeros(nodes, np.int64)
    roots = list(range(leaves))
    for inner in range(leaves, nodes):
        at = int(generator.integers(len(roots) - 1))
        for place in (0, 1):
            parent[roots[at + place]], side[roots[at + place]] = inner, place
        roots[at : at + 2] = [inner]
    tokens, labels = generator.integers(WORDS, size=leaves), generator.integers(CLASSES, size=nodes)
    inputs = {
        "token": Messages((tokens,), np.arange(leaves)[:, None], np.ones(leaves, np.int64)),
        "label": Messages((labels,), np.arange(nodes)[:, None], np.ones(nodes, np.int64)),
    }
    return Instance(inputs, size=1, losses=nodes, structure={"parent": parent, "side": side})


def _molecule(generator: np.random.Generator) -> Instance:
    atoms = int(generator.integers(*ATOMS))
    bonds = [(int(generator.integers(atom)), atom) for atom in range(1, atoms)] + [(0, atoms - 1)]
    ends = np.array(sorted(set(bonds)))
    kind = np.tile(generator.integers(EDGE_TYPES, size=len(ends)), 2)
    source, target = np.concatenate([ends, ends[:, ::-1]]).T
    order = np.lexsort((target, kind, source))
    fields = np.stack([np.zeros(atoms, np.int64), np.arange(atoms)], axis=1)
    annotation = generator.random((atoms, COLUMNS), np.float32)
    inputs = {
        "annotation": Messages((annotation,), fields, np.ones(atoms, np.int64)),
        "dipole": Messages((generator.random((1, 1), np.float32),), np.zeros((1, 2), np.int64)),
    }
    structure = graph_structure(atoms, source[order], target[order], kind[order])
    return Instance(inputs, size=1, structure=structure)
