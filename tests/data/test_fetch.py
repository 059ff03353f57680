"""Downloads against a server of our own: whatever it does, nothing broken gets into the cache."""

from __future__ import annotations

import gzip
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ampsim.data import fetch as module
from ampsim.data.cache import cache_folder, find, locate
from ampsim.data.fetch import fetch
from ampsim.data.sources import SOURCES, RemoteText
from ampsim.data.sst import Sst
from ampsim.errors import BadInput, DataError, FetchFailed

TEXTS = {
    "train": b"(2 (2 a) (3 good))\n" * 500 + b"(1 (2 a) (0 poor))\n",
    "dev": b"(2 (2 a) (2 film))\n",
    "test": b"(4 (2 a) (4 splendid))\n",
}
PATHS = {f"sst/{name}.txt.gz": f"/who/what/0123/trees/{name}.txt" for name in TEXTS}


class Server(ThreadingHTTPServer):
    """Serves the three texts. `behaviour` says what it does with a path, if not that; `asked` counts requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour: dict[str, str] = {}
        self.asked: Counter[str] = Counter()
        self.all_are_here: threading.Barrier | None = None

    def handle_error(self, *_: object) -> None:
        """A client that has gone, or a barrier that was given up, is no fault of the server."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked[self.path] += 1
        if self.server.all_are_here is not None:
            self.server.all_are_here.wait(30)
        body = TEXTS[self.path.rpartition("/")[2].removesuffix(".txt")]
        behaviour = self.server.behaviour.get(self.path, "whole")
        if behaviour in ("404", "500"):
            self.send_error(int(behaviour))
        elif behaviour == "dropped":
            self.close_connection = True
        else:
            sent = {
                "whole": body,
                "another": b"(2 (2 another) (2 treebank))\n",
                "a page": b"<html>Please log in</html>",
                "half": body[: len(body) // 2],
                "empty": b"",
                "one bit": bytes([body[0] ^ 1]) + body[1:],
                "broken off": body[: len(body) // 2],
            }[behaviour]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body if behaviour == "broken off" else sent)))
            self.end_headers()
            self.wfile.write(sent)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A mirror of a small treebank, which `sst` stands for."""
    texts = {
        file: RemoteText(path[1:], sha256(TEXTS[path.rpartition("/")[2].removesuffix(".txt")]).hexdigest())
        for file, path in PATHS.items()
    }
    monkeypatch.setitem(SOURCES, "sst", replace(SOURCES["sst"], texts=texts))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as served:
        monkeypatch.setenv("AMPSIM_MIRROR", served.address)
        thread = threading.Thread(target=served.serve_forever, args=(0.005,))
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def said(name: str = "sst") -> str:
    lines: list[str] = []
    fetch(name, lines.append)
    return "\n".join(lines)


def cached() -> dict[str, bytes]:
    """What is in the cache, hidden files too."""
    cache = cache_folder()
    return {str(file.relative_to(cache)): file.read_bytes() for file in cache.rglob("*") if file.is_file()}


def test_a_set_is_fetched_once_and_can_then_be_used(server):
    assert find("sst") is None
    assert said().splitlines()[-1] == f"sst: is in the cache {cache_folder()} now"
    assert {name: gzip.decompress(data) for name, data in cached().items()} == {
        f"sst/{name}.txt.gz": text for name, text in TEXTS.items()
    }
    assert locate("sst") == cache_folder()
    assert Sst(0).splits["train"].examples == 501
    assert said() == f"sst: is in the cache {cache_folder()} already, and whole"
    assert server.asked == dict.fromkeys(PATHS.values(), 1)


def test_the_files_in_the_cache_are_the_same_bytes_every_time(server, monkeypatch, tmp_path):
    said()
    first = cached()
    monkeypatch.setenv("AMPSIM_CACHE", str(tmp_path / "another"))
    said()
    assert cached() == first


@pytest.mark.parametrize("file", PATHS)
@pytest.mark.parametrize(
    ("behaviour", "what"),
    [
        ("another", "not the known file"),
        ("a page", "not the known file"),
        ("half", "not the known file"),
        ("empty", "not the known file"),
        ("one bit", "not the known file"),
        ("broken off", "one that broke off"),
        ("dropped", "one that broke off"),
        ("404", "the server says 404 Not Found"),
        ("500", "the server says 500 Internal Server Error"),
    ],
)
def test_what_is_not_the_known_file_never_gets_into_the_cache(server, file, behaviour, what):
    server.behaviour[PATHS[file]] = behaviour
    with pytest.raises(FetchFailed) as error:
        said()
    assert f"data set sst: cannot fetch {server.address}{PATHS[file]}: " in str(error.value)
    assert what in str(error.value)
    assert "Nothing was kept" in str(error.value)
    assert cached() == {}
    assert list(cache_folder().iterdir()) == []
    assert find("sst") is None
    assert error.value.exit_code == 1
    del server.behaviour[PATHS[file]]
    said()
    assert find("sst") == cache_folder()


def test_a_damaged_file_in_the_cache_is_fetched_again_and_kept_if_that_fails(server):
    said()
    whole = cached()
    file = cache_folder() / "sst/dev.txt.gz"
    for damaged in (b"", file.read_bytes()[:-5], gzip.compress(b"(2 (2 my) (2 own))\n"), b"text"):
        file.write_bytes(damaged)
        server.behaviour[PATHS["sst/test.txt.gz"]] = "half"
        with pytest.raises(FetchFailed):
            said()
        assert file.read_bytes() == damaged
        server.behaviour.clear()
        assert "now" in said()
        assert cached() == whole


def test_a_part_of_a_set_in_the_cache_is_completed(server):
    said()
    (cache_folder() / "sst/test.txt.gz").unlink()
    assert find("sst") is None
    said()
    assert len(cached()) == 3


def test_an_address_at_which_nobody_answers_is_told(server, monkeypatch):
    with socket.socket() as reserved:  # and not listening
        reserved.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AMPSIM_MIRROR", f"http://127.0.0.1:{reserved.getsockname()[1]}")
        _fails_to_connect()


def test_a_text_without_end_is_given_up(server, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    with pytest.raises(FetchFailed, match="not the known file"):
        said()
    assert cached() == {}


def _fails_to_connect():
    with pytest.raises(FetchFailed, match="no connection"):
        said()
    assert cached() == {}


def test_a_server_that_says_nothing_is_given_up(server, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT_S", 0.05)
    server.all_are_here = threading.Barrier(2)
    with pytest.raises(FetchFailed, match="nothing comes within"):
        said()
    server.all_are_here.abort()
    assert cached() == {}


def test_fetches_at_the_same_time_do_not_disturb_each_other(server):
    server.all_are_here = threading.Barrier(6)
    with ThreadPoolExecutor(6) as pool:
        told = list(pool.map(said, ["sst"] * 6))
    assert all(text.endswith("now") for text in told)
    assert server.asked == dict.fromkeys(PATHS.values(), 6)
    assert {name: gzip.decompress(data) for name, data in cached().items()} == {
        f"sst/{name}.txt.gz": text for name, text in TEXTS.items()
    }
    assert [path.name for path in cache_folder().iterdir()] == ["sst"]


def test_one_of_two_fetches_that_fails_does_not_harm_the_other(server):
    said()
    whole = cached()
    (cache_folder() / "sst/dev.txt.gz").write_bytes(b"")
    server.behaviour[PATHS["sst/train.txt.gz"]] = "broken off"
    with pytest.raises(FetchFailed):
        said()
    server.behaviour.clear()
    said()
    assert cached() == whole


@pytest.mark.parametrize("address", ["ftp://here", "here", "file:///tmp"])
def test_a_mirror_that_is_no_web_address_is_refused(server, monkeypatch, address):
    monkeypatch.setenv("AMPSIM_MIRROR", address)
    with pytest.raises(BadInput, match=f"AMPSIM_MIRROR={address}: expected an address"):
        said()


def test_a_mirror_may_end_with_a_slash(server, monkeypatch):
    monkeypatch.setenv("AMPSIM_MIRROR", f"{server.address}/")
    said()
    assert set(server.asked) == set(PATHS.values())


def test_a_cache_that_cannot_be_made_is_told_with_the_variable(server, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AMPSIM_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match=r"cannot write to the cache .*file/cache: Not a directory; .*AMPSIM_CACHE"):
        said()


@pytest.mark.usefixtures("server")
def test_a_set_in_the_users_folder_is_not_fetched(sample, server):
    assert said() == f"sst: is in {sample} (AMPSIM_DATA); there is nothing to fetch"
    assert not server.asked


@pytest.mark.parametrize("name", ["mnist", "list-reduction", "babi15"])
def test_a_set_that_ships_is_not_fetched(name):
    assert said(name).endswith("there is nothing to fetch")


def test_without_a_mirror_the_files_come_from_where_they_are_documented_to():
    urls = [f"{module.mirror()}/{text.path}" for text in SOURCES["sst"].texts.values()]
    assert all(url.startswith("https://raw.githubusercontent.com/") and "/trees/" in url for url in urls)
    assert len({text.sha256 for text in SOURCES["sst"].texts.values()}) == 3
