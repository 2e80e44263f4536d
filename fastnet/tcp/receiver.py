"""The receiving side: bytes in order for the reader, bytes out of order until the gap before them closes, and the window."""

from fastnet._buffer import ByteRing
from fastnet._headers import Segment
from fastnet.tcp.numbers import HALF, MASK

MAX_PIECES = 128
"""Pieces out of order that a connection keeps; more are dropped, and come again. Their bytes are bounded by the window."""


class Receiver:
    """Bytes that came, in order and out of it.

    Memory: at most twice ``limit`` in ``buffer``, however small or far apart the pieces, and ``MAX_PIECES`` pairs.

    :param limit: bytes that it may hold (tcp_rmem)
    :ivar buffer: the tail is RCV.NXT; pieces out of order are placed ahead of it
    :ivar pieces: their sequence numbers, [left, right), in order and apart from each other; None before the first
    :ivar fin: sequence number of a FIN that came before all of its data, -1 without
    """

    __slots__ = ("buffer", "fin", "limit", "pieces")

    def __init__(self, limit: int) -> None:
        self.buffer = ByteRing()
        self.limit = limit
        self.pieces: list[tuple[int, int]] | None = None
        self.fin = -1

    def growth(self, rcv_nxt: int, rcv_adv: int) -> int:
        """By how much the right edge of the window could move, bytes; never negative (SHLD-14)."""
        gain = rcv_nxt + self.limit - self.buffer.length - rcv_adv & MASK
        return gain if gain < HALF else 0

    def keep(self, seg: Segment, rcv_nxt: int, size: int) -> bool:
        """Keep ``size`` bytes that begin after RCV.NXT and lie in the window (SHLD-31); False when there are too many pieces."""
        left = seg.seq - rcv_nxt & MASK
        right = left + size
        start = left
        pieces = []
        at = 0
        for piece in self.pieces or ():
            piece_left = piece[0] - rcv_nxt & MASK
            piece_right = piece[1] - rcv_nxt & MASK
            if piece_right < left:
                pieces.append(piece)
                at += 1
            elif piece_left > right:
                pieces.append(piece)
            else:
                left = min(left, piece_left)
                right = max(right, piece_right)
        if len(pieces) >= MAX_PIECES:
            return False
        pieces.insert(at, (rcv_nxt + left & MASK, rcv_nxt + right & MASK))
        self.pieces = pieces
        seg.place(self.buffer, self.buffer.length + start, size)
        return True

    def close_gap(self, rcv_nxt: int) -> int:
        """RCV.NXT has moved: take in the pieces that it has reached, and say where it is now."""
        while self.pieces:
            left, right = self.pieces[0]
            ahead = left - rcv_nxt & MASK
            if ahead and ahead < HALF:
                break
            self.pieces.pop(0)
            size = right - rcv_nxt & MASK
            if size < HALF:
                self.buffer.commit(size)
                rcv_nxt = right
        return rcv_nxt
