"""Honest clients: sockets of the kernel's, on a host and in a process of their own, which connect, ask, check the answer and close.

They come at times that are fixed beforehand, whether those before them are done or not, so what one waits for does not spare the others.
"""

import errno
import hashlib
import json
import os
import random
import select
import signal
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Self

from fastnet.isolation import follow
from fastnet.load.hosts import Host
from fastnet.load.servers import REQUEST, RESET_ON_CLOSE
from fastnet.netns import sysctl

LIVE_PORT = 20000
"""The local port of the first connection that lasts; the others follow."""
BLOCK = 64 * REQUEST
"""Bytes that such a connection sends before it waits for all of them to come back."""
PAUSE = 0.005
"""Seconds between two blocks."""


@dataclass
class Outcome:
    """What became of the clients. Times in seconds, of those that succeeded.

    :ivar ok: clients whose answer was right and whose close was answered
    :ivar errors: why the others failed -> how many
    :ivar handshakes: from ``connect`` to the socket being writable; ``exchanges``: from ``connect`` to the server's FIN
    :ivar live: connections that lasted, whose bytes all came back as they were; ``live_bytes``: how many those were
    """

    ok: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    handshakes: list[float] = field(default_factory=list)
    exchanges: list[float] = field(default_factory=list)
    live: int = 0
    live_bytes: int = 0


class _Client:
    """One client on its way."""

    def __init__(self, target: tuple[str, int], request: bytes) -> None:
        self.request = request
        self.answer = b""
        self.connected = 0.0
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.started = time.perf_counter()
        failed = self.sock.connect_ex(target)
        if failed != errno.EINPROGRESS:
            self.sock.close()
            raise OSError(failed, os.strerror(failed))

    def ready(self, now: float) -> bool:
        """Something happened; True when it is over and all is well.

        :raises OSError: it failed
        """
        if not self.connected:
            failed = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failed:
                raise OSError(failed, os.strerror(failed))
            self.connected = now
            self.sock.send(self.request)
            return False
        data = self.sock.recv(4 * REQUEST)
        self.answer += data
        if data:
            if len(self.answer) == REQUEST:
                self.sock.shutdown(socket.SHUT_WR)
            return False
        if self.answer != self.request:
            raise OSError(errno.EBADMSG, os.strerror(errno.EBADMSG))
        return True


class _Live:
    """A connection that lasts: block after block, each of which has to come back."""

    def __init__(self, target: tuple[str, int], port: int, seed: int, patience: float) -> None:
        self.random = random.Random(seed)
        self.sent, self.received = hashlib.sha256(), hashlib.sha256()
        self.bytes = 0
        self.left = 0
        self.next = 0.0
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # At the end a RST, which leaves the port free whatever has become of the server.
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.sock.settimeout(patience)
        try:
            self.sock.bind(("", port))
            self.sock.connect(target)
        except OSError:
            self.sock.close()
            raise
        self.sock.setblocking(False)

    def turn(self, now: float) -> None:
        """Send a block if the last one has come back."""
        if self.left == 0 and now >= self.next:
            block = self.random.randbytes(BLOCK)
            if self.sock.send(block) != BLOCK:
                raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
            self.sent.update(block)
            self.left = BLOCK
            self.next = now + PAUSE

    def ready(self) -> None:
        """Bytes came."""
        data = self.sock.recv(BLOCK)
        if not data:
            raise OSError(errno.ECONNRESET, "ended by the server")
        self.received.update(data)
        self.bytes += len(data)
        self.left -= len(data)

    def is_right(self) -> bool:
        """Everything came back, and nothing else."""
        return self.left == 0 and self.sent.digest() == self.received.digest()


def visit(target: str, port: int, count: int, duration: float, live: int, seed: int, patience: float) -> Outcome:
    """Have so many clients come, evenly over some seconds.

    :param live: connections besides that last all the time; their local ports are ``LIVE_PORT`` and on
    :param patience: seconds that a client may take
    """
    outcome = Outcome()
    chance = random.Random(seed)
    poll = select.epoll()
    clients: dict[int, _Client] = {}
    lasting = [_Live((target, port), LIVE_PORT + i, seed + i, patience) for i in range(live)]
    ours = {connection.sock.fileno(): connection for connection in lasting}
    for fd in ours:
        poll.register(fd, select.EPOLLIN)

    def fail(error: OSError) -> None:
        name = errno.errorcode.get(error.errno or 0, "?")
        outcome.errors[name] = outcome.errors.get(name, 0) + 1

    started = last_look = time.perf_counter()
    begun = 0
    while begun < count or clients or any(connection.left for connection in ours.values()) or time.perf_counter() < started + duration:
        now = time.perf_counter()
        while begun < count and started + begun * duration / count <= now:
            begun += 1
            try:
                client = _Client((target, port), chance.randbytes(REQUEST))
            except OSError as error:
                fail(error)
                continue
            clients[client.sock.fileno()] = client
            poll.register(client.sock, select.EPOLLOUT)
        for fd, connection in list(ours.items()):
            try:
                if now < started + duration:
                    connection.turn(now)
            except OSError as error:
                fail(error)
                del ours[fd]
        next_client = started + begun * duration / count if begun < count else now + PAUSE
        for fd, _ in poll.poll(max(0.0, min(next_client - now, PAUSE))):
            now = time.perf_counter()
            if fd in ours:
                try:
                    ours[fd].ready()
                except OSError as error:
                    fail(error)
                    poll.unregister(fd)
                    del ours[fd]
                continue
            client = clients[fd]
            try:
                over = client.ready(now)
                if client.connected == now:
                    poll.modify(fd, select.EPOLLIN)
                if not over:
                    continue
                outcome.ok += 1
                outcome.handshakes.append(client.connected - client.started)
                outcome.exchanges.append(now - client.started)
            except OSError as error:
                fail(error)
            poll.unregister(fd)
            del clients[fd]
            client.sock.close()
        if now > last_look + 1:
            last_look = now
            for fd, client in list(clients.items()):
                if now > client.started + patience:
                    fail(OSError(errno.ETIMEDOUT, ""))
                    poll.unregister(fd)
                    del clients[fd]
                    client.sock.close()
            if now > started + duration + patience:
                break
    for connection in lasting:
        outcome.live += connection.is_right()
        outcome.live_bytes += connection.bytes
        connection.sock.close()
    poll.close()
    return outcome


def take_precedence() -> None:
    """Put this process ahead of the machine's other programs, where that is allowed: what they do is not to be measured."""
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


class HonestClients:
    """A process with honest clients on a host: a context manager.

    :param host: where they are; ``core``: where they run
    :raises RuntimeError: the process ended before it was ready
    """

    def __init__(self, host: Host, core: int) -> None:
        self.host = host
        self.core = core

    def __enter__(self) -> Self:
        hear, self._telling = os.pipe()
        self._hearing, tell = os.pipe()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                follow(parent)
                os.close(self._telling)
                os.close(self._hearing)
                os.sched_setaffinity(0, {self.core})
                take_precedence()
                self.host.enter()
                # Thousands of clients in a row from one address: none may find its port still in TIME-WAIT.
                sysctl("net.ipv4.tcp_max_tw_buckets", 0)
                with os.fdopen(hear) as orders, os.fdopen(tell, "w", buffering=1) as answers:
                    for line in orders:
                        answers.write(json.dumps(asdict(visit(**json.loads(line)))) + "\n")
            finally:
                os._exit(1)
        os.close(hear)
        os.close(tell)
        self._answers = os.fdopen(self._hearing)
        self._orders = os.fdopen(self._telling, "w", buffering=1)
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._answers.close()
        try:
            self._orders.close()
        except BrokenPipeError:
            return

    def begin(self, target: str, port: int, count: int, duration: float, live: int = 0, seed: int = 0, patience: float = 30.0) -> None:
        """Have them visit a server, as ``visit`` says; this call does not wait for them."""
        order = {"target": target, "port": port, "count": count, "duration": duration, "live": live, "seed": seed, "patience": patience}
        self._orders.write(json.dumps(order) + "\n")

    def finish(self) -> Outcome:
        """Wait for those that were sent last.

        :raises RuntimeError: their process has ended
        """
        line = self._answers.readline()
        if not line:
            raise RuntimeError("the process of the honest clients ended")
        return Outcome(**json.loads(line))

    def cpu(self) -> float:
        """CPU time that the clients have taken so far, seconds."""
        return time.clock_gettime(~self.pid << 3 | 2)
