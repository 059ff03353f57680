"""Small data of the same formats as the real ones, and where the real ones are, if they are there."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


def _real_data() -> Path | None:
    """A folder with the real SST and QM9: AMPSIM_DATA, or `shared/data` beside the checkout."""
    folders = [Path(os.environ[name]) for name in ("AMPSIM_DATA",) if os.environ.get(name)]
    folders.append(ROOT.parent / "shared" / "data")
    return next((folder for folder in folders if (folder / "qm9.npz").is_file() and (folder / "sst").is_dir()), None)


REAL = _real_data()

TREES = {
    "train": ["(3 (2 a) (4 (2 good) (2 film)))", "(1 (2 a) (0 (2 poor) (2 one)))", "(2 (2 (2 no) (2 one)) (2 came))"]
    + [f"(2 (2 film) (2 number{number}))" for number in range(9)],
    "dev": ["(4 (2 a) (4 (3 better) (2 film)))", "(2 (2 8\u00a01\\/2) (2 one))"],
    "test": ["(0 (2 poor) (1 (2 unseen) (2 film)))"],
}


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the user's data or cache, unless it says so."""
    for name in ("AMPSIM_DATA", "AMPSIM_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AMPSIM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def zipped(tmp_path: Path) -> Callable[..., Path]:
    """Write lines, or bytes, to a gzip-compressed file."""

    def write(content: list[str] | bytes, name: str = "some.txt.gz") -> Path:
        data = content if isinstance(content, bytes) else "".join(f"{line}\n" for line in content).encode()
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(data))
        return file

    return write


def random_molecules(count: int, seed: int = 0) -> dict[str, Any]:
    """The arrays of an archive of `count` molecules: random trees of atoms, and now and then a ring."""
    random = np.random.default_rng(seed)
    sizes = random.integers(2, 12, count)
    pairs = []
    for size in sizes.tolist():
        bonds = {(int(random.integers(0, atom)), atom) for atom in range(1, size)}
        if size > 3:
            bonds.add((0, size - 1))
        pairs.append(sorted(bonds))
    flat = np.array([bond for bonds in pairs for bond in bonds], np.uint8)
    return {
        "index": np.arange(1, count + 1, dtype=np.int32) * 3,
        "mu": random.random(count).astype(np.float32) * 5,
        "atom_ptr": np.cumsum([0, *sizes], dtype=np.int32),
        "bond_ptr": np.cumsum([0, *map(len, pairs)], dtype=np.int32),
        "z": random.choice(np.array([1, 6, 7, 8, 9], np.uint8), sizes.sum()),
        "bond_i": flat[:, 0],
        "bond_j": flat[:, 1],
        "bond_order": random.integers(1, 5, len(flat)).astype(np.uint8),
    }


@pytest.fixture(scope="session")
def some_molecules() -> Callable[..., dict[str, Any]]:
    """`some_molecules(count, seed)`: the arrays of an archive."""
    return random_molecules


@pytest.fixture(scope="session")
def sample_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder such as AMPSIM_DATA names, with a small treebank and a few molecules."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "sst").mkdir()
    for name, lines in TREES.items():
        (folder / f"sst/{name}.txt.gz").write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    np.savez(folder / "qm9.npz", **random_molecules(60))
    return folder


@pytest.fixture
def sample(sample_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small data, in AMPSIM_DATA."""
    monkeypatch.setenv("AMPSIM_DATA", str(sample_data))
    return sample_data


@pytest.fixture(params=["sample", "real"] if REAL else ["sample"])
def any_data(request: pytest.FixtureRequest, sample_data: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The small data and, if they are there, the real ones, in AMPSIM_DATA; which of them."""
    monkeypatch.setenv("AMPSIM_DATA", str(REAL if request.param == "real" else sample_data))
    return str(request.param)
