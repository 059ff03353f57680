"""Builds qm9.npz from the PyPI package qm9pack, with the bonds that RDKit finds: the extra `ampsim[qm9]`.

The SMILES of a molecule gives the bonds between its heavy atoms, in the order of the file; each hydrogen goes to the
nearest heavy atom. That is accepted only if elements and numbers of hydrogens agree with RDKit's, and no bond is too
long. Where it is not, the SMILES graph is matched onto the graph of the atoms that are close to each other, and where
that fails, too, the molecule is left out, and told.
"""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ampsim.errors import DataError

PARTS = ("qm9_part1.csv", "qm9_part2.csv", "qm9_part3.csv")
KNOWN_SHA256 = "6f4b4f95a61edb73d9bcb911bb4a3fa30c85c6625b048ca7d45243128efe640d"
"""Of all the package's molecules: their numbers (int32), dipole moments (float32) and elements (uint8), in turn."""
ATOMIC_NUMBERS = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}
LONGEST_BOND, LONGEST_TO_HYDROGEN = 1.3, 1.4
"""Times the sum of the two covalent radii."""
SHOWN_EVERY = 10_000

Bonds = list[tuple[int, int, int]]


@dataclass(frozen=True)
class Molecule:
    """A line of the package: `z` `uint8[atoms]`, `position` `float64[atoms, 3]` in angstrom, `dipole` in debye."""

    index: int
    smiles: str
    z: NDArray[np.uint8]
    position: NDArray[np.float64]
    dipole: float


def build(file: Path, say: Callable[[str], None]) -> None:
    """Write `file` from the installed qm9pack; takes minutes. `say` is told how far it is, and what was left out.

    Raises DataError if qm9pack or RDKit is not installed, or if the package's molecules are not the known ones.
    """
    missing = [name for name in ("qm9pack", "rdkit") if importlib.util.find_spec(name) is None]
    if missing:
        raise DataError(
            f"data set qm9 is built from the package qm9pack with RDKit, and {' and '.join(missing)} cannot be found; "
            "type: pip install 'ampsim[qm9]'"
        )
    spec = importlib.util.find_spec("qm9pack")
    folder = Path((spec.submodule_search_locations or [""])[0]) / "data" if spec else Path()
    molecules = list(read_package(folder))
    molecules.sort(key=lambda molecule: molecule.index)
    found = digest(molecules)
    if found != KNOWN_SHA256:
        raise DataError(
            f"{folder}: not the known QM9: the sha256 of its molecules is {found}, expected {KNOWN_SHA256}; "
            "type: pip install qm9pack==1.0.3"
        )
    bonds = _Bonds()
    kept, all_bonds, left_out = list[Molecule](), list[Bonds](), list[int]()
    for number, molecule in enumerate(molecules):
        if number % SHOWN_EVERY == 0:
            say(f"bonds of molecule {number} of {len(molecules)}")
        of_molecule = bonds.by_distance(molecule) or bonds.by_matching(molecule)
        if of_molecule:
            kept.append(molecule)
            all_bonds.append(sorted(of_molecule))
        else:
            left_out.append(molecule.index)
    if left_out:
        say(f"left out, as SMILES and geometry disagree on the bonds: {', '.join(map(str, left_out))}")
    write(file, kept, all_bonds)


def read_package(folder: Path) -> Iterator[Molecule]:
    """The molecules of the package's tables. Raises DataError with the file and line of what cannot be read."""
    for part in PARTS:
        try:
            with (folder / part).open(newline="", encoding="utf-8") as lines:
                table = csv.DictReader(lines)
                for line in table:
                    yield _molecule(line, f"{folder / part}:{table.line_num}")
        except OSError as error:
            raise DataError(f"{folder / part}: cannot be read: {error.strerror or error}") from error


def _molecule(line: dict[str, str], where: str) -> Molecule:
    try:
        elements = line["Elements"].strip("[]").replace("'", "").split(",")
        # Numbers are written as in Mathematica: 1., 2.5*^-6
        coordinates = line["XYZ_Ang"].replace("[", "").replace("]", "").replace("*^", "e").split(",")
        position = np.array([float(number) for number in coordinates]).reshape(-1, 3)
        z = np.array([ATOMIC_NUMBERS[element] for element in elements], np.uint8)
        if len(position) != len(z):
            raise ValueError(f"{len(z)} elements, but {len(position)} positions")
        return Molecule(int(line["Index"]), line["SMILES"], z, position, float(line["Dipole_debye"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: not a molecule as in qm9pack 1.0.3: {error}") from error


def digest(molecules: list[Molecule]) -> str:
    """The sha256 by which the package's molecules are known."""
    found = sha256(np.array([molecule.index for molecule in molecules], "<i4").tobytes())
    found.update(np.array([molecule.dipole for molecule in molecules], "<f4").tobytes())
    for molecule in molecules:
        found.update(molecule.z.tobytes())
    return found.hexdigest()


def write(file: Path, molecules: list[Molecule], bonds: list[Bonds]) -> None:
    """Write the archive that docs/data.md describes; `bonds` has (atom, atom, order) of each molecule, sorted."""
    flat = np.array([bond for some in bonds for bond in some], np.uint8)
    arrays: dict[str, Any] = {
        "index": np.array([molecule.index for molecule in molecules], np.int32),
        "mu": np.array([molecule.dipole for molecule in molecules], np.float32),
        "atom_ptr": np.cumsum([0, *(len(molecule.z) for molecule in molecules)], dtype=np.int32),
        "bond_ptr": np.cumsum([0, *map(len, bonds)], dtype=np.int32),
        "z": np.concatenate([molecule.z for molecule in molecules]),
        "pos": np.concatenate([molecule.position for molecule in molecules]).astype(np.float32),
        "bond_i": flat[:, 0],
        "bond_j": flat[:, 1],
        "bond_order": flat[:, 2],
    }
    with file.open("wb") as out:
        np.savez_compressed(out, **arrays)


class _Bonds:
    """RDKit's view of molecules. Bonds are (atom, atom, order), the lower atom first; empty where none can be told."""

    def __init__(self) -> None:
        from rdkit import Chem, RDLogger  # the extra, imported where it is used

        RDLogger.DisableLog("rdApp.*")
        self._chem: Any = Chem
        kinds = Chem.BondType
        self._orders = {kinds.SINGLE: 1, kinds.DOUBLE: 2, kinds.TRIPLE: 3, kinds.AROMATIC: 4}
        table = Chem.GetPeriodicTable()
        self._radius = np.zeros(10)
        for number in ATOMIC_NUMBERS.values():
            self._radius[number] = table.GetRcovalent(number)

    def by_distance(self, molecule: Molecule) -> Bonds:
        """Heavy atoms by the SMILES, in the order of the file; each hydrogen to the nearest of them."""
        graph = self._chem.MolFromSmiles(molecule.smiles)
        if graph is None:
            return []
        z = molecule.z
        heavy, hydrogens = np.flatnonzero(z > 1), np.flatnonzero(z == 1)
        if [atom.GetAtomicNum() for atom in graph.GetAtoms()] != z[heavy].tolist():
            return []
        distance = self._distances(molecule)
        bonds = self._of_graph(graph, heavy.tolist())
        nearest = heavy[distance[np.ix_(hydrogens, heavy)].argmin(axis=1)]
        counts = np.bincount(nearest, minlength=len(z))[heavy]
        if counts.tolist() != [atom.GetTotalNumHs() for atom in graph.GetAtoms()]:
            return []
        bonds += [(min(a, b), max(a, b), 1) for a, b in zip(nearest.tolist(), hydrogens.tolist(), strict=True)]
        limit = self._limits(z)
        return bonds if all(distance[a, b] <= limit[a, b] for a, b, _ in bonds) else []

    def by_matching(self, molecule: Molecule) -> Bonds:
        """The SMILES graph with its hydrogens, matched onto the atoms that are close to each other."""
        chem = self._chem
        graph = chem.MolFromSmiles(molecule.smiles)
        if graph is None:
            return []
        graph = chem.AddHs(graph)
        near = chem.RWMol()
        for number in molecule.z.tolist():
            near.AddAtom(chem.Atom(number))
        close = np.argwhere(np.triu(self._distances(molecule) <= self._limits(molecule.z), k=1))
        for a, b in close.tolist():
            near.AddBond(a, b, chem.BondType.SINGLE)
        pattern = chem.RWMol()
        for atom in graph.GetAtoms():
            pattern.AddAtom(chem.Atom(atom.GetAtomicNum()))
        for bond in graph.GetBonds():
            pattern.AddBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), chem.BondType.SINGLE)
        if pattern.GetNumAtoms() != near.GetNumAtoms() or pattern.GetNumBonds() != near.GetNumBonds():
            return []
        match = near.GetMol().GetSubstructMatch(pattern.GetMol())
        return self._of_graph(graph, list(match)) if match else []

    def _of_graph(self, graph: Any, atoms: list[int]) -> Bonds:
        """The bonds of an RDKit graph whose atom a is the molecule's `atoms[a]`."""
        bonds = []
        for bond in graph.GetBonds():
            a, b = atoms[bond.GetBeginAtomIdx()], atoms[bond.GetEndAtomIdx()]
            bonds.append((min(a, b), max(a, b), self._orders[bond.GetBondType()]))
        return bonds

    def _distances(self, molecule: Molecule) -> NDArray[np.float64]:
        """Between all pairs of atoms, in angstrom: `float64[atoms, atoms]`."""
        step = molecule.position[:, None] - molecule.position[None]
        distances: NDArray[np.float64] = np.sqrt((step * step).sum(axis=2))
        return distances

    def _limits(self, z: NDArray[np.uint8]) -> NDArray[np.float64]:
        """The longest bond that each pair of atoms may have, in angstrom: `float64[atoms, atoms]`."""
        radius = self._radius[z]
        limits: NDArray[np.float64] = (radius[:, None] + radius[None]) * LONGEST_BOND
        hydrogen = z == 1
        limits[hydrogen[:, None] | hydrogen[None]] *= LONGEST_TO_HYDROGEN / LONGEST_BOND
        return limits
