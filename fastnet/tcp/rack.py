"""RACK (RFC 8985): a segment is lost when one that was sent sufficiently later has arrived.

Names as in the RFC, section 5.3. Time is in ns.
"""

from fastnet.tcp.numbers import HALF, MASK

DUP_THRESH = 3
"""Segments that must have arrived ahead before no reordering is allowed for (RFC 5681)."""
PERSIST = 16
"""Recoveries for which a widened reordering window is kept."""


class Rack:
    """What the arrivals so far tell.

    :ivar xmit_ts: when the most recently sent of all segments that have arrived was sent; ``end_seq``: where it ended
    :ivar rtt: its round-trip time; ``min_rtt``: the smallest of all, 0 before the first
    :ivar fack: the highest sequence number that has arrived; ``any``: something has
    :ivar reordering_seen: something arrived after what was sent later; ``reord_seen``: how often
    :ivar dsack_dups: D-SACKs that came
    :ivar reo_wnd_mult: quarters of ``min_rtt`` that reordering is allowed for
    """

    __slots__ = (
        "any", "dsack_dups", "dsack_round", "dsack_seen", "end_seq", "fack", "min_rtt", "reo_wnd_mult", "reo_wnd_persist", "reord_seen",
        "reordering_seen", "rtt", "xmit_ts",
    )  # fmt: skip

    def __init__(self) -> None:
        self.xmit_ts = 0
        self.end_seq = 0
        self.rtt = 0
        self.min_rtt = 0
        self.fack = 0
        self.any = False
        self.reordering_seen = False
        self.reord_seen = 0
        self.dsack_dups = 0
        self.reo_wnd_mult = 1
        self.reo_wnd_persist = 0
        self.dsack_round = 0
        self.dsack_seen = False

    def delivered(self, sent_at: int, end: int, retransmitted: bool, now: int) -> None:
        """A segment has arrived (section 6.2, steps 1 to 3)."""
        rtt = now - sent_at
        if retransmitted:
            if rtt < self.min_rtt:
                # Sooner than anything has ever come back: it was the original that arrived.
                return
        elif self.min_rtt == 0 or rtt < self.min_rtt:
            self.min_rtt = max(rtt, 1)
        if not self.any or 0 < (end - self.fack & MASK) < HALF:
            self.fack = end
        elif end != self.fack and not retransmitted:
            self.reordering_seen = True
            self.reord_seen = self.reord_seen + 1 & MASK
        if not self.any or sent_at > self.xmit_ts or sent_at == self.xmit_ts and 0 < (end - self.end_seq & MASK) < HALF:
            self.xmit_ts = sent_at
            self.end_seq = end
            self.rtt = rtt
        self.any = True

    def is_later_than(self, sent_at: int, end: int) -> bool:
        """Was the latest arrival sent after a segment?"""
        if not self.any:
            return False
        return self.xmit_ts > sent_at or self.xmit_ts == sent_at and 0 < (self.end_seq - end & MASK) < HALF

    def reordering_window(self, many: bool, srtt: int) -> int:
        """How long to wait for what may only be late (section 6.2 step 4).

        :param many: in recovery, or ``DUP_THRESH`` segments have arrived ahead
        """
        if not self.reordering_seen and many:
            return 0
        return min(self.reo_wnd_mult * self.min_rtt // 4, srtt)

    def duplicate_reported(self, una: int, nxt: int) -> None:
        """A D-SACK: a retransmission was not needed. Allow for more reordering, once a round trip."""
        self.dsack_dups = self.dsack_dups + 1 & MASK
        if self.dsack_seen and (una - self.dsack_round & MASK) >= HALF:
            return
        self.dsack_seen = True
        self.dsack_round = nxt
        self.reo_wnd_mult += 1
        self.reo_wnd_persist = PERSIST

    def recovered(self) -> None:
        """A recovery is over; after ``PERSIST`` of them the window is narrow again."""
        if self.reo_wnd_persist > 0:
            self.reo_wnd_persist -= 1
            if self.reo_wnd_persist == 0:
                self.reo_wnd_mult = 1
