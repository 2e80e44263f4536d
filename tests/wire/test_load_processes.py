"""The processes of a comparison: none outlives the one that made it, and one that waits in vain says so."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

import pytest

from fastnet.load import bulk, servers
from fastnet.load.compare import ServerProcess
from fastnet.load.honest import HonestClients, _Live, visit
from fastnet.load.hosts import Host
from fastnet.load.servers import REQUEST
from fastnet.netns import Namespace

PORT = 8080
KERNEL = "198.18.0.1"


def idle(ready: Callable[[], None]) -> None:
    """A server that serves nothing."""
    ready()
    while True:
        signal.pause()


def server_process(_: Namespace) -> Any:
    return ServerProcess(idle, 0)


def kernel_server(namespace: Namespace) -> Any:
    return bulk.KernelServer(namespace, 0)


def a_host(namespace: Namespace) -> Any:
    return Host(namespace, "other", "198.18.2.1/24", "198.18.2.2/24")


class AnyHost:
    """Stands for ``Host``: a namespace of its own."""

    def enter(self) -> None:
        Namespace().__enter__()


def honest_clients(_: Namespace) -> Any:
    return HonestClients(AnyHost(), 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [server_process, kernel_server, a_host, honest_clients])
def test_a_process_ends_with_the_one_that_made_it(make: Callable[[Namespace], Any]) -> None:
    """Gone, it has cleaned nothing up; SIGINT, which a terminal sends to all, is for the parent alone."""
    hears, tells = os.pipe()
    waits, goes = os.pipe()
    parent = os.fork()
    if parent == 0:
        try:
            with Namespace() as namespace:
                made: AbstractContextManager[Any] = make(namespace)
                made.__enter__()
                os.write(tells, struct.pack("i", made.pid))  # type: ignore[attr-defined]
                os.read(waits, 1)
                os._exit(1)
        finally:
            os._exit(2)
    os.close(tells)
    os.close(waits)
    (pid,) = struct.unpack("i", os.read(hears, 4))
    os.close(hears)
    watched = os.pidfd_open(pid)
    try:
        os.kill(pid, signal.SIGINT)
        assert select.select([watched], [], [], 0.2)[0] == [], "it lives on"
        os.write(goes, b"!")
        assert os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1]) == 1
        assert select.select([watched], [], [], 20)[0] == [watched]
    finally:
        os.close(watched)
        os.close(goes)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_lasting_connection_that_nobody_answers(namespace: Namespace) -> None:
    """It waits for as long as it was told, and not for as long as the kernel would."""
    namespace.add_tun("198.18.0.1/24", "tun0")
    with pytest.raises(TimeoutError):
        _Live(("198.18.0.2", PORT), 20000, 0, 0.2)


@pytest.mark.filterwarnings("error")
def test_a_client_without_a_route_leaves_no_socket_behind(namespace: Namespace) -> None:
    namespace.add_tun("198.18.0.1/24", "tun0")
    before = len(os.listdir("/proc/self/fd"))
    done = visit("203.0.113.1", PORT, 5, 0.1, 0, 0, 5.0)
    assert done.errors == {"ENETUNREACH": 5} and len(os.listdir("/proc/self/fd")) == before


def test_what_becomes_of_clients_is_counted(namespace: Namespace) -> None:
    namespace.add_tun("198.18.0.1/24", "tun0")
    refused = visit(KERNEL, PORT, 5, 0.1, 0, 0, 5.0)
    assert (refused.ok, refused.errors, refused.handshakes, refused.live) == (0, {"ECONNREFUSED": 5}, [], 0)
    silent = visit("198.18.0.2", PORT, 3, 0.1, 0, 0, 0.5)
    assert (silent.ok, silent.errors) == (0, {"ETIMEDOUT": 3})


@pytest.fixture
def answering(namespace: Namespace) -> Any:
    """The kernel's answering server; how to connect to it."""
    namespace.add_tun("198.18.0.1/24", "tun0")
    with ServerProcess(servers.answering_on_kernel(KERNEL, PORT, 16), 0):
        yield lambda: socket.create_connection((KERNEL, PORT), 10)


def test_the_kernels_answering_server_takes_one_after_another(answering: Callable[[], socket.socket]) -> None:
    """Whole requests come back as they are, once each, whatever pieces they came in; who closes, or resets, makes way for the next."""
    data = bytes(range(256))[: 3 * REQUEST]
    for turn in range(6):
        with answering() as sock:
            sock.sendall(data[: REQUEST // 2])
            with answering() as other:
                other.sendall(data[:REQUEST])
                assert other.recv(1000, socket.MSG_WAITALL) == data[:REQUEST]
            sock.sendall(data[REQUEST // 2 : 2 * REQUEST + 1])
            assert sock.recv(2 * REQUEST, socket.MSG_WAITALL) == data[: 2 * REQUEST]
            sock.sendall(data[2 * REQUEST + 1 :])
            assert sock.recv(REQUEST, socket.MSG_WAITALL) == data[2 * REQUEST :]
            if turn % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                sock.shutdown(socket.SHUT_WR)
                assert sock.recv(1) == b"", "it closes when its peer has"


def test_honest_clients_are_all_served(answering: Callable[[], socket.socket]) -> None:
    """Their times are in order, and what goes through connections that last comes back whole."""
    done = visit(KERNEL, PORT, 40, 0.5, 2, 3, 10.0)
    assert (done.ok, done.errors, done.live) == (40, {}, 2)
    assert len(done.handshakes) == len(done.exchanges) == 40
    assert all(0 < handshake <= exchange < 10 for handshake, exchange in zip(done.handshakes, done.exchanges, strict=True))
    assert done.live_bytes > 0 and done.live_bytes % (64 * REQUEST) == 0, "whole blocks"
