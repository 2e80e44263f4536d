"""Active queue management: which packets of a queue are dropped or marked before it is full."""

from math import sqrt
from random import Random

SECOND = 1_000_000_000
MILLISECOND = 1_000_000


class DropTail:
    """None: a packet is dropped when the queue is full, and only then."""

    def arrives(self, waiting: int, now: int) -> bool:
        """A packet is about to join the queue. True: it is dropped, or marked if its sender has said that it may be.

        :param waiting: bytes in the queue
        :param now: ns
        """
        return False

    def leaves(self, sojourn: int, waiting: int, now: int) -> bool:
        """A packet is about to be sent. True: it is dropped, or marked.

        :param sojourn: how long it has waited, ns
        :param waiting: bytes that are in the queue behind it
        :param now: ns
        """
        return False


class Red(DropTail):
    """Random early detection (Floyd and Jacobson 1993), "gentle": from an average queue on, the longer it is, the more packets.

    :param capacity: bytes of the queue; the thresholds are a twelfth and a quarter of it
    :param rate: bits/s, for how far the average falls while nothing waits
    :param random: for the choice of packets
    """

    WEIGHT = 0.002
    MOST = 0.1
    """Probability at the upper threshold; it rises to 1 at twice that threshold."""

    def __init__(self, capacity: int, rate: float, random: Random) -> None:
        self._low = max(capacity / 12, 3000.0)
        self._high = 3 * self._low
        self._packet_time = 1500 * 8 * SECOND / rate
        self._average = 0.0
        self._passed = 0
        self._idle_since = 0
        self._draw = random.random

    def arrives(self, waiting: int, now: int) -> bool:
        """See ``DropTail``."""
        if waiting == 0:
            self._average *= (1 - self.WEIGHT) ** ((now - self._idle_since) / self._packet_time)
        self._idle_since = now
        self._average += self.WEIGHT * (waiting - self._average)
        if self._average < self._low:
            self._passed = 0
            return False
        if self._average < self._high:
            chance = self.MOST * (self._average - self._low) / (self._high - self._low)
        else:
            chance = min(1.0, self.MOST + (1 - self.MOST) * (self._average - self._high) / self._high)
        # So that chosen packets are evenly spread, not in clusters.
        self._passed += 1
        if self._passed * chance < 1 and self._draw() >= chance / (1 - self._passed * chance):
            return False
        self._passed = 0
        return True


class CoDel(DropTail):
    """RFC 8289: when every packet of 100 ms has waited longer than 5 ms, one is dropped or marked, and then more and more often."""

    TARGET = 5 * MILLISECOND
    INTERVAL = 100 * MILLISECOND
    SMALLEST = 1500
    """With no more than a packet in the queue, its delay says nothing."""

    def __init__(self) -> None:
        self._above_at = 0
        self._dropping = False
        self._next = 0
        self._count = 0
        self._last_count = 0

    def leaves(self, sojourn: int, waiting: int, now: int) -> bool:
        """See ``DropTail``."""
        if sojourn < self.TARGET or waiting <= self.SMALLEST:
            self._above_at = 0
            self._dropping = False
            return False
        if self._above_at == 0:
            self._above_at = now + self.INTERVAL
            return False
        if now < self._above_at:
            return False
        if not self._dropping:
            self._dropping = True
            # Soon after the last time, go on about as fast as then (section 5.5).
            recent = now - self._next < 16 * self.INTERVAL
            delta = self._count - self._last_count
            self._count = delta if recent and delta > 1 else 1
            self._last_count = self._count
        elif now < self._next:
            return False
        else:
            self._count += 1
        self._next = (now if self._count == self._last_count else self._next) + round(self.INTERVAL / sqrt(self._count))
        return True


class Step(DropTail):
    """Every packet that finds more than a threshold waiting, as DCTCP wants it of a switch (RFC 8257 section 1).

    :param capacity: bytes of the queue; the threshold is a sixth of it, two packets at least. The authors of DCTCP want a seventh of the
        bandwidth-delay product or more, or the link is idle now and then
    """

    def __init__(self, capacity: int) -> None:
        self.threshold = max(capacity / 6, 3000.0)

    def arrives(self, waiting: int, now: int) -> bool:
        """See ``DropTail``."""
        return waiting > self.threshold


KINDS = ("droptail", "red", "codel", "step")


def make(kind: str, capacity: int, rate: float, random: Random) -> DropTail:
    """One by its name.

    :raises ValueError: no such name
    """
    if kind == "droptail":
        return DropTail()
    if kind == "red":
        return Red(capacity, rate, random)
    if kind == "codel":
        return CoDel()
    if kind == "step":
        return Step(capacity)
    raise ValueError(f"no queue discipline {kind!r}; there are: {', '.join(KINDS)}")
