"""The building of qm9.npz, on a few molecules: by a stand-in for RDKit, and by RDKit where it is installed."""

from __future__ import annotations

import csv
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from ampsim.data import fetch as fetch_module
from ampsim.data import qm9_build
from ampsim.data.cache import cache_folder, find
from ampsim.data.fetch import fetch
from ampsim.data.molecules import molecules, read_molecules
from ampsim.data.qm9_build import build, digest, read_package
from ampsim.errors import DataError

# index, SMILES, elements, positions as they are written, dipole moment, and bonds (None: none can be told)
WATER = (3, "O", "OHH", [(0, 0, 0), (0.96, 0, 0), (-0.24, 0.93, 0)], 1.85, [(0, 1, 1), (0, 2, 1)])
CYANIDE = (5, "C#N", "CNH", [(0, 0, 0), (1.15, 0, 0), (-1.07, 0, 0)], 2.94, [(0, 1, 3), (0, 2, 1)])
# Stretched water.
STRETCHED = (7, "O", "OHH", [(0, 0, 0), (1.2, 0, 0), (0.2, 1.3, 0)], 1.0, [(0, 1, 1), (0, 2, 1)])
APART = (9, "O", "OHH", [(0, 0, 0), (0.96, 0, 0), (0, 9.3, 0)], 1.0, None)
SYMBOLS = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}


def numbers(values):
    """As Mathematica writes them: `1.`, `2.5*^-6`."""
    return ",".join(f"{value:.10g}".replace("e", "*^") + ("." if value == int(value) else "") for value in values)


def package(folder, *rows):
    """The tables of qm9pack, with the molecules in the first and last of three."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, some in zip(qm9_build.PARTS, (rows[1:], [], rows[:1]), strict=True):
        with (folder / part).open("w", newline="") as out:
            table = csv.writer(out)
            table.writerow(["Index", "SMILES", "Elements", "XYZ_Ang", "Dipole_debye"])
            for index, smiles, elements, positions, dipole, _ in some:
                listed = ",".join(f"'{element}'" for element in elements)
                xyz = ",".join(f"[{numbers(position)}]" for position in positions)
                table.writerow([index, smiles, f"[{listed}]", f"[{xyz}]", dipole])
    return folder


class Graph:
    """A molecule of the stand-in: elements, bonds (atom, atom, kind), and the hydrogens of each atom."""

    def __init__(self, elements=(), bonds=(), hydrogens=()):
        self.elements, self.bonds, self.hydrogens = list(elements), list(bonds), list(hydrogens)

    def GetAtoms(self):
        return [
            SimpleNamespace(GetAtomicNum=lambda z=z: z, GetTotalNumHs=lambda h=h: h)
            for z, h in zip(self.elements, self.hydrogens or [0] * len(self.elements), strict=True)
        ]

    def GetBonds(self):
        return [
            SimpleNamespace(GetBeginAtomIdx=lambda a=a: a, GetEndAtomIdx=lambda b=b: b, GetBondType=lambda k=k: k)
            for a, b, k in self.bonds
        ]

    def GetNumAtoms(self):
        return len(self.elements)

    def GetNumBonds(self):
        return len(self.bonds)

    def AddAtom(self, element):
        self.elements.append(element)

    def AddBond(self, a, b, kind):
        self.bonds.append((a, b, kind))

    def GetMol(self):
        return self

    def GetSubstructMatch(self, pattern):
        """Good enough here, where the atoms of both are in the same order."""
        same = self.elements == pattern.elements and sorted(self.bonds) == sorted(pattern.bonds)
        return tuple(range(len(self.elements))) if same else ()


def stand_in():
    """A module as `rdkit`, that knows water and hydrogen cyanide."""
    known = {"O": Graph([8], [], [2]), "C#N": Graph([6, 7], [(0, 1, "TRIPLE")], [1, 0])}

    def with_hydrogens(graph):
        whole = Graph(graph.elements, graph.bonds)
        for atom, count in enumerate(graph.hydrogens):
            for _ in range(count):
                whole.AddAtom(1)
                whole.AddBond(atom, len(whole.elements) - 1, "SINGLE")
        return whole

    module = ModuleType("rdkit")
    module.Chem = SimpleNamespace(
        MolFromSmiles=known.get,
        AddHs=with_hydrogens,
        RWMol=Graph,
        Atom=lambda number: number,
        BondType=SimpleNamespace(SINGLE="SINGLE", DOUBLE="DOUBLE", TRIPLE="TRIPLE", AROMATIC="AROMATIC"),
        GetPeriodicTable=lambda: SimpleNamespace(
            GetRcovalent=lambda number: {1: 0.31, 6: 0.76, 7: 0.71, 8: 0.66, 9: 0.57}[number]
        ),
    )
    module.RDLogger = SimpleNamespace(DisableLog=lambda name: None)
    return module


@pytest.fixture(params=["stand-in", "rdkit"] if importlib.util.find_spec("rdkit") else ["stand-in"])
def chemistry(request, monkeypatch):
    if request.param == "stand-in":
        monkeypatch.setitem(sys.modules, "rdkit", stand_in())


@pytest.fixture
def installed(monkeypatch, tmp_path, chemistry):
    """Install molecules as qm9pack, which are then the known ones."""

    def install(*rows):
        folder = package(tmp_path / "qm9pack" / "data", *rows)
        spec = ModuleSpec("qm9pack", None)
        spec.submodule_search_locations = [str(folder.parent)]
        find_spec = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name, *more: {"qm9pack": spec, "rdkit": spec}.get(name) or find_spec(name, *more),
        )
        ordered = sorted(read_package(folder), key=lambda molecule: molecule.index)
        monkeypatch.setattr(qm9_build, "KNOWN_SHA256", digest(ordered))

    return install


def built(tmp_path):
    lines = []
    build(tmp_path / "qm9.npz", lines.append)
    with np.load(tmp_path / "qm9.npz") as arrays:
        return dict(arrays), lines


def bonds_of(arrays, molecule):
    some = slice(*arrays["bond_ptr"][molecule : molecule + 2])
    return list(zip(*(arrays[name][some].tolist() for name in ("bond_i", "bond_j", "bond_order")), strict=True))


def test_the_archive_has_the_molecules_in_order_with_their_bonds(installed, tmp_path):
    installed(CYANIDE, WATER)
    arrays, _ = built(tmp_path)
    assert arrays["index"].tolist() == [3, 5]
    assert arrays["mu"].tolist() == np.array([1.85, 2.94], np.float32).tolist()
    assert arrays["z"].tolist() == [8, 1, 1, 6, 7, 1]
    assert arrays["pos"].tolist() == np.array(WATER[3] + CYANIDE[3], np.float32).tolist()
    assert [bonds_of(arrays, molecule) for molecule in (0, 1)] == [WATER[5], CYANIDE[5]]
    assert {name: str(array.dtype) for name, array in arrays.items()} == {
        "index": "int32", "mu": "float32", "atom_ptr": "int32", "bond_ptr": "int32", "z": "uint8", "pos": "float32",
        "bond_i": "uint8", "bond_j": "uint8", "bond_order": "uint8",
    }  # fmt: skip
    assert len(molecules(arrays, "built")) == 2


def test_where_distances_do_not_tell_the_bonds_the_graphs_are_matched(installed, tmp_path, monkeypatch):
    installed(STRETCHED, WATER)
    monkeypatch.setattr(qm9_build._Bonds, "by_distance", lambda self, molecule: [])
    arrays, lines = built(tmp_path)
    assert [bonds_of(arrays, molecule) for molecule in (0, 1)] == [WATER[5], STRETCHED[5]]
    assert not [line for line in lines if "left out" in line]


def test_a_molecule_whose_bonds_cannot_be_told_is_left_out_and_named(installed, tmp_path):
    installed(APART, WATER)
    arrays, lines = built(tmp_path)
    assert arrays["index"].tolist() == [3]
    assert lines[-1] == "left out, as SMILES and geometry disagree on the bonds: 9"


def test_elements_that_are_not_those_of_the_smiles_are_not_accepted(installed, tmp_path):
    installed((3, "O", "NHH", *WATER[3:]), CYANIDE)
    arrays, lines = built(tmp_path)
    assert arrays["index"].tolist() == [5]
    assert lines[-1].endswith(": 3")


def test_molecules_that_are_not_the_known_ones_are_refused(installed, tmp_path, monkeypatch):
    installed(WATER, CYANIDE)
    monkeypatch.setattr(qm9_build, "KNOWN_SHA256", "0" * 64)
    with pytest.raises(DataError, match=r"not the known QM9: the sha256 .* pip install qm9pack==1\.0\.3"):
        built(tmp_path)
    assert not (tmp_path / "qm9.npz").exists()


@pytest.mark.parametrize("change", [{0: 4}, {2: "OHF"}, {4: 1.86}])
def test_the_digest_tells_every_change(tmp_path, change):
    other = tuple(change.get(place, value) for place, value in enumerate(WATER))
    digests = [digest(list(read_package(package(tmp_path, row)))) for row in (WATER, other)]
    assert digests[0] != digests[1]


def test_a_line_that_is_no_molecule_is_named(tmp_path):
    for wrong in ((3, "O", "OHX", *WATER[3:]), (3, "O", "OH", *WATER[3:]), ("x", *WATER[1:])):
        package(tmp_path, CYANIDE, WATER, wrong)
        with pytest.raises(DataError, match=r"qm9_part1\.csv:3: not a molecule as in qm9pack 1\.0\.3: "):
            list(read_package(tmp_path))
    (tmp_path / "qm9_part2.csv").unlink()
    package(tmp_path / "whole", WATER)
    (tmp_path / "whole/qm9_part2.csv").unlink()
    with pytest.raises(DataError, match=r"qm9_part2\.csv: cannot be read: No such file"):
        list(read_package(tmp_path / "whole"))


def test_fetching_builds_into_the_cache_once(installed, monkeypatch):
    installed(WATER, CYANIDE)
    lines = []
    fetch("qm9", lines.append)
    assert "the known molecules, but not quite the bonds of RDKit 2026.09.1" in lines
    assert find("qm9") == cache_folder()
    assert len(read_molecules(cache_folder() / "qm9.npz")) == 2
    assert [path.name for path in cache_folder().iterdir()] == ["qm9.npz"]
    monkeypatch.setattr(qm9_build, "build", None)
    fetch("qm9", lines.append)
    assert lines[-1].endswith("already, and whole")


def test_a_build_that_fails_leaves_nothing_in_the_cache(installed, monkeypatch):
    installed(WATER, CYANIDE)

    def malformed(file, kept, bonds):
        file.write_bytes(b"half of it")

    monkeypatch.setattr(qm9_build, "write", malformed)
    with pytest.raises(DataError, match="damaged"):
        fetch("qm9", lambda line: None)
    assert list(cache_folder().iterdir()) == []
    assert fetch_module.find("qm9") is None
