"""Packets from a stack to itself, over a device that does not bring them back.

Linux routes what goes to an own address over ``lo``. Here such packets are taken out of the transmit ring, and arrive before the device
is looked at again. No capture and no impairment of the device sees them.
"""

import ipaddress
from collections import deque
from typing import Any

import numpy as np

from fastnet._ring import HEADROOM, OWN, PacketRing
from fastnet.tcp.context import Timed

LIMIT = 4096
"""Packets that may wait; more are dropped and counted under DeviceTxErrors, as on any link."""
ROUNDS = 64
"""Batches that are delivered in one go; what still comes then is left for the next poll."""
SOURCE = 12
SOURCE_V6 = 8
"""Where the addresses are in an IPv4 header (RFC 791 section 3.1) and in an IPv6 header, bytes; the target follows the source."""


class Hairpin(Timed):
    """The stack's way to itself. It is made with the first connection that takes it.

    :param stack: the ``Stack``
    """

    __slots__ = ("outward", "own", "own_v6", "stack", "waiting")

    def __init__(self, stack: Any) -> None:
        self.timer = -1
        self.stack = stack
        # Each with the size of the segments in it.
        self.waiting: deque[tuple[bytes, int]] = deque()
        # What a ring holds for the device beside packets for the stack: made when it is needed.
        self.outward: PacketRing | None = None
        packed = [ipaddress.ip_address(address).packed for address in single_addresses(stack.addresses)]
        # In network order, as in the packets.
        self.own = np.frombuffer(b"".join(address for address in packed if len(address) == 4), dtype=np.uint32)
        self.own_v6 = {address for address in packed if len(address) == 16}

    def divert(self, ring: PacketRing) -> PacketRing:
        """Take the stack's own packets out of a transmit ring; what is left for the device, in this ring or in another."""
        count = ring.count
        if count == 0:
            return ring
        addresses = np.ascontiguousarray(ring.memory[:count, HEADROOM + SOURCE : HEADROOM + SOURCE + 8]).view(np.uint32)
        ours = (addresses[:, 0] == addresses[:, 1]) | np.isin(addresses[:, 1], self.own)
        for slot in np.flatnonzero(ring.memory[:count, HEADROOM] >> 4 == 6).tolist():
            both = ring.memory[slot, HEADROOM + SOURCE_V6 : HEADROOM + SOURCE_V6 + 32].tobytes()
            ours[slot] = both[:16] == both[16:] or both[16:] in self.own_v6
        if not ours.any():
            return ring
        outward = self.outward
        if outward is None:
            outward = self.outward = PacketRing(ring.slots, ring.capacity)
        outward.clear()
        for slot in range(count):
            packet = ring.packet(slot)
            if not ours[slot]:
                outward.append(packet)
                outward.checked[outward.count - 1] = ring.checked[slot]
                outward.segment_sizes[outward.count - 1] = ring.segment_sizes[slot]
            elif len(self.waiting) < LIMIT:
                self.waiting.append((packet.tobytes(), int(ring.segment_sizes[slot])))
            else:
                self.stack.counters.DeviceTxErrors += 1
        ring.clear()
        return outward

    def deliver(self, now: int) -> None:
        """Let what waits arrive, and what is answered to it; the receive ring is empty."""
        stack = self.stack
        received = stack.received
        for _ in range(ROUNDS):
            if not self.waiting or received.count:
                break
            while self.waiting and received.count < received.slots:
                packet, size = self.waiting.popleft()
                received.append(packet)
                received.checked[received.count - 1] = OWN
                received.segment_sizes[received.count - 1] = size
            stack.packets_arrive(now)
            stack.send(now)
        if self.waiting and self.timer < 0:
            # Whatever drives the stack looks at its timers.
            self.timer = stack.context.timers.add(self, now)

    def timer_fires(self, now: int) -> None:
        """The flush at the end of this poll delivers."""
        self.timer = -1


def single_addresses(texts: tuple[str, ...]) -> list[str]:
    """Those of a stack's addresses that are not networks."""
    networks = (ipaddress.ip_network(text) for text in texts)
    return [str(network.network_address) for network in networks if network.prefixlen == network.max_prefixlen]
