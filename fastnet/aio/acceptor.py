"""The doors of connections that are not transports yet: a listener's, and an open's."""

import asyncio
import errno
import os
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from fastnet.aio.reactor import LoopDoor, Reactor
from fastnet.aio.transport import Transport
from fastnet.sockopt import Options
from fastnet.tcp.connection import Connection
from fastnet.tcp.containment import contain, end
from fastnet.tcp.context import Endpoint
from fastnet.tcp.listener import Listener
from fastnet.tcp.states import State

BATCH = 256
"""Connections that are accepted in one turn; the others have to wait for the next."""
CLOSED = int(State.CLOSED)
OPENING = (int(State.SYN_SENT), int(State.SYN_RECEIVED))


class Acceptor(LoopDoor):
    """Gives every connection of a listener a protocol and a transport.

    :param factory: makes a protocol
    :param options: those of the listening socket, which its connections inherit
    :param wrap: None, or what puts TLS between a protocol and its transport
    """

    __slots__ = ("factory", "listener", "loop", "options", "server", "variables", "wrap")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        reactor: Reactor,
        listener: Listener,
        factory: Callable[[], asyncio.BaseProtocol],
        options: Options,
        server: Any,
        wrap: Callable[[Any], Any] | None,
    ) -> None:
        self.loop = loop
        self.reactor = reactor
        self.listener = listener
        self.factory = factory
        self.options = options
        self.server = server
        self.wrap = wrap
        self.variables = copy_context()
        listener.owner = self
        self.wake()

    def endpoint(self) -> Endpoint:
        """The listener."""
        return self.listener

    def news(self, now: int) -> None:
        """Somebody waits in the accept queue."""
        for _ in range(BATCH):
            connection = self.listener.accept()
            if connection is None:
                return
            if connection.state == CLOSED:
                # Reset while it waited; asyncio's accept would find a socket that fails at once.
                continue
            variables = self.variables.copy()
            try:
                transport = variables.run(self.open, connection, variables, now)
            except BaseException as error:
                # Nobody has the connection. The others in the queue are accepted all the same.
                self.wake()
                if isinstance(error, (SystemExit, KeyboardInterrupt)):
                    end(self.listener.context, connection, None, errno.ECONNABORTED, True)
                    raise
                contain(self.listener.context, connection, None, error, now)
                return
            if transport is not None:
                # What came with the handshake, or right after it, has its turn now.
                connection.owner = transport
                transport.news(now)
        self.wake()

    def open(self, connection: Connection, variables: Any, now: int) -> Transport | None:
        """One connection; what its protocol raises ends it and no other."""
        self.options.apply_to_accepted(connection)
        try:
            protocol: Any = self.factory()
            if self.wrap is not None:
                protocol = self.wrap(protocol)
        except (SystemExit, KeyboardInterrupt):
            raise
        # asyncio reports it and goes on to accept.
        except BaseException as error:
            connection.close(now)
            self.loop.call_exception_handler({"message": "Error on transport creation for incoming connection", "exception": error})
            return None
        transport = Transport(self.loop, self.reactor, connection, protocol, variables, self.options, self.server)
        try:
            protocol.connection_made(transport)
        except (SystemExit, KeyboardInterrupt):
            raise
        # As asyncio's handles have it; the connection stays open there too.
        except BaseException as error:
            self.loop.call_exception_handler(
                {"message": "protocol.connection_made() failed", "exception": error, "transport": transport, "protocol": protocol}
            )
        return transport

    def fail(self, error: BaseException) -> None:
        """Nobody will connect any more: close the server, whose ``serve_forever`` raises the error."""
        server = self.server
        if server is not None:
            waiting = getattr(server, "_serving_forever_fut", None)
            if waiting is not None and not waiting.done():
                waiting.set_exception(error)
            server.close()

    def close(self) -> None:
        """Listen no more; who waits in the accept queue is reset."""
        self.listener.owner = None


class Opening(LoopDoor):
    """Waits for the outcome of an active open.

    :ivar done: its result: None, or the error that ended it
    """

    __slots__ = ("connection", "done")

    def __init__(self, reactor: Reactor, connection: Connection, done: "asyncio.Future[None]") -> None:
        self.reactor = reactor
        self.connection = connection
        self.done = done
        connection.owner = self

    def endpoint(self) -> Endpoint:
        """The connection."""
        return self.connection

    def news(self, now: int) -> None:
        """Established, refused, or something else that does not matter yet."""
        connection = self.connection
        if connection.state in OPENING or self.done.done():
            return
        if connection.error:
            self.done.set_exception(OSError(connection.error, os.strerror(connection.error)))
        else:
            self.done.set_result(None)

    def fail(self, error: BaseException) -> None:
        """There will be no outcome."""
        if not self.done.done():
            self.done.set_exception(error)

