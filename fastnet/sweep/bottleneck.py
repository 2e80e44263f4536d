"""One direction of a path: a policer, cross traffic, a queue with a discipline, a rate, losses, a blackout, and a delay."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from fastnet._ring import PacketRing
from fastnet._timer import NEVER
from fastnet.devices.impairment import Impairment, LinkDirection
from fastnet.sweep.aqm import DropTail
from fastnet.sweep.histogram import Histogram

SECOND = 1_000_000_000
CROSS_SIZE = 1500
LIMIT = 1 << 20
"""Packets that may be under way."""


@dataclass(frozen=True)
class Path:
    """What the direction is like.

    :param rate: bits of IP packets per second
    :param delay: how long a packet travels, ns
    :param queue: bytes that may wait for their turn
    :param loss: probability that a packet is lost behind the bottleneck
    :param policer: bits/s that are let into the queue, 0: no limit; ``bucket``: bytes that may come at once
    :param cross: bits/s of packets of 1,500 bytes that come at random times (a Poisson process) and go no further than the bottleneck
    :param blackout: from when to when everything is lost behind the bottleneck, ns; (0, 0): never
    """

    rate: int
    delay: int
    queue: int
    loss: float = 0.0
    policer: int = 0
    bucket: int = 0
    cross: int = 0
    blackout: tuple[int, int] = (0, 0)


class Bottleneck(LinkDirection):
    """A ``LinkDirection`` whose queue is there packet by packet, so that a discipline can look at it.

    Nothing happens between calls: each call first does what should have happened since the one before, at its exact time.

    :ivar delays: how long packets waited in the queue, us, while ``measuring``
    :ivar busy: how long the link was sending while ``measuring``, ns
    :ivar policed: packets that the policer dropped; ``early``: that the discipline dropped. ``tally.dropped`` has these too
    :ivar waiting: bytes in the queue
    :ivar passed: called with each packet that will come out at the far end, in their order; None: nobody
    :ivar entered: called with each packet that a stack sends into it, and when, ns; None: nobody
    """

    def __init__(self, path: Path, discipline: DropTail, seed: str, mtu: int) -> None:
        super().__init__(Impairment(loss=path.loss), seed, mtu, LIMIT)
        self.path = path
        self.delays = Histogram()
        self.busy = 0
        self.measuring = True
        self.policed = 0
        self.early = 0
        self.waiting = 0
        self.passed: Callable[[bytes], None] | None = None
        self.entered: Callable[[bytes, int], None] | None = None
        self._discipline = discipline
        # When it came, its size, and the packet; None for cross traffic.
        self._queue: deque[tuple[int, int, bytes | None]] = deque()
        self._lost = Random(f"{seed} loss").random
        self._gap = Random(f"{seed} cross").expovariate
        self._per_gap = path.cross / (CROSS_SIZE * 8 * SECOND)
        self._cross_at = NEVER
        self._tokens = float(path.bucket)
        self._tokens_at = 0

    def start(self, now: int) -> None:
        """Cross traffic begins, and the policer's bucket is full."""
        self._tokens_at = now
        if self._per_gap:
            self._cross_at = now + round(self._gap(self._per_gap))

    def deliver(self, ring: PacketRing, now: int) -> int:
        """Append the packets that have arrived to a ring, as long as it has room; how many."""
        with self._lock:
            self._advance(now)
        return super().deliver(ring, now)

    def next_delivery(self) -> int:
        """When something happens next that a stack may see, ns."""
        with self._lock:
            if self._flying:
                return self._flying[0][0]
            # What is lost behind the bottleneck is never delivered; the next one in the queue may be.
            return self._free_at if self._queue else NEVER

    def _set_out(self, packet: bytes, now: int) -> bool:
        tally = self.tally
        tally.packets += 1
        if len(packet) > self.mtu or len(self._flying) + len(self._queue) >= self.limit:
            tally.refused += 1
            return False
        self._advance(now)
        if self.entered is not None:
            self.entered(packet, now)
        if self.path.policer and not self._conforms(len(packet), now):
            self.policed += 1
            tally.dropped += 1
            return True
        self._join(len(packet), packet, now)
        return True

    def _conforms(self, size: int, now: int) -> bool:
        """The policer's token bucket."""
        path = self.path
        self._tokens = min(path.bucket, self._tokens + (now - self._tokens_at) * path.policer / (8 * SECOND))
        self._tokens_at = now
        if self._tokens < size:
            return False
        self._tokens -= size
        return True

    def _join(self, size: int, packet: bytes | None, now: int) -> None:
        """A packet reaches the queue."""
        if self._free_at <= now:
            self._discipline.arrives(0, now)
            self._serve(now, size, packet, now)
            return
        dropped = self.waiting + size > self.path.queue
        if not dropped and self._discipline.arrives(self.waiting, now):
            packet, dropped = self._notify(packet)
            self.early += dropped
        if dropped:
            self.tally.dropped += 1
            return
        self._queue.append((now, size, packet))
        self.waiting += size

    def _notify(self, packet: bytes | None) -> tuple[bytes | None, bool]:
        """The sender is to be told of congestion: the packet, marked, and whether it must be dropped instead."""
        if packet is None:
            return None, True
        marked = self.mark(packet)
        return marked, marked is packet

    def _advance(self, now: int) -> None:
        """Do what should have happened up to now."""
        while self._cross_at <= now:
            at = self._cross_at
            self._empty(at)
            self._join(CROSS_SIZE, None, at)
            self._cross_at = at + max(1, round(self._gap(self._per_gap)))
        self._empty(now)

    def _empty(self, now: int) -> None:
        """Send what is in the queue, as far as the rate lets it."""
        queue = self._queue
        while queue and self._free_at <= now:
            since, size, packet = queue.popleft()
            self.waiting -= size
            at = self._free_at
            if self._discipline.leaves(at - since, self.waiting, at):
                packet, dropped = self._notify(packet)
                if dropped:
                    self.early += 1
                    self.tally.dropped += 1
                    continue
            self._serve(at, size, packet, since)

    def _serve(self, at: int, size: int, packet: bytes | None, since: int) -> None:
        """Send one packet; what becomes of it behind the bottleneck is known at once."""
        path = self.path
        duration = -(-size * 8 * SECOND // path.rate)
        self._free_at = at + duration
        if self.measuring:
            self.busy += duration
        if packet is None:
            return
        if self.measuring:
            self.delays.add((at - since) // 1000)
        lost = self._lost() < path.loss
        start, end = path.blackout
        if lost or start <= self._free_at < end:
            self.tally.lost += 1
            return
        if self.passed is not None:
            self.passed(packet)
        self._flying.append((self._free_at + path.delay, packet))
