"""The order in which each device of a run on the wall clock did its work: kept compactly, and followed by a replay.

`orders/<device>.bin` holds chunks: a header of three little-endian uint32 (turns, parts, bytes), then so many bytes of
zlib: the columns of the turns and of the parts (see Order) one after the other, as little-endian int32, the numbers of
entries as differences. `orders/controller.bin` has the injections, as little-endian uint32: of each how many instances
and the copy of the graph; `orders/index.json` what the numbers stand for.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ampsim.errors import BadInput
from ampsim.ir.graph import CONTROLLER
from ampsim.ops.table import Array
from ampsim.runtime.controller_events import Injection
from ampsim.runtime.schedule import Order
from ampsim.runtime.spec import ClusterSpec

ORDERS, INDEX = "orders", "index.json"
RULES = 4
"""By what rules devices take turns: higher by one when they handle otherwise what they take off their queues."""
_HEADER = struct.Struct("<III")
_NUMBER = 1  # the column of parts that counts up
_LEVEL = 6
_TOLD_AT_ONCE = 4096
_CHUNKS_AHEAD = 16
_PATIENCE = 20


def encode_order(order: Order) -> bytes:
    """A chunk of a device's file."""
    parts = order.parts.T.astype("<i4")
    parts[_NUMBER] = np.diff(parts[_NUMBER], prepend=np.int32(0))
    content = zlib.compress(order.turns.T.astype("<i4").tobytes() + parts.tobytes(), _LEVEL)
    return _HEADER.pack(len(order.turns), len(order.parts), len(content)) + content


def read_orders(file: IO[bytes], shown: str) -> Iterator[Order]:
    """The chunks of a device's file. Raises BadInput if it is damaged or cut off."""
    while head := file.read(_HEADER.size):
        try:
            turns, parts, size = _HEADER.unpack(head)
            content = np.frombuffer(zlib.decompress(file.read(size)), "<i4")
            columns = content[2 * turns :].reshape(3, parts).copy()
            columns[_NUMBER] = np.cumsum(columns[_NUMBER])
            yield Order(
                np.ascontiguousarray(content[: 2 * turns].reshape(2, turns).T, np.int32),
                np.ascontiguousarray(columns.T, np.int32),
            )
        except (struct.error, zlib.error, ValueError) as error:
            raise BadInput(f"{shown}: is damaged or cut off, so the run cannot be replayed: {error}") from error


def _read_file(path: Path) -> Iterator[Order]:
    with path.open("rb") as file:
        yield from read_orders(file, str(path))


def encode_injections(injections: Sequence[Injection]) -> bytes:
    """A piece of the controller's file."""
    return np.asarray(injections, "<u4").tobytes()


def _count_chunks(file: IO[bytes], shown: str) -> int:
    """How many chunks there are. Raises BadInput if the last one is cut off."""
    chunks, end = 0, file.seek(0, os.SEEK_END)
    at = file.seek(0)
    while at < end:
        head = file.read(_HEADER.size)
        size = _HEADER.unpack(head)[2] if len(head) == _HEADER.size else end
        at = file.seek(at + _HEADER.size + size)
        if at > end:
            raise BadInput(f"{shown}: is cut off, so the run cannot be replayed")
        chunks += 1
    file.seek(0)
    return chunks


@dataclass
class _DeviceFile:
    chunks: Iterator[Order]
    count: int
    told: int = 0


class Recording:
    """Tells, piece by piece, what the files in `orders/` of a run hold: a forecast of the run that replays it.

    Raises BadInput for a file that is missing, damaged or cut off.
    """

    def __init__(self, run: Path) -> None:
        self._folder = run / ORDERS
        self._index = self._read_index()
        devices = [name for name in self._index["processes"] if name != CONTROLLER]
        self._injections = self._read_injections()
        self._told = 0
        self._files = {name: self._open(name) for name in devices}
        self._orders: list[tuple[str, Order]] = []
        self._injected = self._waited = 0

    @property
    def import_paths(self) -> list[str]:
        """Where the run found modules of the user's."""
        return list(self._index["import_paths"])

    def check(self, spec: ClusterSpec) -> None:
        """Raise BadInput unless the orders are for this model on these devices."""
        if spec.fingerprint != self._index["fingerprint"]:
            raise BadInput(f"{self._folder}: is the recording of another model: config.yaml or the model was changed")
        if list(spec.processes) != self._index["processes"]:
            raise BadInput(f"{self._folder}: is the recording of another placement: config.yaml was changed")
        if (self._injections[:, 1] >= spec.replicas).any():
            raise BadInput(
                f"{self._folder}/{CONTROLLER}.bin: is damaged, so the run cannot be replayed: it tells of more "
                f"copies of the model than the config has (training.replicas: {spec.replicas})"
            )

    @property
    def instances(self) -> int:
        """Instances that were injected in the whole run."""
        return int(self._injections[:, 0].sum())

    def advance(self, injected: int, host_s: float) -> bool:
        """A chunk for each device that is not told of far more than its share of what has been injected.

        A device may have worked faster at first than at the end: where nothing is injected for long, more is told.
        """
        self._waited = 0 if injected > self._injected else self._waited + 1
        self._injected = injected
        more = self._waited // _PATIENCE
        share = injected / max(self.instances, 1)
        self._orders = []
        for name, file in self._files.items():
            if file.told < min(file.count, file.count * share + _CHUNKS_AHEAD + more):
                file.told += 1
                self._orders.append((name, next(file.chunks)))
        return bool(self._orders)

    def injections(self) -> Sequence[Injection]:
        """The next injections that were not told yet."""
        told = self._injections[self._told : self._told + _TOLD_AT_ONCE].tolist()
        self._told += len(told)
        return [Injection(*injection) for injection in told]

    def orders(self) -> Sequence[tuple[str, Order]]:
        """The chunks that `advance` has read."""
        return self._orders

    def _read_index(self) -> dict[str, Any]:
        path = self._folder / INDEX
        try:
            index = json.loads(path.read_text())
            if not isinstance(index, dict) or not {"processes", "fingerprint", "import_paths"} <= index.keys():
                raise ValueError("it says neither of which processes nor of which model it is")
        except FileNotFoundError:
            raise BadInput(
                f"{self._folder}: there is no recording: runs on the wall clock have one, with cluster.record: true "
                "(a run on the simulated clock comes out the same if it is run again)"
            ) from None
        except (OSError, ValueError) as error:
            raise BadInput(f"{path}: cannot be read, so the run cannot be replayed: {error}") from error
        if index.get("rules") != RULES:  # before the other files are read, which may be of another form
            raise BadInput(
                f"{self._folder}: is the recording of another version of ampsim, whose devices took other turns: "
                "replay it with that version, or run its config again to record it anew"
            )
        return index

    def _read_injections(self) -> Array:
        path = self._folder / f"{CONTROLLER}.bin"
        try:
            return np.frombuffer(path.read_bytes(), "<u4").reshape(-1, 2)
        except (OSError, ValueError) as error:
            raise BadInput(f"{path}: cannot be read, so the run cannot be replayed: {error}") from error

    def _open(self, name: str) -> _DeviceFile:
        path = self._folder / f"{name}.bin"
        if not path.exists():  # a device without nodes
            return _DeviceFile(iter(()), 0)
        with path.open("rb") as file:
            return _DeviceFile(_read_file(path), _count_chunks(file, str(path)))
