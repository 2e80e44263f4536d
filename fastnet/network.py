"""Sockets as small integers: the calls that every course on networks begins with, and nothing else.

    network = Network(driver)
    server = network.socket()
    network.bind(server, "198.18.0.2", 80)
    network.listen(server)
    connection, peer = network.accept(server, timeout=5)
    network.send(connection, network.read(connection, 1000))
    network.close(connection)

Descriptors are the network's own, counted from 0, the smallest that is free first; the operating system knows nothing of them. Errors are
``OSError`` with Linux's errno, as in ``fastnet.socket``, which does the work.
"""

import errno
from socket import AF_INET
from typing import Any

from fastnet.driver import Driver
from fastnet.socket import Socket
from fastnet.sockopt import fail


class Network:
    """The sockets of one program on one stack.

    Calls wait as long as it takes, or ``timeout`` seconds. A driver without a thread polls while a call waits, which is all that a program
    with one thread needs.

    :param driver: whose stack it is
    :param limit: descriptors that may be open at once
    """

    def __init__(self, driver: Driver, limit: int = 1024) -> None:
        self._driver = driver
        self._limit = limit
        self._sockets: dict[int, Socket] = {}

    def socket(self, family: int = AF_INET) -> int:
        """A descriptor of a new TCP socket.

        :param family: AF_INET or AF_INET6
        :raises OSError: EMFILE, ``limit`` are open
        """
        return self._enter(Socket(self._driver, family=family))

    def bind(self, descriptor: int, host: str, port: int) -> None:
        """Take a local address ("0.0.0.0" or "::": any) and a port (0: a free one).

        :raises OSError: EADDRINUSE, EADDRNOTAVAIL, EINVAL (has a name already), EBADF
        """
        self._socket(descriptor).bind((host, port))

    def listen(self, descriptor: int, backlog: int = 128) -> None:
        """Passive OPEN.

        :raises OSError: EINVAL (connected), EADDRINUSE, EBADF
        """
        self._socket(descriptor).listen(backlog)

    def accept(self, descriptor: int, timeout: float | None = None) -> tuple[int, Any]:
        """The next connection: its descriptor, and the peer's address and port.

        :raises TimeoutError: none came in time
        :raises OSError: EINVAL (does not listen), EMFILE (the connection is closed again), EBADF
        """
        accepted, peer = self._timed(descriptor, timeout).accept()
        return self._enter(accepted), peer

    def connect(self, descriptor: int, host: str, port: int, timeout: float | None = None) -> None:
        """Active OPEN, and wait for the handshake.

        :raises TimeoutError: no outcome in time
        :raises OSError: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, EADDRNOTAVAIL, EISCONN, EBADF
        """
        self._timed(descriptor, timeout).connect((host, port))

    def read(self, descriptor: int, size: int, timeout: float | None = None) -> bytes:
        """RECEIVE: at least one byte and at most ``size``; b"" when the peer has closed its side.

        :raises TimeoutError: nothing came in time
        :raises OSError: ECONNRESET, ENOTCONN, EBADF
        """
        return self._timed(descriptor, timeout).recv(size)

    def send(self, descriptor: int, data: bytes, timeout: float | None = None) -> None:
        """SEND all of it: when the call is over, the stack has it.

        :raises TimeoutError: there was no room for all in time; nobody knows how much went out
        :raises OSError: EPIPE, ECONNRESET, ETIMEDOUT, EBADF
        """
        self._timed(descriptor, timeout).sendall(data)

    def close(self, descriptor: int) -> None:
        """CLOSE; the descriptor is free.

        :raises OSError: EBADF
        """
        self._socket(descriptor).close()
        del self._sockets[descriptor]

    def _enter(self, sock: Socket) -> int:
        if len(self._sockets) >= self._limit:
            sock.close()
            fail(errno.EMFILE)
        descriptor = next(number for number in range(self._limit) if number not in self._sockets)
        self._sockets[descriptor] = sock
        return descriptor

    def _socket(self, descriptor: int) -> Socket:
        sock = self._sockets.get(descriptor)
        if sock is None:
            fail(errno.EBADF)
        return sock

    def _timed(self, descriptor: int, timeout: float | None) -> Socket:
        sock = self._socket(descriptor)
        sock.settimeout(timeout)
        return sock
