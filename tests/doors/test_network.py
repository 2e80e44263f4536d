"""Sockets as small integers."""

import errno
import socket

import pytest

from fastnet.devices import MemoryDevice
from fastnet.driver import Driver
from fastnet.netns import Namespace
from fastnet.network import Network
from fastnet.stack import Stack
from tests.wire.conftest import STACK
from tests.wire.test_socket import outcome


@pytest.fixture
def quiet() -> Network:
    """Nothing ever arrives there."""
    return Network(Driver(Stack(MemoryDevice(), (STACK,))), limit=3)


def test_descriptors_are_the_smallest_that_are_free(quiet: Network) -> None:
    assert [quiet.socket() for _ in range(3)] == [0, 1, 2]
    assert outcome(quiet.socket) == (OSError, errno.EMFILE)
    quiet.close(1)
    assert quiet.socket() == 1
    for call in (lambda n: quiet.close(n), lambda n: quiet.read(n, 1), lambda n: quiet.listen(n)):
        assert outcome(lambda call=call: call(3)) == (OSError, errno.EBADF)
    quiet.close(0)
    assert outcome(lambda: quiet.close(0)) == (OSError, errno.EBADF)


def test_errors_and_timeouts(quiet: Network) -> None:
    first, second = quiet.socket(), quiet.socket()
    quiet.bind(first, STACK, 80)
    assert outcome(lambda: quiet.bind(second, STACK, 80)) == (OSError, errno.EADDRINUSE)
    assert outcome(lambda: quiet.accept(first)) == (OSError, errno.EINVAL)
    assert outcome(lambda: quiet.read(first, 1)) == (OSError, errno.ENOTCONN)
    quiet.listen(first)
    assert outcome(lambda: quiet.accept(first, 0.01)) == (TimeoutError, None)
    assert outcome(lambda: quiet.connect(second, "198.18.0.9", 80, 0.01)) == (TimeoutError, None)


def test_both_roles_with_the_kernel(namespace: Namespace) -> None:
    """Without a thread: whoever waits, polls."""
    network = Network(Driver(Stack(namespace.add_tun(), (STACK,))))
    server = network.socket()
    network.bind(server, "0.0.0.0", 7000)
    network.listen(server)
    with socket.socket() as theirs:
        theirs.setblocking(False)
        theirs.connect_ex((STACK, 7000))
        connection, peer = network.accept(server, timeout=10)
        assert (connection, peer[0]) == (1, "198.18.0.1")
        theirs.send(b"hello")
        assert network.read(connection, 3, timeout=10) == b"hel"
        assert network.read(connection, 3, timeout=10) == b"lo"
        network.send(connection, b"back")
        network.close(connection)
        theirs.settimeout(10)
        assert theirs.recv(10) == b"back" and theirs.recv(10) == b""
    with socket.create_server(("198.18.0.1", 7001)) as theirs:
        client = network.socket()
        assert client == 1, "which is free again"
        network.connect(client, "198.18.0.1", 7001, timeout=10)
        accepted, _ = theirs.accept()
        accepted.sendall(b"good day")
        accepted.close()
        assert network.read(client, 100, timeout=10) == b"good day" and network.read(client, 100, timeout=10) == b""
        network.close(client)
    refused = network.socket()
    assert outcome(lambda: network.connect(refused, "198.18.0.1", 7002, timeout=10)) == (ConnectionRefusedError, errno.ECONNREFUSED)
    network.close(server)
