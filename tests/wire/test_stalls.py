"""A kernel's program that reads nothing for a while. The stack's clock is moved by hand, so half a minute takes no time."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from fastnet.netns import Namespace
from fastnet.stack import Stack
from fastnet.tcp.connection import Connection
from tests.wire.conftest import STACK

MILLISECOND = 1_000_000
SECOND = 1_000_000_000


class World:
    """A stack that is polled by hand, and a clock that stands still unless it is told otherwise."""

    def __init__(self, namespace: Namespace) -> None:
        self.now = SECOND
        self.stack = Stack(namespace.add_tun(), (STACK,), {"tcp_retries2": 255, "tcp_slow_start_after_idle": 0}, clock=lambda: self.now)

    def until(self, true: Callable[[], bool], step: int = 0) -> None:
        """Poll until something is so; each time, the stack's clock goes on by ``step``, ns."""
        deadline = time.monotonic() + 10
        while not true():
            assert time.monotonic() < deadline
            self.stack.poll(self.now)
            self.stack.flush(self.now)
            time.sleep(0.0005)
            self.now += step

    def connected(self, buffer: int) -> tuple[socket.socket, Connection]:
        listener = self.stack.listen("0.0.0.0", 8080)
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.setblocking(False)
        client.connect_ex((STACK, 8080))
        accepted: list[Connection] = []

        def accept() -> bool:
            connection = listener.accept()
            if connection is not None:
                accepted.append(connection)
            return bool(accepted)

        self.until(accept, MILLISECOND)
        return client, accepted[0]


def is_stalled(connection: Connection) -> bool:
    """Is the window shut, before what is to be sent or over it? The kernel shuts it also over what it has no memory for."""
    sender = connection.sender
    return sender is not None and connection.snd_wnd == 0 and sender.buffer.length > 0


def read(client: socket.socket, received: bytearray) -> None:
    """All that is there."""
    while True:
        try:
            data = client.recv(1 << 20)
        except BlockingIOError:
            return
        received += data


@pytest.mark.parametrize("chunk", [1000, 20_000])
def test_a_reader_that_sleeps(namespace: Namespace, chunk: int) -> None:
    """RFC 9293 section 3.8.6.1: its window is probed, and when it opens, what waits goes at once. No stall counts as a loss.

    :param chunk: bytes that the program writes at once: what waits is less than a segment, or more
    """
    world = World(namespace)
    client, connection = world.connected(16_384)
    connection.nodelay = True
    counters = world.stack.counters
    received = bytearray()
    written = 0
    pattern = bytes(range(256)) * 1024
    with client:
        for _ in range(4):
            # Fill its buffer.
            while not is_stalled(connection):
                if connection.need_sender().buffer.length == 0:
                    written += connection.send(pattern[written % 256 :][:chunk])
                world.until(lambda until=world.now + 10 * MILLISECOND: world.now > until, MILLISECOND)
            cwnd = connection.need_sender().recovery.congestion.cwnd
            probes = counters.TCPWinProbe
            asleep = world.now
            world.until(lambda asleep=asleep: world.now > asleep + 30 * SECOND, 50 * MILLISECOND)
            assert is_stalled(connection) and counters.TCPWinProbe >= probes + 5
            waiting = connection.need_sender().buffer.length
            # From here on no timer fires.
            read(client, received)
            world.until(lambda waiting=waiting: connection.need_sender().buffer.length < waiting)
            assert connection.need_sender().recovery.congestion.cwnd >= cwnd

            def all_read(written: int = written) -> bool:
                read(client, received)
                return len(received) == written

            world.until(all_read, MILLISECOND)
    assert counters.TCPSackRecovery == 0 and counters.TCPTimeouts == 0
    assert bytes(received) == (pattern * (written // len(pattern) + 1))[:written]
