"""Local addresses and ports that sockets have taken: who may share one, and which one is free."""

import errno
from typing import Protocol

from fastnet.sockopt import fail
from fastnet.stack import Stack

ANY = "0.0.0.0"
"""The wildcard: any local address."""


class Holder(Protocol):
    """What is asked of a socket here."""

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
        # Port -> address -> who has both. What costs nothing to find among many sockets: any that has a port, and all that share a name.
        self._holders: dict[int, dict[str, dict[Holder, None]]] = {}

    def bind(self, socket: Holder, host: str, port: int) -> int:
        """Take a port that a program asked for, 0 for any; which one it is.

        :param host: a local address, or "0.0.0.0" for any
        :raises OSError: EADDRINUSE
        """
        if port == 0:
            port = self._stack.ports.choose_to_bind(host)
            if port < 0:
                fail(errno.EADDRINUSE)
        elif not self._is_free(socket, host, port):
            fail(errno.EADDRINUSE)
        self.take(socket, host, port, True)
        return port

    def check_listening(self, socket: Holder, host: str, port: int) -> None:
        """Before a socket that has a name listens: nobody else may listen on a name that overlaps (inet_csk_listen_start()).

        :raises OSError: EADDRINUSE
        """
        if not self._shares(socket, host, port):
            fail(errno.EADDRINUSE)

    def take(self, socket: Holder, host: str, port: int, bound: bool = False) -> None:
        """Note that a socket has an address and a port.

        :param bound: the program asked for the port
        """
        self._stack.context.ports.hold(host, port, bound)
        self._holders.setdefault(port, {}).setdefault(host, {})[socket] = None

    def leave(self, socket: Holder, host: str, port: int, bound: bool) -> None:
        """The socket needs it no more: the same arguments."""
        names = self._holders.get(port, {})
        holders = names.get(host, {})
        if socket not in holders:
            return
        del holders[socket]
        if not holders:
            del names[host]
        if not names:
            del self._holders[port]
        self._stack.context.ports.release(host, port, bound)

    def _is_free(self, socket: Holder, host: str, port: int) -> bool:
        # Without SO_REUSEADDR, what is left of earlier connections (TIME-WAIT among them) keeps the port too.
        return self._shares(socket, host, port) and (socket.reuse or not self._stack.has_connection(host, port))

    def _shares(self, socket: Holder, host: str, port: int) -> bool:
        names = self._holders.get(port, {})
        for other in names if host == ANY else (host, ANY):
            for holder in names.get(other, ()):
                # inet_bind_conflict(): two sockets may share a port only if both say so, and the one that has it does not listen.
                if holder is not socket and not (socket.reuse and holder.reuse and not holder.listening):
                    return False
        return True
