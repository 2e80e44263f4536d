"""TLS between two sockets of one stack, in memory: handshakes that fail say so, and nothing is lost where a socket does not wait."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastnet.devices import LoopbackDevice
from fastnet.driver import Driver
from fastnet.socket import Socket, create_server
from fastnet.stack import Stack
from fastnet.tls import TlsSocket, wrap_socket

CERTIFICATE = Path(__file__).with_name("certificate.pem")
NAME = "198.18.0.1"
"""The address that the certificate is for."""


@pytest.fixture
def pair() -> Iterator[tuple[Socket, Socket]]:
    """A client's and a server's socket, connected."""
    with Driver(Stack(LoopbackDevice(), (NAME,))) as driver, create_server(driver, (NAME, 443)) as listener:
        client = Socket(driver)
        client.settimeout(20)
        client.connect((NAME, 443))
        server, _ = listener.accept()
        server.settimeout(20)
        yield client, server
        for each in (client, server):
            each.close()


def contexts(trusted: bool = True) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(CERTIFICATE)
    return server, ssl.create_default_context(cafile=str(CERTIFICATE) if trusted else None)


def beside(call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """A call in another thread: its result, or what it raised."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(call())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def secured(pair: tuple[Socket, Socket]) -> tuple[TlsSocket, TlsSocket]:
    server_context, client_context = contexts()
    thread, outcome = beside(lambda: wrap_socket(server_context, pair[1], True))
    client = wrap_socket(client_context, pair[0], server_hostname=NAME)
    thread.join(20)
    assert isinstance(outcome[0], TlsSocket), outcome
    return client, outcome[0]


def test_bytes_both_ways_and_an_end(pair: tuple[Socket, Socket]) -> None:
    client, server = secured(pair)
    data = bytes(i & 255 for i in range(300_000))
    thread, outcome = beside(lambda: server.sendall(data))
    got = bytearray()
    while len(got) < len(data):
        got += client.recv(10_000)
    thread.join(20)
    assert bytes(got) == data and outcome == [None]
    buffer = bytearray(4)
    server.sendall(b"abc")
    assert client.recv_into(buffer) == 3 and buffer == b"abc\0"
    thread, outcome = beside(server.unwrap)
    assert client.unwrap() is client
    thread.join(20)
    client.sendall(b"plain")
    assert server.recv(9) == b"plain"
    for each in (client, server):
        each.close()


def test_a_peer_that_is_not_trusted_is_told(pair: tuple[Socket, Socket]) -> None:
    """The alert goes out before the error comes back, so that the other end knows why."""
    server_context, client_context = contexts(trusted=False)
    thread, outcome = beside(lambda: wrap_socket(server_context, pair[1], True))
    with pytest.raises(ssl.SSLCertVerificationError):
        wrap_socket(client_context, pair[0], server_hostname=NAME)
    thread.join(20)
    assert isinstance(outcome[0], ssl.SSLError) and "UNKNOWN_CA" in str(outcome[0])


def test_a_peer_that_goes_away(pair: tuple[Socket, Socket]) -> None:
    """An end without a goodbye: b"" as the standard library has it by default, an error for who asks for one."""
    client, server = secured(pair)
    Socket.shutdown(server, socket.SHUT_WR)
    assert client.recv(5) == b""
    client.close()
    server.close()


def test_sockets_that_do_not_wait(pair: tuple[Socket, Socket]) -> None:
    """They say what they wait for, step by step, up to a whole handshake."""
    server_context, client_context = contexts()
    for each in pair:
        each.setblocking(False)
    with pytest.raises(ValueError, match="non-blocking"):
        wrap_socket(client_context, pair[0].dup(), server_hostname=NAME)
    client = wrap_socket(client_context, pair[0], do_handshake_on_connect=False, server_hostname=NAME)
    server = wrap_socket(server_context, pair[1], True, do_handshake_on_connect=False)
    left = [client, server]
    waits = 0
    while left:
        for each in list(left):
            try:
                each.do_handshake()
                left.remove(each)
            except ssl.SSLWantReadError:
                waits += 1
        assert waits < 100_000
    assert client.version() == server.version() == "TLSv1.3"
    with pytest.raises(ssl.SSLWantReadError):
        client.recv(1)
    client.close()
    server.close()


@pytest.mark.parametrize("given", [
    {"server_side": True, "server_hostname": NAME}, {"server_side": True, "session": 5}, {}, {"server_hostname": ""},
])  # fmt: skip
def test_arguments_that_do_not_go_together(pair: tuple[Socket, Socket], given: dict[str, Any]) -> None:
    """As the standard library has it; the socket stays as it was."""
    server_context, client_context = contexts()
    with pytest.raises(ValueError, match="hostname"):
        wrap_socket(server_context if given.get("server_side") else client_context, pair[0], **given)
    pair[0].sendall(b"plain")
    assert pair[1].recv(9) == b"plain"


def test_one_that_is_not_connected_yet() -> None:
    """The handshake comes with ``connect``; a server's socket cannot, and a second time nobody can."""
    with Driver(Stack(LoopbackDevice(), (NAME,))) as driver, create_server(driver, (NAME, 443)) as listener:
        server_context, client_context = contexts()
        serving = wrap_socket(server_context, listener, True)
        serving.settimeout(20)
        thread, outcome = beside(serving.accept)
        sock = Socket(driver)
        sock.settimeout(20)
        client = wrap_socket(client_context, sock, server_hostname=NAME)
        client.connect((NAME, 443))
        thread.join(20)
        accepted, address = outcome[0]
        assert address == client.getsockname()
        accepted.sendall(b"hello")
        assert client.recv(9) == b"hello"
        with pytest.raises(ValueError, match="already-connected"):
            client.connect((NAME, 443))
        with pytest.raises(ValueError, match="server-side"):
            serving.connect((NAME, 443))
        again = wrap_socket(client_context, Socket(driver), server_hostname=NAME)
        again.settimeout(20)
        assert again.connect_ex((NAME, 81)) == 111
        for each in (again, client, accepted, serving):
            each.close()
