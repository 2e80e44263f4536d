"""The client's end of TCP Fast Open (RFC 7413 section 4.2.1): a SYN with a cookie and data, or with the request for a cookie."""

from fastnet._flow import FourTuple
from fastnet._headers import OPTION_FAST_OPEN, OPTION_MSS, SYN, Segment
from fastnet.tcp.context import Context
from fastnet.tcp.fastopen import FastOpen, fast_open_option, syn_options
from fastnet.tcp.numbers import ECT_0, MASK, MILLISECOND
from fastnet.tcp.opening import ActiveConnection
from fastnet.tcp.states import State

SYN_SENT = int(State.SYN_SENT)
CLOSED = int(State.CLOSED)

BLACK_HOLE = 2
"""Timeouts in a row before the one that means a black hole (tcp_fastopen_active_detect_blackhole())."""

COOKIE_UNAVAILABLE = 1
DATA_NOT_ACKED = 2
SYN_RETRANSMITTED = 3
"""Linux's ``enum tcp_fastopen_client_fail``."""


class FastConnection(ActiveConnection):
    """A connection that was opened with Fast Open. What is queued before ``start`` may go with the SYN.

    SND.NXT stays behind the SYN alone: data that the SYN-ACK does not acknowledge is sent again as if for the first time.

    :ivar cookieless: data goes without a cookie (TCP_FASTOPEN_NO_COOKIE)
    :ivar asked: the SYN had the option
    :ivar syn_data: bytes that the SYN had; ``taken``: of those, acknowledged by the SYN-ACK
    :ivar failure: why data did not go, or arrive, with the SYN: as in ``tcpi_fastopen_client_fail``
    """

    __slots__ = ("asked", "cookieless", "failure", "syn_data", "taken")

    cookieless: bool
    asked: bool
    syn_data: int
    taken: int
    failure: int

    def open(self, context: Context, flow: FourTuple, now: int) -> None:
        """OPEN."""
        self.cookieless = False
        self.asked = False
        self.syn_data = 0
        self.taken = 0
        self.failure = 0
        ActiveConnection.open(self, context, flow, now)

    def put_syn(self, flags: int, now: int) -> None:
        """The SYN, with what Fast Open adds where it is the first; no other brings that (RFC 7413 section 4.1.3)."""
        if self.state != SYN_SENT or self.handshake.retries:
            ActiveConnection.put_syn(self, flags, now)
            return
        handshake = self.handshake
        context = self.context
        self.segs_out = self.segs_out + 1 & MASK
        fast_open: FastOpen = context.fast_open
        cookie = fast_open.cookie_for(handshake.flow, self.cookieless, now)
        with_data = fast_open.may_send_data(handshake.flow, self.cookieless, now)
        mss = self.mss_to_offer()
        options = syn_options(handshake, mss, now // MILLISECOND + handshake.ts_offset & MASK, 0)
        if cookie is not None:
            options += fast_open_option(cookie)
            self.asked = True
        if not with_data:
            self.failure = COOKIE_UNAVAILABLE
        path = self.path.with_ecn() if handshake.ecn & ECT_0 else self.path
        sender = self.sender
        if sender is not None and with_data:
            room = min(fast_open.mss_of(handshake.flow, self.path.default_mss), mss) - len(options)
            self.syn_data = max(0, min(sender.buffer.length, room))
        if sender is not None and self.syn_data:
            context.writer.syn_data(
                handshake.flow, handshake.iss, 0, SYN | flags, handshake.rcv_wnd, options, sender.buffer, self.syn_data,
                path,
            )
        else:
            context.writer.verbatim(handshake.flow, handshake.iss, 0, SYN | flags, handshake.rcv_wnd, options, path)

    def covers_data(self, ack: int) -> bool:
        """Does an ACK cover data of the SYN?"""
        return 0 < (ack - self.snd_nxt & MASK) <= self.syn_data

    def become_established(self, event: int, seg: Segment, now: int) -> None:
        """What the SYN-ACK says of the data and of the cookie (tcp_rcv_fastopen_synack()), before anything is sent."""
        handshake = self.handshake
        fast_open: FastOpen = self.context.fast_open
        counters = self.context.counters
        self.taken = seg.ack - self.snd_nxt & MASK
        if self.taken and self.sender is not None:
            self.sender.buffer.discard(self.taken)
            self.snd_nxt = seg.ack
        cookie = seg.fast_open_cookie() if self.asked and seg.options & OPTION_FAST_OPEN else b""
        if cookie or self.taken:
            fast_open.learn(handshake.flow, cookie, seg.mss if seg.options & OPTION_MSS else self.path.default_mss)
        elif handshake.retries and (self.asked or self.syn_data):
            fast_open.lost(handshake.flow, now)
        if self.taken:
            counters.TCPFastOpenActive += 1
            fast_open.worked()
        if self.taken < self.syn_data:
            counters.TCPFastOpenActiveFail += 1
            self.failure = SYN_RETRANSMITTED if handshake.retries else DATA_NOT_ACKED
        ActiveConnection.become_established(self, event, seg, now)

    def state_timeout(self, now: int) -> None:
        """The SYN is lost; three times in a row, or to the end, and it may be because of Fast Open."""
        before = self.handshake.retries
        opening = self.state == SYN_SENT
        ActiveConnection.state_timeout(self, now)
        if opening and (before == BLACK_HOLE or before < BLACK_HOLE and self.state == CLOSED):
            self.suspect(now)

    def gave_up(self, retries: int, since: int, now: int) -> bool:
        """The same for data after the handshake."""
        if retries == BLACK_HOLE:
            self.suspect(now)
        return ActiveConnection.gave_up(self, retries, since, now)

    def suspect(self, now: int) -> None:
        """Perhaps somebody on the way cannot bear Fast Open."""
        if self.asked or self.syn_data:
            if self.state == SYN_SENT:
                self.failure = SYN_RETRANSMITTED
            self.context.fast_open.black_hole(now)
