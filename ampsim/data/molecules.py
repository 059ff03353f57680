"""Reads molecules as flat arrays (qm9.npz), has every atom and bond checked, and makes directed graphs of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from ampsim.data.molecule_checks import ARRAYS, ELEMENTS, MOST_ATOMS, ORDERS, check
from ampsim.errors import DataError
from ampsim.ops.table import Array


@dataclass(frozen=True)
class Molecules:
    """Many molecules, flat. Molecule m has the atoms `atom_start[m]:atom_start[m + 1]`, and likewise its edges.

    `dipole` `float32[molecules]` in debye, `element` `uint8[atoms]` an index into ELEMENTS. An edge is a bond in one
    direction, so that every bond is there twice: `source`, `target` (numbers inside the molecule) `uint16[edges]` and
    `kind` `uint8[edges]`, an index into ORDERS; in each molecule they are sorted by (source, kind, target).
    """

    dipole: NDArray[np.float32]
    element: NDArray[np.uint8]
    atom_start: NDArray[np.int64]
    source: NDArray[np.uint16]
    target: NDArray[np.uint16]
    kind: NDArray[np.uint8]
    edge_start: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.dipole)


def read_molecules(file: Path) -> Molecules:
    """The molecules of an archive. Raises DataError with each kind of fault and the first molecule that has it."""
    try:
        with file.open("rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            found = archive.files if isinstance(archive, NpzFile) else []
            missing = [name for name in ARRAYS if name not in found]
            if missing:
                raise DataError(f"{file}: no array {', '.join(missing)}: expected {', '.join(ARRAYS)}")
            arrays = {name: np.asarray(archive[name]) for name in ARRAYS}
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
    except DataError:
        raise
    except Exception as error:  # whatever a damaged archive makes zipfile, zlib, lzma and NumPy raise
        raise DataError(f"{file}: damaged, or no archive of NumPy arrays: {error}") from error
    return molecules(arrays, file)


def molecules(arrays: Mapping[str, Array], file: Path | str) -> Molecules:
    """Check the arrays of an archive and make graphs of them; `file` is named in faults. Raises DataError."""
    check(arrays, file)
    atom_start, bond_start = (arrays[name].astype(np.int64) for name in ("atom_ptr", "bond_ptr"))
    bonds = np.diff(bond_start)
    start = np.repeat(atom_start[:-1], bonds)
    first, second = arrays["bond_i"].astype(np.int64), arrays["bond_j"].astype(np.int64)
    source, kind, target = _edges(start, first, second, arrays["bond_order"].astype(np.int64) - 1)
    element = np.zeros(256, np.uint8)
    element[list(ELEMENTS)] = np.arange(len(ELEMENTS))
    return Molecules(
        dipole=arrays["mu"].astype(np.float32),
        element=element[arrays["z"]],
        atom_start=atom_start,
        source=(source - np.repeat(atom_start[:-1], 2 * bonds)).astype(np.uint16),
        target=target.astype(np.uint16),
        kind=kind.astype(np.uint8),
        edge_start=2 * bond_start,
    )


def _edges(start: Array, first: Array, second: Array, kind: Array) -> tuple[Array, Array, Array]:
    """Each bond in both directions, sorted: source (numbered among all atoms), kind, and target (in the molecule).

    `start` is where each bond's molecule begins among the atoms. The three are packed into one integer, which is
    sorted: much faster than sorting by three keys.
    """
    ways = ((first, second), (second, first))
    packed = np.concatenate([((start + source) * len(ORDERS) + kind) * MOST_ATOMS + target for source, target in ways])
    packed.sort()
    rest = packed // MOST_ATOMS
    return rest // len(ORDERS), rest % len(ORDERS), packed % MOST_ATOMS
