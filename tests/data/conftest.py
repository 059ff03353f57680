"""Small data of the same formats as the real ones, and where the real ones are, if they are there."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _real_data() -> Path | None:
    """A folder with the real SST and QM9: AMPSIM_DATA, or `shared/data` beside the checkout."""
    folders = [Path(os.environ[name]) for name in ("AMPSIM_DATA",) if os.environ.get(name)]
    folders.append(ROOT.parent / "shared" / "data")
    return next((folder for folder in folders if (folder / "qm9.npz").is_file() and (folder / "sst").is_dir()), None)


REAL = _real_data()


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


@pytest.fixture(params=["sample", "real"] if REAL else ["sample"])
def any_data(request: pytest.FixtureRequest, sample_data: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The small data and, if they are there, the real ones, in AMPSIM_DATA; which of them."""
    monkeypatch.setenv("AMPSIM_DATA", str(REAL if request.param == "real" else sample_data))
    return str(request.param)
