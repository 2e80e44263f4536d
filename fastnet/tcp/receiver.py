"""The receiving side: bytes in order for the reader, bytes out of order until the gap before them closes, the window, and when to ACK."""

from fastnet._buffer import ByteRing, Pool
from fastnet._headers import MAX_SACK_BLOCKS, Segment
from fastnet.tcp.numbers import HALF, MASK, MAX_PIECES, MILLISECOND

ACK_DELAY = 40 * MILLISECOND
"""How long an ACK may wait for company: Linux's TCP_DELACK_MIN; RFC 9293 section 3.8.6.3 has half a second at most."""
BYTES_A_PIECE = 512
"""Bytes of the receive buffer's block for each piece out of order: a piece takes about 130 bytes itself. Full segments with a gap between
any two need one for 2,900."""
MOST_COUNTED = 0xFFFF
QUICK_ACKS = 16
"""ACKs that go out at once at the start of a connection, when the peer's window is still small (Linux's TCP_MAX_QUICKACKS)."""


class Receiver:
    """Bytes that came, in order and out of it.

    Memory: at most twice ``limit`` in ``buffer``, however small or far apart the pieces, and a pair of numbers for each piece: as many as
    ``MAX_PIECES``, or one for each ``BYTES_A_PIECE`` of the buffer's block, which tcp_mem counts.

    :param pool: where the memory is counted
    :param limit: bytes that it may hold (tcp_rmem); grows up to ``largest`` while the reader keeps up and the window is what slows the peer
    :ivar buffer: the tail is RCV.NXT; pieces out of order are placed ahead of it
    :ivar pieces: their sequence numbers, [left, right), in order and apart from each other; None before the first
    :ivar recent: a number in each of those that grew last, newest first, for the order of SACK blocks (RFC 2018 section 4)
    :ivar unreported: how many of those have grown since our last segment
    :ivar duplicate: what came twice, to be reported once (RFC 2883); None without
    :ivar fin: sequence number of a FIN that came before all of its data, -1 without
    :ivar urgent: sequence number of the first byte that is not urgent (RCV.UP), -1 without
    :ivar acked: RCV.NXT as of our last segment
    :ivar largest_segment: bytes of data in the largest segment so far: what "full-sized" means here
    :ivar quick: ACKs that are still not delayed; ``pingpong``: the program answers what it reads, so ACKs had better wait for that
    :ivar data_segs: segments with data that came, modulo 2^32; ``ooo``: of those, out of order, 65535 at most
    :ivar wraps: times that ``rtt_edge`` has passed 2^32 bytes from the beginning, modulo 256
    :ivar ack_at: when a delayed ACK goes out, ns; 0 when none waits
    :ivar data_at: when data last came, ns
    :ivar rtt: the round-trip time as the receiver sees it, ms; 0 before the first measurement
    :ivar rtt_edge, rtt_at: the window's right edge when the present measurement of it began, and when that was, ms modulo 2^32
    :ivar edge: the window's right edge when the present measurement of the peer's speed began, ``edge_at``: when that was, ns
    """

    __slots__ = (
        "ack_at", "acked", "buffer", "data_at", "data_segs", "duplicate", "edge", "edge_at", "fin", "largest", "largest_segment", "limit",
        "ooo", "pieces", "pingpong", "quick", "recent", "rtt", "rtt_at", "rtt_edge", "unreported", "urgent", "wraps",
    )  # fmt: skip

    def __init__(self, pool: Pool, limit: int, largest: int, rcv_nxt: int, rcv_adv: int, now: int) -> None:
        self.buffer = ByteRing(pool)
        self.limit = limit
        self.largest = largest
        self.pieces: list[tuple[int, int]] | None = None
        self.recent: list[int] | None = None
        self.duplicate: tuple[int, int] | None = None
        self.fin = -1
        self.urgent = -1
        self.acked = rcv_nxt
        self.largest_segment = 0
        self.quick = QUICK_ACKS
        self.pingpong = False
        self.ack_at = 0
        self.data_at = 0
        self.data_segs = 0
        self.ooo = 0
        self.wraps = 0
        self.unreported = 0
        self.rtt = 0
        self.rtt_edge = rcv_nxt
        self.rtt_at = 0
        self.edge = rcv_adv
        self.edge_at = now

    # ---- bytes ----

    def growth(self, rcv_nxt: int, rcv_adv: int) -> int:
        """By how much the right edge of the window could move, bytes; never negative (SHLD-14)."""
        gain = rcv_nxt + self.limit - self.buffer.length - rcv_adv & MASK
        return gain if gain < HALF else 0

    def keep(self, seg: Segment, rcv_nxt: int, size: int) -> bool:
        """Keep ``size`` bytes that begin after RCV.NXT and lie in the window (SHLD-31); False when there are too many pieces."""
        left = seg.seq - rcv_nxt & MASK
        right = left + size
        start = left
        if self.pieces is None:
            self.pieces = []
        pieces = self.pieces
        reported = self.duplicate
        first = self.find(seg.seq)
        last = first
        while last < len(pieces):
            piece_left = pieces[last][0] - rcv_nxt & MASK
            piece_right = pieces[last][1] - rcv_nxt & MASK
            if piece_left > right:
                break
            if piece_left < right and left < piece_right and self.duplicate is reported:
                # The first of several (tcp_dsack_extend()).
                self.duplicate = (rcv_nxt + max(left, piece_left) & MASK, rcv_nxt + min(right, piece_right) & MASK)
            left = min(left, piece_left)
            right = max(right, piece_right)
            last += 1
        most = max(MAX_PIECES, max(self.buffer.allocated, self.buffer.length + right) // BYTES_A_PIECE)
        if first == last and len(pieces) >= most:
            return False
        piece = (rcv_nxt + left & MASK, rcv_nxt + right & MASK)
        if first + 1 == last:
            pieces[first] = piece
        else:
            pieces[first:last] = [piece]
        seg.place(self.buffer, self.buffer.length + start, size)
        if self.ooo < MOST_COUNTED:
            self.ooo += 1
        self.grown(seg.seq, piece[0], right - left)
        return True

    def grown(self, seq: int, left: int, size: int) -> None:
        """A piece has grown, or is new: it is the one to report first. ``seq`` lies in it; it begins at ``left``."""
        recent = self.recent
        if recent is None:
            recent = []
        if self.unreported == 0 or not recent or (recent[0] - left & MASK) >= size:
            self.unreported += 1
        others = [other for other in recent if (other - left & MASK) >= size]
        self.recent = [seq, *others[:MAX_SACK_BLOCKS]]

    def find(self, seq: int) -> int:
        """Index of the first piece that ends at a sequence number or behind it."""
        pieces = self.pieces or []
        low = 0
        high = len(pieces)
        while low < high:
            middle = (low + high) // 2
            behind = seq - pieces[middle][1] & MASK
            if 0 < behind < HALF:
                low = middle + 1
            else:
                high = middle
        return low

    def close_gap(self, rcv_nxt: int) -> int:
        """RCV.NXT has moved: take in the pieces that it has reached, and say where it is now."""
        pieces = self.pieces or []
        taken = 0
        while taken < len(pieces):
            left, right = pieces[taken]
            ahead = left - rcv_nxt & MASK
            if ahead and ahead < HALF:
                break
            if ahead and self.duplicate is None:
                # What closed the gap goes on into it (RFC 2883 section 4.2).
                self.duplicate = (left, rcv_nxt if (right - rcv_nxt & MASK) < HALF else right)
            taken += 1
            size = right - rcv_nxt & MASK
            if size < HALF:
                self.buffer.commit(size)
                rcv_nxt = right
        if taken:
            # At once: each time, what is left moves to the front.
            del pieces[:taken]
        return rcv_nxt

    def forget_pieces(self) -> None:
        """What came out of order will never be in order."""
        self.pieces = None
        self.recent = None
        self.buffer.trim()

    # ---- what ACKs say ----

    def has_blocks(self, sack: bool) -> bool:
        """Is there something to say in SACK blocks? ``sack``: may it be said?"""
        return sack and (bool(self.pieces) or self.duplicate is not None)

    def crowds_out(self, seq: int, most: int) -> bool:
        """Would a segment at ``seq`` be one piece more than the ``most`` that the next ACK can report? Not in the latest of them."""
        if self.unreported < most or not self.pieces or not self.recent:
            return False
        at = self.find(seq)
        if at == len(self.pieces):
            return True
        left, right = self.pieces[at]
        size = right - left & MASK
        return (seq - left & MASK) > size or (self.recent[0] - left & MASK) >= size

    def blocks_to_report(self, most: int) -> list[tuple[int, int]]:
        """SACK blocks for a segment that leaves now: a D-SACK first, then the pieces, the most recent ones first.

        :param most: how many fit
        """
        blocks: list[tuple[int, int]] = []
        if most <= 0:
            return blocks
        if self.duplicate is not None:
            blocks.append(self.duplicate)
            self.duplicate = None
        pieces = self.pieces or []
        reported = len(blocks)
        for seq in self.recent or ():
            at = self.find(seq)
            if at < len(pieces):
                piece = pieces[at]
                if (seq - piece[0] & MASK) < (piece[1] - piece[0] & MASK) and piece not in blocks[reported:]:
                    blocks.append(piece)
        for piece in pieces:
            if len(blocks) >= most:
                break
            if piece not in blocks[reported:]:
                blocks.append(piece)
        return blocks[:most]

    def acknowledged(self, rcv_nxt: int) -> None:
        """A segment of ours left, and with it an ACK."""
        if self.acked != rcv_nxt:
            self.acked = rcv_nxt
            if self.quick > 0:
                self.quick -= 1
        self.ack_at = 0
        self.unreported = 0

    def may_delay(self, rcv_nxt: int) -> bool:
        """May the ACK wait? Not for the second full segment, nor while something is missing (RFC 5681 section 4.2)."""
        if self.pieces or self.quick > 0 and not self.pingpong:
            return False
        return (rcv_nxt - self.acked & MASK) <= self.largest_segment

    def hurry(self) -> None:
        """The peer sends again what has come: an ACK was lost, or was late. Let the next ones be neither (tcp_enter_quickack_mode())."""
        self.quick = QUICK_ACKS
        self.pingpong = False

    def delay(self, now: int) -> int:
        """The ACK waits; until when, ns."""
        self.ack_at = now + ACK_DELAY
        return self.ack_at

    def data_came(self, size: int, mss: int, now: int) -> None:
        """A packet with new data in order, in segments of ``size`` bytes (tcp_measure_rcv_mss()).

        One larger than ``mss`` is several, put together by a device that does not say so.
        """
        self.largest_segment = max(min(size, mss), self.largest_segment)
        self.data_at = now

    def data_sent(self, now: int) -> None:
        """The program sends: in answer to what came just now?"""
        if self.data_at and now - self.data_at < ACK_DELAY:
            self.pingpong = True

    # ---- the window's size ----

    def round_trip_over(self, sample: int, echoed: bool) -> None:
        """A whole window has come since the last measurement of the round-trip time (Linux: tcp_rcv_rtt_measure()).

        It is at most the sample. The estimate follows a shorter one at once and a longer one slowly, as the peer may have paused; with
        Linux's minimum, a path that has become longer would be measured by the shorter one for ever.

        :param sample: ms
        :param echoed: it comes from a timestamp; otherwise it is how long the window took, which says nothing where the peer is slow
        """
        known = self.rtt
        if known == 0 or sample < known:
            self.rtt = max(sample, 1)
        elif echoed or sample <= 8 * known:
            self.rtt = min(sample, known + (known >> 3) + 1)

    def measure(self, rcv_nxt: int, rcv_adv: int, rtt: int, now: int) -> None:
        """A whole window has come since the last measurement: if that took about a round trip, the window is what slows the peer.

        Then there is to be room for twice as much, if the reader keeps up (Linux: tcp_rcv_space_adjust()).
        """
        if (rcv_nxt - self.edge & MASK) >= HALF:
            return
        if now - self.edge_at <= 2 * max(rtt, MILLISECOND) and self.buffer.length <= self.limit // 2:
            self.limit = min(2 * self.limit, self.largest)
        self.edge = rcv_adv
        self.edge_at = now
