"""What raised although it should not have: noted while a batch is worked off, and told once that is done.

A log handler may itself use a socket of the stack, or wait for a thread that does. So nothing is logged in the middle of a batch, nor
while a driver holds its lock.
"""

import logging

from fastnet.counters import Counters
from fastnet.tcp.numbers import SECOND

LOGGER = logging.getLogger("fastnet")
INTERVAL = 5 * SECOND
BURST = 10
"""Lines in an interval: Linux's net_ratelimit()."""


class Failures:
    """The failures of one stack.

    :ivar due: something waits until the round is over: lines to log, an interruption, or the device's failure
    :ivar held: somebody else calls ``log``, a driver, once it has let its lock go
    :ivar interruption: a KeyboardInterrupt or SystemExit that goes through when the round is over, None without
    :ivar waiting: lines that are not logged yet, with what was raised
    :ivar silenced: failures since the last line that were one too many for the log
    """

    __slots__ = ("counters", "due", "held", "interruption", "left", "silenced", "since", "waiting")

    def __init__(self, counters: Counters) -> None:
        self.counters = counters
        self.due = False
        self.held = False
        self.interruption: BaseException | None = None
        self.waiting: list[tuple[str, BaseException]] = []
        self.silenced = 0
        self.left = BURST
        self.since = 0

    def note(self, what: str, error: BaseException, now: int) -> None:
        """Something raised: count it, and keep a line for the log unless there were too many lately.

        :param what: whose code it was and what became of it
        """
        self.due = True
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            # The first one; who is interrupted twice before the batch is over wants the same thing twice.
            if self.interruption is None:
                self.interruption = error
            return
        self.counters.EndpointFailures += 1
        if now - self.since >= INTERVAL or now < self.since:
            self.since = now
            self.left = BURST
        if self.left <= 0:
            self.silenced += 1
            return
        self.left -= 1
        if self.silenced:
            what = f"{what} ({self.silenced} failures before it were not logged)"
            self.silenced = 0
        self.waiting.append((what, error))

    def log(self) -> None:
        """Write the lines that wait, each with its traceback."""
        while self.waiting:
            what, error = self.waiting.pop(0)
            try:
                LOGGER.error("%s", what, exc_info=error)
            except Exception:
                # A handler's own failure (no memory, no disk) must not become the stack's.
                continue

    def take_interruption(self) -> BaseException | None:
        """What is to be raised now that the round is over."""
        interruption, self.interruption = self.interruption, None
        return interruption
