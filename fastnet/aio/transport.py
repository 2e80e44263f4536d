"""An asyncio transport over a connection of the stack: what asyncio's own selector transport does, without a socket.

What a program writes goes into the connection's send buffer at once and leaves at the end of the turn, together with what others wrote;
what does not fit waits here, and counts as the write buffer.
"""

import asyncio
import os
import sys
from asyncio import constants
from asyncio.log import logger
from collections import deque
from contextvars import Context as Variables
from typing import Any

from fastnet.aio.options import TransportSocket
from fastnet.aio.reactor import LoopDoor, Reactor
from fastnet.names import shown
from fastnet.sockopt import Options
from fastnet.tcp.connection import Connection
from fastnet.tcp.context import Endpoint
from fastnet.tcp.states import State

CLOSED = int(State.CLOSED)
CHUNK = 256 * 1024
"""Bytes that a protocol is given at a time, as by asyncio; the others have their turn before it gets more."""
HIGH_WATER = 64 * 1024
"""asyncio's bound of the write buffer above which ``pause_writing`` is called; a quarter of it is the lower one."""
MANY_LOST_WRITES = 5
"""asyncio's LOG_THRESHOLD_FOR_CONNLOST_WRITES."""
KNOWS_TRANSPORTS = sys.version_info >= (3, 13)
"""An ``asyncio.Server`` of Python 3.13 keeps the transports that it counts, for ``close_clients``."""


class Transport(LoopDoor):
    """A connection as asyncio's programs know it.

    :param loop: whose thread everything happens in
    :param reactor: what drives the stack there
    :param connection: established
    :param protocol: what is called back; its ``connection_made`` is the caller's to call, and ``start`` after that
    :param variables: the context that callbacks run in
    :param options: the socket options that the connection begins with
    :param server: the ``asyncio.Server`` that it counts for, or None
    :param socket: what ``get_extra_info("socket")`` gives, if it is there already
    """

    __slots__ = (
        "__weakref__", "_buffered", "_closing", "_connection", "_data_received", "_eof_seen", "_eof_written", "_error", "_high", "_loop",
        "_lost", "_low", "_options", "_paused", "_pending", "_pending_size", "_protocol", "_protocol_paused", "_server", "_socket",
        "_variables",
    )  # fmt: skip

    def __init__(
        self,
        loop: Any,
        reactor: Reactor,
        connection: Connection,
        protocol: Any,
        variables: Variables,
        options: Options,
        server: Any = None,
        socket: TransportSocket | None = None,
    ) -> None:
        self.reactor = reactor
        self._loop = loop
        self._connection = connection
        self._variables = variables
        self._options = options
        self._socket = socket
        self._pending: deque[memoryview] | None = None
        self._pending_size = 0
        self._high = HIGH_WATER
        self._low = HIGH_WATER // 4
        self._closing = False
        self._paused = False
        self._protocol_paused = False
        self._eof_seen = False
        self._eof_written = False
        # Times that ``write`` was called for nothing, once the end is due.
        self._lost = 0
        self._error: BaseException | None = None
        self.set_protocol(protocol)
        # asyncio's own transports do without Nagle's algorithm.
        connection.nodelay = True
        self._server = server
        if server is not None:
            if KNOWS_TRANSPORTS:
                server._attach(self)
            else:
                server._attach()

    def __repr__(self) -> str:
        state = "closed" if self._protocol is None else "closing" if self._closing else State(self._connection.state).name
        return f"<fastnet.aio.Transport {state} peername={self.get_extra_info('peername')} write buffer={self._pending_size}>"

    # ---- what programs ask ----

    @property
    def _start_tls_compatible(self) -> bool:
        # loop.start_tls() looks for it, and loop.sendfile() for the next.
        return True

    @property
    def _sendfile_compatible(self) -> Any:
        return constants._SendfileMode.FALLBACK

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``peername``, ``sockname``, and ``socket``, which is for its options."""
        flow = self._connection.handshake.flow
        if name == "peername":
            return shown(self._options.family, flow.remote_address, flow.remote_port)
        if name == "sockname":
            return shown(self._options.family, flow.local_address, flow.local_port)
        if name == "socket":
            if self._socket is None:
                self._socket = TransportSocket(self.reactor, self._connection, self._options.inherited())
            return self._socket
        return default

    def set_protocol(self, protocol: Any) -> None:
        """Have another protocol called back."""
        self._protocol = protocol
        self._buffered = isinstance(protocol, asyncio.BufferedProtocol)
        self._data_received: Any = None if self._buffered else getattr(protocol, "data_received", None)

    def get_protocol(self) -> Any:
        """Who is called back."""
        return self._protocol

    def is_closing(self) -> bool:
        """Is it closed, or about to be?"""
        return bool(self._closing)

    def is_reading(self) -> bool:
        """Does the protocol get what arrives?"""
        return not self._closing and not self._paused

    # ---- reading ----

    def pause_reading(self) -> None:
        """Keep what arrives in the receive buffer; when that is full, the peer's window shuts."""
        if self.is_reading():
            self._paused = True

    def resume_reading(self) -> None:
        """Go on, with the next turn."""
        if self._closing or not self._paused:
            return
        self._paused = False
        self.wake()

    def endpoint(self) -> Endpoint:
        """The connection."""
        return self._connection

    def start(self) -> None:
        """The protocol knows the transport: from now on it hears of the connection's news."""
        if self._protocol is not None:
            self._connection.owner = self
            self.wake()

    def wake(self) -> None:
        """Have another look in the next turn."""
        self.reactor.again(self._connection)

    def news(self, now: int) -> None:
        """The connection has news: room, bytes, an end."""
        if self._pending_size:
            self.write_pending(now)
        if not self._paused and not self._closing:
            self.read(now)

    def read(self, now: int) -> None:
        """Give the protocol a chunk of what arrived; when there is nothing, tell it of an end."""
        connection = self._connection
        receiver = connection.receiver
        if receiver is not None and receiver.buffer.length and not self._eof_seen:
            try:
                if self._buffered:
                    self._variables.run(self.fill_buffer)
                else:
                    data = connection.receive(CHUNK)
                    self._variables.run(self._data_received, data)
            except (SystemExit, KeyboardInterrupt):
                raise
            # Whatever a protocol raises ends its connection, and no other.
            except BaseException as error:
                self.fatal_error(error, "Fatal error: protocol.data_received() call failed.")
                return
            if self._paused or self._closing:
                return
            if receiver.buffer.length or self.reactor.queue:
                # More of it, or what the callback has set going, comes before an end.
                if receiver.buffer.length or connection.fin_received or connection.state == CLOSED:
                    self.reactor.again(connection)
                return
        if connection.error:
            number, connection.error = connection.error, 0
            self.fatal_error(OSError(number, os.strerror(number)), "Fatal read error on socket transport")
        elif connection.fin_received:
            if not self._eof_seen:
                self.end_seen()
        elif connection.state == CLOSED:
            self.force_close(None)

    def fill_buffer(self) -> None:
        """A chunk for a ``BufferedProtocol``, straight from the receive buffer."""
        connection = self._connection
        protocol = self._protocol
        buffer = protocol.get_buffer(-1)
        if not len(buffer):
            raise RuntimeError("get_buffer() returned an empty buffer")
        view = memoryview(buffer)
        if view.format != "B" or view.ndim != 1:
            view = view.cast("B")
        receiver = connection.need_receiver(0)
        count = receiver.buffer.take_into(view)
        connection.was_read()
        protocol.buffer_updated(count)

    def end_seen(self) -> None:
        """The peer's FIN, and everything before it has been read."""
        self._eof_seen = True
        try:
            keep_open = self._variables.run(self._protocol.eof_received)
        except (SystemExit, KeyboardInterrupt):
            raise
        # As above.
        except BaseException as error:
            self.fatal_error(error, "Fatal error: protocol.eof_received() call failed.")
            return
        if not keep_open:
            self.close()

    # ---- writing ----

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue bytes; they leave at the end of the turn.

        :raises TypeError: not bytes
        :raises RuntimeError: after ``write_eof``
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        if not len(data):
            return
        if self._lost:
            if self._lost >= MANY_LOST_WRITES:
                logger.warning("socket.send() raised exception.")
            self._lost += 1
            return
        if self._pending_size == 0:
            try:
                sent = self._connection.send(data)
            except OSError as error:
                self.fatal_error(error, "Fatal write error on socket transport")
                return
            if type(data) is bytes and sent == len(data):
                return
        else:
            sent = 0
        # Bytes that cannot change are kept as they are; others are copied.
        view = memoryview(data if isinstance(data, bytes) else bytes(data))[sent:]
        if not len(view):
            return
        if self._pending is None:
            self._pending = deque()
        self._pending.append(view)
        self._pending_size += len(view)
        self.maybe_pause_protocol()

    def writelines(self, list_of_data: Any) -> None:
        """Write all of them, in one go."""
        self.write(b"".join(list_of_data))

    def write_pending(self, now: int) -> None:
        """There is room again."""
        connection = self._connection
        pending = self._pending
        if pending is None:
            return
        try:
            while pending:
                view = pending[0]
                sent = connection.send(view)
                self._pending_size -= sent
                if sent < len(view):
                    if sent:
                        pending[0] = view[sent:]
                    break
                pending.popleft()
        except OSError as error:
            pending.clear()
            self._pending_size = 0
            self.fatal_error(error, "Fatal write error on socket transport")
            return
        self.maybe_resume_protocol()
        if self._pending_size or self._lost:
            return
        if self._closing:
            self._lost += 1
            self.close_connection(now)
            self.lost()
        elif self._eof_written:
            connection.shutdown()

    def write_eof(self) -> None:
        """Send a FIN once everything has been sent; the peer may go on."""
        if self._closing or self._eof_written:
            return
        self._eof_written = True
        if self._pending_size == 0:
            self._connection.shutdown()

    def can_write_eof(self) -> bool:
        """TCP can."""
        return True

    # ---- flow control ----

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """The marks at which the protocol is told to pause and to resume, bytes.

        :raises ValueError: not 0 <= low <= high
        """
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high = high
        self._low = low
        self.maybe_pause_protocol()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The low and the high mark, bytes."""
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """Bytes that the connection has not taken yet."""
        return self._pending_size

    def maybe_pause_protocol(self) -> None:
        """Too much is waiting: tell the protocol, once."""
        if self._pending_size <= self._high or self._protocol_paused:
            return
        self._protocol_paused = True
        self.tell_of_flow("pause_writing")

    def maybe_resume_protocol(self) -> None:
        """Enough of it has gone."""
        if self._protocol_paused and self._pending_size <= self._low:
            self._protocol_paused = False
            self.tell_of_flow("resume_writing")

    def tell_of_flow(self, name: str) -> None:
        """Call ``pause_writing`` or ``resume_writing``; what it raises is reported, and ends nothing."""
        try:
            getattr(self._protocol, name)()
        except (SystemExit, KeyboardInterrupt):
            raise
        # asyncio has it so.
        except BaseException as error:
            self._loop.call_exception_handler(
                {"message": f"protocol.{name}() failed", "exception": error, "transport": self, "protocol": self._protocol}
            )

    # ---- the end ----

    def close(self) -> None:
        """Read no more, send what waits, then close; ``connection_lost(None)`` follows."""
        if self._closing:
            return
        self._closing = True
        if self._pending_size == 0:
            self._lost += 1
            # At once: so the FIN leaves with the last bytes.
            self.close_connection(self.reactor.clock())
            self.call_connection_lost_soon(None)

    def abort(self) -> None:
        """Close without waiting for what waits here; the stack still sends what it has taken."""
        self.force_close(None)

    def fatal_error(self, error: BaseException, message: str) -> None:
        """Close for an error; what a peer or a network can cause is no news to the loop's exception handler."""
        if isinstance(error, OSError):
            if self._loop.get_debug():
                logger.debug("%r: %s", self, message, exc_info=True)
        else:
            self._loop.call_exception_handler(
                {"message": message, "exception": error, "transport": self, "protocol": self._protocol}
            )
        self.force_close(error)

    def _force_close(self, error: BaseException | None) -> None:
        # asyncio.sslproto calls it by this name.
        self.force_close(error)

    def fail(self, error: BaseException) -> None:
        """The device has failed: at once, also while reading is paused or the rest of what was written waits."""
        self.force_close(error)

    def force_close(self, error: BaseException | None) -> None:
        """Close at once; the protocol hears why, soon."""
        if self._lost:
            return
        if self._pending is not None:
            self._pending.clear()
            self._pending_size = 0
        self._closing = True
        self._lost += 1
        self.close_connection(self.reactor.clock())
        self.call_connection_lost_soon(error)

    def close_connection(self, now: int) -> None:
        """Let the stack do the rest alone, as a closed socket."""
        connection = self._connection
        if self._socket is not None and self._socket.resets_on_close():
            connection.abort(now)
        connection.close(now)

    def call_connection_lost_soon(self, error: BaseException | None) -> None:
        """Before anything that is asked for after this."""
        self._error = error
        if not self.reactor.soon(self):
            self._loop.call_soon(self.call_connection_lost)

    def lost(self) -> None:
        """The end of the turn."""
        try:
            self.call_connection_lost()
        except (SystemExit, KeyboardInterrupt):
            raise
        # As asyncio's handles report it.
        except BaseException as error:
            self._loop.call_exception_handler({"message": "protocol.connection_lost() failed", "exception": error, "transport": self})

    def call_connection_lost(self) -> None:
        """The last callback; afterwards nothing holds anything."""
        protocol = self._protocol
        try:
            self._variables.run(protocol.connection_lost, self._error)
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Forget the protocol and the server; the connection stays for its names."""
        connection = self._connection
        if connection.owner is self:
            connection.owner = None
        self._protocol = None
        self._data_received = None
        self._error = None
        server = self._server
        if server is not None:
            self._server = None
            if KNOWS_TRANSPORTS:
                server._detach(self)
            else:
                server._detach()
