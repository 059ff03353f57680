"""The format on the wire: one multipart message carries a bundle. docs/protocol.md describes it.

Frame 0 is a msgpack header, which holds the small arrays of the bundle, one behind the other, each at a multiple of 8
bytes; where they are many, they have a frame together. Then comes each large array in a frame of its own, as it lies in
memory. What arrives is checked against the header before an array is made of it; the arrays share memory with what has
come. Nothing is pickled.

Most packets look like some packet before them but for the values: how a packet is described, and what a description
means once it has been checked, is remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from math import isfinite, prod
from typing import Any, NamedTuple, TypeAlias

import msgpack
import numpy as np
from numpy.typing import NDArray

PROTOCOL = 4
MAX_HEADER_BYTES = 16 * 2**20
MAX_DIMENSIONS = 8
DTYPES = frozenset({"<f4", "<f8", "<i8", "<i4", "|u1", "|b1"})

LARGE_BYTES = 256 * 2**10
"""From this size on an array has a frame of its own, and is not copied; below, a frame costs more than a copy (one of
140 kB: of a device that sends it with every turn of a list, a twentieth of all its time)."""
INLINE_BYTES = 64 * 2**10
"""Up to this size the small arrays of a bundle are in its header; together beyond it, they have a frame."""
ALIGNMENT = 8
OWN_FRAME = -1
REMEMBERED = 512
"""Descriptions of packets remembered at most, each way; then all are forgotten."""
LONGEST_REMEMBERED = 512
"""Bytes of a description that is remembered."""

Array: TypeAlias = NDArray[Any]
Buffer: TypeAlias = bytes | memoryview


class WireError(Exception):
    """A message does not parse, or is not what its header says; it is to be refused, counted and logged."""


class Packet(NamedTuple):
    """Arrays for one address. The wire does not know what an address means: it is a list of plain values."""

    address: tuple[str | int, ...]
    arrays: tuple[Array, ...]


class Bundle(NamedTuple):
    """What one process has for another at one time: a `kind`, a plain `body`, and any number of packets.

    `sent_s` is when its sender began to hand out, on the clock that all processes of a host share; None if not told.
    """

    kind: str
    sender: str
    body: Any = None
    packets: Sequence[Packet] = ()
    sent_s: float | None = None


class _Place(NamedTuple):
    """Where an array of a packet lies: from `offset_bytes` on in its part of the shared bytes, or OWN_FRAME."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    size_bytes: int
    offset_bytes: int


class _Layout(NamedTuple):
    """A packet but for its values: `shared_bytes` is its part of the shared bytes, `frames` the number of its own."""

    description: bytes
    address: tuple[str | int, ...]
    places: tuple[_Place, ...]
    shared_bytes: int
    frames: int
    gaps: tuple[bytes, ...]
    """after each array that is in the shared bytes, what fills up to a multiple of ALIGNMENT"""
    is_simple: bool
    """nothing but small arrays, none empty or a single number, and no gaps"""


_sent: dict[tuple[Any, ...], _Layout] = {}
_received: dict[bytes, _Layout] = {}


def encode(bundle: Bundle) -> list[Buffer]:
    """The frames of a bundle. Large arrays are not copied: they must stay as they are until they are sent."""
    runs: list[list[Any]] = []
    last_run: list[Any] = []
    last_key: tuple[Any, ...] | None = None
    shared: list[Any] = []
    large: list[Buffer] = []
    for address, arrays in bundle.packets:
        key = (address, *[array.dtype for array in arrays], *[array.shape for array in arrays])
        if key == last_key:
            last_run[1] += 1
        else:
            layout = _sent.get(key) or _describe(key, address, arrays)
            last_run = [layout.description, 1]
            runs.append(last_run)
            # Only what has bytes may be counted: its number can be checked.
            last_key = key if layout.shared_bytes or layout.frames else None
        if layout.is_simple:
            shared += arrays
            continue
        for array, place, gap in zip(arrays, layout.places, layout.gaps, strict=True):
            if place.offset_bytes == OWN_FRAME:
                large.append(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            else:
                shared += [array, gap]
    joined = _joined(shared)
    inline = len(joined) <= INLINE_BYTES
    header = [PROTOCOL, bundle.kind, bundle.sender, bundle.sent_s, bundle.body, runs, joined if inline else None]
    return [msgpack.packb(header), *large] if inline else [msgpack.packb(header), joined, *large]


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
    _, kind, sender, sent_s, body, described, inline = header
    if not isinstance(kind, str) or not isinstance(sender, str):
        raise WireError("kind and sender must be text")
    if sent_s is not None and not (type(sent_s) is float and isfinite(sent_s)):
        raise WireError(f"the time of sending must be a finite float or nil, found {sent_s!r}")
    if inline is not None and not isinstance(inline, bytes):
        raise WireError(f"the small arrays must be bytes, found {type(inline).__name__}")
    runs = []
    for description, count in described:
        layout = _received.get(description) or _understand(description)
        if type(count) is not int or count < 1 or (count > 1 and not layout.shared_bytes and not layout.frames):
            raise WireError(f"no number of packets of a layout: {count!r}")
        runs.append((layout, count))
    return Bundle(kind, sender, body, _packets(runs, inline, frames), sent_s)


def _packets(runs: list[tuple[_Layout, int]], inline: Any, frames: Sequence[Buffer]) -> list[Packet]:
    """The packets of a header with its `inline` bytes and frames; all sizes are checked before anything is made."""
    own = 2 if inline is None else 1
    announced = own + sum([layout.frames * count for layout, count in runs])
    if announced != len(frames):
        raise WireError(f"the header announces {announced - 1} frames of arrays, {len(frames) - 1} came")
    shared = frames[1] if inline is None else inline
    shared_bytes = sum([layout.shared_bytes * count for layout, count in runs])
    if len(shared) != shared_bytes:
        raise WireError(f"the small arrays take {shared_bytes} bytes, there are {len(shared)} of them")
    if inline is None and shared_bytes and not np.ndarray((1,), np.int64, shared).flags.aligned:
        # A frame may lie at any address; arithmetic on a misaligned array would be slow.
        shared = bytes(shared)
    packets: list[Packet] = []
    position = 0
    for layout, count in runs:
        if count > 1 and layout.is_simple:
            packets += _run(layout, count, shared, position)
            position += count * layout.shared_bytes
            continue
        for _ in range(count):
            packets.append(Packet(layout.address, _one(layout, shared, position, frames, own)))
            position += layout.shared_bytes
            own += layout.frames
    return packets


def _run(layout: _Layout, count: int, shared: Buffer, position: int) -> Iterable[Packet]:
    """`count` packets of a simple layout, one behind the other in the shared bytes: cut from arrays of all of them."""
    stacked = []
    for dtype, shape, _, offset in layout.places:
        inner = np.ndarray(shape, dtype, shared, position + offset).strides
        strides = (layout.shared_bytes, *inner)
        stacked.append(np.ndarray((count, *shape), dtype, shared, position + offset, strides))
    return map(Packet, repeat(layout.address), zip(*stacked, strict=True))


def _one(layout: _Layout, shared: Buffer, position: int, frames: Sequence[Buffer], own: int) -> tuple[Array, ...]:
    """The arrays of one packet: its part of the shared bytes begins at `position`, its own frames at number `own`."""
    arrays = []
    for dtype, shape, size_bytes, offset in layout.places:
        if offset != OWN_FRAME:
            arrays.append(np.ndarray(shape, dtype, shared, position + offset) if size_bytes else np.empty(shape, dtype))
            continue
        frame = frames[own]
        own += 1
        if len(frame) != size_bytes:
            raise WireError(f"{dtype.str}{list(shape)} takes {size_bytes} bytes, the frame has {len(frame)}")
        array = np.ndarray(shape, dtype, frame)
        arrays.append(array if array.flags.aligned else array.copy())
    return tuple(arrays)


def _describe(key: tuple[Any, ...], address: tuple[str | int, ...], arrays: tuple[Array, ...]) -> _Layout:
    """The layout of a packet that is to be sent, remembered under `key`."""
    description = msgpack.packb([address, [[array.dtype.str, array.shape] for array in arrays]])
    layout = _layout(description, address, [(array.dtype, array.shape) for array in arrays])
    _remember(_sent, key, layout)
    return layout


def _understand(description: Any) -> _Layout:
    """The layout of a packet that has come, checked. Raises WireError, or what `decode` makes one of."""
    if not isinstance(description, bytes):
        raise WireError(f"a packet is described by bytes, found {description!r}")
    address, specs = msgpack.unpackb(description, raw=False)
    if not isinstance(address, list) or not all(isinstance(part, str | int) for part in address):
        raise WireError(f"no address: {address!r}")
    checked = []
    for dtype, shape in specs:
        if dtype not in DTYPES:
            raise WireError(f"dtype {dtype!r} is not carried: one of {', '.join(sorted(DTYPES))}")
        if len(shape) > MAX_DIMENSIONS or not all(type(size) is int and size >= 0 for size in shape):
            raise WireError(f"no shape: {shape!r}")
        checked.append((np.dtype(dtype), tuple(shape)))
    layout = _layout(description, tuple(address), checked)
    _remember(_received, description, layout)
    return layout


def _layout(
    description: bytes, address: tuple[str | int, ...], specs: Iterable[tuple[np.dtype[Any], tuple[int, ...]]]
) -> _Layout:
    places, gaps = [], []
    position = 0
    for dtype, shape in specs:
        size_bytes = prod(shape) * dtype.itemsize
        large = size_bytes >= LARGE_BYTES
        places.append(_Place(dtype, shape, size_bytes, OWN_FRAME if large else position))
        gap = 0 if large else -size_bytes % ALIGNMENT
        gaps.append(bytes(gap))
        position += 0 if large else size_bytes + gap
    frames = sum(place.offset_bytes == OWN_FRAME for place in places)
    is_simple = bool(places) and not frames and not any(gaps) and all(size and shape for _, shape, size, _ in places)
    return _Layout(description, address, tuple(places), position, frames, tuple(gaps), is_simple)


def _remember(memory: dict[Any, _Layout], key: Any, layout: _Layout) -> None:
    """Bounded, whatever comes: a stranger may send any number of descriptions, of any length."""
    if len(layout.description) <= LONGEST_REMEMBERED:
        if len(memory) >= REMEMBERED:
            memory.clear()
        memory[key] = layout


def _joined(parts: list[Any]) -> bytes:
    """The memory of contiguous arrays, one behind the other; of others, their elements in C order."""
    try:
        return b"".join(parts)
    except TypeError:
        return b"".join([part if isinstance(part, bytes) else part.tobytes() for part in parts])
