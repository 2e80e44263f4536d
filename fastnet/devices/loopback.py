"""A device in memory that gives back what it is given: a stack on it talks to itself, as over ``lo``."""

from dataclasses import replace

from fastnet._ring import PacketRing
from fastnet.devices.memory import MemoryDevice


class LoopbackDevice(MemoryDevice):
    """What is sent arrives.

    :param mtu: bytes of the longest packet
    :param limit: packets that may wait; more are dropped and counted
    """

    def __init__(self, mtu: int = 16384, limit: int = 4096) -> None:
        super().__init__(mtu, limit)
        self.capabilities = replace(self.capabilities, loops_back=True)

    def transmit(self, ring: PacketRing) -> int:
        """Let all packets of a ring arrive; how many found room."""
        dropped = self.dropped
        sent = ring.count
        for slot in range(ring.count):
            self.inject(ring.packet(slot).tobytes())
        ring.clear()
        return sent - (self.dropped - dropped)
