"""What ``transport.get_extra_info("socket")`` gives: the socket options and names of a connection, and nothing that reads or writes."""

import socket
import struct
import sys
from typing import TYPE_CHECKING, Any

from fastnet.names import shown
from fastnet.sockopt import Options
from fastnet.tcp.connection import Connection
from fastnet.tcp.states import State
from fastnet.tcpinfo import tcp_info

if TYPE_CHECKING:
    from fastnet.aio.reactor import Reactor


class TransportSocket:
    """As ``asyncio.trsock.TransportSocket``, over a connection of the stack.

    :param reactor: what sends that an option lets go
    :param connection: whose options they are
    :param options: what has been set for it so far
    """

    type = socket.SOCK_STREAM
    proto = socket.IPPROTO_TCP

    @property
    def family(self) -> socket.AddressFamily:
        """AF_INET or AF_INET6."""
        return socket.AddressFamily(self._options.family)

    def __init__(self, reactor: "Reactor", connection: Connection, options: Options) -> None:
        self._reactor = reactor
        self._connection = connection
        self._options = options

    def __repr__(self) -> str:
        return f"<fastnet.aio.TransportSocket laddr={self.getsockname()} raddr={self.getpeername()}>"

    def setblocking(self, flag: bool) -> None:
        """Nothing here waits."""

    def close(self) -> None:
        """Give up a connection that no transport has."""
        self._connection.owner = None
        self._connection.abort(self._reactor.clock())

    @property
    def connection(self) -> Connection:
        """The stack's connection."""
        return self._connection

    @property
    def options(self) -> Options:
        """What has been set."""
        return self._options

    def fileno(self) -> int:
        """-1: there is no descriptor behind it."""
        return -1

    def getsockname(self) -> Any:
        """The local address and port, as ``fastnet.socket.Socket`` has them."""
        flow = self._connection.handshake.flow
        return shown(self._options.family, flow.local_address, flow.local_port)

    def getpeername(self) -> Any:
        """The peer's address and port."""
        flow = self._connection.handshake.flow
        return shown(self._options.family, flow.remote_address, flow.remote_port)

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """Set an option of ``fastnet.sockopt``.

        :raises OSError: ENOPROTOOPT, EINVAL, ENOENT
        """
        raw = struct.pack("i", value) if isinstance(value, int) else bytes(value)
        self._options.set(level, option, raw, self._connection, None)
        # A timer may have been set: the next turn sees it.

    def getsockopt(self, level: int, option: int, buflen: int = 0) -> int | bytes:
        """An option, or TCP_INFO.

        :param buflen: 0 for a number, else the largest number of bytes to return
        :raises OSError: ENOPROTOOPT
        """
        if (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO):
            raw = tcp_info(self._connection, None, self._reactor.clock())
        elif (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            raw = struct.pack("i", self._connection.error)
        elif (level, option) == (socket.SOL_SOCKET, socket.SO_TYPE):
            raw = struct.pack("i", self.type)
        elif (level, option) == (socket.IPPROTO_TCP, socket.TCP_NODELAY):
            # Set by the transport without a call of the program's.
            raw = struct.pack("i", self._connection.nodelay)
        else:
            raw = self._options.get(level, option, self._connection)
        return raw[:buflen] if buflen else int.from_bytes(raw[:4], sys.byteorder, signed=True)

    def resets_on_close(self) -> bool:
        """SO_LINGER of 0 s: a close is a RST."""
        on, seconds = self._options.value(socket.SOL_SOCKET, socket.SO_LINGER)
        return bool(on) and seconds == 0

    @property
    def state(self) -> State:
        """The connection's state."""
        return State(self._connection.state)
