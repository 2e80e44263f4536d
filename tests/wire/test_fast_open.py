"""TCP Fast Open with the kernel at the other end, in both roles."""

from __future__ import annotations

import asyncio
import errno
import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastnet._flow import FourTuple
from fastnet.aio import new_event_loop
from fastnet.ambient import Ambient
from fastnet.config import fast_open_keys
from fastnet.driver import Driver
from fastnet.netns import Namespace, sysctl
from fastnet.socket import MSG_FASTOPEN, Socket, create_server
from fastnet.sockopt import TCP_FASTOPEN, TCP_FASTOPEN_CONNECT, TCP_FASTOPEN_KEY, TCP_FASTOPEN_NO_COOKIE
from fastnet.stack import Stack
from fastnet.tcp.fastopen import cookie_of
from tests.wire.conftest import STACK
from tests.wire.test_ecn import kernel_counter

KERNEL = "198.18.0.1"
KEY = "00010203-04050607-08090a0b-0c0d0e0f"
SYN_DATA = 32


def syn_data(sock: socket.socket | Socket) -> bool:
    """TCPI_OPT_SYN_DATA: data of the SYN was acknowledged by the SYN-ACK."""
    raw: Any = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
    return bool(raw[5] & SYN_DATA)


def failure(call: Callable[..., Any], *args: Any) -> int | None:
    """The errno that a call ends with, None when it does not fail."""
    try:
        call(*args)
    except OSError as error:
        return error.errno
    return None


def client_of(kind: str, driver: Driver) -> Any:
    sock: Any = Socket(driver) if kind == "stack" else socket.socket()
    sock.settimeout(10)
    return sock


def server_of(kind: str, driver: Driver, length: int = 10) -> Any:
    server: Any = create_server(driver, (STACK, 7)) if kind == "stack" else socket.create_server((KERNEL, 7))
    server.settimeout(10)
    server.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, length)
    return server


def start(namespace: Namespace, **settings: Any) -> Driver:
    tun = namespace.add_tun()
    sysctl("net.ipv4.tcp_fastopen", 3)
    Path("/proc/sys/net/ipv4/tcp_fastopen_key").write_text(KEY)
    return Driver(Stack(tun, (STACK,), {"tcp_fastopen": 3, "tcp_fastopen_key": KEY, **settings}))


def ask(client: Any, server: Any, address: tuple[str, int], data: bytes) -> tuple[Any, bytes]:
    """Send a question with the SYN if that can be, and have it answered; the server's end, and the answer."""
    # With a timeout, Python's sockets do not wait here.
    client.settimeout(None)
    assert client.sendto(data, MSG_FASTOPEN, address) == len(data)
    end, _ = server.accept()
    end.settimeout(10)
    end.sendall(end.recv(100)[::-1])
    return end, client.recv(100)


@pytest.mark.parametrize("kind", ["kernel", "stack"])
def test_the_second_connection_sends_data_with_its_syn(namespace: Namespace, kind: str) -> None:
    """``kind`` is the client."""
    address = (STACK if kind == "kernel" else KERNEL, 7)
    with start(namespace) as driver:
        counters = driver.stack.counters
        with server_of("stack" if kind == "kernel" else "kernel", driver) as server:
            for turn in range(3):
                with client_of(kind, driver) as client:
                    end, answer = ask(client, server, address, b"question")
                    with end:
                        assert answer == b"noitseuq"
                        assert syn_data(client) == syn_data(end) == (turn > 0)
            if kind == "kernel":
                assert (counters.TCPFastOpenCookieReqd, counters.TCPFastOpenPassive) == (1, 2)
                assert kernel_counter("TCPFastOpenActive") == 2
            else:
                assert (counters.TCPFastOpenActive, counters.TCPFastOpenActiveFail) == (2, 0)
                assert kernel_counter("TCPFastOpenPassive") == 2 and kernel_counter("TCPFastOpenCookieReqd") == 1


def test_the_cookie_is_the_kernel_s(namespace: Namespace) -> None:
    """Under one key, a stack and a kernel make the same cookies."""
    with start(namespace) as driver, server_of("kernel", driver) as server, client_of("stack", driver) as client:
        ask(client, server, (KERNEL, 7), b"question")[0].close()
        known = driver.stack.context.fast_open.servers
        mine = cookie_of(FourTuple(KERNEL, 7, STACK, 1), fast_open_keys(KEY)[0])
        assert [server.cookie for server in known.values()] == [mine]


@pytest.mark.parametrize("kind", ["kernel", "stack"])
def test_a_server_that_has_lost_its_key_gets_the_data_after_the_handshake(namespace: Namespace, kind: str) -> None:
    address = (STACK if kind == "kernel" else KERNEL, 7)
    other = KEY[::-1]
    with start(namespace) as driver:
        with server_of("stack" if kind == "kernel" else "kernel", driver) as server:
            for turn in range(3):
                if turn == 1:
                    driver.stack.settings.set("tcp_fastopen_key", other)
                    Path("/proc/sys/net/ipv4/tcp_fastopen_key").write_text(other)
                with client_of(kind, driver) as client:
                    end, answer = ask(client, server, address, b"question")
                    with end:
                        assert answer == b"noitseuq" and syn_data(client) == (turn == 2)
        if kind == "kernel":
            assert driver.stack.counters.TCPFastOpenPassiveFail == 1 and kernel_counter("TCPFastOpenActiveFail") == 1
        else:
            assert driver.stack.counters.TCPFastOpenActiveFail == 1 and kernel_counter("TCPFastOpenPassiveFail") == 1


@pytest.mark.parametrize("kind", ["kernel", "stack"])
def test_what_does_not_wait(namespace: Namespace, kind: str) -> None:
    """The same calls with the same outcome on either stack."""
    address = (STACK if kind == "kernel" else KERNEL, 7)
    with start(namespace) as driver, server_of("stack" if kind == "kernel" else "kernel", driver) as server:
        with client_of(kind, driver) as client:
            client.setblocking(False)
            with pytest.raises(BlockingIOError) as caught:
                client.sendto(b"question", MSG_FASTOPEN, address)
            assert caught.value.errno == errno.EINPROGRESS
            server.accept()[0].close()
        with client_of(kind, driver) as client:
            client.setblocking(False)
            assert client.sendto(b"question", MSG_FASTOPEN, address) == 8
            if kind == "stack":
                # The kernel, once the SYN-ACK is there, takes the data a second time.
                assert failure(client.sendto, b"question", MSG_FASTOPEN, address) == errno.EALREADY
            end, _ = server.accept()
            with end:
                end.settimeout(10)
                assert end.recv(100) == b"question"


@pytest.mark.parametrize("kind", ["kernel", "stack"])
def test_a_connect_that_waits_for_the_first_data(namespace: Namespace, kind: str) -> None:
    """TCP_FASTOPEN_CONNECT: for programs that connect and then send."""
    address = (STACK if kind == "kernel" else KERNEL, 7)
    with start(namespace) as driver, server_of("stack" if kind == "kernel" else "kernel", driver) as server:
        for turn in range(2):
            with client_of(kind, driver) as client:
                client.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
                assert client.getsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT) == 1
                client.connect(address)
                if turn:
                    client.setblocking(False)
                    with pytest.raises(BlockingIOError):
                        client.recv(1)
                    assert select.select([], [client], [], 5)[1]
                    assert failure(client.connect, address) == errno.EISCONN
                assert client.send(b"question") == 8
                end, _ = server.accept()
                with end:
                    end.settimeout(10)
                    assert end.recv(100) == b"question" and syn_data(end) == bool(turn)
                    end.sendall(b"answer")
                    client.settimeout(10)
                    assert client.recv(100) == b"answer"


@pytest.mark.parametrize("kind", ["kernel", "stack"])
def test_without_a_cookie_where_both_want_it_so(namespace: Namespace, kind: str) -> None:
    address = (STACK if kind == "kernel" else KERNEL, 7)
    with start(namespace) as driver, server_of("stack" if kind == "kernel" else "kernel", driver) as server:
        server.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1)
        with client_of(kind, driver) as client:
            client.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1)
            end, answer = ask(client, server, address, b"question")
            with end:
                assert answer == b"noitseuq" and syn_data(client) and syn_data(end)


@pytest.mark.parametrize("kind", ["kernel", "stack"])
def test_options_as_the_kernel_has_them(namespace: Namespace, kind: str) -> None:
    with start(namespace) as driver, server_of(kind, driver, 5) as server:
        tcp = socket.IPPROTO_TCP
        assert server.getsockopt(tcp, TCP_FASTOPEN) == 5
        assert server.getsockopt(tcp, TCP_FASTOPEN_KEY, 32) == b"", "the namespace's is not told"
        server.setsockopt(tcp, TCP_FASTOPEN_KEY, bytes(range(16)))
        assert server.getsockopt(tcp, TCP_FASTOPEN_KEY, 32) == bytes(range(16))
        for option, value in ((TCP_FASTOPEN, -1), (TCP_FASTOPEN_KEY, b"x"), (TCP_FASTOPEN_CONNECT, 2), (TCP_FASTOPEN_NO_COOKIE, 2)):
            assert failure(server.setsockopt, tcp, option, value) == errno.EINVAL, option


@pytest.mark.parametrize("kind", ["kernel", "stack"])
def test_who_may_not(namespace: Namespace, kind: str) -> None:
    with start(namespace) as driver, client_of(kind, driver) as client:
        sysctl("net.ipv4.tcp_fastopen", 2)
        driver.stack.settings.set("tcp_fastopen", 2)
        assert failure(client.sendto, b"x", MSG_FASTOPEN, (KERNEL, 7)) == errno.EOPNOTSUPP


def test_asyncio_s_server_answers_with_the_syn_ack_s_batch(namespace: Namespace) -> None:
    """A program that knows nothing of Fast Open: the setting is enough."""
    stack = Stack(namespace.add_tun(), (STACK,), {"tcp_fastopen": 0x403})
    sysctl("net.ipv4.tcp_fastopen", 3)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read(100))[::-1])
        writer.close()

    def client() -> list[tuple[bytes, bool]]:
        results = []
        for _ in range(2):
            with socket.socket() as sock:
                sock.sendto(b"question", MSG_FASTOPEN, (STACK, 7))
                sock.settimeout(10)
                results.append((sock.recv(100), syn_data(sock)))
                assert sock.recv(100) == b""
        return results

    async def main() -> list[tuple[bytes, bool]]:
        async with await asyncio.start_server(answer, STACK, 7):
            return await asyncio.to_thread(client)

    with asyncio.Runner(loop_factory=lambda: new_event_loop(Ambient(Driver(stack)))) as runner:
        assert runner.run(asyncio.wait_for(main(), 60)) == [(b"noitseuq", False), (b"noitseuq", True)]
    assert stack.counters.TCPFastOpenPassive == 1
