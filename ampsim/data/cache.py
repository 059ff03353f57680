"""Where the files of a data set are: in the folder that AMPSIM_DATA names, or in the cache of `ampsim data fetch`.

AMPSIM_DATA     a folder of the user's own with files under the names of `Source.files`; comes before the cache
AMPSIM_CACHE    where the cache is; by default the cache folder of the platform for ampsim
"""

from __future__ import annotations

import os
from pathlib import Path

from ampsim.data.sources import SOURCES
from ampsim.errors import DataError

DATA_VARIABLE, CACHE_VARIABLE = "AMPSIM_DATA", "AMPSIM_CACHE"


def data_folder() -> Path | None:
    """The folder that AMPSIM_DATA names, or None if it is not set. Raises DataError if it is no folder."""
    value = os.environ.get(DATA_VARIABLE)
    if not value:
        return None
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise DataError(f"{DATA_VARIABLE}={value}: there is no such folder; name one that has data sets, or unset it")
    return folder


def cache_folder() -> Path:
    """The cache, which need not be there yet."""
    value = os.environ.get(CACHE_VARIABLE)
    if value:
        return Path(value).expanduser()
    import pooch  # slow to import, and not needed where AMPSIM_CACHE says where the cache is

    return Path(pooch.os_cache("ampsim"))


def find(name: str) -> Path | None:
    """The folder that has all files of the set, or None.

    Raises DataError if AMPSIM_DATA has some of them only: which of several treebanks is meant must not be guessed.
    """
    files = SOURCES[name].files
    own = data_folder()
    if own is not None:
        missing = [file for file in files if not (own / file).is_file()]
        if not missing:
            return own
        if len(missing) < len(files):
            raise DataError(f"data set {name}: {DATA_VARIABLE}={own} has a part of it, but not {', '.join(missing)}")
    cache = cache_folder()
    return cache if all((cache / file).is_file() for file in files) else None


def locate(name: str) -> Path:
    """The folder that has all files of the set. Raises DataError that says where it was looked for, and the cure."""
    folder = find(name)
    if folder is not None:
        return folder
    own = data_folder()
    looked = f"in {own} ({DATA_VARIABLE}) and " if own is not None else ""
    raise DataError(
        f"data set {name} is not here: looked for {', '.join(SOURCES[name].files)} {looked}in the cache "
        f"{cache_folder()}; to get it, type: ampsim data fetch {name}"
    )
