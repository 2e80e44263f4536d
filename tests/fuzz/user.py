"""What a program does with one stack: user calls from steps, and what it wrote and read."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from fastnet.stack import Stack
from fastnet.tcp.connection import Connection
from fastnet.tcp.listener import Listener
from fastnet.tcp.numbers import BYTES_A_FLIGHT, MIN_FLIGHTS
from fastnet.tcp.opening import ActiveConnection
from fastnet.tcp.policy import ACCEPT, COOKIE, DROP, RESET, Accept, Arrival, Deferred, Delay, Verdict
from tests.fuzz.invariants import check_stack
from tests.fuzz.packets import SECOND, M, Step


class Door:
    """An owner: it only wants to hear."""


class Whim:
    """A listener's policy that decides at random."""

    def __init__(self, random: Random, user: User) -> None:
        self.random, self.user = random, user

    def accept(self) -> Accept:
        pick = self.random.choice
        anything = self.random.randbytes(self.random.randrange(41))
        options = pick((None, None, None, b"", b"\2\4\2\0", b"\1\3\3\7\4\2", anything))
        return Accept(
            isn=pick((None, 0, M, 1 << 31, self.random.getrandbits(32))), mss=pick((None, 0, 1, 536, 65535)),
            window=pick((None, 0, 1, 1000, 65535)), wscale=pick((None, -1, 0, 14)), timestamps=pick((None, False)),
            sack=pick((None, False)), ttl=pick((0, 1, 255)), tos=pick((0, 4, 252)), options=options,
        )  # fmt: skip

    def __call__(self, arrival: Arrival) -> Verdict | None:
        random = self.random
        kind = random.random()
        if kind < 0.3:
            return self.accept()
        if kind < 0.5:
            return Delay(random.choice((0, 0.001, 1, 100)), random.choice((ACCEPT, DROP, RESET, self.accept())))
        if kind < 0.7:
            deferred = arrival.defer(random.choice((0.001, 1, 100)))
            self.user.deferred.append(deferred)
            return deferred
        return random.choice((None, None, DROP, RESET, COOKIE))


class User:
    """User calls of one stack, from steps; what they may raise is caught, and nothing else.

    :ivar written, read: id() of a connection -> bytes
    :ivar most: packets that a connection may ever have on its way
    :ivar expected: what a connection is to give from a place of its stream on; None where nobody knows
    """

    def __init__(self, stack: Stack, clock: Callable[[], int]) -> None:
        self.stack = stack
        # What raises for one endpoint is contained, and kept here instead of the log.
        stack.context.failures.held = True
        self.clock = clock
        self.listeners: list[Listener] = []
        self.connections: list[Connection] = []
        self.receive_limits: dict[int, int] = {}
        self.most = max(stack.settings.tcp_wmem[2] // BYTES_A_FLIGHT, MIN_FLIGHTS)
        self.highest: dict[int, int] = {}
        self.written: dict[int, bytearray] = {}
        self.read: dict[int, bytearray] = {}
        self.seed = 0
        self.deferred: list[Deferred] = []
        self.expected: Callable[[Connection, int, int], bytes] | None = None

    def check(self) -> None:
        for what, error in self.stack.context.failures.waiting:
            # A policy that asks for what no packet takes is one of those that are drawn.
            if not what.endswith("as the policy failed"):
                raise AssertionError(what) from error
        check_stack(self.stack, self.receive_limits, self.highest, self.most)

    def adopt(self, connection: Connection) -> None:
        self.connections.append(connection)
        self.written[id(connection)] = bytearray()
        self.read[id(connection)] = bytearray()
        connection.owner = Door()

    def connection(self, index: int) -> Connection | None:
        return self.connections[index % len(self.connections)] if self.connections else None

    def listener(self, index: int) -> Listener | None:
        return self.listeners[index % len(self.listeners)] if self.listeners else None

    def do(self, step: Step) -> bool:
        """A user call, if the step is one."""
        method = getattr(self, "do_" + step[0], None)
        if method is None:
            return False
        method(*step[1:])
        return True

    def do_listen(self, port: int, backlog: int, wildcard: bool) -> None:
        try:
            listener = self.stack.listen("0.0.0.0" if wildcard else self.stack.addresses[0], port, backlog)
        except OSError:
            return
        listener.owner = Door()
        self.listeners.append(listener)
        self.highest[id(listener)] = listener.backlog

    def do_backlog(self, index: int, backlog: int) -> None:
        if listener := self.listener(index):
            listener.set_backlog(backlog)
            self.highest[id(listener)] = max(self.highest[id(listener)], listener.backlog)

    def do_tune(self, index: int, name: str, value: int) -> None:
        """A setting of one listener, while it runs."""
        if listener := self.listener(index):
            listener.set(name, value)

    def do_ttl(self, index: int, ttl: int, tos: int) -> None:
        if listener := self.listener(index):
            listener.change_path(ttl=ttl or None, tos=tos)

    def do_policy(self, index: int, seed: int) -> None:
        """A policy that decides as it likes; 0: none any more."""
        if listener := self.listener(index):
            listener.set_policy(Whim(Random(seed), self) if seed else None)

    def do_decide(self, index: int, accept: bool) -> None:
        """A SYN that was put off is decided on."""
        if self.deferred:
            deferred = self.deferred.pop(index % len(self.deferred))
            if accept:
                deferred.accept()
            else:
                deferred.refuse(index % 2 == 0)

    def do_unlisten(self, index: int) -> None:
        if listener := self.listener(index):
            listener.close(self.clock())

    def do_accept(self, index: int) -> None:
        if (listener := self.listener(index)) and (connection := listener.accept()) is not None:
            self.adopt(connection)

    def do_connect(self, peer: str, port: int, local_port: int, options: list[Step]) -> None:
        def prepare(connection: ActiveConnection) -> None:
            self.adopt(connection)
            for option in options:
                self.set_option(connection, *option)

        try:
            self.stack.connect(peer, port, local_port=local_port, prepare=prepare)
        except OSError:
            return

    def do_send(self, index: int, size: int, urgent: bool) -> None:
        if connection := self.connection(index):
            self.seed += 1
            data = Random(self.seed).randbytes(size)
            try:
                taken = connection.send_urgent(data) if urgent else connection.send(data)
            except OSError:
                return
            assert 0 <= taken <= size
            self.written[id(connection)] += data[:taken]

    def do_receive(self, index: int, size: int) -> None:
        if connection := self.connection(index):
            data = connection.receive(size)
            assert len(data) <= size
            self.take(connection, data)

    def take(self, connection: Connection, data: bytes) -> None:
        """What a connection gave to the program."""
        read = self.read[id(connection)]
        if self.expected is not None and data:
            assert data == self.expected(connection, len(read), len(data)), "other bytes than the peer sent"
        read += data

    def do_shutdown(self, index: int) -> None:
        if connection := self.connection(index):
            connection.shutdown()

    def do_close(self, index: int) -> None:
        if connection := self.connection(index):
            connection.close(self.clock())

    def do_abort(self, index: int) -> None:
        if connection := self.connection(index):
            connection.abort(self.clock())

    def do_option(self, index: int, name: str, value: Any) -> None:
        if connection := self.connection(index):
            self.set_option(connection, name, value)

    def set_option(self, connection: Connection, name: str, value: Any) -> None:
        if name == "nodelay":
            connection.nodelay = bool(value)
            connection.send_soon()
        elif name == "cork":
            connection.set_cork(bool(value))
        elif name == "sndbuf":
            connection.limit_sending(value)
            self.most = max(self.most, value // BYTES_A_FLIGHT)
        elif name == "rcvbuf":
            receiver = connection.receiver
            held = connection.receive_limit or self.stack.settings.tcp_rmem[2]
            before = self.receive_limits.get(id(connection), 0)
            connection.limit_receiving(value)
            self.receive_limits[id(connection)] = max(before, value, held if receiver is not None or connection.id >= 0 else 0)
        elif name == "keepalive":
            patience = connection.need_patience()
            patience.keepalive = bool(value)
            patience.idle = patience.interval = max(value, 1) * SECOND
            connection.watch()
        elif name == "user_timeout":
            connection.need_patience().set_user_timeout(value)
            connection.watch()
        elif name == "congestion":
            connection.set_congestion_control(value)
        elif name == "pacing":
            connection.limit_pacing(value)
        elif name == "unsent":
            connection.limit_unsent(value)
        elif name == "ttl":
            connection.change_path(ttl=value or None, tos=value & 0xFC)
        elif name == "mss":
            connection.handshake.user_mss = value
        elif name == "reading":
            # A program that reads a little whenever it is asked for an option.
            self.take(connection, connection.receive(value))
        else:
            raise ValueError(name)

    def do_ready(self) -> None:
        for endpoint in self.stack.take_ready():
            assert not endpoint.notified
            if isinstance(endpoint, Connection):
                assert endpoint.readable() >= 0 and endpoint.writable() >= 0 and endpoint.urgent_left() >= 0

    def forget(self) -> None:
        """Keep nothing alive."""
        self.connections.clear()
        self.listeners.clear()
        self.deferred.clear()

    def let_go(self) -> None:
        """The program ends: everything is accepted, read and closed."""
        now = self.clock()
        for listener in self.listeners:
            listener.close(now)
        for connection in self.connections:
            self.take(connection, connection.receive(1 << 30))
            connection.close(now)
