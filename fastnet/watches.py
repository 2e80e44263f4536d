"""Another file under a descriptor number, without its epoll instances noticing.

An epoll instance watches a file, not a number: put another file under the number, and it silently forgets what it was told. Which
instances of this process watch a number, with what events and data, ``/proc/self/fdinfo`` tells (proc_pid_fdinfo(5)).
"""

import ctypes
import os
import platform
from dataclasses import dataclass

EPOLL = "anon_inode:[eventpoll]"
EPOLL_CTL_ADD = 1
EPOLL_CTL_DEL = 2


class _Event(ctypes.Structure):
    # Packed on x86-64 alone (linux/eventpoll.h).
    _pack_ = 1 if platform.machine() == "x86_64" else 0
    _fields_ = (("events", ctypes.c_uint32), ("data", ctypes.c_uint64))


_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Watch:
    """That an epoll instance watches a number.

    :param instance: descriptor of the epoll instance
    :param events: what it waits for, and how; ``data``: what it gives back, 64 bits
    """

    instance: int
    events: int
    data: int


def watches(number: int) -> list[Watch]:
    """The epoll instances of this process that watch a descriptor number; none where /proc is not mounted.

    It looks at every descriptor of the process.
    """
    found: list[Watch] = []
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return found
    for name in names:
        try:
            if os.readlink(f"/proc/self/fd/{name}") != EPOLL:
                continue
            with open(f"/proc/self/fdinfo/{name}") as file:
                lines = file.readlines()
        except OSError:
            # Closed in between.
            continue
        for line in lines:
            # "tfd:        5 events:       19 data:                5  pos:0 ino:61 sdev:7"
            words = line.split()
            if words and words[0] == "tfd:" and int(words[1]) == number:
                found.append(Watch(int(name), int(words[3], 16), int(words[5], 16)))
    return found


def replace(number: int, by: int) -> None:
    """Have a descriptor number stand for another descriptor's file; what watches the number watches that.

    :raises OSError: the other one is not open
    """
    seen = watches(number)
    for watch in seen:
        # A copy of the old file would be watched on, under this number.
        _control(watch, EPOLL_CTL_DEL, number)
    os.dup2(by, number, inheritable=False)
    for watch in seen:
        _control(watch, EPOLL_CTL_ADD, number)


def _control(watch: Watch, operation: int, number: int) -> None:
    # One that was closed in between has nothing to be told.
    _libc.epoll_ctl(watch.instance, operation, number, ctypes.byref(_Event(watch.events, watch.data)))
