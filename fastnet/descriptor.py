"""A file descriptor that shows the state of a socket that has none, to whoever waits with select, poll or epoll.

It is one end of a pair of AF_UNIX sockets, since an eventfd or a pipe can be readable or not, but not readable, writable and hung up each
for itself. What is done to the other end makes it so:

    EPOLLIN     a byte waits in it
    EPOLLOUT    its send buffer, the smallest there is, is not full
    EPOLLRDHUP  the other end is shut for sending
    EPOLLHUP    the other end is shut in both directions
    EPOLLERR    the other end was closed, and a byte was left there unread

What is one-way there is one-way in TCP too, but for a socket whose connection is over and that begins anew: it gets a new pair under the
same numbers.
"""

import _socket
import contextlib
import os
import select
import socket as stdlib
from typing import Any

from fastnet.watches import replace

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

    Reading from the numbers, or writing to them, spoils what they show. What is done here needs none of them, as a program
    may close one behind our back.

    :param of: whose state it is: what ``find`` finds
    :ivar numbers: the descriptors, close-on-exec
    :ivar shown: the events that they show
    :ivar closed: nobody changes them any more
    """

    def __init__(self, of: Any) -> None:
        self.of = of
        self.numbers: list[int] = []
        self._begin()

    def _begin(self) -> None:
        self.closed = False
        self.shown = WRITABLE
        self._end, self._other = _socket.socketpair(stdlib.AF_UNIX, stdlib.SOCK_STREAM)
        self._end.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_SNDBUF, 0)
        self._end.send(SPARE)
        self._key = file_of(self._end.fileno())
        FOUND[self._key] = self

    def add(self, number: int = -1) -> int:
        """One more number; which one it is.

        :param number: an open descriptor, which is replaced
        """
        if number < 0:
            number = os.dup(self._end.fileno())
        else:
            replace(number, self._end.fileno())
        self.numbers.append(number)
        return number

    def has(self, number: int) -> bool:
        """Is the number still its? Whoever closed it with ``os.close`` may have given it to another file."""
        return number in self.numbers and file_of(number) == self._key

    def remove(self, number: int) -> None:
        """One number less; it is the caller's to close. After the last, nothing is left here."""
        self.numbers.remove(number)
        if not self.numbers:
            self.close()

    def close(self) -> None:
        """The numbers show a hang-up from now on."""
        self.closed = True
        FOUND.pop(self._key, None)
        for end in (self._end, self._other):
            # Somebody may have closed it: see OpenSocket._show().
            with contextlib.suppress(OSError):
                end.close()

    def _begin_anew(self) -> None:
        numbers = [number for number in self.numbers if self.has(number)]
        self.close()
        self._begin()
        for number in numbers:
            replace(number, self._end.fileno())

    def show(self, events: int) -> None:
        """Show these of the events above. EPOLLHUP and EPOLLERR come with all of ``ENDED``."""
        if events & (HANG_UP | ERROR):
            events |= ENDED
        elif events & READ_HANG_UP:
            events |= READABLE
        change = self.shown ^ events
        if not change or self.closed:
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
"""By the device and inode of its end: the same for all of its numbers, and for copies made with ``os.dup``."""


def _after_fork() -> None:
    # A hang-up is the end of the last copy, and an epoll instance keeps an eye on a file as long as there is one. The numbers stay: they
    # are the program's.
    for shown in FOUND.values():
        for end in (shown._end, shown._other):
            with contextlib.suppress(OSError):
                end.close()


os.register_at_fork(after_in_child=_after_fork)


def file_of(number: int) -> tuple[int, int]:
    """Device and inode; (-1, -1) when it is not open."""
    try:
        status = os.fstat(number)
    except OSError:
        return -1, -1
    return status.st_dev, status.st_ino


def find(number: int) -> Any:
    """Whose state a descriptor shows; None when it shows none, or is not open."""
    found = FOUND.get(file_of(number))
    return found.of if found is not None else None
