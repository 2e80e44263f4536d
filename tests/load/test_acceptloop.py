"""The accept loop of the kernel's rows."""

from __future__ import annotations

import errno
import socket

import pytest

from fastnet.load._acceptloop import accept_all


def test_all_that_wait_are_accepted_and_closed() -> None:
    """And when nobody waits, that is no error: a server that is idle goes on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        assert accept_all(listener.fileno(), 0) == 0
        clients = [socket.create_connection(listener.getsockname()) for _ in range(5)]
        assert accept_all(listener.fileno(), 1000) == 5
        for client in clients:
            with client:
                assert client.recv(1) == b""
        assert accept_all(listener.fileno(), 0) == 0


def test_what_fails_says_why() -> None:
    with socket.socket() as sock:
        sock.setblocking(False)
        with pytest.raises(OSError, match=r"\w") as caught:
            accept_all(sock.fileno(), 0)
        assert caught.value.errno == errno.EINVAL, "it does not listen"
        number = sock.fileno()
    with pytest.raises(OSError, match=r"\w") as caught:
        accept_all(number, 0)
    assert caught.value.errno == errno.EBADF
