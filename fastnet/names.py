"""Local addresses and ports that sockets have taken: who may share one, and which one is free."""

import errno
from socket import AF_INET6
from typing import Any, Protocol

from fastnet.sockopt import fail
from fastnet.stack import Stack

Name = tuple[str, int]
"""A local address and port. An IPv4 address is written as one, also where a socket of AF_INET6 has it."""


def places(host: str, v6only: bool) -> tuple[str, ...]:
    """What a socket takes that binds to an address: with "::" also any address of IPv4, unless it has IPV6_V6ONLY."""
    return ("::", "0.0.0.0") if host == "::" and not v6only else (host,)


def shown(family: int, host: str, port: int) -> Any:
    """An address and a port as a program is told them: of AF_INET6 as four, an IPv4 address as an IPv4-mapped one."""
    if family != AF_INET6:
        return host, port
    return host if ":" in host else f"::ffff:{host}", port, 0, 0


def wildcard(host: str) -> str:
    """Any address of the family of this one."""
    return "::" if ":" in host else "0.0.0.0"


class Holder(Protocol):
    """What is asked of a socket here."""

    @property
    def reuse(self) -> bool:
        """SO_REUSEADDR."""

    @property
    def listening(self) -> bool:
        """Does it listen?"""

    @property
    def v6only(self) -> bool:
        """IPV6_V6ONLY. It stays as it is while the socket has a name."""


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

        :param host: a local address, "0.0.0.0" for any of IPv4, "::" for any of both families, or of IPv6 with IPV6_V6ONLY
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
        names = self._holders.setdefault(port, {})
        for place in places(host, socket.v6only):
            names.setdefault(place, {})[socket] = None

    def leave(self, socket: Holder, host: str, port: int, bound: bool) -> None:
        """The socket needs it no more: the same arguments."""
        names = self._holders.get(port, {})
        if socket not in names.get(host, {}):
            return
        for place in places(host, socket.v6only):
            del names[place][socket]
            if not names[place]:
                del names[place]
        if not names:
            del self._holders[port]
        self._stack.context.ports.release(host, port, bound)

    def _is_free(self, socket: Holder, host: str, port: int) -> bool:
        # Without SO_REUSEADDR, what is left of earlier connections (TIME-WAIT among them) keeps the port too.
        return self._shares(socket, host, port) and (
            socket.reuse or not any(self._stack.has_connection(place, port) for place in places(host, socket.v6only))
        )

    def _shares(self, socket: Holder, host: str, port: int) -> bool:
        names = self._holders.get(port, {})
        for place in places(host, socket.v6only):
            family = wildcard(place)
            for other in names if place == family else (place, family):
                if wildcard(other) != family:
                    continue
                for holder in names.get(other, ()):
                    # inet_bind_conflict(): two sockets may share a port only if both say so, and the one that has it does not listen.
                    if holder is not socket and not (socket.reuse and holder.reuse and not holder.listening):
                        return False
        return True
