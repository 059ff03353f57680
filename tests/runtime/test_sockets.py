from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from time import monotonic

import numpy as np
import pytest
import zmq

from ampsim.runtime.sockets import CONTROLLER, ControllerSocket, DeviceSocket
from ampsim.runtime.wire import Bundle, Packet, encode

PATIENCE_S = 20


@pytest.fixture
def folder():
    # The path of an ipc socket may have about 100 characters.
    path = Path(tempfile.mkdtemp(prefix="ampsim-test-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def cluster(folder):
    """A controller and two devices that know each other."""
    address = f"ipc://{folder}/c"
    with (
        ControllerSocket(address, ["d0", "d1"]) as controller,
        DeviceSocket("d0", address) as d0,
        DeviceSocket("d1", address) as d1,
    ):
        peers = {device.name: device.bind(f"ipc://{folder}/{device.name}") for device in (d0, d1)}
        for device in (d0, d1):
            device.connect(peers)
            device.send(CONTROLLER, Bundle("hello", device.name))
        assert sorted(bundle.sender for bundle in received(controller, 2)) == ["d0", "d1"]
        yield controller, d0, d1


@pytest.fixture
def stranger(folder, cluster):
    """Makes raw sockets, connected to an address of the cluster."""
    context, sockets = zmq.Context(), []

    def connect(kind, name, identity=None):
        sockets.append(context.socket(kind))
        if identity:
            sockets[-1].setsockopt(zmq.ROUTING_ID, identity)
        sockets[-1].connect(f"ipc://{folder}/{name}")
        return sockets[-1]

    yield connect
    for socket in sockets:
        socket.close(linger=0)
    context.term()


def received(socket, count):
    """The next `count` bundles, or fewer if nothing more comes."""
    bundles, deadline = [], monotonic() + PATIENCE_S
    while len(bundles) < count and monotonic() < deadline:
        socket.wait(PATIENCE_S)
        bundles += socket.receive()
    return bundles


def refused(socket, count):
    """The texts of what has been refused, as soon as there are `count`."""
    deadline = monotonic() + PATIENCE_S
    while socket.refused.count < count and monotonic() < deadline:
        socket.wait(PATIENCE_S)
        assert socket.receive() == []
    assert socket.refused.count == len(socket.refused.texts)
    return socket.refused.texts


def test_bundles_go_to_and_fro_between_controller_and_devices(cluster):
    controller, d0, d1 = cluster
    for device in (d0, d1):
        controller.send(device.name, Bundle("welcome", CONTROLLER, {"inbox": device.name}))
        (bundle,) = received(device, 1)
        assert (bundle.kind, bundle.sender, bundle.body) == ("welcome", CONTROLLER, {"inbox": device.name})
        device.send(CONTROLLER, Bundle("ready", device.name, [1, 2]))
        (bundle,) = received(controller, 1)
        assert (bundle.kind, bundle.sender, bundle.body) == ("ready", device.name, [1, 2])


def test_bundles_between_two_devices_arrive_in_the_order_sent(cluster):
    _, d0, d1 = cluster
    for source, destination in ((d0, d1), (d1, d0)):
        for number in range(50):
            source.send(destination.name, Bundle("messages", source.name, number))
        bundles = received(destination, 50)
        assert [bundle.body for bundle in bundles] == list(range(50))
        assert {bundle.sender for bundle in bundles} == {source.name}


@pytest.mark.parametrize("route", ["to a peer", "to the controller", "to a device"])
def test_large_arrays_arrive_intact(cluster, route):
    controller, d0, d1 = cluster
    source, destination, name = {
        "to a peer": (d0, d1, "d1"),
        "to the controller": (d0, controller, CONTROLLER),
        "to a device": (controller, d1, "d1"),
    }[route]
    sent = np.random.default_rng(0).standard_normal((1000, 700)), np.arange(300_000), np.zeros((0, 3), np.float32)
    source.send(
        name, Bundle("messages", source.name, None, [Packet(("a", 0, 0), sent), Packet(("b", 0, 0), sent[::-1])])
    )
    (bundle,) = received(destination, 1)
    assert [packet.address for packet in bundle.packets] == [("a", 0, 0), ("b", 0, 0)]
    for packet, arrays in zip(bundle.packets, (sent, sent[::-1]), strict=True):
        for array, original in zip(packet.arrays, arrays, strict=True):
            np.testing.assert_array_equal(array, original)


def test_bytes_are_counted_alike_on_both_ends(cluster):
    _, d0, d1 = cluster
    d0.bytes_sent = d1.bytes_received = 0
    d0.send("d1", Bundle("messages", "d0", None, [Packet(("a",), (np.zeros(100),))]))
    received(d1, 1)
    assert d0.bytes_sent == d1.bytes_received > 800


GARBAGE = [[b""], [b"\xff" * 100], [b"not", b"a", b"bundle"], [*encode(Bundle("k", "s")), b"surplus"]]


@pytest.mark.parametrize("frames", GARBAGE, ids=["empty", "bytes", "frames", "surplus"])
def test_a_device_refuses_garbage_and_takes_what_comes_after_it(cluster, stranger, frames):
    _, d0, d1 = cluster
    stranger(zmq.PUSH, "d1").send_multipart(frames)
    assert len(refused(d1, 1)) == 1
    d0.send("d1", Bundle("messages", "d0", "after"))
    assert [bundle.body for bundle in received(d1, 1)] == ["after"]


@pytest.mark.parametrize("frames", GARBAGE, ids=["empty", "bytes", "frames", "surplus"])
def test_the_controller_refuses_garbage_and_takes_what_comes_after_it(cluster, stranger, frames):
    controller, d0, _ = cluster
    stranger(zmq.DEALER, "c").send_multipart(frames)
    assert len(refused(controller, 1)) == 1
    d0.send(CONTROLLER, Bundle("ready", "d0", "after"))
    assert [bundle.body for bundle in received(controller, 1)] == ["after"]


def test_a_device_that_speaks_for_another_is_refused(cluster):
    controller, d0, d1 = cluster
    d0.send(CONTROLLER, Bundle("epoch_ended", "d1"))
    assert refused(controller, 1) == ["a message from 'd0' that says it is from 'd1'"]
    d1.send(CONTROLLER, Bundle("epoch_ended", "d1"))
    assert [bundle.sender for bundle in received(controller, 1)] == ["d1"]


@pytest.mark.parametrize("identity", [None, b"d7", b"\xff\xfe"])
def test_a_stranger_is_refused_whatever_it_calls_itself(cluster, stranger, identity):
    controller, _, _ = cluster
    socket = stranger(zmq.DEALER, "c", identity)
    sender = identity.decode(errors="replace") if identity else "d0"
    socket.send_multipart([bytes(frame) for frame in encode(Bundle("epoch_ended", sender))])
    assert len(refused(controller, 1)) == 1


def test_what_is_sent_to_a_device_that_never_came_is_dropped(folder):
    with ControllerSocket(f"ipc://{folder}/c", ["d0"]) as controller:
        controller.send("d0", Bundle("bye", CONTROLLER))
        assert controller.wait(0.0) == set()
        assert controller.receive() == []


def test_waiting_tells_which_file_descriptors_became_readable(cluster):
    controller, d0, _ = cluster
    reading, writing = os.pipe()
    controller.watch(reading)
    os.write(writing, b"!")
    assert controller.wait(PATIENCE_S) == {reading}
    controller.unwatch(reading)
    assert controller.wait(0.0) == set()
    d0.send(CONTROLLER, Bundle("ready", "d0"))
    assert controller.wait(PATIENCE_S) == set()
    assert len(received(controller, 1)) == 1
    os.close(reading)
    os.close(writing)


def test_waiting_at_a_device_tells_whether_something_has_come(cluster):
    controller, d0, _ = cluster
    assert d0.wait(0.0) is False
    controller.send("d0", Bundle("bye", CONTROLLER))
    assert d0.wait(PATIENCE_S) is True
