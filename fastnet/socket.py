"""Sockets over a fastnet stack, shaped like those of the standard library.

    driver = Driver(Stack(device, ("198.18.0.2",))).start()
    listener = Socket(driver)
    listener.bind(("0.0.0.0", 8080))
    listener.listen()
    connection, peer = listener.accept()

    client = create_connection(driver, ("198.18.0.1", 80), timeout=5)

What a call does, what it waits for and what it raises is what ``socket.socket`` of family AF_INET, type SOCK_STREAM does, waits for and
raises on Linux. Hosts are IPv4 addresses: there is no resolver.
"""

import builtins
import errno
import os
import socket as stdlib
import struct
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from fastnet.descriptor import ENDED, ERROR, HANG_UP, READ_HANG_UP, READABLE, WRITABLE, Descriptor
from fastnet.driver import Driver
from fastnet.sockopt import Options, fail
from fastnet.tcp.connection import Connection
from fastnet.tcp.listener import Listener
from fastnet.tcp.states import State
from fastnet.tcpinfo import tcp_info

SHUT_RD = stdlib.SHUT_RD
SHUT_WR = stdlib.SHUT_WR
SHUT_RDWR = stdlib.SHUT_RDWR

# What Linux's struct socket knows of a connect, which is not the state of its connection (__inet_stream_connect()): after a connect
# with a timeout has come to its end, the next one still finds it under way, and tells how it ended.
UNCONNECTED = 0
CONNECTING = 1
CONNECTED = 2

OPENING = (State.SYN_SENT, State.SYN_RECEIVED)

Address = tuple[str, int]
Buffer = bytes | bytearray | memoryview


class Socket:
    """A TCP socket.

    :param driver: whose stack it belongs to
    :ivar name: the local address and port that it has taken, None before; a connection's own address is more exact than "0.0.0.0"
    """

    family = stdlib.AF_INET
    type = stdlib.SOCK_STREAM
    proto = stdlib.IPPROTO_TCP

    def __init__(self, driver: Driver, _connection: Connection | None = None, _options: Options | None = None) -> None:
        self._driver = driver
        self._changed = threading.Condition(driver.lock)
        self._connection = _connection
        self._listener: Listener | None = None
        self._options = _options or Options(driver.stack.settings)
        self._phase = UNCONNECTED
        # Whether the program asked for the port.
        self._bound = False
        self.name: Address | None = None
        self._timeout: float | None = None
        self._closed = False
        self._shut_read = False
        self._error = 0
        # Made when somebody asks for it.
        self._descriptor: Descriptor | None = None
        self._number = -1
        if _connection is not None:
            _connection.owner = self
            self._phase = CONNECTED
            flow = _connection.handshake.flow
            self.name = (flow.local_address, flow.local_port)

    def wake(self) -> None:
        """Called by the driver, with its lock held, when there is something to see."""
        self._changed.notify_all()
        if self._descriptor is not None:
            self._descriptor.show(self._events())

    # ---- waiting with select, poll, epoll ----

    def fileno(self) -> int:
        """A descriptor to wait on with select, poll, epoll and what is built on them; -1 after ``close``.

        Made at the first call. It shows what the kernel would show for the socket, after every call and whenever the stack is polled: with a
        driver by hand, somebody has to. It is for waiting alone: reading from it or writing to it spoils it.
        """
        with self._driver.lock:
            if self._descriptor is None and not self._closed:
                self._descriptor = Descriptor()
                self._number = self._descriptor.add()
                self._show()
            return self._number

    def _show(self) -> None:
        if self._descriptor is not None:
            self._descriptor.show(self._events())

    def _events(self) -> int:
        """What tcp_poll() says. A socket that never had a connection lacks its EPOLLHUP."""
        if self._listener is not None:
            return READABLE if self._listener.accept_queue else 0
        connection = self._connection
        events = ERROR if self._error else 0
        if connection is None:
            return events | WRITABLE
        state = connection.state
        if connection.error:
            events |= ERROR
        if state in OPENING:
            return events
        if state in (State.CLOSED, State.TIME_WAIT):
            return events | ENDED
        if connection.fin_received or self._shut_read:
            events |= READABLE | READ_HANG_UP
        elif connection.readable():
            events |= READABLE
        if state not in (State.ESTABLISHED, State.CLOSE_WAIT):
            events |= WRITABLE
            if events & READ_HANG_UP:
                events |= HANG_UP
        elif self._has_room(connection):
            events |= WRITABLE
        return events

    def _has_room(self, connection: Connection) -> bool:
        sender = connection.sender
        if sender is None:
            return True
        if connection.writable() == 0:
            # So that it is told when that changes, even if it was not a send that filled it.
            sender.full = True
        return not sender.full

    # ---- names ----

    def bind(self, address: Address) -> None:
        """Take a local address and port; port 0 draws a free one, "" and "0.0.0.0" stand for any address.

        :raises OSError: EINVAL (has a name already), EADDRNOTAVAIL (not an address of the stack), EADDRINUSE
        """
        host, port = _checked(address, "bind")
        if host != "0.0.0.0" and not self._driver.stack.is_local(host):
            fail(errno.EADDRNOTAVAIL)
        with self._driver.lock:
            self._check_open()
            if self.name is not None:
                fail(errno.EINVAL)
            self._bind(host, port)

    def _bind(self, host: str, port: int) -> None:
        self.name = (host, self._driver.names.bind(self, host, port))
        self._bound = True

    def _leave_name(self) -> None:
        if self.name is not None:
            self._driver.names.leave(self, self.name[1], self._bound)

    @property
    def reuse(self) -> bool:
        """SO_REUSEADDR."""
        return bool(self._options.value(stdlib.SOL_SOCKET, stdlib.SO_REUSEADDR))

    @property
    def listening(self) -> bool:
        """Does it listen?"""
        return self._listener is not None

    def getsockname(self) -> Address:
        """Local address and port; ("0.0.0.0", 0) before there is one."""
        with self._driver.lock:
            self._check_open()
            if self._connection is not None:
                flow = self._connection.handshake.flow
                return flow.local_address, flow.local_port
            return self.name or ("0.0.0.0", 0)

    def getpeername(self) -> Address:
        """The peer's address and port.

        :raises OSError: ENOTCONN
        """
        with self._driver.lock:
            connection = self._need_connection()
            if connection.state in (State.CLOSED, State.SYN_SENT):
                fail(errno.ENOTCONN)
            flow = connection.handshake.flow
            return flow.remote_address, flow.remote_port

    # ---- connecting ----

    def connect(self, address: Address) -> None:
        """Active OPEN, and wait for its outcome. A socket without a name gets an address and a port.

        After a TimeoutError it goes on in the background, as on Linux; so it does without waiting.

        :raises OSError: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH (the answer, or that there was none); EADDRNOTAVAIL (no
            port is free, or the 4-tuple is in use); EISCONN; ECONNABORTED (it failed, and the program was told already)
        :raises BlockingIOError: EINPROGRESS, and EALREADY for the next: the socket does not wait. SO_ERROR tells the outcome
        :raises TimeoutError: no outcome within the socket's timeout
        """
        host, port = _checked(address, "connect")
        deadline = self._deadline()
        with self._driver.lock:
            self._connect(host, port, deadline)

    def connect_ex(self, address: Address) -> int:
        """As ``connect``, but its errno is returned: 0 for success, EAGAIN for a timeout."""
        host, port = _checked(address, "connect")
        deadline = self._deadline()
        with self._driver.lock:
            try:
                self._connect(host, port, deadline)
            except OSError as error:
                # The TimeoutError of our own has none; one that the stack raises has ETIMEDOUT.
                return error.errno or errno.EAGAIN
        return 0

    def _connect(self, host: str, port: int, deadline: float | None) -> None:
        self._check_open()
        if self._phase == CONNECTED or self._listener is not None:
            fail(errno.EISCONN)
        began = self._phase == UNCONNECTED
        if began:
            self._open(host, port)
        if self._is_opening():
            if self._timeout is not None and (self._timeout == 0.0 or not began):
                self._turn()
                fail(errno.EINPROGRESS if began else errno.EALREADY)
            while self._is_opening():
                self._wait(deadline)
                self._check_open()
            if self._timeout is not None:
                # The standard library waits in poll() here and asks SO_ERROR; the kernel's socket is none the wiser.
                self._raise_error()
                return
        connection = self._connection
        if connection is None or connection.state == State.CLOSED:
            error = self._take_error() or errno.ECONNABORTED
            self._disconnect()
            fail(error)
        self._phase = CONNECTED

    def _open(self, host: str, port: int) -> None:
        if port == 0:
            # Linux sends a SYN even so; nobody can listen there.
            fail(errno.ECONNREFUSED)
        local, local_port = self.name or ("0.0.0.0", 0)
        try:
            connection = self._driver.stack.connect(host, port, local, local_port, self._options.apply)
        except OSError as error:
            fail(errno.EADDRNOTAVAIL if error.errno == errno.EADDRINUSE else error.errno or errno.EINVAL)
        except ValueError:
            # A stack with networks for addresses has none to choose.
            fail(errno.EADDRNOTAVAIL)
        connection.owner = self
        self._connection = connection
        self._phase = CONNECTING
        self._error = 0
        if self.name is None:
            flow = connection.handshake.flow
            self.name = (flow.local_address, flow.local_port)
            self._driver.names.take(self, flow.local_port)
        self._driver.flush()
        self._show()

    def _is_opening(self) -> bool:
        return self._connection is not None and self._connection.state in OPENING

    def _disconnect(self) -> None:
        """Back to a socket without a connection (tcp_disconnect()): it keeps its port, and an address that the program bound."""
        if self._connection is not None:
            self._connection.owner = None
            self._connection = None
        self._phase = UNCONNECTED
        self._shut_read = False
        if self.name is not None and not self._bound:
            self.name = ("0.0.0.0", self.name[1])
        self._show()

    # ---- listening ----

    def listen(self, backlog: int = 128) -> None:
        """Passive OPEN. A socket without a name gets an ephemeral port, as on Linux; on a listener, set a new backlog.

        :raises OSError: EINVAL (connected), EADDRINUSE
        """
        with self._driver.lock:
            self._check_open()
            if self._connection is not None:
                fail(errno.EINVAL)
            if self._listener is not None:
                self._listener.set_backlog(backlog)
                return
            if self.name is None:
                self._bind("0.0.0.0", 0)
            assert self.name is not None
            self._listener = self._driver.stack.listen(*self.name, backlog)
            self._listener.owner = self
            self._options.apply_to_listener(self._listener)
            self._show()

    @property
    def listener(self) -> Listener | None:
        """What listens: its settings, statistics and policy (``set``, ``statistics()``, ``set_policy``); None before ``listen``.

        Hold the driver's lock where its thread polls.
        """
        return self._listener

    def accept(self) -> tuple["Socket", Address]:
        """Wait for a connection; its socket, and the peer's address. It has the options that are set here now.

        :raises OSError: EINVAL (not listening)
        :raises BlockingIOError, TimeoutError: none came, and the socket does not wait, or not so long
        """
        deadline = self._deadline()
        with self._driver.lock:
            while True:
                self._check_open()
                if self._listener is None:
                    fail(errno.EINVAL)
                connection = self._listener.accept()
                if connection is not None:
                    flow = connection.handshake.flow
                    self._options.apply_to_accepted(connection)
                    accepted = Socket(self._driver, connection, self._options.inherited())
                    self._driver.flush()
                    self._show()
                    return accepted, (flow.remote_address, flow.remote_port)
                self._wait(deadline)

    # ---- data ----

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """At least one byte and at most ``bufsize``; b"" at the end. Flags: MSG_DONTWAIT, MSG_PEEK.

        :raises OSError: ENOTCONN; ECONNRESET when the peer reset the connection; EINVAL for MSG_OOB, as urgent bytes are in the stream
        """
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        deadline = self._deadline(flags)
        with self._driver.lock:
            if flags & stdlib.MSG_OOB:
                self._need_connection()
                fail(errno.EINVAL)
            while True:
                connection = self._need_connection()
                if connection.readable():
                    if flags & stdlib.MSG_PEEK:
                        assert connection.receiver is not None
                        return connection.receiver.buffer.peek(0, bufsize)
                    data = connection.receive(bufsize)
                    self._driver.flush()
                    self._show()
                    return data
                if bufsize == 0 or connection.fin_received or self._shut_read:
                    return b""
                self._raise_error()
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
        """Queue bytes to send, at least one; how many were taken. Flags: MSG_DONTWAIT, MSG_OOB (what is queued up to here is urgent).

        :raises BrokenPipeError: our side is closed, or was never connected
        :raises OSError: ECONNRESET, ETIMEDOUT, ECONNREFUSED when the connection failed
        """
        deadline = self._deadline(flags)
        view = memoryview(data).cast("B")
        with self._driver.lock:
            return self._send(view, flags, deadline)

    def sendall(self, data: Buffer, flags: int = 0) -> None:
        """Queue all bytes; on an error nobody knows how many went out."""
        deadline = self._deadline(flags)
        view = memoryview(data).cast("B")
        with self._driver.lock:
            while len(view):
                view = view[self._send(view, flags, deadline) :]

    def _send(self, view: memoryview, flags: int, deadline: float | None) -> int:
        while True:
            self._check_open()
            self._raise_error()
            connection = self._need_connection(errno.EPIPE)
            # While the connection is being opened, a send waits for that.
            if connection.state not in OPENING:
                taken = connection.send_urgent(view) if flags & stdlib.MSG_OOB else connection.send(view)
                if taken or not len(view):
                    self._driver.flush()
                    self._show()
                    return taken
                self._show()
            self._wait(deadline)

    def shutdown(self, how: int) -> None:
        """Close one direction, or both. What is still being opened is given up, and a listener stops with SHUT_RD, as on Linux.

        :raises OSError: ENOTCONN, EINVAL (not SHUT_RD, SHUT_WR or SHUT_RDWR)
        """
        with self._driver.lock:
            self._check_open()
            if how not in (SHUT_RD, SHUT_WR, SHUT_RDWR):
                fail(errno.EINVAL)
            if self._listener is not None:
                if how != SHUT_WR:
                    self._listener.close(self._driver.stack.clock())
                    self._listener = None
                    self.wake()
                return
            connection = self._need_connection()
            if connection.state == State.CLOSED:
                fail(errno.ENOTCONN)
            if connection.state == State.SYN_SENT:
                connection.abort(self._driver.stack.clock())
                self._disconnect()
                # As tcp_disconnect() leaves it.
                self._error = errno.ECONNRESET
                self.wake()
                return
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
            if self._descriptor is not None:
                self._descriptor.remove(self._number)
                os.close(self._number)
                self._descriptor, self._number = None, -1
            now = self._driver.stack.clock()
            self._leave_name()
            if self._listener is not None:
                self._listener.close(now)
            connection = self._connection
            if connection is not None:
                on, seconds = self._options.value(stdlib.SOL_SOCKET, stdlib.SO_LINGER)
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

    # ---- options: sockopt.py has them ----

    def setsockopt(self, level: int, option: int, value: int | Buffer) -> None:
        """Set an option; a number stands for a C int.

        :raises OSError: ENOPROTOOPT (an option that is not there), EINVAL, ENOENT (no such congestion control)
        """
        if isinstance(value, int):
            if not -1 << 31 <= value < 1 << 31:
                raise OverflowError("Python int too large to convert to C int")
            value = struct.pack("i", value)
        with self._driver.lock:
            self._check_open()
            self._options.set(level, option, bytes(value), self._connection)
            # What waited may go now, and a timer may have been set.
            self._driver.flush()
            self._show()

    def getsockopt(self, level: int, option: int, buflen: int = 0) -> int | bytes:
        """The options of ``setsockopt``, SO_ERROR (tells what went wrong, once), SO_TYPE, SO_DOMAIN, SO_PROTOCOL, SO_ACCEPTCONN, TCP_INFO.

        :param buflen: 0 for a number, else the largest number of bytes to return
        :raises OSError: ENOPROTOOPT
        """
        if not 0 <= buflen <= 1024:
            raise OSError("getsockopt buflen out of range")
        with self._driver.lock:
            self._check_open()
            if (level, option) == (stdlib.IPPROTO_TCP, stdlib.TCP_INFO):
                raw = tcp_info(self._connection, self._listener, self._driver.stack.clock())
            elif level == stdlib.SOL_SOCKET and option in STATUS:
                raw = struct.pack("i", STATUS[option](self))
            else:
                raw = self._options.get(level, option, self._connection)
        return raw[:buflen] if buflen else int.from_bytes(raw[:4], sys.byteorder, signed=True)

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
        return f"<fastnet.socket.Socket {self.state.name} laddr={self.name}>"

    def _check_open(self) -> None:
        if self._closed:
            fail(errno.EBADF)

    def _need_connection(self, otherwise: int = errno.ENOTCONN) -> Connection:
        self._check_open()
        if self._connection is None:
            fail(otherwise)
        return self._connection

    def _take_error(self) -> int:
        # As SO_ERROR: told once; after that the connection is just closed.
        error, self._error = self._error, 0
        connection = self._connection
        if not error and connection is not None:
            error, connection.error = connection.error, 0
        if error:
            self._show()
        return error

    def _status(self) -> int:
        # SO_ERROR: also what ICMP said and no call has failed for.
        error = self._take_error()
        if not error and self._connection is not None:
            error, self._connection.soft_error = self._connection.soft_error, 0
        return error

    def _raise_error(self) -> None:
        error = self._take_error()
        if error:
            fail(error)

    def _deadline(self, flags: int = 0) -> float | None:
        if flags & stdlib.MSG_DONTWAIT or self._timeout == 0.0:
            return 0.0
        return None if self._timeout is None else time.monotonic() + self._timeout

    def _wait(self, deadline: float | None) -> None:
        if deadline == 0.0:
            self._turn()
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        if not self._driver.wait(self._changed, deadline):
            raise TimeoutError("timed out")

    def _turn(self) -> None:
        # By hand: give the stack one turn, so that a loop over a non-blocking socket gets somewhere.
        if not self._driver.threaded:
            self._driver.step(0)


STATUS: dict[int, Callable[[Socket], int]] = {
    stdlib.SO_ACCEPTCONN: lambda s: s._listener is not None,
    stdlib.SO_DOMAIN: lambda s: s.family,
    stdlib.SO_ERROR: Socket._status,
    stdlib.SO_PROTOCOL: lambda s: s.proto,
    stdlib.SO_TYPE: lambda s: s.type,
}
"""Options of SOL_SOCKET that can only be read."""


def _checked(address: Address, call: str) -> Address:
    """A pair of an IPv4 address ("": any) and a port, or what the standard library raises."""
    if not isinstance(address, tuple):
        raise TypeError(f"{call}(): AF_INET address must be tuple, not {type(address).__name__}")
    if len(address) != 2 or not isinstance(address[0], str) or not isinstance(address[1], int):
        raise TypeError(f"an address is a pair (str, int), not {address!r}")
    host, port = address
    if not 0 <= port <= 65535:
        raise OverflowError(f"{call}(): port must be 0-65535.")
    try:
        return stdlib.inet_ntoa(stdlib.inet_aton(host or "0.0.0.0")), port
    except OSError:
        raise stdlib.gaierror(stdlib.EAI_NONAME, f"{host!r} is not an IPv4 address") from None


def create_connection(
    driver: Driver, address: Address, timeout: float | None = None, source_address: Address | None = None
) -> Socket:
    """A connected socket.

    :param timeout: seconds, for the connect and what follows; None: as long as it takes
    :param source_address: local address and port to bind to first; port 0 draws one
    :raises OSError: as ``Socket.bind`` and ``Socket.connect``
    """
    sock = Socket(driver)
    try:
        sock.settimeout(timeout)
        if source_address is not None:
            sock.bind(source_address)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def create_server(driver: Driver, address: Address, backlog: int = 128) -> Socket:
    """A listening socket, with SO_REUSEADDR as the standard library's.

    :raises OSError: as ``Socket.bind`` and ``Socket.listen``
    """
    sock = Socket(driver)
    try:
        sock.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock
