"""SYN cookies (RFC 4987 section 3.6): a SYN-ACK that carries in itself what a request would have remembered.

    ISN = F(4-tuple) + IRS + (count << 24) + (MAC(4-tuple, IRS) + MSS index mod 2**24)

F is that of ordinary sequence numbers (RFC 6528), the layout is that of Linux's secure_tcp_syn_cookie(), and count is a clock of 64 s
(Bernstein's). The MAC's key is drawn for each count and forgotten two counts later, so an old cookie cannot be read by anybody, and the
MAC covers the peer's sequence number, which Linux's only adds: a cookie that was seen says nothing of another.

Of all numbers that somebody may guess, one in 2**29 is good: four MSS and two counts, as with Linux's.

What else was agreed (window scale, SACK, ECN) travels in the lowest six bits of our timestamp, which the peer echoes, laid out as
Linux's cookie_init_timestamp() does. A peer without timestamps gets none of it.
"""

from collections.abc import Callable
from typing import Any

from fastnet._headers import (
    ACK,
    ECE,
    OPTION_MSS,
    OPTION_SACK_PERMITTED,
    OPTION_TIMESTAMPS,
    OPTION_WSCALE,
    SYN,
    Segment,
)  # fmt: skip
from fastnet._path import Path
from fastnet.tcp.context import Context
from fastnet.tcp.numbers import DEFAULT_SEND_MSS, ECT_0, MASK, MILLISECOND, SECOND
from fastnet.tcp.request import Request

STEP = 64 * SECOND
"""How long the count stands still."""
MAX_AGE = 2
"""Counts that a cookie is good for, that of its making included: Linux's MAX_SYNCOOKIE_AGE."""
VALID = MAX_AGE * STEP
"""How long after a listener last sent a cookie it looks for cookies in ACKs (Linux's TCP_SYNCOOKIE_VALID)."""
COOKIE_BITS = 24
COOKIE_MASK = (1 << COOKIE_BITS) - 1
COUNT_MASK = 0xFF

MSS_1 = 1300
MSS_2 = 1440
MSS_3 = 1460
MSS_TABLE = (DEFAULT_SEND_MSS, MSS_1, MSS_2, MSS_3)
"""Linux's msstab: what a cookie remembers of the peer's MSS is the largest of these that is not larger. One below 536 counts as 536."""

TS_BITS = 6
TS_MASK = (1 << TS_BITS) - 1
TS_WSCALE = 0x0F
"""The peer's window scale; 15: none was agreed."""
TS_SACK = 0x10
TS_ECN = 0x20

SPENT_BITS = 14
SPENT = 1 << SPENT_BITS
"""Cookies that are remembered so that they are not taken twice; the latest of those that share a place."""


class CookieJar:
    """Makes the cookies of one stack and believes its own. Nothing is kept for a cookie until it comes back.

    :param random: n -> n random bytes: where the keys come from
    :ivar count: the present count; ``key0``, ``key1``: its key; ``old0``, ``old1``: that of the count before
    :ivar drawn: counts whose key is there: 0, 1 or 2
    :ivar spent: MACs of cookies that came back, each in the place that its upper bits say; made when the first does
    :ivar read: the MAC of the cookie that was read last
    """

    __slots__ = ("count", "drawn", "key0", "key1", "old0", "old1", "random", "read", "spent")

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self.random = random
        self.count = -1
        self.drawn = 0
        self.key0 = 0
        self.key1 = 0
        self.old0 = 0
        self.old1 = 0
        self.read = 0
        self.spent: memoryview | None = None

    def turn(self, now: int) -> None:
        """Draw the key of a new count; that of the one before last is forgotten."""
        count = now // STEP
        if count == self.count:
            return
        if self.drawn and count == self.count + 1:
            self.old0 = self.key0
            self.old1 = self.key1
            self.drawn = 2
        else:
            self.drawn = 1
        secret = self.random(16)
        self.key0 = int.from_bytes(secret[:8], "little")
        self.key1 = int.from_bytes(secret[8:], "little")
        self.count = count

    def answer(
        self, context: Context, listener: Any, seg: Segment, options: int, rcv_wnd: int, rcv_shift: int, path: Path, offer: int, now: int
    ) -> None:
        """Answer a SYN with a cookie (cookie_v4_init_sequence()).

        :param options: those of the SYN's options (bits) that the listener's settings allow
        :param rcv_wnd: the window to offer, bytes, 65535 at most; ``rcv_shift``: our window scale
        :param path: what the SYN-ACK looks like; ``offer``: what its MSS option says, bytes
        """
        if now // STEP != self.count:
            self.turn(now)
        flow = seg.flow
        base = context.isn.base(flow)
        mss = seg.mss if options & OPTION_MSS else path.default_mss
        index = 3 if mss >= MSS_3 else 2 if mss >= MSS_2 else 1 if mss >= MSS_1 else 0
        mac = flow.mac(self.key0, self.key1, seg.seq)
        iss = base + seg.seq + (self.count << COOKIE_BITS) + (mac + index & COOKIE_MASK) & MASK
        if options & OPTION_TIMESTAMPS:
            sack = options & OPTION_SACK_PERMITTED != 0
            wscale = options & OPTION_WSCALE != 0
            ecn = seg.flags & ECE != 0 and context.ecn_of(seg, listener.needs_ecn) != 0
            agreed = (seg.wscale if wscale else TS_WSCALE) | (TS_SACK if sack else 0) | (TS_ECN if ecn else 0)
            clock = now // MILLISECOND
            stamp = clock - (clock & TS_MASK) + agreed
            if stamp > clock:
                stamp -= TS_MASK + 1  # Never ahead of the clock that the connection will have.
            context.writer.synack(
                flow, iss, seg.seq + 1 & MASK, SYN | ACK | ECE if ecn else SYN | ACK, rcv_wnd, offer, rcv_shift if wscale else -1,
                sack, True, stamp + (base >> 32) & MASK, seg.ts_val, path,
            )  # fmt: skip
        else:
            context.writer.synack(flow, iss, seg.seq + 1 & MASK, SYN | ACK, rcv_wnd, offer, -1, False, False, 0, 0, path)
        context.counters.SyncookiesSent += 1

    def redeem(
        self, context: Context, listener: Any, seg: Segment, allowed: int, rcv_wnd: int, rcv_shift: int, now: int
    ) -> Request | None:
        """The request that a final ACK's cookie stands for; None when it is not one of ours, too old, or not new (cookie_v4_check()).

        :param allowed: options (bits) that the listener's settings allow; ``rcv_wnd``, ``rcv_shift``: what ``answer`` offered
        """
        if now // STEP != self.count:
            self.turn(now)
        flow = seg.flow
        irs = seg.seq - 1 & MASK
        iss = seg.ack - 1 & MASK
        base = context.isn.base(flow)
        rest = iss - base - irs & MASK
        age = self.count - (rest >> COOKIE_BITS) & COUNT_MASK
        if age >= self.drawn:
            return None
        mac = flow.mac(self.key0, self.key1, irs) if age == 0 else flow.mac(self.old0, self.old1, irs)
        index = rest - mac & COOKIE_MASK
        if index > 3:
            return None
        agreed = TS_WSCALE
        if seg.options & OPTION_TIMESTAMPS:
            agreed = seg.ts_ecr - (base >> 32) & TS_MASK
            # What was not allowed was not agreed (cookie_timestamp_decode()).
            if not allowed & OPTION_TIMESTAMPS or agreed & TS_SACK and not allowed & OPTION_SACK_PERMITTED:
                return None
            if agreed & TS_ECN and not context.settings.tcp_ecn and not listener.needs_ecn:
                return None
            if agreed & TS_WSCALE != TS_WSCALE and not allowed & OPTION_WSCALE:
                return None
        place = mac >> 64 - SPENT_BITS
        if self.spent is not None and self.spent[place] == mac:
            return None
        self.read = mac
        request = Request.__new__(Request)
        request.timer = -1
        request.listener = listener
        request.flow = flow.copy()
        request.irs = irs
        request.iss = iss
        request.mss = MSS_TABLE[index]
        request.timestamps = seg.options & OPTION_TIMESTAMPS != 0
        request.ts_offset = base >> 32
        request.ts_recent = seg.ts_val if request.timestamps else 0
        request.sack = agreed & TS_SACK != 0
        request.ecn = 0 if not agreed & TS_ECN else ECT_0 if listener.needs_ecn else 1
        request.wscale = agreed & TS_WSCALE != TS_WSCALE
        request.snd_shift = agreed & TS_WSCALE if request.wscale else 0
        request.rcv_shift = rcv_shift if request.wscale else 0
        request.rcv_wnd = rcv_wnd
        request.retries = 0
        request.timeouts = 0
        request.source = None
        request.choice = None
        request.acked = False
        request.answered_at = 0
        request.user_mss = 0
        request.born = now  # When the SYN came is not known, so the round trip is not either.
        request.rtt = 0
        return request

    def spend(self) -> None:
        """The cookie that ``redeem`` read last has become a connection: it is not good a second time."""
        if self.spent is None:
            self.spent = memoryview(bytearray(8 * SPENT)).cast("Q")
        self.spent[self.read >> 64 - SPENT_BITS] = self.read
