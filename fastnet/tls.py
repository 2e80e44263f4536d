"""TLS over a fastnet socket.

The standard library's ``SSLSocket`` gives OpenSSL a descriptor to read and write. Here OpenSSL reads and writes memory
(``ssl.MemoryBIO``), and what lies there is carried to and from the socket.
"""

import contextlib
import ssl
from collections.abc import Callable
from typing import Any, cast

from fastnet.socket import Socket

HEADER = 5
"""Bytes of a TLS record's header; the last two are the length of what follows (RFC 8446 section 5.1)."""


class Carrier:
    """What an ``SSLSocket`` takes for OpenSSL's object: the same calls, over memory.

    It reads one record at a time, as OpenSSL does, so that a descriptor is readable while there is a record to come.

    :param sock: the socket, of which the plain bytes are used
    """

    def __init__(self, sock: "TlsSocket", context: ssl.SSLContext, server_side: bool, hostname: str | None, session: Any) -> None:
        self._sock = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = cast("Any", context)._wrap_bio(
            self._incoming, self._outgoing, server_side, hostname, owner=sock, session=session
        )
        self._header = b""
        self._left = 0
        # Of the outgoing memory, what the socket has not taken; and bytes that were written and not told of.
        self._unsent = memoryview(b"")
        self._written = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._object, name)

    @property
    def session(self) -> Any:
        """The TLS session."""
        return self._object.session

    @session.setter
    def session(self, session: Any) -> None:
        self._object.session = session

    def do_handshake(self) -> None:
        """The handshake."""
        self._carry(self._object.do_handshake)
        self._flush()

    def read(self, size: int = 1024, buffer: Any = None) -> Any:
        """Decrypted bytes, or how many were put into a buffer."""
        result = self._carry(self._object.read, size) if buffer is None else self._carry(self._object.read, size, buffer)
        # TLS may have had something to answer. What was read is not lost for it.
        with contextlib.suppress(ssl.SSLWantWriteError):
            self._flush()
        return result

    def write(self, data: Any) -> int:
        """Encrypt and send; how many bytes.

        :raises ssl.SSLWantWriteError: the socket does not wait, and has not taken all: call again with the same bytes
        """
        if not self._written:
            self._flush()
            self._written = self._carry(self._object.write, data)
        self._flush()
        written, self._written = self._written, 0
        return written

    def shutdown(self) -> "TlsSocket":
        """Say that no more is to come, and wait until the peer says so too."""
        self._carry(self._object.shutdown)
        self._flush()
        return self._sock

    def _carry(self, call: Callable[..., Any], *args: Any) -> Any:
        while True:
            try:
                return call(*args)
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            except ssl.SSLError:
                # The alert that tells the peer, if it can be told.
                with contextlib.suppress(OSError):
                    self._flush()
                raise

    def _fill(self) -> None:
        try:
            data = Socket.recv(self._sock, self._left or HEADER - len(self._header))
        except BlockingIOError:
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "The operation did not complete (read)") from None
        if not data:
            self._incoming.write_eof()
            return
        self._incoming.write(data)
        if self._left:
            self._left -= len(data)
            return
        self._header += data
        if len(self._header) == HEADER:
            self._left = int.from_bytes(self._header[3:], "big")
            self._header = b""

    def _flush(self) -> None:
        while len(self._unsent) or self._outgoing.pending:
            if not len(self._unsent):
                self._unsent = memoryview(self._outgoing.read())
            try:
                self._unsent = self._unsent[Socket.send(self._sock, self._unsent) :]
            except BlockingIOError:
                raise ssl.SSLWantWriteError(ssl.SSL_ERROR_WANT_WRITE, "The operation did not complete (write)") from None


class TlsSocket(ssl.SSLSocket, Socket):  # type: ignore[misc]
    """An ``ssl.SSLSocket``, as ``wrap_socket`` makes it."""

    def _start(self) -> None:
        base = cast("Any", self)
        base._connected = True
        base._sslobj = Carrier(self, self.context, self.server_side, self.server_hostname, base._session)
        if base.do_handshake_on_connect:
            if self.gettimeout() == 0.0:
                raise ValueError("do_handshake_on_connect should not be specified for non-blocking sockets")
            self.do_handshake()

    def connect(self, address: Any) -> None:
        """As ``Socket.connect``, then the handshake."""
        self._refuse_server()
        Socket.connect(self, address)
        self._start()

    def connect_ex(self, address: Any) -> int:
        """As ``connect``, but its errno is returned; the handshake raises."""
        self._refuse_server()
        number = Socket.connect_ex(self, address)
        if not number:
            self._start()
        return number

    def _refuse_server(self) -> None:
        if self.server_side:
            raise ValueError("can't connect in server-side mode")
        if cast("Any", self)._connected:
            raise ValueError("attempt to connect already-connected SSLSocket!")

    def accept(self) -> tuple["TlsSocket", Any]:
        """As ``Socket.accept``, then the handshake."""
        accepted, address = Socket.accept(self)
        base = cast("Any", self)
        return wrap_socket(
            self.context, accepted, True, base.do_handshake_on_connect, base.suppress_ragged_eofs
        ), address


def wrap_socket(
    context: ssl.SSLContext,
    sock: Socket,
    server_side: bool = False,
    do_handshake_on_connect: bool = True,
    suppress_ragged_eofs: bool = True,
    server_hostname: str | None = None,
    session: Any = None,
) -> TlsSocket:
    """What ``context.wrap_socket`` does, for a fastnet socket, which is detached.

    :raises ValueError: arguments that do not go together, as in the standard library
    :raises ssl.SSLError: the handshake failed
    """
    if server_side and (server_hostname or session is not None):
        raise ValueError("server_hostname and session can only be specified in client mode")
    if context.check_hostname and not server_hostname and not server_side:
        raise ValueError("check_hostname requires server_hostname")
    wrapped = TlsSocket.__new__(TlsSocket)
    Socket.__init__(wrapped, sock._driver, sock.fileno())
    wrapped.settimeout(sock.gettimeout())
    sock.detach()
    base = cast("Any", wrapped)
    base._context = context
    base._session = session
    base._sslobj = None
    base._connected = False
    base.server_side = server_side
    base.server_hostname = cast("Any", context)._encode_hostname(server_hostname)
    base.do_handshake_on_connect = do_handshake_on_connect
    base.suppress_ragged_eofs = suppress_ragged_eofs
    try:
        wrapped.getpeername()
    except OSError:
        return wrapped
    try:
        wrapped._start()
    except (OSError, ValueError):
        wrapped.close()
        raise
    return wrapped
