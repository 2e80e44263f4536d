"""The servers under test of a comparison: each runs in a process of its own until it is killed."""

import asyncio
import json
import os
import selectors
import signal
import socket
import struct
import time
from collections.abc import Callable, Mapping

from fastnet._tun import Tun
from fastnet.config import Settings
from fastnet.load._acceptloop import accept_all
from fastnet.load._responder import respond
from fastnet.stack import Stack
from fastnet.tcp.connection import Connection
from fastnet.tcp.door import Noted
from fastnet.tcp.states import State

IDLE = 100_000_000
"""How long a server sleeps at a time when nothing comes, ns."""
BACKLOG = 4096
CHUNK = 1 << 16
"""Bytes that a bulk server reads or writes at a time."""
REQUEST = 64
"""Bytes that an answering server wants before it sends them back."""
RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Server = Callable[[Callable[[], None]], None]
"""Serves for ever; calls its argument once it is ready."""


def fastnet(tun: Tun, address: str, port: int, ending: str, settings: Settings | Mapping[str, int]) -> Server:
    """fastnet: accept, and reset or close, for ever."""

    def serve(ready: Callable[[], None]) -> None:
        stack = Stack(tun, (address,), settings)
        listener = stack.listen(address, port, BACKLOG)
        accept = listener.accept
        clock = time.monotonic_ns
        ready()
        while True:
            now = clock()
            deadline = stack.poll(now)
            connection = accept()
            if connection is not None:
                while connection is not None:
                    if ending == "server":
                        connection.abort(now)
                    else:
                        connection.close(now)
                    connection = accept()
                stack.flush(now)
            if deadline > now:
                stack.wait(min(deadline - now, IDLE))

    return serve


def floor(tun: Tun, ending: str) -> Server:
    """The stateless responder."""

    def serve(ready: Callable[[], None]) -> None:
        ready()
        while True:
            respond(tun, IDLE, ending == "server")

    return serve


def _kernel_listener(address: str, port: int, ending: str) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ending == "server":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    listener.bind((address, port))
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def bulk(tun: Tun, address: str, port: int, sends: bool, settings: Settings | Mapping[str, int]) -> Server:
    """fastnet: read or write what every connection gives or takes, for ever."""

    def serve(ready: Callable[[], None]) -> None:
        stack = Stack(tun, (address,), settings)
        listener = stack.listen(address, port, BACKLOG)
        clock = time.monotonic_ns
        chunk = bytes(CHUNK)
        noted = Noted()
        ready()
        while True:
            stack.poll(clock())
            connection = listener.accept()
            while connection is not None:
                # Without an owner, it is not on the list when it can go on.
                connection.owner = noted
                stack.context.notify(connection)
                connection = listener.accept()
            for endpoint in stack.take_ready():
                if not isinstance(endpoint, Connection):
                    continue
                while endpoint.readable():
                    endpoint.receive(CHUNK)
                while sends and not endpoint.error and endpoint.writable():
                    endpoint.send(chunk)
                if endpoint.fin_received:
                    endpoint.close(clock())
            stack.flush(clock())
            now = clock()
            deadline = stack.next_deadline(now)
            if deadline > now and not stack.has_news():
                stack.wait(min(deadline - now, IDLE))

    return serve


class _Answer:
    """What an answering server does with one connection.

    :ivar waiting: bytes that have come and are not sent back; ``sent``: bytes that are
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.waiting = b""
        self.sent = 0

    def ready(self, now: int) -> None:
        """There is something to see."""
        connection = self.connection
        while connection.readable():
            self.waiting += connection.receive(CHUNK)
        # The rest of a request for which there was no room is due too.
        due = (self.sent + len(self.waiting)) // REQUEST * REQUEST - self.sent
        if due and connection.writable():
            sent = connection.send(self.waiting[:due])
            self.waiting = self.waiting[sent:]
            self.sent += sent
        if connection.fin_received:
            connection.owner = None
            connection.close(now)
        elif connection.state == State.CLOSED:
            connection.owner = None


def answering(
    tun: Tun, address: str, port: int, settings: Settings | Mapping[str, int], backlog: int, report: int, asleep: float = 0.0
) -> Server:
    """fastnet: send every whole request back, and close when the peer has, for ever.

    :param report: a descriptor to which its counters go as a line of JSON, at each SIGUSR1
    :param asleep: seconds at the beginning in which nothing is accepted
    """

    def serve(ready: Callable[[], None]) -> None:
        stack = Stack(tun, (address,), settings)
        listener = stack.listen(address, port, backlog)
        signal.signal(signal.SIGUSR1, lambda *_: os.write(report, json.dumps(stack.counters.as_dict()).encode() + b"\n"))
        clock = time.monotonic_ns
        awake = clock() + int(asleep * 1e9)
        ready()
        while True:
            now = clock()
            stack.poll(now)
            connection = listener.accept() if now >= awake else None
            while connection is not None:
                answer = _Answer(connection)
                connection.owner = answer
                answer.ready(now)
                connection = listener.accept()
            for endpoint in stack.take_ready():
                if endpoint.owner is not None:
                    endpoint.owner.ready(now)
            stack.flush(now)
            now = clock()
            deadline = stack.next_deadline(now)
            if deadline > now and not stack.has_news():
                stack.wait(min(deadline - now, IDLE))

    return serve


def answering_on_kernel(address: str, port: int, backlog: int, asleep: float = 0.0) -> Server:
    """The same on the kernel's stack."""

    def serve(ready: Callable[[], None]) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(backlog)
        listener.setblocking(False)
        ready()
        time.sleep(asleep)
        waiting: dict[socket.socket, bytes] = {}
        with selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    try:
                        if sock is listener:
                            connection, _ = listener.accept()
                            connection.setblocking(False)
                            selector.register(connection, selectors.EVENT_READ)
                            waiting[connection] = b""
                            continue
                        data = sock.recv(CHUNK)
                        data, rest = waiting[sock] + data, data
                        whole = len(data) // REQUEST * REQUEST
                        waiting[sock] = data[whole:]
                        if whole:
                            sock.send(data[:whole])
                        if rest:
                            continue
                    except BlockingIOError:
                        continue
                    except OSError:
                        # Reset by its peer.
                        pass
                    selector.unregister(sock)
                    waiting.pop(sock, None)
                    sock.close()

    return serve


def kernel(address: str, port: int, ending: str) -> Server:
    """The kernel's stack, and the quickest accept loop."""

    def serve(ready: Callable[[], None]) -> None:
        listener = _kernel_listener(address, port, ending)
        ready()
        while True:
            accept_all(listener.fileno(), 1000)

    return serve


def asyncio_on_kernel(address: str, port: int, ending: str) -> Server:
    """The kernel's stack, and asyncio's."""

    class Close(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transport.close()

    async def main(ready: Callable[[], None]) -> None:
        listener = _kernel_listener(address, port, ending)
        server = await asyncio.get_running_loop().create_server(Close, sock=listener, backlog=BACKLOG)
        ready()
        await server.serve_forever()

    return lambda ready: asyncio.run(main(ready))
