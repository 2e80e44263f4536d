"""The loop of the load-test server, and what a mode has to say."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fastnet.stack import Stack
from fastnet.tcp.connection import Connection
from fastnet.tcp.containment import contain_door
from fastnet.tcp.context import Endpoint
from fastnet.tcp.states import State

READ = 65536
"""Bytes that a session takes from a connection at a time."""
IDLE = 100_000_000
"""The longest sleep, ns: a bound on how late a stop is noticed."""


class Session:
    """One connection of a mode: reads what came, writes what fits, closes when the peer has.

    :ivar pending: what did not fit under the send buffer's limit yet, in order and without a copy; None when nothing waits
    """

    __slots__ = ("connection", "pending", "server")

    def __init__(self, connection: Connection, server: "LoadServer") -> None:
        self.connection = connection
        self.server = server
        self.pending: deque[memoryview] | None = None

    def received(self, data: bytes, now: int) -> None:
        """Bytes from the peer."""

    def writable(self, now: int) -> None:
        """Everything that was written is with the stack; there may be room for more."""

    def wants_more(self) -> bool:
        """False while what was read before has to be dealt with first."""
        return not self.pending

    def ended(self, now: int) -> None:
        """The peer will send no more; by default that is the end."""
        if not self.pending:
            self.connection.close(now)

    def over(self) -> None:
        """The connection is closed, or the stack does the rest alone."""

    def write(self, data: bytes) -> None:
        """Send; what does not fit yet is kept as it is, so ``data`` must not change."""
        sent = 0
        if self.pending is None:
            sent = self.connection.send(data)
            self.server.bytes_sent += sent
            if sent == len(data):
                return
            self.pending = deque()
        self.pending.append(memoryview(data)[sent:])

    def write_pending(self) -> None:
        """Send as much of what waits as fits."""
        pending = self.pending
        while pending:
            data = pending[0]
            sent = self.connection.send(data)
            self.server.bytes_sent += sent
            if sent < len(data):
                pending[0] = data[sent:]
                return
            pending.popleft()
        self.pending = None

    def ready(self, now: int) -> None:
        """The stack has news of the connection."""
        connection = self.connection
        if self.pending and connection.writable():
            self.write_pending()
        # Read only while the peer reads: what waits is bounded by what one read can cause.
        while self.wants_more() and connection.readable():
            data = connection.receive(READ)
            self.server.bytes_received += len(data)
            self.received(data, now)
        if connection.state == State.CLOSED:
            self.server.closed(self)
            return
        if not self.pending:
            self.writable(now)
        if connection.fin_received and not connection.orphan and not connection.readable():
            self.ended(now)
        if connection.orphan:
            # Close was called: the stack does the rest alone.
            self.server.closed(self)


class Mode(Protocol):
    """What the server does with a connection."""

    name: str

    def opened(self, connection: Connection, server: "LoadServer", now: int) -> Session | None:
        """A connection was accepted; the session that it has from now on, or None when it is closed already."""
        ...


@dataclass
class Report:
    """The server's numbers at one time; what counts events counts from the start.

    :ivar refused: SYNs and final ACKs that found a queue full (ListenDrops)
    """

    seconds: float
    accepted: int
    open: int
    syn_queue: int
    accept_queue: int
    refused: int
    bytes_received: int
    bytes_sent: int


class LoadServer:
    """Accepts connections on one address and port of a stack, and gives them to a mode.

    :ivar accepted: connections accepted so far; ``open``: of those, connections that are not closed
    """

    def __init__(self, stack: Stack, mode: Mode, address: str = "0.0.0.0", port: int = 8080, backlog: int = 4096) -> None:
        self.stack = stack
        self.mode = mode
        self.listener = stack.listen(address, port, backlog)
        self.accepted = 0
        self.open = 0
        self.bytes_received = 0
        self.bytes_sent = 0
        self.started = stack.clock()

    def step(self, now: int) -> int:
        """One turn: packets in, accept, sessions, packets out; returns when the next timer is due, ns.

        What a session raises ends its connection, and no other.

        :raises OSError: ENETDOWN, the device has failed
        """
        stack = self.stack
        stack.poll(now)
        accept = self.listener.accept
        connection = accept()
        while connection is not None:
            self.accepted += 1
            try:
                session = self.mode.opened(connection, self, now)
                if session is not None:
                    self.open += 1
                    connection.owner = session
                    session.ready(now)
            except BaseException as error:
                self.failed(connection, error, now)
            connection = accept()
        for endpoint in stack.take_ready():
            if endpoint.owner is not None:
                try:
                    endpoint.owner.ready(now)
                except BaseException as error:
                    self.failed(endpoint, error, now)
        stack.flush(now)
        # What was sent just now may have made room for more.
        return now if stack.has_news() else int(stack.next_deadline(now))

    def ready(self, session: Session, now: int) -> None:
        """Have a session look at its connection outside the turn: from a timer of its own."""
        try:
            session.ready(now)
        except BaseException as error:
            self.failed(session.connection, error, now)

    def failed(self, endpoint: Endpoint, error: BaseException, now: int) -> None:
        """A session raised, or the mode that was to make one: its connection is reset. An interruption is raised at the turn's end."""
        session = endpoint.owner
        contain_door(self.stack.context, endpoint, error, now)
        if isinstance(session, Session):
            self.closed(session)

    def closed(self, session: Session) -> None:
        """A session is over."""
        if session.connection.owner is session:
            session.connection.owner = None
            self.open -= 1
            session.over()

    def run(self, stopped: Callable[[], bool], tick: Callable[[Report], None], interval: float = 1.0) -> Report:
        """Serve until ``stopped`` says so; ``tick`` gets a report every ``interval`` seconds. The last report.

        :raises OSError: ENETDOWN, the device has failed
        """
        clock = self.stack.clock
        now = clock()
        next_tick = now + int(interval * 1e9)
        while not stopped():
            deadline = min(self.step(now), next_tick)
            now = clock()
            if deadline > now:
                self.stack.wait(min(deadline - now, IDLE))
                now = clock()
            if now >= next_tick:
                tick(self.report(now))
                next_tick = now + int(interval * 1e9)
        return self.report(clock())

    def under_way(self) -> int:
        """Connections and handshakes of the stack that are not over; TIME-WAIT is over."""
        context = self.stack.context
        return len(context.demux) - context.time_wait_count

    def report(self, now: int) -> Report:
        """The numbers as they are now."""
        return Report(
            seconds=(now - self.started) / 1e9,
            accepted=self.accepted,
            open=self.open,
            syn_queue=len(self.listener.syn_queue),
            accept_queue=len(self.listener.accept_queue),
            refused=self.stack.counters.ListenDrops,
            bytes_received=self.bytes_received,
            bytes_sent=self.bytes_sent,
        )
