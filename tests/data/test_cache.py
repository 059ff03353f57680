from __future__ import annotations

import gzip
import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from ampsim.data.cache import cache_folder, data_folder, find, locate
from ampsim.data.sources import QM9_SHA256, SOURCES
from ampsim.data.sst import Sst
from ampsim.errors import DataError


def test_the_users_folder_comes_before_the_cache(sample, tmp_path, monkeypatch):
    shutil.copytree(sample, tmp_path / "cache")
    assert locate("sst") == locate("qm9") == sample
    monkeypatch.delenv("AMPSIM_DATA")
    assert locate("sst") == locate("qm9") == tmp_path / "cache"


def test_a_set_that_the_users_folder_lacks_comes_from_the_cache(sample, tmp_path, monkeypatch):
    shutil.copytree(sample, tmp_path / "cache")
    shutil.copytree(sample, tmp_path / "own")
    (tmp_path / "own/qm9.npz").unlink()
    monkeypatch.setenv("AMPSIM_DATA", str(tmp_path / "own"))
    assert locate("sst") == tmp_path / "own"
    assert locate("qm9") == tmp_path / "cache"


def test_a_part_of_a_set_in_the_users_folder_is_not_mixed_with_the_cache(sample, tmp_path, monkeypatch):
    shutil.copytree(sample, tmp_path / "cache")
    shutil.copytree(sample, tmp_path / "own")
    (tmp_path / "own/sst/dev.txt.gz").unlink()
    monkeypatch.setenv("AMPSIM_DATA", str(tmp_path / "own"))
    with pytest.raises(DataError, match=r"data set sst: AMPSIM_DATA=.*own has a part of it, but not sst/dev\.txt\.gz"):
        locate("sst")


def test_a_missing_set_says_where_it_was_looked_for_and_what_to_type(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    monkeypatch.setenv("AMPSIM_DATA", str(tmp_path / "own"))
    assert find("qm9") is None
    with pytest.raises(DataError) as error:
        locate("qm9")
    assert str(error.value) == (
        f"data set qm9 is not here: looked for qm9.npz in {tmp_path / 'own'} (AMPSIM_DATA) and in the cache "
        f"{tmp_path / 'cache'}; to get it, type: ampsim data fetch qm9"
    )


def test_a_folder_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("AMPSIM_DATA", str(tmp_path / "none"))
    with pytest.raises(DataError, match=r"AMPSIM_DATA=.*none: there is no such folder"):
        Sst(0).instances("train", 1)


def test_by_default_the_cache_is_the_platforms(tmp_path, monkeypatch):
    monkeypatch.delenv("AMPSIM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "platform"))
    assert cache_folder().name == "ampsim"
    monkeypatch.setenv("AMPSIM_CACHE", "~/somewhere")
    assert cache_folder() == Path.home() / "somewhere"


def test_the_users_own_treebank_may_be_another(tmp_path, monkeypatch):
    (tmp_path / "own/sst").mkdir(parents=True)
    for name in ("train", "dev", "test"):
        (tmp_path / f"own/sst/{name}.txt.gz").write_bytes(gzip.compress(b"(2 (2 my) (2 own))\n"))
    monkeypatch.setenv("AMPSIM_DATA", str(tmp_path / "own"))
    assert [instance.losses for instance in Sst(0).instances("test", 1)] == [3]


def test_the_known_hashes_are_those_of_the_known_files(any_data):
    folder = data_folder()
    known = {file: text.sha256 for file, text in SOURCES["sst"].texts.items()}
    found = {file: sha256(gzip.decompress((folder / file).read_bytes())).hexdigest() for file in known}
    qm9 = sha256((folder / "qm9.npz").read_bytes()).hexdigest()
    if any_data == "real":
        assert found == known
        assert qm9 == QM9_SHA256
    else:
        assert not set(found.values()) & set(known.values())
        assert qm9 != QM9_SHA256
