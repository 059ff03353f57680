"""Fetches data sets into the cache: whatever is broken, truncated or not the known file never ends up there.

Everything is made in a temporary folder inside the cache, checked, and moved to its place at the end. So several
processes may fetch the same set at once, and one that is killed leaves no half of a file behind.

AMPSIM_MIRROR   where to fetch from instead of https://raw.githubusercontent.com, with the same paths below it
"""

from __future__ import annotations

import gzip
import logging
import os
import zlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from ampsim.data.cache import CACHE_VARIABLE, DATA_VARIABLE, cache_folder, data_folder, find
from ampsim.data.molecules import read_molecules
from ampsim.data.sources import GITHUB, QM9_SHA256, SOURCES, RemoteText
from ampsim.errors import BadInput, DataError, FetchFailed

MIRROR_VARIABLE = "AMPSIM_MIRROR"
TIMEOUT_S = 30.0
"""How long a server may say nothing."""
CHUNK_BYTES, MOST_BYTES = 2**16, 2**26
"""What is read at once, and what no text comes near to."""

Say = Callable[[str], None]


def fetch(name: str, say: Say) -> None:
    """Get a set into the cache, if it is not there yet; `say` is told what happens, a line at a time.

    Raises DataError for what the user must mend first, FetchFailed if what comes is not what was asked for.
    """
    source = SOURCES[name]
    if not source.files:
        say(f"{name}: {source.origin}; there is nothing to fetch")
    elif data_folder() is not None and find(name) == data_folder():
        say(f"{name}: is in {data_folder()} ({DATA_VARIABLE}); there is nothing to fetch")
    elif _is_cached(name):
        say(f"{name}: is in the cache {cache_folder()} already, and whole")
    else:
        _fill(name, say)
        say(f"{name}: is in the cache {cache_folder()} now")


def _is_cached(name: str) -> bool:
    """Whether the cache has the set and, read as a whole, is what it should be."""
    cache, texts = cache_folder(), SOURCES[name].texts
    try:
        if texts is None:
            for file in SOURCES[name].files:
                read_molecules(cache / file)
            return True
        return all(_digest(gzip.decompress((cache / file).read_bytes())) == texts[file].sha256 for file in texts)
    except (OSError, EOFError, DataError, zlib.error):
        return False


def _fill(name: str, say: Say) -> None:
    cache, source = cache_folder(), SOURCES[name]
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".fetch-", dir=cache) as temporary:
            made = Path(temporary)
            for file in source.files:
                (made / file).parent.mkdir(parents=True, exist_ok=True)
                if source.texts is not None:
                    _download(name, source.texts[file], made / file, say)
                else:
                    _build(made / file, say)
            for file in source.files:
                (cache / file).parent.mkdir(parents=True, exist_ok=True)
                os.replace(made / file, cache / file)
    except OSError as error:
        raise DataError(
            f"data set {name}: cannot write to the cache {cache}: {error.strerror or error}; "
            f"another folder can be named by {CACHE_VARIABLE}"
        ) from error


def _build(file: Path, say: Say) -> None:
    from ampsim.data.qm9_build import build  # what few need

    build(file, say)
    read_molecules(file)
    known = _digest(file.read_bytes()) == QM9_SHA256
    say("the file is the known one" if known else "the known molecules, but not quite the bonds of RDKit 2026.09.1")


def _download(name: str, text: RemoteText, file: Path, say: Say) -> None:
    """Fetch a text, check it, and write it compressed, always to the same bytes."""
    import pooch  # slow to import, as is requests
    from requests import ConnectionError, HTTPError, RequestException, Timeout
    from requests.exceptions import ChunkedEncodingError

    url = f"{mirror()}/{text.path}"
    say(f"{name}: fetching {url}")
    pooch.get_logger().setLevel(logging.ERROR)
    try:
        plain = pooch.retrieve(url, f"sha256:{text.sha256}", f"{file.name}.part", file.parent, downloader=_stream)
    except HTTPError as error:
        answer = error.response
        said = f"{answer.status_code} {answer.reason}" if answer is not None else str(error)
        raise _failed(name, url, f"the server says {said}") from error
    except Timeout as error:
        raise _failed(name, url, f"nothing comes within {TIMEOUT_S:g} s") from error
    except (ConnectionError, ChunkedEncodingError) as error:
        raise _failed(name, url, "no connection, or one that broke off") from error
    except RequestException as error:
        raise _failed(name, url, str(error)) from error
    except ValueError as error:
        raise _failed(name, url, f"what comes is not the known file, whose sha256 is {text.sha256}") from error
    with open(plain, "rb") as fetched:
        file.write_bytes(gzip.compress(fetched.read(), compresslevel=9, mtime=0))


def _stream(url: str, file: str, pooch: object) -> None:
    """Write what the server sends to `file`. pooch's own downloader leaves the connection open if that fails."""
    import requests

    with requests.get(url, stream=True, timeout=TIMEOUT_S) as response, open(file, "wb") as out:
        response.raise_for_status()
        for chunk in response.iter_content(CHUNK_BYTES):
            out.write(chunk)
            if out.tell() > MOST_BYTES:
                raise ValueError(f"more than {MOST_BYTES} bytes")


def _failed(name: str, url: str, what: str) -> FetchFailed:
    files = ", ".join(SOURCES[name].files)
    return FetchFailed(
        f"data set {name}: cannot fetch {url}: {what}. Nothing was kept. Try again, name a mirror in "
        f"{MIRROR_VARIABLE}, or put {files} into a folder and name it in {DATA_VARIABLE}"
    )


def mirror() -> str:
    """Where to fetch from. Raises BadInput if AMPSIM_MIRROR is no address."""
    value = os.environ.get(MIRROR_VARIABLE) or GITHUB
    if not value.startswith(("http://", "https://")):
        raise BadInput(f"{MIRROR_VARIABLE}={value}: expected an address that begins with http:// or https://")
    return value.rstrip("/")


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()
