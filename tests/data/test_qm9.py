from __future__ import annotations

import io
import zipfile
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.data.cache import data_folder
from ampsim.data.molecule_checks import ARRAYS, ELEMENTS
from ampsim.data.molecules import molecules, read_molecules
from ampsim.data.qm9 import Qm9
from ampsim.errors import DataError

FIGURES = {
    "elements": [1_208_467, 831_908, 132_497, 183_265, 3_036],
    "orders": [2_190_558, 91_074, 36_645, 122_040],
}


@pytest.fixture
def three():
    """Water, a molecule of two atoms, and a ring of three, by hand."""
    return {
        "index": np.array([3, 5, 8], np.int32),
        "mu": np.array([1.85, 0.0, 0.5], np.float32),
        "atom_ptr": np.array([0, 3, 5, 8], np.int32),
        "bond_ptr": np.array([0, 2, 3, 6], np.int32),
        "z": np.array([8, 1, 1, 7, 6, 6, 6, 9], np.uint8),
        "bond_i": np.array([0, 0, 0, 0, 0, 1], np.uint8),
        "bond_j": np.array([1, 2, 1, 1, 2, 2], np.uint8),
        "bond_order": np.array([1, 1, 3, 4, 2, 1], np.uint8),
    }


def edges_of(found, molecule):
    edges = slice(*found.edge_start[molecule : molecule + 2])
    columns = (found.source[edges], found.kind[edges], found.target[edges])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def expected_edges(arrays, molecule):
    bonds = slice(*arrays["bond_ptr"][molecule : molecule + 2])
    rows = zip(*(arrays[name][bonds].tolist() for name in ("bond_i", "bond_j", "bond_order")), strict=True)
    return sorted(edge for i, j, order in rows for edge in ((i, order - 1, j), (j, order - 1, i)))


def test_each_bond_is_an_edge_in_both_directions_sorted(three):
    found = molecules(three, "three")
    assert edges_of(found, 0) == [(0, 0, 1), (0, 0, 2), (1, 0, 0), (2, 0, 0)]
    assert edges_of(found, 1) == [(0, 2, 1), (1, 2, 0)]
    assert edges_of(found, 2) == [(0, 1, 2), (0, 3, 1), (1, 0, 2), (1, 3, 0), (2, 0, 1), (2, 1, 0)]
    assert found.element.tolist() == [3, 0, 0, 2, 1, 1, 1, 4]


@given(st.integers(1, 40), st.integers(0, 2**32))
def test_random_molecules_come_back_as_they_were(some_molecules, count, seed):
    arrays = some_molecules(count, seed)
    found = molecules(arrays, "random")
    assert len(found) == count
    for molecule in range(count):
        assert edges_of(found, molecule) == expected_edges(arrays, molecule)
    assert [list(ELEMENTS)[element] for element in found.element] == arrays["z"].tolist()


def test_the_order_of_the_bonds_in_the_file_does_not_matter(three):
    mixed = {name: array.copy() for name, array in three.items()}
    for name in ("bond_i", "bond_j", "bond_order"):
        mixed[name][3:] = mixed[name][[5, 3, 4]]
    mixed["bond_i"][5], mixed["bond_j"][5] = mixed["bond_j"][5], mixed["bond_i"][5]
    expected, found = molecules(three, "three"), molecules(mixed, "mixed")
    assert [edges_of(found, molecule) for molecule in range(3)] == [edges_of(expected, m) for m in range(3)]


@pytest.mark.parametrize(
    ("name", "place", "value", "fault"),
    [
        ("bond_j", 1, 3, "molecule 0 (index 3): a bond to atom 3, which is not there: its atoms are 0 to 2"),
        ("bond_j", 2, 255, "molecule 1 (index 5): a bond to atom 255, which is not there: its atoms are 0 to 1"),
        ("bond_i", 5, 2, "molecule 2 (index 8): a bond of atom 2 with itself"),
        ("bond_j", 4, 1, "molecule 2 (index 8): a second bond between atoms 0 and 1"),
        ("bond_j", 1, 1, "molecule 0 (index 3): a second bond between atoms 0 and 1"),
        ("bond_order", 3, 5, "molecule 2 (index 8): a bond of unknown order 5: expected 1 (single), 2 (double), 3"),
        ("bond_order", 0, 0, "molecule 0 (index 3): a bond of unknown order 0"),
        ("z", 3, 2, "molecule 1 (index 5): an atom of unknown element 2: expected 1 (H), 6 (C), 7 (N), 8 (O), 9 (F)"),
        ("z", 7, 255, "molecule 2 (index 8): an atom of unknown element 255"),
        ("mu", 1, np.nan, "molecule 1 (index 5): its dipole moment, nan, is no number"),
        ("mu", 2, np.inf, "molecule 2 (index 8): its dipole moment, inf, is no number"),
        ("bond_ptr", 1, 0, "molecule 0 (index 3): has no bonds"),
        ("bond_ptr", 2, 6, "molecule 2 (index 8): has no bonds"),
        ("atom_ptr", 1, 0, "molecule 0 (index 3): has no atoms"),
        ("atom_ptr", 2, 2, "molecule 1 (index 5): atom_ptr goes down, from 3 to 2"),
        ("atom_ptr", 3, 7, "atom_ptr: begins with 0 and ends with 7: expected 0 and 8, the length of z"),
        ("bond_ptr", 3, 9, "bond_ptr: begins with 0 and ends with 9: expected 0 and 6, the length of bond_i"),
        ("atom_ptr", 0, 1, "atom_ptr: begins with 1 and ends with 8: expected 0 and 8, the length of z"),
        ("atom_ptr", 2, 4, "molecule 1 (index 5): a bond to atom 1, which is not there: its atoms are 0 to 0"),
    ],
)
def test_a_malformed_molecule_is_named(three, name, place, value, fault):
    three[name][place] = value
    with pytest.raises(DataError) as error:
        molecules(three, "some/qm9.npz")
    assert any(line.startswith(f"some/qm9.npz: {fault}") for line in str(error.value).splitlines())


def test_a_negative_atom_is_not_there_either(three):
    three["bond_i"] = three["bond_i"].astype(np.int8)
    three["bond_i"][1] = -1
    with pytest.raises(DataError, match="a bond to atom -1, which is not there"):
        molecules(three, "x")


def test_an_atom_without_a_bond_is_refused(three):
    three["atom_ptr"][1:] += 1
    three["z"] = np.insert(three["z"], 3, 1)
    with pytest.raises(DataError, match=r"molecule 0 \(index 3\): atom 3 has no bond"):
        molecules(three, "x")


def test_a_molecule_too_big_for_the_state_is_refused(three):
    three["z"] = np.concatenate([three["z"], np.full(2**16, 6, np.uint8)])
    three["atom_ptr"][3] += 2**16
    with pytest.raises(DataError, match=r"molecule 2 .*: has 65539 atoms: expected at most 65536"):
        molecules(three, "x")


@pytest.mark.parametrize(
    ("name", "array", "fault"),
    [
        ("mu", np.zeros(2, np.float32), "their lengths do not agree: mu 2, index 3"),
        ("mu", np.zeros(3, np.int32), "mu: expected a row of numbers, found int32[3]"),
        ("z", np.zeros(8), "z: expected a row of whole numbers, found float64[8]"),
        ("bond_i", np.zeros((6, 1), np.uint8), "bond_i: expected a row of whole numbers, found uint8[6, 1]"),
        ("bond_order", np.zeros(5, np.uint8), "their lengths do not agree: bond_i 6, bond_j 6, bond_order 5"),
        ("atom_ptr", np.zeros(3, np.int32), "atom_ptr: 3 pointers for 3 molecules: expected 4"),
    ],
)
def test_arrays_that_do_not_belong_together_are_named(three, name, array, fault):
    three[name] = array
    with pytest.raises(DataError) as error:
        molecules(three, "x")
    assert fault in str(error.value)


def test_no_molecules_at_all_are_refused():
    nothing = {name: np.zeros(1 if "ptr" in name else 0, np.float32 if name == "mu" else int) for name in ARRAYS}
    with pytest.raises(DataError, match="mu: no molecules"):
        molecules(nothing, "x")


def test_each_kind_of_fault_is_told_with_how_often_it_is_there(three):
    three["z"][[0, 4, 5]] = 3
    three["mu"][1] = np.nan
    with pytest.raises(DataError) as error:
        molecules(three, "x")
    assert str(error.value).splitlines() == [
        "x: molecule 1 (index 5): its dipole moment, nan, is no number",
        "x: molecule 0 (index 3): an atom of unknown element 3: expected 1 (H), 6 (C), 7 (N), 8 (O), 9 (F) "
        "(and 2 more of this kind)",
    ]


def test_a_file_that_is_no_archive_or_lacks_an_array_is_refused(three, tmp_path):
    def archive(**arrays):
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    def members(content, replaced):
        """An archive whose members are all the same bytes."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
            for name in old.namelist():
                new.writestr(name, replaced)
        return buffer.getvalue()

    def whole_array_header(text):
        """What a .npy file begins with, with any header."""
        return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text

    single = io.BytesIO()
    np.save(single, np.zeros(3))
    whole = archive(**three)
    lacking = {name: array for name, array in three.items() if name not in ("z", "mu")}
    for content, fault in (
        (b"", "damaged, or no archive of NumPy arrays"),
        (b"PK nonsense", "damaged, or no archive of NumPy arrays"),
        (whole[:-40], "damaged, or no archive of NumPy arrays"),
        (whole[:70] + bytes(20) + whole[90:], "damaged, or no archive of NumPy arrays"),
        (single.getvalue(), "no array index, mu, atom_ptr"),
        (archive(**{**three, "z": np.array([object()])}), "damaged, or no archive of NumPy arrays"),
        (archive(**{**three, "mu": three["mu"].astype(float) * 1e300}), "is above 1000 debye"),
        (members(whole, b"not an array"), "z: expected a row of whole numbers"),
        (members(whole, whole_array_header(b"{{{{((((")), "damaged, or no archive of NumPy arrays"),
        (
            members(
                whole, whole_array_header(b"{'descr': '<i8', 'fortran_order': False, 'shape': (10000000000000,), }")
            ),
            "damaged, or no archive of NumPy arrays",
        ),
        (archive(**lacking), "no array mu, z: expected index, mu"),
    ):
        file = tmp_path / "qm9.npz"
        file.write_bytes(content)
        with pytest.raises(DataError, match=fault) as error:
            read_molecules(file)
        assert str(file) in str(error.value)
    with pytest.raises(DataError, match=r"none\.npz: cannot be read: No such file"):
        read_molecules(tmp_path / "none.npz")


def test_all_molecules_are_read(any_data):
    found = read_molecules(data_folder() / "qm9.npz")
    with np.load(data_folder() / "qm9.npz") as arrays:
        z, order, mu = arrays["z"], arrays["bond_order"], arrays["mu"]
    assert np.bincount(found.element, minlength=5).tolist() == [(z == element).sum() for element in ELEMENTS]
    assert np.bincount(found.kind, minlength=4).tolist() == [2 * (order == number).sum() for number in range(1, 5)]
    assert found.dipole.tobytes() == mu.tobytes()
    if any_data == "real":
        assert len(found) == 130_829
        assert np.bincount(found.element).tolist() == FIGURES["elements"]
        assert (np.bincount(found.kind) // 2).tolist() == FIGURES["orders"]


def test_every_molecule_is_in_one_split(any_data):
    data = Qm9(0, validation=15, test=5)
    examples = {split: sizes.examples for split, sizes in data.splits.items()}
    number = 130_829 if any_data == "real" else 60
    assert examples == {"train": number - 20, "validation": 15, "test": 5}
    dipoles = Counter(
        float(instance.inputs["dipole"].arrays[0][0, 0]) for split in examples for instance in data.instances(split, 1)
    )
    assert dipoles == Counter(read_molecules(data_folder() / "qm9.npz").dipole.tolist())


@pytest.mark.usefixtures("any_data")
def test_an_instance_is_a_molecule():
    found = read_molecules(data_folder() / "qm9.npz")
    by_dipole = {}
    for molecule, dipole in enumerate(found.dipole.tolist()):
        by_dipole.setdefault(dipole, []).append(molecule)
    for instance in Qm9(0, validation=20, test=5).instances("validation", 1):
        annotation, dipole = instance.inputs["annotation"], instance.inputs["dipole"]
        (n,) = instance.structure["nodes"].tolist()
        assert annotation.arrays[0].shape == (n, 5)
        assert annotation.fields.tolist() == [[0, node] for node in range(n)]
        assert annotation.rows.tolist() == [1] * n
        assert dipole.arrays[0].shape == (1, 1)
        assert dipole.fields.tolist() == [[0, 0]]
        assert (annotation.arrays[0].sum(axis=1) == 1).all()
        columns = (instance.structure[name].tolist() for name in ("source", "type", "target"))
        edges = list(zip(*columns, strict=True))
        elements = annotation.arrays[0].argmax(axis=1).tolist()
        same = [
            molecule
            for molecule in by_dipole[float(dipole.arrays[0][0, 0])]
            if edges_of(found, molecule) == edges
            and found.element[slice(*found.atom_start[molecule : molecule + 2])].tolist() == elements
        ]
        assert same
        assert set(instance.structure["target"].tolist()) == set(range(n))


def test_splits_that_leave_nothing_to_train_on_are_refused(sample):
    with pytest.raises(
        DataError, match=r"60 molecules; data\.validation 10000 and data\.test 10000 leave none"
    ) as error:
        _ = Qm9(0).splits
    assert str(sample / "qm9.npz") in str(error.value)
