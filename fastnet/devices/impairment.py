"""Wires that are not perfect, after one seed: a link in memory on a clock of its own, and a wrapper for any other device.

What befalls a packet is drawn by a ``Direction``, each from its own generator: packets that go one way change nothing for those that
go the other way. A packet takes the same number of draws whatever comes of it, so that the n-th packet's luck with one impairment
does not depend on the others.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from random import Random

from fastnet._checksum import update16
from fastnet._ring import PacketRing
from fastnet._timer import NEVER
from fastnet.devices.base import BaseDevice, Capabilities, Device, Wrapper
from fastnet.devices.segments import packets_in

SECOND = 1_000_000_000
READS = 16
"""Batches that are read from a wrapped device in one call, at most, when all of their packets are lost."""
LARGEST = 65535
"""Bytes of the longest packet that a device with offload gives."""
BATCH = 16
"""Of such packets, how many are read at a time: each becomes up to 45 segments of 1,500 bytes."""


@dataclass(frozen=True)
class Impairment:
    """What a wire does to packets that go one way.

    A packet passes the queue and takes its turn at ``rate``; then it may be lost, corrupted, doubled or held back, which takes nothing
    off what the rate let through; then it travels. The order changes by ``reorder`` alone: jitter does not let packets overtake.

    :param loss: probability that a packet is lost, 0 to 1
    :param duplicate: probability that an untouched copy follows right behind
    :param reorder: probability that a packet is held back until later ones have passed it. One is held at a time
    :param corrupt: probability that one bit of a packet is flipped, so that every checksum notices
    :param delay: how long a packet travels, ns
    :param jitter: how much longer it may take, ns: 0 to this, evenly spread
    :param rate: bits of IP packets per second; 0: no limit
    :param queue: packets that may wait for their turn at ``rate``; one more is dropped (the tail)
    :param depth: packets that pass one that is held back: 1 to this, evenly spread
    :param hold: a packet that is held back goes after this time at the latest, ns
    :param mark: probability that a packet is marked "congestion experienced", if its sender said that it may be (RFC 3168: ECT)
    :param mark_at: with a rate, the same befalls each packet that finds so many waiting, or more; 0: none
    :raises ValueError: out of range; times, rates and numbers of packets are whole numbers
    """

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    delay: int = 0
    jitter: int = 0
    rate: int = 0
    queue: int = 1000
    depth: int = 3
    hold: int = 10_000_000
    mark: float = 0.0
    mark_at: int = 0

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if name in ("loss", "duplicate", "reorder", "corrupt", "mark"):
                if not 0 <= value <= 1:
                    raise ValueError(f"{name} is a probability, 0 to 1, not {value}")
            elif not isinstance(value, int) or value < (1 if name == "depth" else 0):
                # A float is most likely seconds.
                raise ValueError(f"{name} is a whole number, {1 if name == 'depth' else 0} or more, not {value!r}")


PERFECT = Impairment()
"""A wire that does nothing to packets."""


@dataclass
class Tally:
    """What became of the packets of one direction.

    packets + duplicated = refused + dropped + lost + delivered + those under way.

    :ivar packets: packets that were sent into it
    :ivar refused: of those, longer than the MTU or the slot they should go to, beyond the bound of the link's memory, or not taken by
        the wrapped device
    :ivar dropped: found the queue full
    :ivar marked: met congestion, and say so
    :ivar reordered: were passed by one packet at least
    :ivar delivered: came out of it, copies too
    """

    packets: int = 0
    refused: int = 0
    dropped: int = 0
    lost: int = 0
    corrupted: int = 0
    duplicated: int = 0
    marked: int = 0
    reordered: int = 0
    delivered: int = 0

    def __str__(self) -> str:
        """What is not 0, in words."""
        return ", ".join(f"{getattr(self, field.name)} {field.name}" for field in fields(self) if getattr(self, field.name)) or "nothing"


def flip_bit(packet: bytes, bit: int) -> bytes:
    """A packet with one bit the other way round; bit 0 is the lowest of the first byte."""
    changed = bytearray(packet)
    changed[bit >> 3] ^= 1 << (bit & 7)
    return bytes(changed)


def mark_congestion(packet: bytes) -> bytes:
    """An IPv4 packet with the codepoint CE in place of ECT(0) or ECT(1); any other as it is (RFC 3168 section 5)."""
    if len(packet) < 20 or packet[0] >> 4 != 4 or packet[1] & 3 not in (1, 2):
        return packet
    changed = bytearray(packet)
    changed[1] |= 3
    check = update16(int.from_bytes(packet[10:12]), int.from_bytes(packet[:2]), int.from_bytes(changed[:2]))
    changed[10:12] = check.to_bytes(2)
    return bytes(changed)


class Direction:
    """What befalls the packets that go one way, one after another, without time.

    :param impairment: the attribute may be set at any time: a link goes down with ``Impairment(loss=1)``
    :param seed: same seed and same packets, same fate
    :ivar tally: what became of the packets so far
    :ivar held: the packet that is held back, or None
    """

    def __init__(self, impairment: Impairment, seed: str) -> None:
        self.impairment = impairment
        self.tally = Tally()
        self.held: bytes | None = None
        self._random = Random(seed).random
        # Marks have dice of their own: with them or without, the same packets are lost.
        self._mark = Random(f"{seed} mark").random
        self._passed = 0
        self._to_pass = 0

    def carry(self, packet: bytes) -> list[bytes]:
        """What comes out when a packet goes in: nothing, the packet or its copy or both, and what was held back for it."""
        impairment, tally, draw = self.impairment, self.tally, self._random
        lost, corrupted, bit, doubled, late, depth = draw(), draw(), draw(), draw(), draw(), draw()
        marked = self._mark()
        if lost < impairment.loss:
            tally.lost += 1
            return []
        if marked < impairment.mark:
            packet = self.mark(packet)
        copies = [packet]
        if corrupted < impairment.corrupt and packet:
            tally.corrupted += 1
            copies[0] = flip_bit(packet, int(bit * 8 * len(packet)))
        if doubled < impairment.duplicate:
            tally.duplicated += 1
            copies.append(packet)
        if self.held is None:
            if late < impairment.reorder:
                self.held = copies.pop(0)
                self._passed = 0
                self._to_pass = 1 + int(depth * impairment.depth)
            return copies
        tally.reordered += self._passed == 0
        self._passed += 1
        return copies + self.release() if self._passed >= self._to_pass else copies

    def mark(self, packet: bytes) -> bytes:
        """The packet as it leaves a router that is congested."""
        after = mark_congestion(packet)
        self.tally.marked += after is not packet
        return after

    def release(self) -> list[bytes]:
        """The packet that was held back, if there is one, which is not held any longer."""
        held, self.held = self.held, None
        return [] if held is None else [held]


class LinkDirection(Direction):
    """One direction of an ``ImpairedLink``: a queue, a rate, and packets on their way. Either end may be in a thread of its own.

    :param mtu: bytes of the longest packet
    :param limit: packets that may be under way
    :ivar arrived: set when there is something new for the end that receives
    """

    def __init__(self, impairment: Impairment, seed: str, mtu: int, limit: int) -> None:
        super().__init__(impairment, seed)
        self.mtu = mtu
        self.limit = limit
        self.arrived = threading.Event()
        self._lock = threading.Lock()
        # Delivery times never fall, as jitter does not reorder and a held packet is released in its turn: no heap is needed.
        self._flying: deque[tuple[int, bytes]] = deque()
        # When packets that wait for the rate begin to be sent, and when the last of them is through.
        self._starts: deque[int] = deque()
        self._free_at = 0
        self._latest = 0
        self._release_at = NEVER

    @property
    def under_way(self) -> int:
        """Packets that were neither delivered nor lost yet."""
        with self._lock:
            return len(self._flying) + (self.held is not None)

    def send(self, packets: Iterable[bytes], now: int) -> int:
        """Let packets set out; how many the link took. What befalls them there, no sender is told."""
        with self._lock:
            taken = sum(self._set_out(packet, now) for packet in packets)
        self.arrived.set()
        return taken

    def deliver(self, ring: PacketRing, now: int) -> int:
        """Append the packets that have arrived to a ring, as long as it has room; how many."""
        first = ring.count
        flying, tally = self._flying, self.tally
        with self._lock:
            self._release_until(now)
            while flying and flying[0][0] <= now and ring.count < ring.slots:
                packet = flying.popleft()[1]
                if len(packet) > ring.capacity:
                    tally.refused += 1
                else:
                    ring.append(packet)
            tally.delivered += ring.count - first
        return ring.count - first

    def next_delivery(self) -> int:
        """When the next packet arrives, ns; ``NEVER`` when none is under way."""
        with self._lock:
            return self._flying[0][0] if self._flying else self._release_at

    def _set_out(self, packet: bytes, now: int) -> bool:
        self.tally.packets += 1
        if len(packet) > self.mtu or len(self._flying) >= self.limit:
            self.tally.refused += 1
            return False
        through = self._pass_queue(len(packet), now)
        if through < 0:
            self.tally.dropped += 1
            return True
        impairment = self.impairment
        # Those that wait, less this one.
        if impairment.rate and impairment.mark_at and len(self._starts) > impairment.mark_at:
            packet = self.mark(packet)
        self._latest = arrival = max(self._latest, through + impairment.delay + int(self._random() * (impairment.jitter + 1)))
        # A packet that is held back is not passed by one that arrives after its time.
        self._release_until(arrival - 1)
        was_held = self.held is not None
        self._flying.extend((arrival, out) for out in self.carry(packet))
        if self.held is None:
            self._release_at = NEVER
        elif not was_held:
            self._release_at = arrival + impairment.hold
        return True

    def _pass_queue(self, size: int, now: int) -> int:
        """When a packet is through at the link's rate, ns; -1 when the queue is full."""
        rate = self.impairment.rate
        if not rate:
            return now
        starts = self._starts
        while starts and starts[0] <= now:
            starts.popleft()
        start = max(now, self._free_at)
        if start > now:
            if len(starts) >= self.impairment.queue:
                return -1
            starts.append(start)
        self._free_at = start + -(-size * 8 * SECOND // rate)
        return self._free_at

    def _release_until(self, now: int) -> None:
        if self._release_at <= now:
            self._latest = max(self._latest, self._release_at)
            self._flying.extend((self._release_at, packet) for packet in self.release())
            self._release_at = NEVER


class LinkEnd(BaseDevice):
    """One end of an ``ImpairedLink``: a device.

    :ivar incoming: the direction that ends here; ``outgoing``: the one that begins here
    """

    def __init__(self, incoming: LinkDirection, outgoing: LinkDirection, clock: Callable[[], int]) -> None:
        super().__init__(outgoing.mtu)
        self.incoming = incoming
        self.outgoing = outgoing
        self._clock = clock

    def receive(self, ring: PacketRing) -> int:
        """Append the packets that have arrived by now to a ring; how many. One longer than a slot is refused."""
        return self.incoming.deliver(ring, self._clock())

    def transmit(self, ring: PacketRing) -> int:
        """Send all packets of a ring; how many the link took."""
        packets = [ring.packet(slot).tobytes() for slot in range(ring.count)]
        ring.clear()
        return self.outgoing.send(packets, self._clock())

    def wait(self, timeout: int) -> bool:
        """Sleep until the next packet arrives or ``wake``, at most ``timeout`` ns (below 0: for ever); True when one has arrived.

        The sleep is real, so with a clock that is moved by hand it is in vain.
        """
        due = self.incoming.next_delivery()
        sleep = max(0, due - self._clock()) if due != NEVER else -1
        if timeout >= 0:
            sleep = min(sleep, timeout) if sleep >= 0 else timeout
        if sleep:
            self.incoming.arrived.wait(None if sleep < 0 else min(sleep / SECOND, threading.TIMEOUT_MAX))
        self.incoming.arrived.clear()
        return self.incoming.next_delivery() <= self._clock()

    def wake(self) -> int:
        """End a ``wait``."""
        self.incoming.arrived.set()
        return 0


class ImpairedLink:
    """A link in memory whose packets are lost, changed, late and limited as two ``Impairment`` say, on any clock.

    With a ``ManualClock`` a run takes no time and repeats to the byte; with the real one, drivers in threads can use the ends.

    :param impairment: from ``a`` to ``b``
    :param back: from ``b`` to ``a``; None: the same
    :param clock: now in ns, monotonic; the stacks at the ends should have the same
    :param seed: of everything that is left to chance
    :param mtu: bytes of the longest packet
    :param limit: packets that may be under way in each direction: a bound on memory
    :ivar a: one end; ``b``: the other
    :ivar forth: what befalls packets from ``a`` to ``b``; ``back``: from ``b`` to ``a``
    """

    def __init__(
        self,
        impairment: Impairment = PERFECT,
        back: Impairment | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        seed: int = 0,
        mtu: int = 1500,
        limit: int = 16384,
    ) -> None:
        self.clock = clock
        self.forth = LinkDirection(impairment, f"{seed} forth", mtu, limit)
        self.back = LinkDirection(impairment if back is None else back, f"{seed} back", mtu, limit)
        self.a = LinkEnd(self.back, self.forth, clock)
        self.b = LinkEnd(self.forth, self.back, clock)

    def next_delivery(self, end: LinkEnd) -> int:
        """When the next packet arrives at an end, ns, in the past when it waits already; ``NEVER`` when none is under way."""
        return end.incoming.next_delivery()


class ImpairedDevice(Wrapper):
    """Another device, such as a TUN, behind a wire that loses, corrupts, doubles and reorders packets.

    A wire carries segments, so the stack above has no offload: it makes each segment and its checksum itself. What a device with offload
    gives in one packet is cut into its segments as Linux would, and each has its own luck.

    Packets pass it when they come, so it can neither delay them nor limit their rate. One that is held back goes when later ones have
    passed it, or when nothing happens: an incoming one at the next ``receive`` that finds no other; an outgoing one at the second
    ``receive`` after it was sent; either after a ``wait`` without packets, which takes ``hold`` at most.

    :param device: the device; from now on, only this wrapper calls it
    :param impairment_in: of packets that the device receives
    :param impairment_out: of packets that are sent to it; None: the same
    :param seed: of everything that is left to chance
    :ivar incoming: what befalls packets that are received; ``outgoing``: those that are sent. Of an impairment that is set there later,
        delay, jitter and rate count for nothing
    :raises ValueError: an impairment with a delay, jitter or rate
    """

    def __init__(
        self, device: Device, impairment_in: Impairment = PERFECT, impairment_out: Impairment | None = None, seed: int = 0
    ) -> None:
        if impairment_out is None:
            impairment_out = impairment_in
        if any(impairment.delay or impairment.jitter or impairment.rate for impairment in (impairment_in, impairment_out)):
            raise ValueError("delay, jitter and rate take an ImpairedLink: a wrapped device passes packets on when they come")
        super().__init__(device)
        self._offload = PacketRing(BATCH, LARGEST) if device.capabilities.offload else None
        self.incoming = Direction(impairment_in, f"{seed} in")
        self.outgoing = Direction(impairment_out, f"{seed} out")
        # Received and not lost, but not asked for yet: at most what two batches and their copies can be.
        self._arrived: deque[bytes] = deque()
        self._turns = 0
        # When a packet began to be held, of those that are: either way.
        self._held_since = 0

    @property
    def capabilities(self) -> Capabilities:
        """The device's, without offload; a packet that is held back has its time."""
        return replace(self.device.capabilities, offload=False, timed=True)

    def receive(self, ring: PacketRing) -> int:
        """Append packets to a ring until none waits or the ring is full; how many.

        :raises OSError: as the device does
        """
        self._turns += 1
        if self._turns >= 2:
            self._send_held()
        first = ring.count
        self._hand_over(ring)
        for turn in range(READS):
            if ring.count == ring.slots:
                break
            received, more = self._read(ring)
            if not received and turn == 0:
                self._arrived.extend(self.incoming.release())
            self._hand_over(ring)
            if not more:
                break
        self.incoming.tally.delivered += ring.count - first
        return ring.count - first

    def transmit(self, ring: PacketRing) -> int:
        """Send all packets of a ring, which is empty afterwards; how many the wire or the device took."""
        packets = [ring.packet(slot).tobytes() for slot in range(ring.count)]
        ring.clear()
        was_held = self.outgoing.held
        out: list[bytes] = []
        for packet in packets:
            self.outgoing.tally.packets += 1
            out += self.outgoing.carry(packet)
        if self.outgoing.held is not was_held:
            self._turns = 0
            self._held_since = time.monotonic_ns()
        return max(0, len(packets) - self._send(out, ring))

    def wait(self, timeout: int) -> bool:
        """Sleep until packets wait or ``wake``; True when packets wait.

        :raises OSError: as the device does
        """
        if self._arrived:
            return True
        holds = self._holds()
        if not holds:
            return self.device.wait(timeout)
        pause = min(holds) if timeout < 0 else min(timeout, *holds)
        end = time.monotonic_ns() + pause
        ready = self.device.wait(pause)
        # Not when it was cut short, by ``wake`` or by a packet that is received already: the program is about to do something.
        if not ready and time.monotonic_ns() >= end:
            self._send_held()
            self._arrived.extend(self.incoming.release())
        return ready or bool(self._arrived)

    def due(self) -> int:
        """What is not handed over yet is due now; what is held back, after ``hold``."""
        if self._arrived:
            return 0
        ours, theirs = self._holds(), self.device.due()
        if not ours:
            return theirs
        left = max(0, self._held_since + min(ours) - time.monotonic_ns())
        return left if theirs < 0 else min(left, theirs)

    def _holds(self) -> list[int]:
        return [way.impairment.hold for way in (self.incoming, self.outgoing) if way.held is not None]

    def _read(self, ring: PacketRing) -> tuple[int, bool]:
        """Take what the device has; how many packets, and whether it may have more. The ring is as before."""
        # Large packets do not fit the stack's ring; others go by way of its free part.
        through = ring if self._offload is None else self._offload
        start = through.count
        count = self.device.receive(through)
        more = through.count == through.slots
        packets = [packet for slot in range(start, through.count) for packet in packets_in(through, slot)]
        through.hold(start)
        was_held = self.incoming.held
        for packet in packets:
            self.incoming.tally.packets += 1
            self._arrived.extend(self.incoming.carry(packet))
        if self.incoming.held is not was_held:
            self._held_since = time.monotonic_ns()
        return count, more

    def _hand_over(self, ring: PacketRing) -> None:
        while self._arrived and ring.count < ring.slots:
            ring.append(self._arrived.popleft())

    def _send(self, packets: list[bytes], ring: PacketRing) -> int:
        """Hand packets to the device by way of an empty ring, which is empty again afterwards; how many it refused."""
        sent = 0
        for packet in packets:
            if not ring.append(packet):
                sent += self.device.transmit(ring)
                ring.append(packet)
        if ring.count:
            sent += self.device.transmit(ring)
        self.outgoing.tally.delivered += sent
        self.outgoing.tally.refused += len(packets) - sent
        return len(packets) - sent

    def _send_held(self) -> None:
        for packet in self.outgoing.release():
            self._send([packet], PacketRing(1, max(1, len(packet))))
