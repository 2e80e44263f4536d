"""Sockets over a fastnet stack, shaped like those of the standard library.

    driver = Driver(Stack(device, ("198.18.0.2",))).start()
    listener = Socket(driver)
    listener.bind(("0.0.0.0", 8080))
    listener.listen()
    connection, peer = listener.accept()

What a call does, what it waits for and what it raises is what ``socket.socket`` of family AF_INET, type SOCK_STREAM does, waits for and
raises on Linux. Not there yet: ``connect``, ``fileno`` for selectors, urgent data.
"""

import builtins
import errno
import os
import random
import socket as stdlib
import struct
import threading
import time
from types import TracebackType
from typing import NoReturn, Self

from fastnet.driver import Driver
from fastnet.tcp.connection import Connection
from fastnet.tcp.listener import Listener
from fastnet.tcp.states import State

SHUT_RD = stdlib.SHUT_RD
SHUT_WR = stdlib.SHUT_WR
SHUT_RDWR = stdlib.SHUT_RDWR
EPHEMERAL = range(32768, 61000)
"""Ports that ``bind`` to port 0 draws from (ip_local_port_range)."""

Address = tuple[str, int]
Buffer = bytes | bytearray | memoryview


def _fail(number: int) -> NoReturn:
    raise OSError(number, os.strerror(number))


class Socket:
    """A TCP socket.

    :param driver: whose stack it belongs to
    """

    family = stdlib.AF_INET
    type = stdlib.SOCK_STREAM
    proto = stdlib.IPPROTO_TCP

    def __init__(self, driver: Driver, _connection: Connection | None = None) -> None:
        self._driver = driver
        self._changed = threading.Condition(driver.lock)
        self._connection = _connection
        self._listener: Listener | None = None
        self._name: Address | None = None
        self._timeout: float | None = None
        self._closed = False
        self._shut_read = False
        self._reuse = False
        self._linger: tuple[bool, int] = (False, 0)
        self._nodelay = False
        if _connection is not None:
            _connection.owner = self
            flow = _connection.handshake.flow
            self._name = (flow.local_address, flow.local_port)

    def wake(self) -> None:
        """Called by the driver, with its lock held, when there is something to see."""
        self._changed.notify_all()

    # ---- names ----

    def bind(self, address: Address) -> None:
        """Take a local address and port; port 0 draws a free one, "" and "0.0.0.0" stand for any address.

        :raises OSError: EINVAL (has a name already), EADDRNOTAVAIL (not an address of the stack), EADDRINUSE
        """
        host, port = self._check_address(address)
        with self._driver.lock:
            self._check_open()
            if self._name is not None:
                _fail(errno.EINVAL)
            self._bind(host, port)

    def _bind(self, host: str, port: int) -> None:
        if port == 0:
            port = self._free_port(host)
        elif not self._is_free(host, port):
            _fail(errno.EADDRINUSE)
        self._name = (host, port)
        self._driver.bound.setdefault(self._name, []).append(self)

    def _check_address(self, address: Address) -> Address:
        if not isinstance(address, tuple) or len(address) != 2:
            raise TypeError(f"an address is a pair (host, port), not {address!r}")
        host, port = address
        if not isinstance(host, str) or not isinstance(port, int):
            raise TypeError(f"an address is a pair (str, int), not {address!r}")
        if not 0 <= port <= 65535:
            raise OverflowError("bind(): port must be 0-65535.")
        host = host or "0.0.0.0"
        try:
            packed = stdlib.inet_aton(host)
        except OSError:
            raise stdlib.gaierror(stdlib.EAI_NONAME, f"{host!r} is not an IPv4 address") from None
        host = stdlib.inet_ntoa(packed)
        if host != "0.0.0.0" and not self._driver.stack.is_local(host):
            _fail(errno.EADDRNOTAVAIL)
        return host, port

    def _is_free(self, host: str, port: int) -> bool:
        for (other, other_port), sockets in self._driver.bound.items():
            if other_port != port or "0.0.0.0" not in (host, other) and host != other:
                continue
            # Two sockets may share a port only if both say so; and one exact name has one listener.
            if not self._reuse or any(not socket._reuse or host == other and socket._listener for socket in sockets):
                return False
        if self._reuse:
            return True
        # Without SO_REUSEADDR, what is left of earlier connections (TIME-WAIT among them) keeps the port too.
        return not self._driver.stack.has_connection(host, port)

    def _free_port(self, host: str) -> int:
        start = random.randrange(len(EPHEMERAL))
        for i in range(len(EPHEMERAL)):
            port = EPHEMERAL[(start + i) % len(EPHEMERAL)]
            if self._is_free(host, port):
                return port
        _fail(errno.EADDRINUSE)

    def getsockname(self) -> Address:
        """Local address and port; ("0.0.0.0", 0) before ``bind``."""
        self._check_open()
        return self._name or ("0.0.0.0", 0)

    def getpeername(self) -> Address:
        """The peer's address and port.

        :raises OSError: ENOTCONN
        """
        with self._driver.lock:
            connection = self._need_connection()
            if connection.state == State.CLOSED:
                _fail(errno.ENOTCONN)
            flow = connection.handshake.flow
            return flow.remote_address, flow.remote_port

    # ---- listening ----

    def listen(self, backlog: int = 128) -> None:
        """Passive OPEN. A socket without a name gets an ephemeral port, as on Linux; on a listener, set a new backlog.

        :raises OSError: EINVAL (connected), EADDRINUSE
        """
        with self._driver.lock:
            self._check_open()
            if self._connection is not None:
                _fail(errno.EINVAL)
            if self._listener is not None:
                self._listener.set_backlog(backlog)
                return
            if self._name is None:
                self._bind("0.0.0.0", 0)
            assert self._name is not None
            self._listener = self._driver.stack.listen(*self._name, backlog)
            self._listener.owner = self

    @property
    def listener(self) -> Listener | None:
        """What listens: its settings, statistics and policy (``set``, ``statistics()``, ``set_policy``); None before ``listen``.

        Hold the driver's lock where its thread polls.
        """
        return self._listener

    def accept(self) -> tuple["Socket", Address]:
        """Wait for a connection; its socket, and the peer's address.

        :raises OSError: EINVAL (not listening)
        :raises BlockingIOError, TimeoutError: none came, and the socket does not wait, or not so long
        """
        deadline = self._deadline()
        with self._driver.lock:
            while True:
                self._check_open()
                if self._listener is None:
                    _fail(errno.EINVAL)
                connection = self._listener.accept()
                if connection is not None:
                    flow = connection.handshake.flow
                    return Socket(self._driver, connection), (flow.remote_address, flow.remote_port)
                self._wait(deadline)

    # ---- data ----

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """At least one byte and at most ``bufsize``; b"" at the end. Flags: MSG_DONTWAIT, MSG_PEEK.

        :raises OSError: ENOTCONN; ECONNRESET when the peer reset the connection
        """
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        deadline = self._deadline(flags)
        with self._driver.lock:
            while True:
                connection = self._need_connection()
                if connection.readable():
                    if flags & stdlib.MSG_PEEK:
                        assert connection.receiver is not None
                        return connection.receiver.buffer.peek(0, bufsize)
                    data = connection.receive(bufsize)
                    self._driver.flush()
                    return data
                if bufsize == 0 or connection.fin_received or self._shut_read:
                    return b""
                self._raise_error(connection)
                if connection.state == State.CLOSED:
                    return b""
                self._wait(deadline)

    def recv_into(self, buffer: bytearray | memoryview, nbytes: int = 0, flags: int = 0) -> int:
        """As ``recv``, into a buffer; the number of bytes."""
        view = memoryview(buffer).cast("B")
        data = self.recv(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data)

    def send(self, data: Buffer, flags: int = 0) -> int:
        """Queue bytes to send, at least one; how many were taken.

        :raises BrokenPipeError: our side is closed, or was never connected
        :raises OSError: ECONNRESET, ETIMEDOUT when the connection failed
        """
        deadline = self._deadline(flags)
        view = memoryview(data).cast("B")
        with self._driver.lock:
            while True:
                connection = self._need_connection(errno.EPIPE)
                self._raise_error(connection)
                taken = connection.send(view)
                if taken or not len(view):
                    self._driver.flush()
                    return taken
                self._wait(deadline)

    def sendall(self, data: Buffer, flags: int = 0) -> None:
        """Queue all bytes; on an error nobody knows how many went out."""
        deadline = self._deadline(flags)
        view = memoryview(data).cast("B")
        with self._driver.lock:
            while len(view):
                connection = self._need_connection(errno.EPIPE)
                self._raise_error(connection)
                taken = connection.send(view)
                if taken:
                    self._driver.flush()
                    view = view[taken:]
                else:
                    self._wait(deadline)

    def shutdown(self, how: int) -> None:
        """Close one direction, or both.

        :raises OSError: ENOTCONN, EINVAL (not SHUT_RD, SHUT_WR or SHUT_RDWR)
        """
        with self._driver.lock:
            self._check_open()
            if how not in (SHUT_RD, SHUT_WR, SHUT_RDWR):
                _fail(errno.EINVAL)
            connection = self._need_connection()
            if connection.state == State.CLOSED:
                _fail(errno.ENOTCONN)
            if how != SHUT_WR:
                self._shut_read = True
            if how != SHUT_RD:
                connection.shutdown()
                self._driver.flush()
            self.wake()

    def close(self) -> None:
        """Let go. Bytes left unread, or SO_LINGER of 0 s, make it a RST; SO_LINGER of some seconds waits for the last ACK."""
        with self._driver.lock:
            if self._closed:
                return
            self._closed = True
            now = self._driver.stack.clock()
            if self._name is not None and self in self._driver.bound.get(self._name, ()):
                self._driver.bound[self._name].remove(self)
                if not self._driver.bound[self._name]:
                    del self._driver.bound[self._name]
            if self._listener is not None:
                self._listener.close(now)
            connection = self._connection
            if connection is not None:
                on, seconds = self._linger
                if on and seconds == 0:
                    connection.abort(now)
                else:
                    connection.close(now)
                self._driver.flush()
                if on and seconds:
                    self._wait_for_last_ack(connection, time.monotonic() + seconds)
            self.wake()

    def _wait_for_last_ack(self, connection: Connection, deadline: float) -> None:
        unacknowledged = (State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK)
        while connection.state in unacknowledged and self._driver.wait(self._changed, deadline):
            pass

    # ---- options ----

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """SO_REUSEADDR, SO_LINGER, TCP_NODELAY, SO_KEEPALIVE is not there yet.

        :raises OSError: ENOPROTOOPT (an option that is not there), EINVAL
        """
        with self._driver.lock:
            self._check_open()
            if (level, option) == (stdlib.SOL_SOCKET, stdlib.SO_LINGER):
                if isinstance(value, int) or len(value) != 8:
                    _fail(errno.EINVAL)
                on, seconds = struct.unpack("ii", value)
                self._linger = (bool(on), seconds)
                return
            number = value if isinstance(value, int) else int.from_bytes(value, "little")
            if (level, option) == (stdlib.SOL_SOCKET, stdlib.SO_REUSEADDR):
                self._reuse = bool(number)
            elif (level, option) == (stdlib.IPPROTO_TCP, stdlib.TCP_NODELAY):
                self._nodelay = bool(number)
                if self._connection is not None:
                    self._connection.nodelay = bool(number)
                    if number:
                        self._connection.send_soon()
                        self._driver.flush()
            else:
                _fail(errno.ENOPROTOOPT)

    def getsockopt(self, level: int, option: int, buflen: int = 0) -> int | bytes:
        """The options of ``setsockopt``, SO_ERROR, SO_TYPE, SO_ACCEPTCONN.

        :raises OSError: ENOPROTOOPT
        """
        with self._driver.lock:
            self._check_open()
            if (level, option) == (stdlib.SOL_SOCKET, stdlib.SO_LINGER):
                packed = struct.pack("ii", *self._linger)
                return packed if buflen else int.from_bytes(packed[:4], "little")
            if (level, option) == (stdlib.IPPROTO_TCP, stdlib.TCP_NODELAY):
                return int(self._nodelay)
            if level == stdlib.SOL_SOCKET:
                if option == stdlib.SO_REUSEADDR:
                    return int(self._reuse)
                if option == stdlib.SO_TYPE:
                    return int(self.type)
                if option == stdlib.SO_ACCEPTCONN:
                    return int(self._listener is not None)
                if option == stdlib.SO_ERROR:
                    error = self._connection.error if self._connection is not None else 0
                    if self._connection is not None:
                        self._connection.error = 0
                    return error
            _fail(errno.ENOPROTOOPT)

    def settimeout(self, value: float | None) -> None:
        """Seconds that a call may wait; 0 for not at all, None for as long as it takes."""
        if value is not None and value < 0:
            raise ValueError("Timeout value out of range")
        self._timeout = value

    def gettimeout(self) -> float | None:
        """What ``settimeout`` set."""
        return self._timeout

    def setblocking(self, flag: bool) -> None:
        """``settimeout(None)`` or ``settimeout(0)``."""
        self._timeout = None if flag else 0.0

    def getblocking(self) -> bool:
        """False when calls never wait."""
        return self._timeout != 0.0

    # ---- the rest ----

    @property
    def state(self) -> State:
        """STATUS: the state of RFC 9293 that the socket is in."""
        if self._listener is not None and not self._closed:
            return State.LISTEN
        return State(self._connection.state) if self._connection is not None else State.CLOSED

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: builtins.type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<fastnet.socket.Socket {self.state.name} laddr={self._name}>"

    def _check_open(self) -> None:
        if self._closed:
            _fail(errno.EBADF)

    def _need_connection(self, otherwise: int = errno.ENOTCONN) -> Connection:
        self._check_open()
        if self._connection is None:
            _fail(otherwise)
        return self._connection

    def _raise_error(self, connection: Connection) -> None:
        # As SO_ERROR: told once; after that the connection is just closed.
        error = connection.error
        if error:
            connection.error = 0
            _fail(error)

    def _deadline(self, flags: int = 0) -> float | None:
        if flags & stdlib.MSG_DONTWAIT or self._timeout == 0.0:
            return 0.0
        return None if self._timeout is None else time.monotonic() + self._timeout

    def _wait(self, deadline: float | None) -> None:
        if deadline == 0.0:
            if not self._driver.threaded:
                # By hand: give the stack one turn, so that a loop over a non-blocking socket gets somewhere.
                self._driver.step(0)
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        if not self._driver.wait(self._changed, deadline):
            raise TimeoutError("timed out")
