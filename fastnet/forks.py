"""What becomes of a stack when its process forks: it stays the parent's. In the child all that belongs to it raises ``ForkedError``.

A child has copies of the stack's memory, of its locks as they were held by threads that it does not have, and of the descriptor of the same
TUN device. If it went on, both would answer the same peers. So nothing in the child takes such a lock or writes to the device; the child's
copies of the descriptors are closed, so that the parent's are the only ones. ``close`` and ``stop`` give back what the child has, and
say nothing to anybody. A stack polled by hand over a device in memory shares nothing with the parent, and goes on as a copy.

subprocess and os.posix_spawn run no Python in the child, and are not concerned.
"""

import contextlib
import os
from typing import Any, NoReturn, Protocol
from weakref import WeakSet


class ForkedError(RuntimeError):
    """It belongs to the process that this one was forked from. No OSError, which servers take for a peer's fault and try again."""

    def __init__(self) -> None:
        super().__init__(
            f"this belongs to a fastnet stack of process {_parent}, which was forked: a stack lives in one process. Make the stack, its "
            "driver or its event loop after the fork, with a device or a queue for each process; run servers without worker processes"
        )


class Forkable(Protocol):
    """What must not go on in a child."""

    def after_fork(self) -> None:
        """This process is a child: let go, without a lock and without a word to anybody."""


class ForkedLock:
    """Stands for the lock of a driver in a child: whoever wants it hears why not."""

    def __enter__(self) -> NoReturn:
        raise ForkedError

    def __exit__(self, *_: object) -> None:
        """Never called."""

    def __getattr__(self, name: str) -> NoReturn:
        raise ForkedError


_parent = 0
_watched: "WeakSet[Any]" = WeakSet()


def watch(it: Forkable) -> None:
    """Have ``after_fork`` called in every child, for as long as it lives."""
    _watched.add(it)


def _after_fork() -> None:
    global _parent
    if _watched:
        _parent = os.getppid()
        for it in list(_watched):
            # The others must let go even so.
            with contextlib.suppress(Exception):
                it.after_fork()


os.register_at_fork(after_in_child=_after_fork)
