"""Hydrogens folded into their atoms: against a plain reading of the bonds, an atom at a time."""

from __future__ import annotations

import numpy as np
import pytest

from ampsim.data.cache import data_folder
from ampsim.data.heavy_atoms import HYDROGEN, fold_hydrogens
from ampsim.data.molecules import Molecules, read_molecules
from ampsim.data.qm9 import Qm9
from ampsim.errors import DataError


def graph_of(molecules, number):
    """A molecule's elements, and its edges (source, type, target)."""
    atoms = slice(*molecules.atom_start[number : number + 2].tolist())
    edges = slice(*molecules.edge_start[number : number + 2].tolist())
    columns = (molecules.source, molecules.kind, molecules.target)
    return molecules.element[atoms].tolist(), list(zip(*(column[edges].tolist() for column in columns), strict=True))


def folded_by_hand(elements, edges):
    """Elements and hydrogens of the atoms that stay, and the edges between them."""
    heavy = {atom for atom, element in enumerate(elements) if element != HYDROGEN}
    bonded = {source for source, _, target in edges if {source, target} <= heavy}
    stay = sorted(heavy) if heavy and bonded == heavy else list(range(len(elements)))
    gone = set(range(len(elements))) - set(stay)
    hydrogens = [sum(source == atom and target in gone for source, _, target in edges) for atom in stay]
    left = [
        (stay.index(source), kind, stay.index(target)) for source, kind, target in edges if not gone & {source, target}
    ]
    return [elements[atom] for atom in stay], hydrogens, left


@pytest.mark.usefixtures("any_data")
def test_heavy_atoms_keep_their_bonds_and_count_their_hydrogens():
    molecules = read_molecules(data_folder() / "qm9.npz")
    folded, hydrogens = fold_hydrogens(molecules)
    assert len(folded) == len(molecules)
    assert len(hydrogens) == len(folded.element)
    for number in range(0, len(molecules), max(len(molecules) // 300, 1)):
        elements, edges = graph_of(folded, number)
        atoms = slice(*folded.atom_start[number : number + 2].tolist())
        assert (elements, hydrogens[atoms].tolist(), edges) == folded_by_hand(*graph_of(molecules, number))
        assert {target for _, _, target in edges} == set(range(len(elements)))
    assert folded.dipole is molecules.dipole


@pytest.mark.usefixtures("any_data")
def test_with_implicit_hydrogens_an_annotation_has_their_number():
    data = Qm9(0, validation=20, test=5, hydrogens="implicit")
    explicit = Qm9(0, validation=20, test=5)
    assert data.spec.inputs["annotation"].shape == (10,)
    for instance, other in zip(data.instances("test", 1), explicit.instances("test", 1), strict=True):
        (annotation,), (atoms,) = instance.inputs["annotation"].arrays, other.inputs["annotation"].arrays
        assert annotation.shape == (instance.structure["nodes"][0], 10)
        assert (annotation[:, :5].sum(axis=1) == 1).all()
        assert (annotation[:, 5:].sum(axis=1) == 1).all()
        heavy = annotation[:, 1:5].sum(axis=0).tolist()
        assert heavy == atoms[:, 1:].sum(axis=0).tolist()
        assert instance.inputs["dipole"].arrays[0] == other.inputs["dipole"].arrays[0]


def test_an_atom_with_more_hydrogens_than_are_counted_is_refused():
    carbon, hydrogens = 1, 5
    bonds = [(0, 1), *((0, 2 + number) for number in range(hydrogens))]
    edges = np.array(sorted([*bonds, *((target, source) for source, target in bonds)]))
    molecules = Molecules(
        dipole=np.zeros(1, np.float32),
        element=np.array([carbon, carbon] + [HYDROGEN] * hydrogens, np.uint8),
        atom_start=np.array([0, 2 + hydrogens]),
        source=edges[:, 0].astype(np.uint16),
        target=edges[:, 1].astype(np.uint16),
        kind=np.zeros(len(edges), np.uint8),
        edge_start=np.array([0, len(edges)]),
    )
    with pytest.raises(DataError, match=r"molecule 0 .* an atom with 5 hydrogens.* set data\.hydrogens to explicit"):
        fold_hydrogens(molecules)
