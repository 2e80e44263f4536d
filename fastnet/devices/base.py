"""What a stack asks of a device."""

from typing import Protocol

from fastnet._ring import PacketRing


class Device(Protocol):
    """A source and sink of IP packets without a link layer. All calls but ``wake`` come from one thread at a time.

    What ``receive``, ``transmit`` or ``wait`` raises is the device's end: every connection ends with ENETDOWN, and it is called no more.
    Only EAGAIN, EINTR, ENOBUFS, ENOMEM and MemoryError mean that it has no room just now: packets are lost, and it is asked again.
    """

    @property
    def mtu(self) -> int:
        """Bytes of the longest packet."""
        ...

    def receive(self, ring: PacketRing) -> int:
        """Append packets to a ring until none waits or the ring is full; how many."""
        ...

    def transmit(self, ring: PacketRing) -> int:
        """Take all packets of a ring and leave it empty; how many could be sent."""
        ...

    def wait(self, timeout: int) -> bool:
        """Sleep until packets wait or ``wake`` is called, at most ``timeout`` ns (below 0: for ever); True when packets wait."""
        ...

    def wake(self) -> int:
        """End a ``wait``, from any thread."""
        ...
