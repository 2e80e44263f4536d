"""An impaired TUN: what a kernel client and the stack exchange comes whole all the same."""

import hashlib
import socket
import threading

import pytest

from fastnet.devices import ImpairedDevice, Impairment
from fastnet.driver import Driver
from fastnet.netns import Namespace
from fastnet.socket import Socket
from fastnet.stack import Stack
from tests.wire.conftest import STACK

SIZE = 100_000


@pytest.mark.parametrize(
    "impairment",
    [Impairment(), Impairment(duplicate=0.2, reorder=0.2), Impairment(loss=0.02, corrupt=0.02)],
    ids=["perfect", "doubled and reordered", "lost and corrupted"],
)
def test_a_kernel_client_over_an_impaired_tun(namespace: Namespace, impairment: Impairment) -> None:
    device = ImpairedDevice(namespace.add_tun(), impairment, seed=1)
    data = hashlib.shake_128(b"seed").digest(SIZE)
    with Driver(Stack(device, (STACK,))) as driver:
        listener = Socket(driver)
        listener.bind((STACK, 7))
        listener.listen()
        heard = bytearray()

        def client() -> None:
            heard.extend(exchange(sock, data))

        sock = socket.socket()  # born here, in the namespace
        sock.settimeout(30)
        thread = threading.Thread(target=client)
        thread.start()
        listener.settimeout(30)
        connection, _ = listener.accept()
        connection.settimeout(30)
        while piece := connection.recv(1 << 16):
            connection.sendall(piece)
        connection.close()
        thread.join(30)
    assert heard == data
    for tally in (device.incoming.tally, device.outgoing.tally):
        assert tally.packets + tally.duplicated - tally.lost - tally.delivered in (0, 1), "one may be held"
        assert bool(tally.duplicated) == bool(impairment.duplicate)


def exchange(sock: socket.socket, data: bytes) -> bytes:
    """Connect, send everything in a thread of its own, and read until the end."""
    with sock:
        sock.connect((STACK, 7))

        def send() -> None:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        heard = bytearray()
        while piece := sock.recv(1 << 16):
            heard += piece
        sender.join()
        return bytes(heard)
