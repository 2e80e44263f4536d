"""The modes after the small services of old: echo (RFC 862), discard (RFC 863), chargen (RFC 864), and accept-close."""

from fastnet.server.base import LoadServer, Session
from fastnet.tcp.connection import Connection

LINE = 72
_PRINTABLE = bytes(range(0x20, 0x7F))
PATTERN = b"".join((_PRINTABLE * 2)[i : i + LINE] + b"\r\n" for i in range(len(_PRINTABLE)))
"""All 95 lines of RFC 864's pattern."""
CHARGEN = PATTERN * 9
"""As much of it as one write takes: about what goes into one packet of a device that cuts segments itself."""


class _EchoSession(Session):
    __slots__ = ()

    def received(self, data: bytes, now: int) -> None:
        self.write(data)


class _ChargenSession(Session):
    __slots__ = ()

    def writable(self, now: int) -> None:
        while not self.pending and self.connection.writable() and not self.connection.fin_received:
            self.write(CHARGEN)

    def ended(self, now: int) -> None:
        # Who has shut down its side wants no more characters.
        self.pending = None
        self.connection.close(now)


class Echo:
    """Sends back what it gets."""

    name = "echo"

    def opened(self, connection: Connection, server: LoadServer, now: int) -> Session:
        """A session that echoes."""
        return _EchoSession(connection, server)


class Discard:
    """Reads and forgets."""

    name = "discard"

    def opened(self, connection: Connection, server: LoadServer, now: int) -> Session:
        """A session that reads."""
        return Session(connection, server)


class Chargen:
    """Sends RFC 864's pattern for as long as the peer takes it."""

    name = "chargen"

    def opened(self, connection: Connection, server: LoadServer, now: int) -> Session:
        """A session that writes."""
        return _ChargenSession(connection, server)


class AcceptClose:
    """Closes each connection as soon as it is accepted.

    :param reset: with a RST instead of a FIN
    """

    name = "accept-close"

    def __init__(self, reset: bool = False) -> None:
        self.reset = reset

    def opened(self, connection: Connection, server: LoadServer, now: int) -> None:
        """No session: it is over."""
        if self.reset:
            connection.abort(now)
        else:
            connection.close(now)
