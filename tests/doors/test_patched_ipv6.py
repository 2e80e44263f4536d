"""Programs that know nothing of fastnet, over IPv6: each with the kernel at the other end."""

from __future__ import annotations

import http.server
import select
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import fastnet
from fastnet.ambient import Ambient, LaterAmbient
from fastnet.devices import MemoryDevice
from fastnet.driver import Driver
from fastnet.netns import Namespace
from fastnet.socket import Socket
from fastnet.stack import Stack

KERNEL, STACK = "2001:2::1", "2001:2::2"
REAL = socket.socket


@pytest.fixture
def world(namespace: Namespace) -> Iterator[Driver]:
    """Inside ``patched``, on a stack of both families."""
    tun = namespace.add_tun(("198.18.0.1/24", f"{KERNEL}/64"))
    with Driver(Stack(tun, ("198.18.0.2", STACK))) as driver, fastnet.patched(driver):
        yield driver


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.client_address[0].encode())

    def log_message(self, *args: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


@pytest.mark.parametrize(("option", "url", "peer"), [
    ("-6", f"http://[{STACK}]:8000/", KERNEL), ("-4", "http://198.18.0.2:8000/", "::ffff:198.18.0.1"),
])  # fmt: skip
def test_a_server_and_curl(world: Driver, option: str, url: str, peer: str) -> None:
    with Server(("::", 8000), Page) as server:
        assert isinstance(server.socket, Socket) and world.stack.counters.TCPOrigDataSent == 0
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            answer = subprocess.run(["curl", "-s", option, "-m", "10", url], capture_output=True, text=True, timeout=20, check=False)
            assert answer.stdout == peer
        finally:
            server.shutdown()
            thread.join()
    assert world.stack.counters.TCPOrigDataSent > 0


def test_a_client_of_the_kernels_server(world: Driver) -> None:
    """urllib, by the address; the server is a socket of the kernel's own class."""
    with REAL(socket.AF_INET6) as listener, ThreadPoolExecutor(1) as pool:
        listener.bind((KERNEL, 0))
        listener.listen()
        listener.settimeout(10)

        def serve() -> str:
            accepted, peer = listener.accept()
            with accepted:
                accepted.recv(1000)
                accepted.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello")
            return str(peer[0])

        serving = pool.submit(serve)
        with urllib.request.urlopen(f"http://[{KERNEL}]:{listener.getsockname()[1]}/", timeout=10) as answer:
            assert answer.read() == b"hello"
        assert serving.result() == STACK


def test_whose_a_socket_is(world: Driver) -> None:
    for address, stacks in (((STACK, 0), True), (("::", 0), True), (("", 0), True), (("::1", 0), False), (("::ffff:198.18.0.2", 0), True)):
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(address)
            assert isinstance(sock, socket.socket) and (sock.stacks, sock.family) == (stacks, socket.AF_INET6)  # type: ignore[attr-defined]
            assert len(sock.getsockname()) == 4
    with socket.socket(socket.AF_INET6) as sock:
        sock.listen()
        assert sock.stacks and sock.getsockname()[0] == "::"  # type: ignore[attr-defined]
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::", 0))
        assert not sock.stacks  # type: ignore[attr-defined]


def test_an_option_and_a_descriptor_from_before(world: Driver) -> None:
    """IPV6_V6ONLY goes along, and an epoll that watches the number sees the stack's socket."""
    with socket.socket(socket.AF_INET6) as sock, select.epoll() as epoll:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        epoll.register(sock.fileno(), select.EPOLLIN)
        sock.bind(("::", 8000))
        sock.listen()
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        with REAL(socket.AF_INET6) as client, REAL() as four:
            four.settimeout(10)
            with pytest.raises(ConnectionRefusedError):
                four.connect(("198.18.0.2", 8000))
            client.settimeout(10)
            client.connect((STACK, 8000))
            assert epoll.poll(10) == [(sock.fileno(), select.EPOLLIN)]
            accepted, peer = sock.accept()
            with accepted:
                assert peer == client.getsockname() and accepted.family == socket.AF_INET6


def test_one_that_chose_the_stack_too_early(world: Driver) -> None:
    """Bound to any address, and then connected to a server of the kernel's."""
    with REAL(socket.AF_INET6) as listener, socket.socket(socket.AF_INET6) as client:
        listener.bind(("::1", 0))
        listener.listen()
        client.bind(("::", 0))
        port = client.getsockname()[1]
        client.connect(listener.getsockname())
        assert client.getsockname() == ("::1", port, 0, 0) and not client.stacks  # type: ignore[attr-defined]


def test_the_rule_for_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both kinds of ambients, with and without a stack that is taken already."""
    monkeypatch.setenv("FASTNET_ADDRESS", f"198.18.0.2,{STACK}")
    ambients: list[Any] = [Ambient(Driver(Stack(MemoryDevice(), ("198.18.0.2", STACK)))), LaterAmbient()]
    for ambient in ambients:
        assert [ambient.is_local(host) for host in (STACK, "::", f"{STACK[:-1]}0002", "::ffff:198.18.0.2")] == [True] * 4
        assert [ambient.is_local(host) for host in ("::1", KERNEL, "fe80::1%lo", "::ffff:127.0.0.1")] == [False] * 4
        assert [ambient.leads_to(host) for host in (STACK, KERNEL, "2001:2:0:ffff::1", "::ffff:198.19.0.1")] == [True] * 4
        assert [ambient.leads_to(host) for host in ("2001:3::1", "::1", "::", "fe80::1", "::ffff:10.0.0.1")] == [False] * 5
    monkeypatch.setenv("FASTNET_NETWORKS", "2001:db8::/32")
    assert LaterAmbient().leads_to("2001:db8::1") and not LaterAmbient().leads_to(KERNEL)
