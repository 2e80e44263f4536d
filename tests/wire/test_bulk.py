"""Bulk data between fastnet and the kernel over a TUN device, whoever connects, compared by hash; clean wires and bad ones.

Each exchange half-closes both ways: the client sends everything and then its FIN, the server answers with everything and its own.
"""

import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from fastnet.devices import ImpairedDevice, Impairment
from fastnet.driver import Driver
from fastnet.netns import Namespace, sysctl
from fastnet.socket import Socket, create_connection, create_server
from fastnet.sockopt import SO_MAX_PACING_RATE
from fastnet.stack import Stack
from tests.wire.conftest import STACK

KERNEL = "198.18.0.1"
PORT = 8080
MIB = 1 << 20
# Uncompiled, it takes several times as long.
COMPILED = os.environ.get("FASTNET_PURE") != "1"
LARGE = 100 * MIB if COMPILED else 20 * MIB
SMALL = 10 * MIB if COMPILED else 2 * MIB
TIMEOUT = 30
BLOCK = hashlib.shake_128(b"block").digest(MIB + 1)
"""Of an odd length, so that segments and blocks never fall together."""

AnySocket = socket.socket | Socket


def send(sock: AnySocket, size: int, mark: bytes) -> str:
    """Send so many bytes, which differ by ``mark`` and by place, and a FIN; their digest."""
    digest = hashlib.sha256()
    sent = 0
    while sent < size:
        piece = mark + sent.to_bytes(8, "big") + BLOCK[: size - sent]
        digest.update(piece)
        sock.sendall(piece)
        sent += len(piece)
    sock.shutdown(socket.SHUT_WR)
    return digest.hexdigest()


def receive(sock: AnySocket) -> str:
    """The digest of all that comes, up to the FIN."""
    digest = hashlib.sha256()
    while piece := sock.recv(MIB):
        digest.update(piece)
    return digest.hexdigest()


def one_after_the_other(client: AnySocket, server: AnySocket, size: int) -> None:
    """All to the server and its FIN; then all to the client, over what is still open."""
    with ThreadPoolExecutor(1) as pool:
        for sender, receiver, mark in ((client, server, b"there"), (server, client, b"back")):
            received = pool.submit(receive, receiver)
            assert send(sender, size, mark) == received.result(TIMEOUT)


def at_once(client: AnySocket, server: AnySocket, size: int) -> None:
    """Both ways at the same time."""
    with ThreadPoolExecutor(3) as pool:
        received = [pool.submit(receive, sock) for sock in (server, client)]
        sent = [pool.submit(send, client, size, b"there"), pool.submit(send, server, size, b"back")]
        assert [future.result(TIMEOUT) for future in sent] == [future.result(TIMEOUT) for future in received]


def fastnet_connects(driver: Driver) -> tuple[AnySocket, AnySocket]:
    with socket.create_server((KERNEL, PORT)) as listener:
        client = create_connection(driver, (KERNEL, PORT), timeout=TIMEOUT)
        server, peer = listener.accept()
    assert client.getsockname() == peer and client.getpeername() == (KERNEL, PORT)
    server.settimeout(TIMEOUT)
    return client, server


def the_kernel_connects(driver: Driver) -> tuple[AnySocket, AnySocket]:
    with create_server(driver, (STACK, PORT)) as listener:
        listener.settimeout(TIMEOUT)
        client = socket.create_connection((STACK, PORT), timeout=TIMEOUT)
        server, peer = listener.accept()
    assert client.getsockname() == peer
    server.settimeout(TIMEOUT)
    return client, server


Connect = Callable[[Driver], tuple[AnySocket, AnySocket]]
EITHER_WAY = pytest.mark.parametrize("connect", [fastnet_connects, the_kernel_connects])


def exchange(driver: Driver, connect: Connect, size: int, how: Callable[[AnySocket, AnySocket, int], None], *, clean: bool = True) -> None:
    """One connection, from its SYN to both ends. On a wire that is not clean, an ACK may come twice, or too late."""
    client, server = connect(driver)
    with client, server:
        how(client, server, size)
    counters = driver.stack.counters
    deadline = time.monotonic() + 5
    while counters.TcpCurrEstab and time.monotonic() < deadline:
        time.sleep(0.01)
    assert counters.TcpCurrEstab == 0 and counters.TcpEstabResets == 0
    # What was sent again for nothing is acknowledged once more, maybe after the end; that is answered with a RST, as it has to be.
    assert counters.TcpOutRsts == 0 or counters.TcpRetransSegs or not clean


@EITHER_WAY
def test_a_clean_wire(driver: Driver, connect: Connect) -> None:
    exchange(driver, connect, LARGE, one_after_the_other)


@EITHER_WAY
def test_both_ways_at_once(driver: Driver, connect: Connect) -> None:
    exchange(driver, connect, SMALL, at_once)


@EITHER_WAY
@pytest.mark.parametrize(
    "impairment",
    [Impairment(loss=0.01), Impairment(reorder=0.05), Impairment(duplicate=0.05), Impairment(loss=0.01, reorder=0.02, duplicate=0.02)],
    ids=["loss", "reordering", "duplication", "all"],
)
def test_a_bad_wire(namespace: Namespace, connect: Connect, impairment: Impairment) -> None:
    device = ImpairedDevice(namespace.add_tun(), impairment, seed=5)
    with Driver(Stack(device, (STACK,))) as driver:
        exchange(driver, connect, SMALL, one_after_the_other, clean=False)
        if impairment.loss:
            assert driver.stack.counters.TcpRetransSegs > 0


@EITHER_WAY
@pytest.mark.parametrize("setting", ["tcp_timestamps", "tcp_sack", "tcp_window_scaling"])
@pytest.mark.parametrize("impairment", [Impairment(), Impairment(loss=0.01)], ids=["clean", "loss"])
def test_a_kernel_without_an_option(namespace: Namespace, connect: Connect, setting: str, impairment: Impairment) -> None:
    sysctl(f"net.ipv4.{setting}", 0)
    device = ImpairedDevice(namespace.add_tun(), impairment, seed=9)
    with Driver(Stack(device, (STACK,))) as driver:
        exchange(driver, connect, SMALL, one_after_the_other, clean=not impairment.loss)


@EITHER_WAY
def test_small_buffers(driver: Driver, connect: Connect) -> None:
    """A few segments' worth of room at either end: windows shut and open all the time."""
    client, server = connect(driver)
    with client, server:
        for sock in (client, server):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        at_once(client, server, MIB // 4)


def test_a_paced_sender_as_the_kernel_sees_it(driver: Driver) -> None:
    """SO_MAX_PACING_RATE: what the kernel has read at any time is no more than the rate allows. Only a bound from above: a busy machine
    may be slower, and without pacing all of it is there within some milliseconds."""
    rate, size = 2_000_000, 1_000_000
    with socket.create_server((KERNEL, PORT)) as listener:
        listener.settimeout(TIMEOUT)

        def serve() -> list[tuple[float, int]]:
            server, _ = listener.accept()
            server.settimeout(TIMEOUT)
            seen, total = [], 0
            with server:
                while data := server.recv(1 << 16):
                    total += len(data)
                    seen.append((time.monotonic(), total))
            return seen

        with ThreadPoolExecutor(1) as pool:
            serving = pool.submit(serve)
            with create_connection(driver, (KERNEL, PORT), timeout=TIMEOUT) as sock:
                sock.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, rate)
                start = time.monotonic()
                sock.sendall(bytes(size))
                sock.shutdown(socket.SHUT_WR)
                seen = serving.result(TIMEOUT)
    assert seen[-1][1] == size
    for at, total in seen:
        assert total <= 1.1 * rate * (at - start) + 64_000, (at - start, total)


def test_many_connections_at_once(driver: Driver) -> None:
    """Twenty active opens, each with a bulk of its own."""
    with socket.create_server((KERNEL, PORT), backlog=64) as listener:
        listener.settimeout(TIMEOUT)

        def serve() -> str:
            server, _ = listener.accept()
            server.settimeout(TIMEOUT)
            with server:
                digest = receive(server)
                server.sendall(digest.encode())
            return digest

        def client(n: int) -> bool:
            with create_connection(driver, (KERNEL, PORT), timeout=TIMEOUT) as sock:
                digest = send(sock, SMALL // 10, bytes([n]))
                return digest == b"".join(iter(lambda: sock.recv(100), b"")).decode()

        # The kernel's sockets belong into the namespace of the thread that makes them: accept() takes the listener's.
        with ThreadPoolExecutor(40) as pool:
            served = [pool.submit(serve) for _ in range(20)]
            assert all(pool.map(client, range(20), timeout=TIMEOUT))
            for future in served:
                future.result(TIMEOUT)
    assert threading.active_count() < 10
