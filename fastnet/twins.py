"""Two stacks back to back over an impaired link, in virtual time: what a test or an experiment of hours takes is what its packets take."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, BinaryIO

from fastnet.clock import ManualClock
from fastnet.config import Settings
from fastnet.devices.base import Device
from fastnet.devices.capture import Capture, CapturedDevice
from fastnet.devices.impairment import PERFECT, ImpairedLink, Impairment
from fastnet.stack import NEVER, Stack

SECOND = 1_000_000_000
ROUNDS = 100_000
"""Rounds at one and the same time before it is said that the two will never come to rest."""


class Twins:
    """Two stacks, ``a`` (198.18.0.1) and ``b`` (198.18.0.2), a link between them, and one clock that only ``step`` and its kin move.

    A run repeats to the byte: time is virtual, and what the stacks and the link leave to chance comes from the seed.

    :param impairment: of the link from ``a`` to ``b``
    :param back: from ``b`` to ``a``; None: the same
    :param seed: of everything that is left to chance
    :param settings_a: of stack ``a``: a ``Settings``, or a mapping of Linux's names to values; ``settings_b``: of ``b``
    :param mtu: of the link, bytes
    :param slots: packets in a batch
    :param capture: a file open for writing bytes, for what each end sends and receives, as pcapng
    :ivar clock: the time, ns
    :ivar capture: the ``Capture`` of that file, to be closed before it; None without
    :ivar link: the link; ``link.forth.impairment`` and ``link.back.impairment`` may be set at any time
    :raises SettingError: a setting that does not exist, or a value it cannot take
    """

    def __init__(
        self,
        impairment: Impairment = PERFECT,
        back: Impairment | None = None,
        seed: int = 0,
        settings_a: Settings | Mapping[str, Any] | None = None,
        settings_b: Settings | Mapping[str, Any] | None = None,
        mtu: int = 1500,
        slots: int = 256,
        capture: BinaryIO | None = None,
    ) -> None:
        # Not 0, as no host's clock is.
        self.clock = ManualClock(SECOND)
        self.link = ImpairedLink(impairment, back, self.clock, seed, mtu)
        ends: list[Device] = [self.link.a, self.link.b]
        self.capture: Capture | None = None
        if capture is not None:
            self.capture = Capture(capture, self.clock)
            ends = [CapturedDevice(end, self.capture, name) for end, name in zip(ends, "ab", strict=True)]
        self.a = Stack(ends[0], ("198.18.0.1",), settings_a, self.clock, Random(f"{seed} a").randbytes, slots)
        self.b = Stack(ends[1], ("198.18.0.2",), settings_b, self.clock, Random(f"{seed} b").randbytes, slots)
        self._deadlines = (NEVER, NEVER)
        self._due = NEVER

    def step(self, limit: int = NEVER) -> bool:
        """Do what is due now; when no packet moves now, go to the next timer or delivery, and do what is due then.

        :param limit: do not go beyond this time, ns
        :returns: False when nothing happens up to there. Without a limit that is: no timer runs, and no packet is under way
        :raises RuntimeError: the stacks send and send, and time does not pass
        """
        if self._settle():
            return True
        if self._due == NEVER or self._due > limit:
            return False
        self.clock.set(self._due)
        self._settle()
        return True

    def run(self, until: Callable[[], bool], limit_seconds: float) -> float:
        """Step until something is so; how much time that took, virtual seconds.

        :param until: asked before the first step and after each; it may read, write and close, which is a program's part
        :param limit_seconds: virtual time that it may take
        :raises TimeoutError: it took longer
        :raises RuntimeError: nothing will ever happen, or time does not pass
        """
        start = self.clock()
        limit = self._after(limit_seconds)
        while not until():
            if self.step(limit):
                continue
            if self._due == NEVER:
                raise RuntimeError(f"no timer runs and no packet is under way: nothing will ever happen\n{self._report(start)}")
            self.clock.set(limit)
            raise TimeoutError(f"it did not come about in {limit_seconds:g} s of virtual time\n{self._report(start)}")
        return (self.clock() - start) / SECOND

    def pass_time(self, seconds: float) -> None:
        """Let virtual time pass, with all that happens in it.

        :raises RuntimeError: time does not pass
        """
        limit = self._after(seconds)
        while self.step(limit):
            pass
        self.clock.set(limit)

    def _after(self, seconds: float) -> int:
        return self.clock() + round(min(seconds * SECOND, NEVER >> 1))

    def _settle(self) -> bool:
        """Poll both until nothing is due now; True when a packet moved."""
        now = self.clock()
        before = self._moved()
        for _ in range(ROUNDS):
            self._deadlines = self.a.poll(now), self.b.poll(now)
            # Asked after both polls: what b sent without delay is due for a.
            self._due = min(*self._deadlines, self.link.forth.next_delivery(), self.link.back.next_delivery())
            if self._due > now:
                return self._moved() != before
        raise RuntimeError(f"after {ROUNDS} rounds at one time, there is still something to do at once\n{self._report(now)}")

    def _moved(self) -> int:
        forth, back = self.link.forth.tally, self.link.back.tally
        return forth.packets + forth.delivered + back.packets + back.delivered

    def _report(self, start: int) -> str:
        """Where things stand, for whoever has to find out why."""
        now = self.clock()
        lines = [f"now: {now / SECOND:.6f} s, {(now - start) / SECOND:.6f} s after the start"]
        for name, deadline in zip("ab", self._deadlines, strict=True):
            lines.append(f"{name}: " + ("no timer" if deadline == NEVER else f"next timer in {(deadline - now) / SECOND:.6f} s"))
        for name, way in (("a to b", self.link.forth), ("b to a", self.link.back)):
            lines.append(f"{name}: {way.tally}; {way.under_way} under way")
        return "\n".join(lines)
