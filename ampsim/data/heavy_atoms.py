"""Molecules as chemists draw them: a hydrogen is no node of its own, but counted at the atom that it belongs to."""

from __future__ import annotations

import numpy as np

from ampsim.data.molecules import Molecules
from ampsim.errors import DataError
from ampsim.ops.table import Array

HYDROGEN = 0
"""Its index in ELEMENTS."""
MOST_HYDROGENS = 4
"""An atom of QM9 has no more."""


def fold_hydrogens(molecules: Molecules) -> tuple[Molecules, Array]:
    """The molecules without their hydrogens, and how many each atom had: int64[atoms], of the atoms that are left.

    A molecule in which an atom would be left without a bond keeps its hydrogens (methane, ammonia, water).
    Raises DataError for an atom with more hydrogens than are counted.
    """
    of_atom = np.repeat(np.arange(len(molecules)), np.diff(molecules.atom_start))
    of_edge = np.repeat(np.arange(len(molecules)), np.diff(molecules.edge_start))
    offset = molecules.atom_start[:-1][of_edge]
    source, target = molecules.source + offset, molecules.target + offset
    heavy = molecules.element != HYDROGEN
    bonded = np.bincount(source[heavy[source] & heavy[target]], minlength=len(heavy)) > 0
    whole = np.bincount(of_atom, weights=heavy & ~bonded, minlength=len(molecules)) > 0
    whole |= np.bincount(of_atom, weights=heavy, minlength=len(molecules)) == 0
    kept = heavy | whole[of_atom]
    folded = np.bincount(source[~kept[target]], minlength=len(kept))
    if (excess := kept & (folded > MOST_HYDROGENS)).any():
        atom = int(np.argmax(excess))
        raise DataError(
            f"qm9: molecule {of_atom[atom]} (counted from 0) has an atom with {folded[atom]} hydrogens; implicit ones "
            f"are counted up to {MOST_HYDROGENS}: set data.hydrogens to explicit"
        )
    stays = kept[source] & kept[target]
    number = np.cumsum(kept) - 1
    atom_start = _starts(of_atom[kept], len(molecules))
    left_of_edge = of_edge[stays]
    return Molecules(
        dipole=molecules.dipole,
        element=molecules.element[kept],
        atom_start=atom_start,
        source=(number[source[stays]] - atom_start[left_of_edge]).astype(np.uint16),
        target=(number[target[stays]] - atom_start[left_of_edge]).astype(np.uint16),
        kind=molecules.kind[stays],
        edge_start=_starts(left_of_edge, len(molecules)),
    ), folded[kept]


def _starts(owners: Array, number: int) -> Array:
    """Where the parts of each owner begin, and the end of all: owners ascend. int64[number + 1]"""
    starts: Array = np.searchsorted(owners, np.arange(number + 1))
    return starts
