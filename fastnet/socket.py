"""Sockets over a fastnet stack, shaped like those of the standard library.

    driver = Driver(Stack(device, ("198.18.0.2",))).start()
    listener = Socket(driver)
    listener.bind(("0.0.0.0", 8080))
    listener.listen()
    connection, peer = listener.accept()

    client = create_connection(driver, ("198.18.0.1", 80), timeout=5)

What a call does, what it waits for and what it raises is what ``socket.socket`` of family AF_INET or AF_INET6, type SOCK_STREAM does,
waits for and raises on Linux. Hosts are addresses: there is no resolver. When the device fails, every call but ``close`` raises ENETDOWN.
"""

import _socket
import builtins
import errno
import os
import socket as stdlib
import struct
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Self, cast

from fastnet import descriptor
from fastnet.driver import Driver
from fastnet.ip.addresses import parse
from fastnet.names import Name
from fastnet.opensocket import Address, Buffer, OpenSocket
from fastnet.sockopt import fail
from fastnet.tcp.listener import Listener
from fastnet.tcp.states import State
from fastnet.tcpinfo import TcpInfo

if not issubclass(stdlib.socket, _socket.socket):
    # gevent's monkey patch: a class of another kind, whose methods wait in other ways.
    raise ImportError(f"{stdlib.socket.__module__} has taken the place of socket.socket: import fastnet.socket before it does")

SHUT_RD = stdlib.SHUT_RD
SHUT_WR = stdlib.SHUT_WR
SHUT_RDWR = stdlib.SHUT_RDWR
MSG_FASTOPEN = 0x20000000
"""Linux's; ``socket`` has the name only on some platforms."""


class Socket(stdlib.socket):
    """A TCP socket. It is a ``socket.socket`` to whoever asks; the kernel has none for it.

    The base class never has a descriptor, so a method of it that was taken elsewhere (``socket.socket.recv(sock, 1)``) ends with EBADF:
    it would move bytes that nobody reads.

    :param driver: whose stack it belongs to
    :param fileno: a descriptor of such a socket, from ``detach`` or a copy of one: the same socket once more
    :param family: AF_INET or AF_INET6; with ``fileno`` it does not matter
    :raises OSError: EBADF, ``fileno`` is none; EAFNOSUPPORT, another family
    """

    def __init__(
        self, driver: Driver, fileno: int | None = None, family: int = stdlib.AF_INET, _open: OpenSocket | None = None
    ) -> None:
        self._io_refs = 0
        self._closed = False
        self._driver = driver
        self._timeout = stdlib.getdefaulttimeout()
        # What ``fileno`` gives, -1 before and after.
        self._number = -1
        self._open = _open or (OpenSocket(driver, family=family) if fileno is None else self._found(fileno))

    def _found(self, number: int) -> OpenSocket:
        found = descriptor.find(number)
        if not isinstance(found, OpenSocket) or found.driver is not self._driver:
            self._closed = True
            fail(errno.EBADF)
        with self._driver.lock:
            found.adopt(number)
            self._have(number)
        return found

    def _have(self, number: int) -> None:
        self._number = number
        self._tell_descriptor()

    @property
    def family(self) -> stdlib.AddressFamily:
        """AF_INET or AF_INET6."""
        return stdlib.AddressFamily(self._open.family)

    @property
    def type(self) -> stdlib.SocketKind:
        """SOCK_STREAM."""
        return stdlib.SOCK_STREAM

    @property
    def proto(self) -> int:
        """IPPROTO_TCP; the standard library has 0 unless told so, which means the same."""
        return stdlib.IPPROTO_TCP

    # ---- descriptors ----

    def fileno(self) -> int:
        """A descriptor to wait on with select, poll, epoll and what is built on them; -1 after ``close``.

        Made at the first call. It shows what the kernel would show for the socket, after every call and whenever the stack is polled: with
        a driver by hand, somebody has to. It is for waiting alone: reading from it or writing to it spoils it.
        """
        self._driver.check()
        if self._number < 0 and not self._is_closed():
            with self._driver.lock:
                if self._number < 0:
                    self._have(self._open.show_on())
        return self._number

    def dup(self) -> "Socket":
        """Another that leads to the same; the connection is closed with the last of them."""
        with self._driver.lock:
            if self._is_closed():
                fail(errno.EBADF)
            self._open.hold()
            other = Socket(self._driver, _open=self._open)
        other.settimeout(self._timeout)
        return other

    def detach(self) -> int:
        """Let go without closing; the descriptor, which ``Socket(driver, fileno=...)`` takes up again. -1 when closed."""
        number = self.fileno()
        with self._driver.lock:
            self._closed = True
            if number >= 0:
                self._number = -1
                self._open = OpenSocket.none(self._driver, self._open.family)
        return number

    # ---- names ----

    def bind(self, address: Address) -> None:  # type: ignore[override]
        """Take a local address and port; port 0 draws a free one, "" and "0.0.0.0" stand for any address.

        Of AF_INET6, "" and "::" stand for any address of both families, with IPV6_V6ONLY of IPv6 alone; "::ffff:198.18.0.2" is the IPv4
        address.

        :raises OSError: EINVAL (has a name already, or an IPv4 address with IPV6_V6ONLY), EADDRNOTAVAIL (not an address of the stack),
            EADDRINUSE
        """
        host, port = checked(address, "bind", self._open.family)
        with self._driver.lock:
            self._open.bind(host, port)

    @property
    def name(self) -> Name | None:
        """The local address and port that it has taken, None before; a connection's own address is more exact than "0.0.0.0".

        An IPv4 address is written as one, also of a socket of AF_INET6.
        """
        return self._open.name

    def getsockname(self) -> Any:
        """Local address and port; ("0.0.0.0", 0) before there is one. Of AF_INET6 four: address, port, 0 and 0."""
        with self._driver.lock:
            return self._open.local()

    def getpeername(self) -> Any:
        """The peer's address and port; of AF_INET6 as ``getsockname``, an IPv4 address as an IPv4-mapped one.

        :raises OSError: ENOTCONN
        """
        with self._driver.lock:
            return self._open.peer()

    # ---- connecting and listening ----

    def connect(self, address: Address) -> None:  # type: ignore[override]
        """Active OPEN, and wait for its outcome. A socket without a name gets an address and a port.

        After a TimeoutError it goes on in the background, as on Linux; so it does without waiting.

        :raises OSError: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH (the answer, or that there was none); EADDRNOTAVAIL (no
            port is free, or the 4-tuple is in use); EISCONN; ECONNABORTED (it failed, and the program was told already)
        :raises BlockingIOError: EINPROGRESS, and EALREADY for the next: the socket does not wait. SO_ERROR tells the outcome
        :raises TimeoutError: no outcome within the socket's timeout
        """
        host, port = checked(address, "connect", self._open.family)
        deadline = self._deadline()
        with self._driver.lock:
            self._open.connect(host, port, self._timeout, deadline)

    def connect_ex(self, address: Address) -> int:  # type: ignore[override]
        """As ``connect``, but its errno is returned: 0 for success, EAGAIN for a timeout."""
        host, port = checked(address, "connect", self._open.family)
        deadline = self._deadline()
        with self._driver.lock:
            try:
                self._open.connect(host, port, self._timeout, deadline)
            except OSError as error:
                # The TimeoutError of our own has none; one that the stack raises has ETIMEDOUT.
                return error.errno or errno.EAGAIN
        return 0

    def listen(self, backlog: int = 128) -> None:
        """Passive OPEN. A socket without a name gets an ephemeral port, as on Linux; on a listener, set a new backlog.

        :raises OSError: EINVAL (connected), EADDRINUSE
        """
        with self._driver.lock:
            self._open.listen(c_int(backlog))

    @property
    def listener(self) -> Listener | None:
        """What listens: its settings, statistics and policy (``set``, ``statistics()``, ``set_policy``); None before ``listen``.

        Hold the driver's lock where its thread polls.
        """
        return self._open.listener

    def accept(self) -> tuple["Socket", Any]:
        """Wait for a connection; its socket, and the peer's address. It has the options that are set here now.

        :raises OSError: EINVAL (not listening)
        :raises BlockingIOError, TimeoutError: none came, and the socket does not wait, or not so long
        """
        deadline = self._deadline()
        with self._driver.lock:
            accepted = Socket(self._driver, _open=self._open.accept(deadline))
        return accepted, accepted._open.remote()

    # ---- receiving ----

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """At least one byte and at most ``bufsize``; b"" at the end. Flags: MSG_DONTWAIT, MSG_PEEK, MSG_WAITALL.

        :raises OSError: ENOTCONN; ECONNRESET when the peer reset the connection; EINVAL for MSG_OOB, as urgent bytes are in the stream
        """
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        deadline = self._deadline(flags)
        with self._driver.lock:
            return self._open.receive(bufsize, flags, deadline)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """As ``recv``, into a buffer, without a copy in between; the number of bytes."""
        if nbytes < 0:
            raise ValueError("negative buffersize in recv_into")
        view = memoryview(buffer).cast("B")
        if view.readonly:
            raise TypeError("recv_into() argument 1 must be read-write bytes-like object")
        if nbytes > len(view):
            raise ValueError("buffer too small for requested bytes")
        deadline = self._deadline(flags)
        with self._driver.lock:
            return self._open.receive_into(view[: nbytes or len(view)], flags, deadline)

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, None]:
        """As ``recv``; TCP has no address to tell."""
        if bufsize < 0:
            raise ValueError("negative buffersize in recvfrom")
        return self.recv(bufsize, flags), None

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, None]:
        """As ``recv_into``; TCP has no address to tell."""
        if nbytes < 0:
            raise ValueError("negative buffersize in recvfrom_into")
        if nbytes > memoryview(buffer).nbytes:
            raise ValueError("nbytes is greater than the length of the buffer")
        return self.recv_into(buffer, nbytes, flags), None

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0) -> tuple[bytes, list[Any], int, None]:
        """As ``recv``: data, no ancillary data, no flags, no address."""
        if bufsize < 0:
            raise ValueError("negative buffer size in recvmsg()")
        if ancbufsize < 0:
            raise ValueError("invalid ancillary data buffer length")
        return self.recv(bufsize, flags), [], 0, None

    def recvmsg_into(self, buffers: Iterable[Any], ancbufsize: int = 0, flags: int = 0) -> tuple[int, list[Any], int, None]:
        """As ``recv``, into one buffer after the other."""
        if ancbufsize < 0:
            raise ValueError("invalid ancillary data buffer length")
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        if any(view.readonly for view in views):
            raise TypeError("recvmsg_into() argument 1 must be an iterable of read-write buffers")
        rest = data = self.recv(sum(len(view) for view in views), flags)
        for view in views:
            part = rest[: len(view)]
            view[: len(part)] = part
            rest = rest[len(part) :]
        return len(data), [], 0, None

    # ---- sending ----

    def send(self, data: Any, flags: int = 0) -> int:
        """Queue bytes to send, at least one; how many were taken.

        :param flags: MSG_DONTWAIT; MSG_OOB, what is queued up to here is urgent; MSG_MORE, hold back a part of a segment
        :raises BrokenPipeError: our side is closed, or was never connected
        :raises OSError: ECONNRESET, ETIMEDOUT, ECONNREFUSED when the connection failed
        """
        deadline = self._deadline(flags)
        view = memoryview(data).cast("B")
        with self._driver.lock:
            return self._open.send(view, flags, deadline)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Queue all bytes; on an error nobody knows how many went out."""
        deadline = self._deadline(flags)
        view = memoryview(data).cast("B")
        with self._driver.lock:
            while len(view):
                view = view[self._open.send(view, flags, deadline) :]

    def sendto(self, data: Any, *args: Any) -> int:
        """``sendto(data, address)`` and ``sendto(data, flags, address)``: as ``send``, since a connection has its address.

        With MSG_FASTOPEN it connects to the address, with data on the SYN where the server gave a cookie before (RFC 7413).

        :raises OSError: with MSG_FASTOPEN: EOPNOTSUPP (tcp_fastopen), EISCONN, EALREADY, and as ``connect``
        :raises BlockingIOError: EINPROGRESS, there was no cookie: the socket is being connected, and no data was taken
        """
        if len(args) not in (1, 2):
            raise TypeError(f"sendto() takes 2 or 3 arguments ({len(args) + 1} given)")
        host, port = checked(args[-1], "sendto", self._open.family)
        flags = args[0] if len(args) == 2 else 0
        if not flags & MSG_FASTOPEN:
            return self.send(data, flags)
        deadline = self._deadline(flags)
        view = memoryview(data).cast("B")
        with self._driver.lock:
            return self._open.connect_with(host, port, view, deadline)

    def sendmsg(self, buffers: Iterable[Any], ancdata: Iterable[Any] = (), flags: int = 0, address: Address | None = None) -> int:  # type: ignore[override]
        """As ``send``, from several buffers.

        :raises OSError: EINVAL, TCP takes no ancillary data
        """
        items = list(ancdata)
        for item in items:
            if not isinstance(item, tuple) or [isinstance(part, int) for part in item] != [True, True, False]:
                raise TypeError("sendmsg(): ancillary data are tuples (level, type, data)")
            memoryview(item[2])
        if address is not None:
            checked(address, "sendmsg", self._open.family)
        if items:
            fail(errno.EINVAL)
        return self.send(b"".join(memoryview(buffer).cast("B") for buffer in buffers), flags)

    def _sendfile_use_sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """What ``sendfile`` tries first. The kernel cannot send for us: the file is read and sent piece by piece, from where it is told."""
        base = cast("Any", self)
        base._check_sendfile_params(file, offset, count)
        try:
            os.fstat(file.fileno())
        except (AttributeError, OSError) as error:
            raise cast("Any", stdlib)._GiveupOnSendfile(error) from None
        file.seek(offset)
        return cast("int", base._sendfile_use_send(file, offset, count))

    # ---- the end ----

    def shutdown(self, how: int) -> None:
        """Close one direction, or both. What is still being opened is given up, and a listener stops with SHUT_RD, as on Linux.

        :raises OSError: ENOTCONN, EINVAL (not SHUT_RD, SHUT_WR or SHUT_RDWR)
        """
        with self._driver.lock:
            self._open.shutdown(c_int(how))

    def close(self) -> None:
        """Let go, once files made of the socket are closed too; the last that leads to the connection closes it.

        Bytes left unread, or SO_LINGER of 0 s, make it a RST; SO_LINGER of some seconds waits for the last ACK.
        """
        self._closed = True
        if self._io_refs <= 0:
            self._real_close()

    def _real_close(self, _ss: Any = None) -> None:
        if self._driver.forked:
            self._close_copy()
            return
        with self._driver.lock:
            number, self._number = self._number, -1
            going = self._open
            if going.shared:
                self._open = OpenSocket.none(self._driver, self._open.family)
            ours = number < 0 or going.leads_here(number)
            going.let_go(number)
            if not ours:
                # Closed behind our back: what has the number now is not ours to close.
                fail(errno.EBADF)
            if number >= 0:
                os.close(number)

    def _close_copy(self) -> None:
        # The parent's connection goes on; what is given back is the child's copy of a descriptor.
        number, self._number = self._number, -1
        if number >= 0:
            os.close(number)

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        # False: it has everything that a socket has, and nobody has closed it.
        if getattr(self, "_closed", True) is False and hasattr(self, "_open"):
            self._closed = True
            if self._driver.forked:
                self._close_copy()
                return
            # Not here: this may be any thread, in the middle of anything.
            self._driver.later(partial(self._open.abandon, self._number))
            _warn(f"unclosed {Socket.__repr__(self)}", ResourceWarning, source=self)

    # ---- options: sockopt.py has them ----

    def setsockopt(self, level: int, option: int, value: int | Buffer | None, optlen: int | None = None) -> None:  # type: ignore[override]
        """Set an option; a number stands for a C int.

        :raises OSError: ENOPROTOOPT (an option that is not there), EINVAL, ENOENT (no such congestion control)
        """
        if isinstance(value, int):
            value = struct.pack("i", c_int(value))
        elif value is None:
            value = b""
        with self._driver.lock:
            self._open.set_option(level, option, bytes(value))

    def getsockopt(self, level: int, option: int, buflen: int = 0) -> Any:
        """The options of ``setsockopt``, SO_ERROR (tells what went wrong, once), SO_TYPE, SO_DOMAIN, SO_PROTOCOL, SO_ACCEPTCONN, TCP_INFO.

        :param buflen: 0 for a number, else the largest number of bytes to return
        :raises OSError: ENOPROTOOPT
        """
        if not 0 <= buflen <= 1024:
            raise OSError("getsockopt buflen out of range")
        with self._driver.lock:
            raw = self._open.option(level, option)
        return raw[:buflen] if buflen else int.from_bytes(raw[:4], sys.byteorder, signed=True)

    def tcp_info(self) -> TcpInfo:
        """What is known of the connection, or of the listener: ``getsockopt(IPPROTO_TCP, TCP_INFO, ...)`` with names and types."""
        with self._driver.lock:
            return TcpInfo.of(self._open.option(stdlib.IPPROTO_TCP, stdlib.TCP_INFO))

    # ---- time ----

    @property
    def timeout(self) -> float | None:
        """As ``gettimeout``."""
        return self._timeout

    def settimeout(self, value: float | None) -> None:
        """Seconds that a call may wait; 0 for not at all, None for as long as it takes."""
        self._driver.check()
        if value is not None:
            if not isinstance(value, int | float):
                raise TypeError(f"a timeout is a number of seconds or None, not {builtins.type(value).__name__}")
            value = float(value)
            if not value >= 0:
                raise ValueError("Timeout value out of range")
        self._timeout = value
        self._tell_descriptor()

    def gettimeout(self) -> float | None:
        """What ``settimeout`` set, at first ``socket.getdefaulttimeout()``."""
        return self._timeout

    def setblocking(self, flag: bool) -> None:
        """``settimeout(None)`` or ``settimeout(0)``."""
        self.settimeout(None if flag else 0.0)

    def _tell_descriptor(self) -> None:
        # O_NONBLOCK, for who asks fcntl.
        if self._number >= 0:
            os.set_blocking(self._number, self._timeout is None)

    def getblocking(self) -> bool:
        """False when calls never wait."""
        return self._timeout != 0.0

    def _deadline(self, flags: int = 0) -> float | None:
        if flags & stdlib.MSG_DONTWAIT or self._timeout == 0.0:
            return 0.0
        return None if self._timeout is None else time.monotonic() + self._timeout

    # ---- the rest ----

    @property
    def state(self) -> State:
        """STATUS: the state of RFC 9293 that the socket is in."""
        return self._open.state

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<fastnet.socket.Socket{' [closed]' * self._closed} {self._open.state.name} laddr={self._open.name}>"

    def _is_closed(self) -> bool:
        return self._closed and self._io_refs <= 0


def c_int(number: int) -> int:
    """A number that a kernel could be given."""
    if not -1 << 31 <= number < 1 << 31:
        raise OverflowError("Python int too large to convert to C int")
    return number


def checked(address: Any, call: str, family: int) -> Name:
    """An address ("": any) and a port as the stack has them, or what the standard library raises."""
    name = "AF_INET6" if family == stdlib.AF_INET6 else "AF_INET"
    if not isinstance(address, tuple):
        raise TypeError(f"{call}(): {name} address must be tuple, not {type(address).__name__}")
    if family == stdlib.AF_INET6:
        if not 2 <= len(address) <= 4 or not isinstance(address[0], str) or not all(isinstance(number, int) for number in address[1:]):
            raise TypeError(f"an address is a tuple (str, int[, int[, int]]), not {address!r}")
        if len(address) > 2 and not 0 <= address[2] < 1 << 20:
            raise OverflowError(f"{call}(): flowinfo must be 0-1048575.")
    elif len(address) != 2 or not isinstance(address[0], str) or not isinstance(address[1], int):
        raise TypeError(f"an address is a pair (str, int), not {address!r}")
    host, port = address[:2]
    if not 0 <= port <= 65535:
        raise OverflowError(f"{call}(): port must be 0-65535.")
    try:
        if family == stdlib.AF_INET:
            return stdlib.inet_ntoa(stdlib.inet_aton(host or "0.0.0.0")), port
        parsed = parse(host or "::")
        if ":" in host or not host:
            return str(parsed), port
    except (OSError, ValueError):
        raise stdlib.gaierror(stdlib.EAI_NONAME, f"{host!r} is not an IPv{6 if family == stdlib.AF_INET6 else 4} address") from None
    raise stdlib.gaierror(stdlib.EAI_ADDRFAMILY, f"{host!r} is an IPv4 address; a socket of AF_INET6 takes '::ffff:{host}'")


def create_connection(
    driver: Driver,
    address: Address,
    timeout: float | None = None,
    source_address: Address | None = None,
    *,
    all_errors: bool = False,
) -> Socket:
    """A connected socket, of the family of the address.

    :param timeout: seconds, for the connect and what follows; None: as long as it takes
    :param source_address: local address and port to bind to first; port 0 draws one
    :param all_errors: raise an ExceptionGroup of the one error that there is, as there is one address to try
    :raises OSError: as ``Socket.bind`` and ``Socket.connect``
    """
    sock = Socket(driver, family=stdlib.AF_INET6 if isinstance(address, tuple) and ":" in str(address[0]) else stdlib.AF_INET)
    try:
        sock.settimeout(timeout)
        if source_address is not None:
            sock.bind(source_address)
        sock.connect(address)
    except BaseException as error:
        sock.close()
        if all_errors and isinstance(error, OSError):
            raise ExceptionGroup("create_connection failed", [error]) from None
        raise
    return sock


def create_server(
    driver: Driver,
    address: Address,
    backlog: int | None = None,
    *,
    family: int = stdlib.AF_INET,
    reuse_port: bool = False,
    dualstack_ipv6: bool = False,
) -> Socket:
    """A listening socket, with SO_REUSEADDR as the standard library's.

    :param backlog: None: 128
    :param family: AF_INET or AF_INET6
    :param reuse_port: set SO_REUSEPORT
    :param dualstack_ipv6: of AF_INET6: hear IPv4 as well; otherwise IPV6_V6ONLY is set
    :raises ValueError: ``dualstack_ipv6`` with AF_INET
    :raises OSError: as ``Socket.bind`` and ``Socket.listen``
    """
    if dualstack_ipv6 and family != stdlib.AF_INET6:
        raise ValueError("dualstack_ipv6 requires AF_INET6 family")
    sock = Socket(driver, family=family)
    try:
        sock.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_REUSEPORT, 1)
        if family == stdlib.AF_INET6:
            sock.setsockopt(stdlib.IPPROTO_IPV6, stdlib.IPV6_V6ONLY, not dualstack_ipv6)
        sock.bind(address)
        sock.listen(128 if backlog is None else backlog)
    except BaseException:
        sock.close()
        raise
    return sock
