"""A device in memory: two ends of a wire, or one end whose other side is a test."""

from collections import deque
from typing import Self

from fastnet._ring import PacketRing
from fastnet.devices.base import BaseDevice


class MemoryDevice(BaseDevice):
    """One end of a wire in memory. What it sends waits, bounded, for the other end, or for ``drain`` where there is none.

    :param mtu: bytes of the longest packet
    :param limit: packets that may wait; more are dropped and counted
    :ivar dropped: packets lost because too many waited
    """

    def __init__(self, mtu: int = 1500, limit: int = 4096) -> None:
        super().__init__(mtu)
        self.limit = limit
        self.dropped = 0
        self.peer: MemoryDevice | None = None
        self._incoming: deque[bytes] = deque()
        self._outgoing: deque[bytes] = deque()

    @classmethod
    def pair(cls, mtu: int = 1500, limit: int = 4096) -> tuple[Self, Self]:
        """The two ends of one wire."""
        one, other = cls(mtu, limit), cls(mtu, limit)
        one.peer, other.peer = other, one
        return one, other

    def inject(self, packet: bytes) -> None:
        """Let a packet arrive here."""
        if len(self._incoming) >= self.limit:
            self.dropped += 1
            return
        self._incoming.append(bytes(packet))
        self._woken.set()

    def drain(self) -> list[bytes]:
        """What was sent from an end without a peer, since the last call."""
        packets = list(self._outgoing)
        self._outgoing.clear()
        return packets

    def receive(self, ring: PacketRing) -> int:
        """Append waiting packets to a ring; how many. One that is longer than a slot is dropped, as a wire of this MTU would."""
        first = ring.count
        while self._incoming and ring.count < ring.slots:
            packet = self._incoming.popleft()
            if len(packet) > ring.capacity:
                self.dropped += 1
            else:
                ring.append(packet)
        return ring.count - first

    def transmit(self, ring: PacketRing) -> int:
        """Send all packets of a ring; how many found room."""
        sent = 0
        for slot in range(ring.count):
            packet = ring.packet(slot).tobytes()
            if self.peer is not None:
                dropped = self.peer.dropped
                self.peer.inject(packet)
                sent += self.peer.dropped == dropped
            elif len(self._outgoing) < self.limit:
                self._outgoing.append(packet)
                sent += 1
            else:
                self.dropped += 1
        ring.clear()
        return sent

    def wait(self, timeout: int) -> bool:
        """Sleep until a packet arrives or ``wake``; True when packets wait."""
        super().wait(0 if self._incoming else timeout)
        return bool(self._incoming)
