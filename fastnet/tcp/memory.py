"""The memory of all connections' buffers together, and its three bounds: what Linux has as tcp_mem.

    below the first     no limits
    above the second    pressure, until it is below the first again: windows and send buffers do not grow, a connection may hold its fair
                        share, and a block is given back as soon as nothing is in it
    above the third     no more for anybody, but for what tcp_rmem and tcp_wmem guarantee to each

What counts is blocks, where one is taken or given back; a byte that goes into a block costs nothing here.
"""

from fastnet._buffer import ByteRing, Pool
from fastnet._demux import Demux
from fastnet.config import Settings
from fastnet.counters import Counters
from fastnet.tcp.numbers import PAGE

MIN_SNDBUF = 4608
"""An orphan that has so little to send is not worth a RST (Linux's SOCK_MIN_SNDBUF)."""


class Memory:
    """One stack's.

    :param demux: its length is the number of connections that there are to share
    :ivar pool: what is allocated; ``pressed``: under pressure
    :ivar low, pressure, high: tcp_mem, bytes
    """

    __slots__ = ("counters", "demux", "high", "low", "pool", "pressed", "pressure")

    def __init__(self, settings: Settings, counters: Counters, demux: Demux) -> None:
        self.counters = counters
        self.demux = demux
        self.pool = Pool()
        self.low, self.pressure, self.high = (pages * PAGE for pages in settings.tcp_mem)
        self.pressed = False

    def look(self, total: int) -> None:
        """So many bytes are in use, or would be: does pressure begin or end?"""
        if total <= self.low:
            self.pressed = False
            self.pool.thrifty = False
        elif total > self.pressure and not self.pressed:
            self.pressed = True
            self.pool.thrifty = True
            self.counters.TCPMemoryPressures += 1

    def is_pressed(self) -> bool:
        """Is memory short now?"""
        if self.pressed:
            self.look(self.pool.allocated)
        return self.pressed

    def allows(self, buffer: ByteRing, wanted: int, guaranteed: int) -> bool:
        """May a queue take the block that so many bytes need (__sk_mem_raise_allocated())?

        :param guaranteed: bytes that every connection may hold, however short memory is
        """
        if wanted <= buffer.allocated:
            return True
        block = buffer.block_for(wanted)
        total = self.pool.allocated + block - buffer.allocated
        self.look(total)
        if total <= self.low or wanted <= guaranteed:
            return True
        if total > self.high:
            return False
        return not self.pressed or block * len(self.demux) < self.high

    def is_exhausted(self, queued: int) -> bool:
        """Has an orphan with so many bytes to send to go (tcp_out_of_memory())?"""
        return queued > MIN_SNDBUF and self.pool.allocated > self.high
