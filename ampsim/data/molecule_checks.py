"""Checks the flat arrays of molecules, all at once; each kind of fault names the first molecule that has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ampsim.data.faults import Faults
from ampsim.ops.table import Array

ARRAYS = ("index", "mu", "atom_ptr", "bond_ptr", "z", "bond_i", "bond_j", "bond_order")
ELEMENTS = {1: "H", 6: "C", 7: "N", 8: "O", 9: "F"}
ORDERS = ("single", "double", "triple", "aromatic")
MOST_ATOMS = 2**16
MOST_DEBYE = 1000
"""Atoms that a molecule may have: an atom's number is a field of 16 bits."""


def check(arrays: Mapping[str, Array], file: Path | str) -> None:
    """Raise DataError unless the arrays, as docs/data.md describes them, are molecules through and through.

    That is: pointers that fit, known elements and bond orders, bonds between two atoms that are there, each bond
    once, and no atom without one, since a graph network has nothing to tell it.
    """
    faults = Faults(file)
    _check_shapes(arrays, faults)
    faults.raise_faults()
    checks = _Checks(arrays, faults)
    checks.check_pointers("atom_ptr", "z")
    checks.check_pointers("bond_ptr", "bond_i")
    faults.raise_faults()
    checks.check_atoms()
    faults.raise_faults()
    checks.check_bonds()
    faults.raise_faults()


def _check_shapes(arrays: Mapping[str, Array], faults: Faults) -> None:
    for name in ARRAYS:
        array = arrays[name]
        wanted = "f" if name == "mu" else "iu"
        if array.ndim != 1 or array.dtype.kind not in wanted:
            expected = "numbers" if name == "mu" else "whole numbers"
            faults.add(name, f"expected a row of {expected}, found {array.dtype}{list(array.shape)}")
    for names in (("mu", "index"), ("bond_i", "bond_j", "bond_order"), ("atom_ptr", "bond_ptr")):
        if len({arrays[name].size for name in names}) > 1:
            sizes = ", ".join(f"{name} {arrays[name].size}" for name in names)
            faults.add("arrays", f"their lengths do not agree: {sizes}")
    count, pointers = arrays["mu"].size, arrays["atom_ptr"].size
    if pointers != count + 1:
        faults.add("atom_ptr", f"{pointers} pointers for {count} molecules: expected {count + 1}")
    if not count:
        faults.add("mu", "no molecules")


class _Checks:
    """The arrays, and which molecule each atom and bond belongs to."""

    def __init__(self, arrays: Mapping[str, Array], faults: Faults) -> None:
        self._arrays, self._faults = arrays, faults

    def check_pointers(self, name: str, items: str) -> None:
        pointers, count = self._arrays[name].astype(np.int64), len(self._arrays[items])
        if pointers[0] != 0 or pointers[-1] != count:
            text = (
                f"begins with {pointers[0]} and ends with {pointers[-1]}: expected 0 and {count}, the length of {items}"
            )
            self._faults.add(name, text)
        what = "atoms" if name == "atom_ptr" else "bonds"
        counts = np.diff(pointers)
        self._fault(counts < 0, None, lambda m: f"{name} goes down, from {pointers[m]} to {pointers[m + 1]}")
        self._fault(counts == 0, None, lambda m: f"has no {what}")

    def check_atoms(self) -> None:
        atoms, z, mu = self._counts("atom_ptr"), self._arrays["z"], self._arrays["mu"]
        self._fault(atoms > MOST_ATOMS, None, lambda m: f"has {atoms[m]} atoms: expected at most {MOST_ATOMS}")
        bonds = self._counts("bond_ptr")
        self._fault(2 * bonds > MOST_ATOMS, None, lambda m: f"has {bonds[m]} bonds: expected at most {MOST_ATOMS // 2}")
        self._fault(~np.isfinite(mu), None, lambda m: f"its dipole moment, {mu[m]}, is no number")
        too_much = np.isfinite(mu) & (np.abs(mu) > MOST_DEBYE)
        self._fault(too_much, None, lambda m: f"its dipole moment, {mu[m]}, is above {MOST_DEBYE} debye")
        owner = np.repeat(np.arange(len(atoms)), atoms)
        elements = ", ".join(f"{number} ({name})" for number, name in ELEMENTS.items())
        unknown = ~np.isin(z, list(ELEMENTS))
        self._fault(unknown, owner, lambda a: f"an atom of unknown element {z[a]}: expected {elements}")

    def check_bonds(self) -> None:
        start, atoms, bonds = (
            self._arrays["atom_ptr"].astype(np.int64),
            self._counts("atom_ptr"),
            self._counts("bond_ptr"),
        )
        owner = np.repeat(np.arange(len(bonds)), bonds)
        order = self._arrays["bond_order"]
        orders = ", ".join(f"{number} ({name})" for number, name in enumerate(ORDERS, start=1))
        unknown = (order < 1) | (order > len(ORDERS))
        self._fault(unknown, owner, lambda b: f"a bond of unknown order {order[b]}: expected {orders}")
        first, second = self._arrays["bond_i"].astype(np.int64), self._arrays["bond_j"].astype(np.int64)
        low, high = np.minimum(first, second), np.maximum(first, second)

        def outside(bond: int) -> str:
            atom = low[bond] if low[bond] < 0 else high[bond]
            return f"a bond to atom {atom}, which is not there: its atoms are 0 to {atoms[owner[bond]] - 1}"

        gone = (low < 0) | (high >= atoms[owner])
        self._fault(gone, owner, outside)
        self._fault(low == high, owner, lambda b: f"a bond of atom {low[b]} with itself")
        if gone.any():
            return
        pairs = (start[owner] + low) * MOST_ATOMS + high
        if np.any(np.diff(pairs) <= 0):
            order_of_pairs = np.argsort(pairs, kind="stable")
            again = np.zeros(len(pairs), bool)
            again[order_of_pairs[1:]] = np.diff(pairs[order_of_pairs]) == 0
            self._fault(again, owner, lambda b: f"a second bond between atoms {low[b]} and {high[b]}")
        bound = np.zeros(len(self._arrays["z"]), bool)
        bound[start[owner] + low] = bound[start[owner] + high] = True
        of_atom = np.repeat(np.arange(len(atoms)), atoms)
        self._fault(~bound, of_atom, lambda a: f"atom {a - start[of_atom[a]]} has no bond")

    def _counts(self, name: str) -> Array:
        counts: Array = np.diff(self._arrays[name].astype(np.int64))
        return counts

    def _fault(self, wrong: Array, owner: Array | None, describe: Callable[[int], str]) -> None:
        """Note a fault if any of `wrong` is set; `owner` says which molecule each item belongs to, if it is not one."""
        if not wrong.any():
            return
        item = int(wrong.argmax())
        molecule = item if owner is None else int(owner[item])
        more = int(wrong.sum()) - 1
        others = f" (and {more} more of this kind)" if more else ""
        number = self._arrays["index"][molecule]
        self._faults.add(f"molecule {molecule} (index {number})", describe(item) + others)
