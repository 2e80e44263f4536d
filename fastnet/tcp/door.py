"""What owns an endpoint."""

from typing import Protocol


class Door(Protocol):
    """The owner of a connection or a listener: whoever a program talks to instead of the endpoint (a socket, a transport, a session).

    ``Context.notify`` puts an endpoint with an owner on the list of those that have news. Whoever drives the stack goes through
    ``Stack.take_ready()`` and calls ``ready`` on the owner of each, once. What it raises ends the endpoint (``contain_door``).
    """

    def ready(self, now: int) -> None:
        """The endpoint has news: bytes, room, a connection to accept, a new state, an error.

        :param now: the time, ns
        """
        ...


class Noted:
    """The owner of endpoints whose news a loop deals with itself: it has them on the list, and does nothing."""

    __slots__ = ()

    def ready(self, now: int) -> None:
        """The loop looks at the endpoint."""
