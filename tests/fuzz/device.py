"""The device of a stack that is fuzzed: what it sends is kept as it left, with what an offload would do to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from fastnet._ring import PacketRing
from fastnet.devices.base import BaseDevice, Capabilities, Device, Wrapper
from tests.translate import LONGER, to_four, to_six

TCP = 6


class Left:
    """One packet that a stack handed to its device.

    :ivar segment_size: bytes of data that the device is to put into a segment, 0 where the packet is one already
    :ivar is_checked: the device completes the TCP checksum
    """

    __slots__ = ("is_checked", "packet", "segment_size")

    def __init__(self, packet: bytes, segment_size: int, is_checked: bool) -> None:
        self.packet = packet
        self.segment_size = segment_size
        self.is_checked = is_checked


def left_in(ring: PacketRing, offload: bool) -> list[Left]:
    """The packets of a transmit ring."""
    return [
        Left(ring.packet(i).tobytes(), int(ring.segment_sizes[i]) if offload else 0, offload and bool(ring.checked[i]))
        for i in range(ring.count)
    ]


class Tap(BaseDevice):
    """A device whose other side is a test.

    :param mtu: bytes of the longest packet of IPv4; of IPv6 it is so much more as its header is longer
    :param family: 6: the stack speaks IPv6, and packets are translated
    :param offload: it completes checksums, cuts large packets, and joins segments that it receives
    :ivar dropped: packets for the stack that were longer than the device carries
    """

    def __init__(self, mtu: int, offload: bool, family: int = 4) -> None:
        self.family = family
        wire = mtu + LONGER if family == 6 else mtu
        super().__init__(wire)
        self.capabilities = Capabilities(wire, offload=offload)
        self.mtu = mtu
        self.offload = offload
        self.dropped = 0
        self.left: list[Left] = []
        self.waiting: deque[bytes] = deque()

    def inject(self, packet: bytes) -> None:
        """Let a packet arrive."""
        joined = self.offload and len(packet) > 9 and packet[9] == TCP
        if len(packet) > (65535 if joined else self.mtu):
            self.dropped += 1
        else:
            self.waiting.append(to_six(packet) if self.family == 6 else packet)

    def drain(self) -> list[Left]:
        """What was sent since the last call."""
        left = self.left
        if self.family == 6:
            for each in left:
                each.packet = to_four(each.packet, each.is_checked)
        self.left = []
        return left

    def receive(self, ring: PacketRing) -> int:
        count = 0
        while self.waiting and ring.count < ring.slots:
            ring.append(self.waiting.popleft())
            count += 1
        return count

    def transmit(self, ring: PacketRing) -> int:
        count = ring.count
        self.left += left_in(ring, self.offload)
        ring.clear()
        return count

    def wait(self, timeout: int) -> bool:
        return bool(self.waiting)

    def wake(self) -> int:
        return 0


class Watched(Wrapper):
    """A device with somebody who looks at what the stack sends through it, and sends it something as well.

    :param look: called when ``most`` packets are in ``left``, which it has to empty
    """

    def __init__(self, device: Device, most: int, look: Callable[[], None]) -> None:
        super().__init__(device)
        self.most, self.look = most, look
        self.mtu = device.capabilities.mtu
        self.left: list[Left] = []
        self.waiting: deque[bytes] = deque()

    def inject(self, packet: bytes) -> None:
        if len(packet) <= self.mtu:
            self.waiting.append(packet)

    def receive(self, ring: PacketRing) -> int:
        count = 0
        while self.waiting and ring.count < ring.slots:
            ring.append(self.waiting.popleft())
            count += 1
        return count + (self.device.receive(ring) if ring.count < ring.slots else 0)

    def transmit(self, ring: PacketRing) -> int:
        self.left += left_in(ring, False)
        if len(self.left) >= self.most:
            self.look()
        return self.device.transmit(ring)
