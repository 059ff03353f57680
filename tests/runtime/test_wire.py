from __future__ import annotations

import pickle
import tracemalloc

import msgpack
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ampsim.runtime import wire
from ampsim.runtime.wire import (
    DTYPES,
    INLINE_BYTES,
    LARGE_BYTES,
    LONGEST_REMEMBERED,
    MAX_DIMENSIONS,
    MAX_HEADER_BYTES,
    PROTOCOL,
    REMEMBERED,
    Bundle,
    Packet,
    WireError,
    decode,
    encode,
)

plain = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), st.text(), st.binary()
    ),
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(st.text(), below, max_size=3)),
    max_leaves=6,
)
carried = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_dims=0, max_dims=MAX_DIMENSIONS, min_side=0, max_side=3))
)
addresses = st.lists(st.one_of(st.text(max_size=8), st.integers(-(2**63), 2**63)), max_size=3).map(tuple)
times = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))
packets = st.builds(Packet, addresses, st.lists(carried, max_size=3).map(tuple))
bundles = st.builds(
    Bundle, st.text(max_size=8), st.text(max_size=8), plain, st.lists(packets, max_size=3).map(tuple), times
)


def frames_of(bundle):
    """What arrives: the frames as bytes."""
    return [bytes(frame) for frame in encode(bundle)]


def with_header(header, *frames):
    return [msgpack.packb(header), *frames]


def described(address, *specs):
    """A description of a packet as a header has it."""
    return msgpack.packb([address, specs])


def one_array(dtype, shape, *frames):
    return with_header(
        [PROTOCOL, "messages", "d0", None, None, [[described(["node"], [dtype, shape]), 1]], None], *frames
    )


@given(bundles)
def test_a_bundle_comes_back_as_it_was_sent(bundle):
    received = decode(frames_of(bundle))
    assert received._replace(packets=()) == bundle._replace(packets=())
    assert [packet.address for packet in received.packets] == [packet.address for packet in bundle.packets]
    for got, sent in zip(received.packets, bundle.packets, strict=True):
        for array, original in zip(got.arrays, sent.arrays, strict=True):
            assert (array.dtype, array.shape) == (original.dtype, original.shape)
            assert array.tobytes() == original.tobytes()


def test_arrays_that_are_not_contiguous_arrive_as_they_read():
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    for view in (array.T, array[::2, 1:], array[::-1], np.broadcast_to(array[:1], (3, 6))):
        ((got,),) = (
            packet.arrays for packet in decode(frames_of(Bundle("k", "s", None, [Packet((), (view,))]))).packets
        )
        np.testing.assert_array_equal(got, view)


def test_no_copy_is_made_of_a_large_array_when_sending_or_receiving():
    array = np.arange(LARGE_BYTES // 8, dtype=np.float64)
    frames = encode(Bundle("k", "s", None, [Packet((), (array,))]))
    assert np.shares_memory(np.frombuffer(frames[1], np.uint8), array)
    assert np.shares_memory(decode(frames).packets[0].arrays[0], array)


@pytest.mark.parametrize("offset", [0, 1, 4])
def test_an_array_is_aligned_wherever_its_frame_lies(offset):
    values = np.arange(5, dtype=np.float64)
    frame = memoryview(bytes(offset) + values.tobytes())[offset:]
    (array,) = decode(one_array("<f8", [5], frame)).packets[0].arrays
    assert array.flags.aligned
    assert array.tolist() == values.tolist()


@given(
    st.lists(
        st.tuples(st.sampled_from([("a", 0), ("b", 1)]), st.sampled_from([(3,), (5, 1), (1,), (0,), (), (5000,)])),
        max_size=12,
    )
)
def test_packets_that_look_alike_come_back_each_with_its_own_values(drawn):
    packets = [
        Packet(address, (np.full(shape, number, np.int64), np.full(shape, number, np.uint8)))
        for number, (address, shape) in enumerate(drawn)
    ]
    received = decode(frames_of(Bundle("k", "s", None, packets))).packets
    assert [packet.address for packet in received] == [packet.address for packet in packets]
    for number, (packet, (_, shape)) in enumerate(zip(received, drawn, strict=True)):
        assert [array.shape for array in packet.arrays] == [shape, shape]
        assert all(array.flags.c_contiguous and (array == number).all() for array in packet.arrays)


def test_many_small_arrays_go_together_and_large_ones_by_themselves():
    small, large = np.ones(3, np.float32), np.zeros(LARGE_BYTES, np.uint8)
    bundle = Bundle("k", "s", None, [Packet(("a",), (small, large)), *[Packet(("a",), (small,))] * 50])
    header, own = frames_of(bundle)
    assert 51 * 16 < len(header) < 51 * 16 + 100
    assert len(own) == LARGE_BYTES
    many = INLINE_BYTES // 16
    header, together = frames_of(Bundle("k", "s", None, [Packet(("a",), (small,))] * (many + 1)))
    assert len(header) < 100
    assert len(together) == (many + 1) * 16


@pytest.mark.parametrize("count", [0, -1, 2**40, 1.0, True, None, "1", [1]])
def test_a_number_of_packets_that_nothing_bears_out_is_refused_without_room_being_made_for_it(count):
    for specs in ([], [["<f4", [0]]], [["<f4", [1]]]):
        frames = with_header([PROTOCOL, "k", "s", None, None, [[described(["a"], *specs), count]], None], bytes(8))
        tracemalloc.start()
        try:
            with pytest.raises(WireError):
                decode(frames)
            assert tracemalloc.get_traced_memory()[1] < 2**16
        finally:
            tracemalloc.stop()


def test_what_is_remembered_of_descriptions_is_bounded():
    for number in range(REMEMBERED + 10):
        decode(with_header([PROTOCOL, "k", "s", None, None, [[described([f"node{number}"]), 1]], b""]))
        encode(Bundle("k", "s", None, [Packet((f"node{number}",), ())]))
    decode(with_header([PROTOCOL, "k", "s", None, None, [[described(["x" * LONGEST_REMEMBERED]), 1]], b""]))
    for memory in (wire._sent, wire._received):
        assert 0 < len(memory) <= REMEMBERED
        assert all(len(layout.description) <= LONGEST_REMEMBERED for layout in memory.values())


def test_what_was_refused_once_is_refused_again():
    for _ in range(2):
        with pytest.raises(WireError, match="is not carried"):
            decode(one_array("|O", [1], bytes(8)))


@st.composite
def mutated(draw):
    """The frames of a bundle after some accidents."""
    frames = frames_of(draw(bundles))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(frames) - 1, 0)))
        frame = frames[place] if frames else b""
        byte = draw(st.integers(0, len(frame)))
        match draw(st.sampled_from(["change", "insert", "cut", "drop", "repeat", "swap"])):
            case "change":
                frame = frame[:byte] + draw(st.binary(min_size=1, max_size=3)) + frame[byte + 1 :]
            case "insert":
                frame = frame[:byte] + draw(st.binary(min_size=1, max_size=9)) + frame[byte:]
            case "cut":
                frame = frame[:byte]
            case "drop":
                del frames[place : place + 1]
                continue
            case "repeat":
                frames.insert(place, frame)
                continue
            case "swap":
                frames = frames[place:] + frames[:place]
                continue
        frames[place : place + 1] = [frame]
    return frames


def decodes_or_is_refused(frames):
    try:
        received = decode(frames)
    except WireError:
        return
    assert isinstance(received, Bundle)
    arrays = [array for packet in received.packets for array in packet.arrays]
    inline = msgpack.unpackb(frames[0], strict_map_key=False)[-1] or b""
    assert 0 <= len(inline) + sum(map(len, frames[1:])) - sum(array.nbytes for array in arrays) < 8 * (len(arrays) + 1)
    for packet in received.packets:
        assert all(array.dtype.str in DTYPES for array in packet.arrays)


@settings(max_examples=250)
@given(mutated())
def test_a_damaged_bundle_is_refused_or_still_a_bundle(frames):
    decodes_or_is_refused(frames)


@settings(max_examples=150)
@given(st.lists(st.binary(max_size=60), max_size=4))
@example([])
@example([b""])
@example([b"\xdd\xff\xff\xff\xff"])
@example([b"\xdf\xff\xff\xff\xff"])
@example([b"\x91" * 5000])
def test_random_bytes_are_refused(frames):
    decodes_or_is_refused(frames)


@settings(max_examples=150)
@given(
    header=st.one_of(
        plain,
        st.lists(plain, max_size=7),
        st.tuples(st.just(PROTOCOL), st.just("k"), st.just("s"), st.none(), plain, plain, plain),
        st.tuples(st.just(PROTOCOL), st.just("k"), st.just("s"), plain, st.none(), st.just([]), st.just(b"")),
        st.tuples(
            st.just(PROTOCOL),
            st.just("k"),
            st.just("s"),
            st.none(),
            st.none(),
            st.lists(
                st.tuples(
                    st.builds(
                        described,
                        st.one_of(plain, st.lists(plain, max_size=2)),
                        st.one_of(plain, st.tuples(plain, plain)),
                    ),
                    st.one_of(plain, st.integers(1, 3)),
                )
            ),
            st.one_of(st.none(), st.binary(max_size=24), plain),
        ),
        st.tuples(
            st.just(PROTOCOL),
            st.just("k"),
            st.just("s"),
            st.none(),
            st.none(),
            st.tuples(
                st.tuples(st.builds(described, st.just([]), st.tuples(st.sampled_from(sorted(DTYPES)), plain)), plain)
            ),
            st.one_of(st.none(), st.binary(max_size=24)),
        ),
    ),
    frames=st.lists(st.binary(max_size=9), max_size=2),
)
def test_a_header_of_any_other_form_is_refused(header, frames):
    decodes_or_is_refused(with_header(header, *frames))


@pytest.mark.parametrize("version", [0, 2, "3", None, [3]])
def test_another_protocol_version_is_refused_with_both_numbers(version):
    frames = with_header([version, "messages", "d0", None, []])
    with pytest.raises(WireError, match=f"protocol version {PROTOCOL} expected, found") as raised:
        decode(frames)
    assert repr(version) in str(raised.value)


@pytest.mark.parametrize(
    ("change", "text"),
    [(lambda frames: frames[:-1], "1 frames of arrays, 0 came"), (lambda frames: [*frames, b"x"], "2 came")],
)
def test_too_few_or_too_many_frames_are_refused(change, text):
    frames = frames_of(Bundle("k", "s", None, [Packet(("a",), (np.zeros(LARGE_BYTES // 8),))]))
    with pytest.raises(WireError, match=text):
        decode(change(frames))


@pytest.mark.parametrize(
    "dtype", ["|O", "O", "object", ">f4", "<f2", "<c8", "|S8", "<U2", "|V8", "<M8[s]", "float32", "", None, 7, ["<f4"]]
)
def test_a_dtype_that_is_not_carried_is_refused(dtype):
    with pytest.raises(WireError):
        decode(one_array(dtype, [1], bytes(8)))


def test_arrays_of_objects_cannot_be_sent():
    with pytest.raises(WireError, match=r"dtype '\|O' is not carried"):
        decode(one_array("|O", [2], bytes(16)))


@pytest.mark.parametrize("shape", [[2**40], [2**31, 2**31], [2**62, 4], [2**63, 2**63, 0, 3], [3]])
def test_a_shape_that_its_frame_does_not_fill_is_refused_without_room_being_made_for_it(shape):
    frames = one_array("<f4", shape, b"1234")
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            decode(frames)
        assert tracemalloc.get_traced_memory()[1] < 2**16
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", [[-1], [1.0], [True], ["1"], [[1]], "1", 1, None, [1] * (MAX_DIMENSIONS + 1)])
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(WireError):
        decode(one_array("<f4", shape, b"1234"))


@pytest.mark.parametrize("inline", [b"", bytes(7), bytes(9), bytes(16), "12345678", 8, [1], True])
def test_small_arrays_that_the_header_does_not_hold_are_refused(inline):
    with pytest.raises(WireError, match="the small arrays"):
        decode(with_header([PROTOCOL, "k", "s", None, None, [[described(["a"], ["<i8", [1]]), 1]], inline]))


def test_a_header_that_is_too_large_is_refused_before_it_is_read():
    with pytest.raises(WireError, match=f"{MAX_HEADER_BYTES} is the most"):
        decode([bytes(MAX_HEADER_BYTES + 1)])


@pytest.mark.parametrize(
    "header", [[PROTOCOL, 7, "d0", None, None, [], b""], [PROTOCOL, "k", None, None, None, [], b""]]
)
def test_kind_and_sender_must_be_text(header):
    with pytest.raises(WireError, match="kind and sender must be text"):
        decode(with_header(header))


@pytest.mark.parametrize("sent_s", [7, "1.5", True, [1.5], float("nan"), float("inf")])
def test_a_time_of_sending_is_a_finite_float(sent_s):
    with pytest.raises(WireError, match="time of sending"):
        decode(with_header([PROTOCOL, "k", "s", sent_s, None, [], b""]))


def test_nothing_of_a_pickle_is_ever_run():
    with pytest.raises(WireError):
        decode([pickle.dumps({"kind": "messages"})])
