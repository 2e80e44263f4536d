"""The receiving side's buffer, and how far the window may open."""

from fastnet._buffer import ByteRing
from fastnet.tcp.numbers import HALF, MASK


class Receiver:
    """Bytes that came in order and wait for the reader.

    :param limit: bytes that it may hold (tcp_rmem)
    """

    __slots__ = ("buffer", "limit")

    def __init__(self, limit: int) -> None:
        self.buffer = ByteRing()
        self.limit = limit

    def growth(self, rcv_nxt: int, rcv_adv: int) -> int:
        """By how much the right edge of the window could move, bytes; never negative (SHLD-14)."""
        gain = rcv_nxt + self.limit - self.buffer.length - rcv_adv & MASK
        return gain if gain < HALF else 0
