"""Blocking sockets in the threads of an asynchronous framework, and a selector beside it."""

import socket
import threading

import anyio
import anyio.to_thread
import pytest

from fastnet.driver import Driver
from fastnet.socket import create_connection, create_server
from tests.wire.conftest import STACK


def echo(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        while data := connection.recv(1000):
            connection.sendall(data)


def test_anyio_threads(driver: Driver) -> None:
    """Many blocking calls at once, none of which holds the event loop, nor another call."""
    with socket.create_server(("198.18.0.1", 7000)) as listener:
        threads = [threading.Thread(target=echo, args=(listener,)) for _ in range(5)]
        for thread in threads:
            thread.start()
        told: list[bytes] = []

        async def ask(text: bytes) -> None:
            sock = await anyio.to_thread.run_sync(create_connection, driver, ("198.18.0.1", 7000), 10.0)
            with sock:
                await anyio.to_thread.run_sync(sock.sendall, text)
                told.append(await anyio.to_thread.run_sync(sock.recv, 100))

        async def ask_all() -> None:
            with anyio.fail_after(30):
                async with anyio.create_task_group() as group:
                    for i in range(5):
                        group.start_soon(ask, b"%d" % i)

        anyio.run(ask_all)
        assert sorted(told) == [b"0", b"1", b"2", b"3", b"4"]
        for thread in threads:
            thread.join(10)


@pytest.mark.parametrize("backend", ["asyncio"])
def test_anyio_waits_for_descriptors(driver: Driver, backend: str) -> None:
    """``wait_readable`` and ``wait_writable`` of an event loop that knows nothing of fastnet."""
    with create_server(driver, (STACK, 7000)) as listener, socket.socket() as theirs:
        listener.setblocking(False)

        async def serve() -> bytes:
            with anyio.fail_after(30):
                await anyio.wait_readable(listener)
                connection, _ = listener.accept()
                with connection:
                    connection.setblocking(False)
                    await anyio.wait_writable(connection)
                    connection.send(b"hello")
                    await anyio.wait_readable(connection)
                    return connection.recv(100)

        def call() -> None:
            theirs.settimeout(10)
            theirs.connect((STACK, 7000))
            theirs.sendall(theirs.recv(100).upper())

        thread = threading.Thread(target=call)
        thread.start()
        assert anyio.run(serve, backend=backend) == b"HELLO"
        thread.join(10)
