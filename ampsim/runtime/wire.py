"""The format on the wire: one multipart message carries a bundle. docs/protocol.md describes it.

Frame 0 is a msgpack header, then come the raw buffers of the arrays, as they lie in memory. What arrives is checked
against the header before an array is made of it; the arrays share memory with the frames. Nothing is pickled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeAlias

import msgpack
import numpy as np
from numpy.typing import NDArray

PROTOCOL = 1
MAX_HEADER_BYTES = 16 * 2**20
MAX_DIMENSIONS = 8
DTYPES = frozenset({"<f4", "<f8", "<i8", "<i4", "|u1", "|b1"})

Array: TypeAlias = NDArray[Any]
Buffer: TypeAlias = bytes | memoryview


class WireError(Exception):
    """A message does not parse, or is not what its header says; it is to be refused, counted and logged."""


@dataclass(frozen=True, slots=True)
class Packet:
    """Arrays for one address. The wire does not know what an address means: it is a list of plain values."""

    address: tuple[str | int, ...]
    arrays: tuple[Array, ...]


@dataclass(frozen=True, slots=True)
class Bundle:
    """What one process has for another at one time: a `kind`, a plain `body`, and any number of packets."""

    kind: str
    sender: str
    body: Any = None
    packets: Sequence[Packet] = field(default_factory=tuple)


def encode(bundle: Bundle) -> list[Buffer]:
    """The frames of a bundle. Buffers are not copied: the arrays must stay as they are until they are sent."""
    described = []
    frames: list[Buffer] = [b""]
    for packet in bundle.packets:
        arrays = [np.asarray(array, order="C") for array in packet.arrays]
        described.append([packet.address, [[array.dtype.str, array.shape] for array in arrays]])
        frames += [array.reshape(-1).view(np.uint8).data if array.size else b"" for array in arrays]
    frames[0] = msgpack.packb([PROTOCOL, bundle.kind, bundle.sender, bundle.body, described])
    return frames


def decode(frames: Sequence[Buffer]) -> Bundle:
    """The bundle in `frames`; its arrays share their memory. Raises WireError, whatever the frames hold."""
    try:
        return _decode(frames)
    except WireError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError) as error:
        raise WireError(f"the header does not have the form of a bundle: {error}") from error


def _decode(frames: Sequence[Buffer]) -> Bundle:
    if not frames:
        raise WireError("a message without frames")
    if len(frames[0]) > MAX_HEADER_BYTES:
        raise WireError(f"a header of {len(frames[0])} bytes; {MAX_HEADER_BYTES} is the most")
    header = msgpack.unpackb(frames[0], raw=False, strict_map_key=False)
    if not isinstance(header, list) or not header or header[0] != PROTOCOL:
        found = header[0] if isinstance(header, list) and header else header
        raise WireError(f"protocol version {PROTOCOL} expected, found {found!r}: use one version of ampsim everywhere")
    _, kind, sender, body, described = header
    if not isinstance(kind, str) or not isinstance(sender, str):
        raise WireError("kind and sender must be text")
    packets = []
    position = 1
    for address, specs in described:
        if not all(isinstance(part, str | int) for part in address):
            raise WireError(f"no address: {address!r}")
        if position + len(specs) > len(frames):
            raise WireError(f"the header announces more arrays than the {len(frames) - 1} frames that came")
        arrays = tuple(_array(frames[position + i], *spec) for i, spec in enumerate(specs))
        position += len(specs)
        packets.append(Packet(tuple(address), arrays))
    if position != len(frames):
        raise WireError(f"the header announces {position - 1} arrays, {len(frames) - 1} came")
    return Bundle(kind, sender, body, tuple(packets))


def _array(frame: Buffer, dtype: str, shape: list[int]) -> Array:
    if dtype not in DTYPES:
        raise WireError(f"dtype {dtype!r} is not carried: one of {', '.join(sorted(DTYPES))}")
    if len(shape) > MAX_DIMENSIONS or not all(type(size) is int and size >= 0 for size in shape):
        raise WireError(f"no shape: {shape!r}")
    expected = prod(shape) * np.dtype(dtype).itemsize
    if len(frame) != expected:
        raise WireError(f"{dtype}{shape} takes {expected} bytes, the frame has {len(frame)}")
    array = np.frombuffer(frame, dtype).reshape(shape)
    # A frame may lie at any address; arithmetic on a misaligned array would be slow.
    return array if array.flags.aligned else array.copy()
