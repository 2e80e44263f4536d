"""A file descriptor that shows the state of a socket that has none, to whoever waits with select, poll or epoll.

It is one end of a pair of AF_UNIX sockets, since an eventfd or a pipe can be readable or not, but not readable, writable and hung up each
for itself. What is done to the other end makes it so:

    EPOLLIN     a byte waits in it
    EPOLLOUT    its send buffer, the smallest there is, is not full
    EPOLLRDHUP  the other end is shut for sending
    EPOLLHUP    the other end is shut in both directions
    EPOLLERR    the other end was closed, and a byte was left there unread

What is one-way there is one-way in TCP too, but for a socket whose connection is over and that begins anew: it gets a new pair under the
same numbers, which an epoll instance forgets, as it does when a descriptor is closed.
"""

import _socket
import os
import select
import socket as stdlib
from typing import Any

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
READ_HANG_UP = select.EPOLLRDHUP
HANG_UP = select.EPOLLHUP
ERROR = select.EPOLLERR

ENDED = READABLE | WRITABLE | READ_HANG_UP | HANG_UP
"""What is shown when both directions are shut."""
FILLER = bytes(2048)
"""More than half of the smallest send buffer: with it, epoll says that there is no room (unix_writable())."""
SPARE = b"\0"
"""Always left unread at the other end, so that closing that is an error (unix_release_sock())."""


class Descriptor:
    """One state under one or several descriptor numbers. Not thread-safe: whose state it is has a lock.

    Reading from the numbers, or writing to them, spoils what they show.

    :param of: whose state it is: what ``find`` finds
    :ivar numbers: the descriptors, close-on-exec
    :ivar shown: the events that they show
    """

    def __init__(self, of: Any) -> None:
        self.of = of
        self.numbers: list[int] = []
        self._begin()

    def _begin(self) -> None:
        self.shown = WRITABLE
        self._end, self._other = _socket.socketpair(stdlib.AF_UNIX, stdlib.SOCK_STREAM)
        self._end.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_SNDBUF, 0)
        self._end.send(SPARE)
        status = os.fstat(self._end.fileno())
        self._key = status.st_dev, status.st_ino
        FOUND[self._key] = self

    def add(self, number: int = -1) -> int:
        """One more number; which one it is.

        :param number: an open descriptor, which is replaced
        """
        if number >= 0:
            os.dup2(self._end.fileno(), number, inheritable=False)
        elif self.numbers:
            number = os.dup(self._end.fileno())
        else:
            number = self._end.fileno()
        self.numbers.append(number)
        if self._end.fileno() not in self.numbers:
            self._end.close()
            self._hold(number)
        return number

    def remove(self, number: int) -> None:
        """One number less; it is the caller's to close. After the last, nothing is left here."""
        self.numbers.remove(number)
        if number == self._end.fileno():
            self._end.detach()
            if self.numbers:
                self._hold(self.numbers[0])
        if not self.numbers:
            self._end_all()

    def _end_all(self) -> None:
        self._other.close()
        del FOUND[self._key]

    def _hold(self, number: int) -> None:
        self._end = _socket.socket(stdlib.AF_UNIX, stdlib.SOCK_STREAM, 0, number)

    def _begin_anew(self) -> None:
        self._end.detach()
        self._end_all()
        numbers, self.numbers = self.numbers, []
        self._begin()
        for number in numbers:
            self.add(number)

    def show(self, events: int) -> None:
        """Show these of the events above. EPOLLHUP and EPOLLERR come with all of ``ENDED``."""
        if events & (HANG_UP | ERROR):
            events |= ENDED
        elif events & READ_HANG_UP:
            events |= READABLE
        change = self.shown ^ events
        if not change:
            return
        closed = self._other.fileno() < 0
        if self.shown & ~events & (READ_HANG_UP | HANG_UP) or closed and change & events:
            self._begin_anew()
            change = self.shown ^ events
        if change & ~self.shown & WRITABLE:
            self._make_room()
        self.shown = events
        if events & ERROR:
            if change & ERROR:
                self._other.close()
        elif change & ERROR:
            self._end.getsockopt(stdlib.SOL_SOCKET, stdlib.SO_ERROR)
        elif events & HANG_UP:
            if change & HANG_UP:
                self._other.shutdown(stdlib.SHUT_RDWR)
        else:
            self._show_open(events, change)

    def _show_open(self, events: int, change: int) -> None:
        if change & READ_HANG_UP:
            self._other.shutdown(stdlib.SHUT_WR)
        elif change & READABLE and not events & READ_HANG_UP:
            if events & READABLE:
                self._other.send(SPARE, stdlib.MSG_DONTWAIT)
            else:
                self._end.recv(1, stdlib.MSG_DONTWAIT)
        if change & ~events & WRITABLE:
            self._end.send(FILLER, stdlib.MSG_DONTWAIT)

    def _make_room(self) -> None:
        # A byte alone would keep the whole of its packet in the send buffer.
        self._other.recv(2 * len(FILLER), stdlib.MSG_DONTWAIT)
        self._end.send(SPARE, stdlib.MSG_DONTWAIT)


FOUND: dict[tuple[int, int], Descriptor] = {}
"""Device and inode of each descriptor's end: the same for all of its numbers, and for copies made with ``os.dup``."""


def find(number: int) -> Any:
    """Whose state a descriptor shows; None when it shows none, or is not open."""
    try:
        status = os.fstat(number)
    except OSError:
        return None
    found = FOUND.get((status.st_dev, status.st_ino))
    return found.of if found is not None else None
