"""What turns a stack into something that programs can wait on: one lock, one clock, and a thread or the caller's own turns.

A ``Driver`` owns its stack. With ``start()`` a background thread polls the device; without, every call that has to wait polls in the
caller's thread ("by hand"), which is what a single-threaded test or a notebook wants.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from fastnet.forks import ForkedError, ForkedLock, watch
from fastnet.names import Names
from fastnet.stack import NEVER, Stack
from fastnet.tcp.containment import contain_door
from fastnet.tcp.failures import LOGGER

IDLE = 1_000_000_000
"""The longest sleep, ns: a bound on how late a lost wake-up can be noticed."""


class Driver:
    """Polls a stack and wakes whoever waits for it.

    :param stack: the stack; from now on only the driver and its sockets call it, under ``lock``
    :ivar lock: held during every call into the stack
    :ivar forked: this process is a child of the driver's: everything but ``stop`` raises ``fastnet.forks.ForkedError``
    :ivar failures: of the stack; what they have for the log is written without the lock, which a log handler's thread may wait for
    :ivar names: the local addresses and ports that sockets have taken
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.lock = threading.RLock()
        self.names = Names(stack)
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._sleeping_until = 0
        self._later: deque[Callable[[], None]] = deque()
        self.failures = stack.context.failures
        self.failures.held = True
        self.forked = False
        watch(self)

    def after_fork(self) -> None:
        """This process is a child, without the thread: whoever wants the lock hears that the stack is the parent's."""
        self.forked = True
        self.lock = ForkedLock()  # type: ignore[assignment]
        self._thread = None
        self.stack.after_fork()

    def check(self) -> None:
        """May a program's call be made in this process?

        :raises ForkedError: the stack is another process's
        """
        if self.forked:
            raise ForkedError

    def start(self) -> Self:
        """Poll in a background thread from now on.

        :raises OSError: ENETDOWN, the device has failed
        """
        self.check()
        if self.stack.failure is not None:
            raise self.stack.down()
        if self._thread is None:
            self._stopping = False
            self._thread = threading.Thread(target=self._run, name="fastnet", daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        """End the background thread. Connections stay as they are; ``start()`` goes on with them."""
        thread = self._thread
        if thread is not None:
            self._stopping = True
            self.stack.device.wake()
            thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def threaded(self) -> bool:
        """True while a background thread polls."""
        return self._thread is not None

    def step(self, timeout: float | None = 0.0) -> None:
        """One turn by hand: wait for packets or the next timer, at most ``timeout`` seconds (None: as long as it takes), and poll.

        :raises OSError: ENETDOWN, the device has failed
        """
        try:
            deadline = self._poll()
            now = self.stack.clock()
            wait = max(0, min(deadline - now, IDLE))
            if timeout is not None:
                wait = min(wait, int(timeout * 1e9))
            if wait:
                self.stack.wait(wait)
                self._poll()
        finally:
            if self.failures.waiting:
                self.failures.log()

    def flush(self) -> None:
        """Send what a program's call made due; called with the lock held."""
        stack = self.stack
        now = stack.clock()
        try:
            stack.flush(now)
        finally:
            self._wake_owners()
        if self._thread is not None and stack.next_deadline(now) < self._sleeping_until:
            stack.device.wake()

    def later(self, call: Callable[[], None]) -> None:
        """Have something called with the lock held, before the next poll; from any thread at any time, a collector of garbage too."""
        self._later.append(call)

    def wait(self, condition: threading.Condition, deadline: float | None) -> bool:
        """Wait for a condition made on ``lock``, which is held; False when ``deadline`` (``time.monotonic``) has passed.

        :raises OSError: ENETDOWN, the device has failed; or the background thread has, and its error is the cause
        """
        self.check()
        if self.stack.failure is not None:
            raise self.stack.down()
        remaining = None if deadline is None else deadline - time.monotonic()
        if remaining is not None and remaining <= 0:
            return False
        if self._thread is not None and threading.current_thread() is not self._thread:
            condition.wait(remaining)
        else:
            self.step(remaining)
        return True

    def _poll(self) -> int:
        with self.lock:
            while self._later:
                self._call(self._later.popleft())
            try:
                deadline: int = self.stack.poll(self.stack.clock())
            finally:
                self._wake_owners()
            return deadline

    def _call(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            self.failures.note("a call that was left for the next poll failed", error, self.stack.clock())

    def _wake_owners(self) -> None:
        ready = self.stack.take_ready()
        if not ready:
            return
        now = self.stack.clock()
        for endpoint in ready:
            owner = endpoint.owner
            if owner is not None:
                try:
                    owner.ready(now)
                except BaseException as error:
                    contain_door(self.stack.context, endpoint, error, now)

    def _run(self) -> None:
        try:
            while not self._stopping:
                with self.lock:
                    deadline = self._poll()
                    now = self.stack.clock()
                    sleep = min(deadline - now, IDLE)
                    self._sleeping_until = now + sleep if deadline != NEVER else NEVER
                if self.failures.waiting:
                    self.failures.log()
                if sleep > 0:
                    self.stack.wait(sleep)
        except BaseException as error:
            expected = self.stack.failure is not None
            with self.lock:
                # Whatever ended the thread, nobody polls any more.
                self.stack.fail(error)
                try:
                    self.stack.round_over(self._sleeping_until)
                finally:
                    self._wake_owners()
            self.failures.log()
            if not expected:
                raise
            LOGGER.error("%s", error.strerror if isinstance(error, OSError) else error)
