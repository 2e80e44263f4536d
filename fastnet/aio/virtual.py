"""asyncio programs over a stack that talks to itself, in virtual time: no root, no network, no waiting, and the same run every time."""

import asyncio
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from fastnet.aio._wait import wait_for
from fastnet.aio.loop import EventLoop
from fastnet.aio.reactor import Reactor
from fastnet.ambient import Ambient
from fastnet.clock import ManualClock
from fastnet.config import Settings
from fastnet.devices import MemoryDevice
from fastnet.driver import Driver
from fastnet.stack import Stack

SECOND = 1_000_000_000
PATIENCE = 10 * SECOND
"""Of real time, for a thread to answer, when nothing else will ever happen."""
PACKETS = 1
OTHERS = 2
ADDRESSES = ("198.18.0.1", "198.18.0.2", "2001:2::1", "2001:2::2")


class VirtualEventLoop(EventLoop):
    """An event loop whose time goes on when there is nothing else to do.

    Its stack has the addresses 198.18.0.1 and 2001:2::1, from which connections come, 198.18.0.2 and 2001:2::2. ``asyncio.sleep(3600)``
    takes no time.

    :param settings: a ``Settings``, or a mapping of Linux's names to values
    :param seed: of everything that the stack leaves to chance
    :ivar clock: the time, ns
    :ivar threads: calls of ``run_in_executor`` that are not done
    :raises SettingError: a setting that does not exist, or a value it cannot take
    """

    def __init__(self, settings: Settings | Mapping[str, Any] | None = None, seed: int = 0) -> None:
        self.clock = ManualClock(SECOND)
        device = MemoryDevice(limit=1 << 16)
        device.peer = device
        stack = Stack(device, ADDRESSES, settings, self.clock, Random(seed).randbytes)
        self.threads = 0
        super().__init__(Ambient(Driver(stack)))

    def time(self) -> float:
        """The virtual time, seconds."""
        return self.clock() / SECOND

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":  # type: ignore[override]
        """As asyncio's; virtual time stands still as long as the thread works."""
        future = super().run_in_executor(executor, func, *args)
        self.threads += 1
        future.add_done_callback(self._thread_done)
        return future

    async def shutdown_default_executor(self, *timeout: float | None) -> None:
        """As asyncio's; virtual time stands still until its threads have ended, so that a timeout is none of virtual time either."""
        self.threads += 1
        try:
            await super().shutdown_default_executor(*timeout)
        finally:
            self.threads -= 1

    def _thread_done(self, _future: "asyncio.Future[Any]") -> None:
        self.threads -= 1

    def _make_reactor(self, ambient: Ambient) -> Reactor:
        return VirtualReactor(ambient.driver, self, self._selector.fileno())


class VirtualReactor(Reactor):
    """A reactor that moves the clock instead of sleeping.

    :raises RuntimeError: from ``sleep``, when nothing will ever happen
    """

    __slots__ = ()

    def sleep(self, timeout: int) -> int:
        """Packets wait, or threads and other descriptors have something; if not, it is later at once."""
        found = PACKETS if not self.failed and self.stack.wait(0) else 0
        found |= wait_for(-1, self.others, 0)
        if found or timeout == 0:
            return found
        if timeout > 0 and not self.loop.threads:
            self.loop.clock.advance(timeout)
            return 0
        found = wait_for(-1, self.others, PATIENCE)
        if not found:
            raise RuntimeError("no timer runs, no packet is under way and no thread answers: nothing will ever happen")
        return found
