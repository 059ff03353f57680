"""QM9: 130,829 small organic molecules as graphs, with their dipole moments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from annotated_types import Gt
from numpy.typing import NDArray

from ampsim.data.cache import locate
from ampsim.data.dataset import TEST, TRAIN, VALIDATION, DataSpec, Instance, Messages, Split
from ampsim.data.edges import graph_structure
from ampsim.data.heavy_atoms import MOST_HYDROGENS, fold_hydrogens
from ampsim.data.molecule_checks import ELEMENTS, ORDERS
from ampsim.data.molecules import Molecules, read_molecules
from ampsim.errors import DataError
from ampsim.ops.table import ArraySpec

FILE = "qm9.npz"


class Qm9:
    """One molecule an instance, for graph networks; its graph has a node for each atom.

    With implicit `hydrogens` a hydrogen is no node: the annotation says how many an atom has (`heavy_atoms`). Edge
    types: 0 single, 1 double, 2 triple, 3 aromatic bond; each bond is there in both directions. Inputs: `annotation`
    `float32[n, 5]`, 1 in the column of the atom's element (H, C, N, O, F), and with implicit hydrogens five more
    columns, 1 in that of the number of hydrogens (0 to 4), one message a node with fields
    (0, node); `dipole` `float32[1, 1]`, the dipole moment in debye, one message with fields (0, 0). Structure: that of
    `data.edges`, the edges sorted by (source, type, target).

    `validation` and `test` molecules, drawn by the seed, are held out as these splits; `limit`, if given, keeps only
    that many molecules of each split.
    """

    def __init__(
        self,
        seed: int,
        *,
        validation: Annotated[int, Gt(0)] = 10_000,
        test: Annotated[int, Gt(0)] = 10_000,
        hydrogens: Literal["explicit", "implicit"] = "explicit",
        limit: Annotated[int, Gt(0)] | None = None,
    ) -> None:
        self._seed, self._validation, self._test, self._limit = seed, validation, test, limit
        self._implicit = hydrogens == "implicit"
        columns = len(ELEMENTS) + (MOST_HYDROGENS + 1 if self._implicit else 0)
        self.spec = DataSpec(
            inputs={"annotation": ArraySpec((columns,)), "dipole": ArraySpec((1,))},
            rows=1,
            fields={"t": 8, "node": 16},
            sizes={"edge_types": len(ORDERS), "annotation": columns},
        )

    @cached_property
    def splits(self) -> Mapping[str, Split]:
        """The molecules of each split; reads them all."""
        return {split: Split(keys=len(rows), examples=len(rows)) for split, rows in self._rows.items()}

    def instances(self, split: str, epoch: int) -> Iterator[Instance]:
        """The molecules of a split; the training set is shuffled anew each epoch, by (seed, epoch)."""
        rows = self._rows[split]
        if split == TRAIN:
            rows = np.random.default_rng([self._seed, 1, epoch]).permutation(rows)
        return _instances(*self._graphs, rows)

    @cached_property
    def _graphs(self) -> tuple[Molecules, NDArray[np.float32]]:
        """The molecules, and their atoms' annotations float32[atoms, columns]."""
        one_hot = np.eye(len(ELEMENTS), dtype=np.float32)
        if not self._implicit:
            return self._molecules, one_hot[self._molecules.element]
        molecules, hydrogens = fold_hydrogens(self._molecules)
        numbers = np.eye(MOST_HYDROGENS + 1, dtype=np.float32)[hydrogens]
        return molecules, np.concatenate([one_hot[molecules.element], numbers], axis=1)

    @cached_property
    def _molecules(self) -> Molecules:
        return read_molecules(locate("qm9") / FILE)

    @cached_property
    def _rows(self) -> dict[str, NDArray[np.int64]]:
        """Which molecules each split has."""
        number, held_out = len(self._molecules), self._validation + self._test
        if held_out >= number:
            raise DataError(
                f"{locate('qm9') / FILE}: {number} molecules; data.validation {self._validation} and data.test "
                f"{self._test} leave none to train on"
            )
        order = np.random.default_rng([self._seed, 0]).permutation(number)
        cuts = {
            VALIDATION: order[: self._validation],
            TEST: order[self._validation : held_out],
            TRAIN: order[held_out:],
        }
        return {split: rows[: self._limit] for split, rows in cuts.items()}


def _instances(molecules: Molecules, annotations: NDArray[np.float32], order: NDArray[np.int64]) -> Iterator[Instance]:
    """An instance for each molecule of `order`."""
    most = int(np.diff(molecules.atom_start).max())
    fields = np.stack([np.zeros(most, np.int64), np.arange(most)], axis=1)
    ones, one_field = np.ones(most, np.int64), np.zeros((1, 2), np.int64)
    for molecule in order.tolist():
        first, last = molecules.atom_start[molecule : molecule + 2].tolist()
        edges = slice(*molecules.edge_start[molecule : molecule + 2].tolist())
        n = last - first
        inputs = {
            "annotation": Messages((annotations[first:last],), fields[:n], ones[:n]),
            "dipole": Messages((molecules.dipole[molecule : molecule + 1, None],), one_field),
        }
        ends = (molecules.source, molecules.target, molecules.kind)
        structure = graph_structure(n, *(array[edges].astype(np.int64) for array in ends))
        yield Instance(inputs, size=1, structure=structure)
