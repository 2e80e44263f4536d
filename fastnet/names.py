"""Local addresses and ports that sockets have taken: who may share one, and which one is free."""

import errno
from typing import Protocol

from fastnet.sockopt import fail
from fastnet.stack import Stack


class Holder(Protocol):
    """What is asked of a socket here."""

    name: tuple[str, int] | None

    @property
    def reuse(self) -> bool:
        """SO_REUSEADDR."""

    @property
    def listening(self) -> bool:
        """Does it listen?"""


class Names:
    """The names of a stack's sockets. Linux keeps them in its bind hash table.

    :param stack: whose connections have ports too, and whose active opens leave alone what a program has bound
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._holders: dict[int, list[Holder]] = {}

    def bind(self, socket: Holder, host: str, port: int) -> int:
        """Take a port that a program asked for, 0 for any; which one it is.

        :param host: a local address, or "0.0.0.0" for any
        :raises OSError: EADDRINUSE
        """
        if port == 0:
            port = self._free_port(socket, host)
        elif not self._is_free(socket, host, port):
            fail(errno.EADDRINUSE)
        self._stack.ports.bound[port] += 1
        self.take(socket, port)
        return port

    def take(self, socket: Holder, port: int) -> None:
        """Note that a socket has a port."""
        self._holders.setdefault(port, []).append(socket)

    def leave(self, socket: Holder, port: int, bound: bool) -> None:
        """The socket needs it no more.

        :param bound: it came from ``bind``
        """
        holders = self._holders.get(port, [])
        if socket not in holders:
            return
        holders.remove(socket)
        if not holders:
            del self._holders[port]
        if bound:
            ports = self._stack.ports.bound
            ports[port] -= 1
            if not ports[port]:
                del ports[port]

    def _is_free(self, socket: Holder, host: str, port: int) -> bool:
        for holder in self._holders.get(port, ()):
            other = holder.name[0] if holder.name is not None else "0.0.0.0"
            if "0.0.0.0" not in (host, other) and host != other:
                continue
            # Two sockets may share a port only if both say so; and one exact name has one listener.
            if not socket.reuse or not holder.reuse or host == other and holder.listening:
                return False
        # Without SO_REUSEADDR, what is left of earlier connections (TIME-WAIT among them) keeps the port too.
        return socket.reuse or not self._stack.has_connection(host, port)

    def _free_port(self, socket: Holder, host: str) -> int:
        for port in self._stack.ports.to_bind(self._stack.settings.ip_local_port_range):
            if self._is_free(socket, host, port):
                return port
        return fail(errno.EADDRINUSE)
