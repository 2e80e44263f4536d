"""TIME-WAIT: what is left of a connection for two maximum segment lifetimes. Linux calls it an inet_timewait_sock."""

from fastnet._headers import ACK, FIN, OPTION_TIMESTAMPS, RST, SYN, Segment
from fastnet.tcp.context import Context, Endpoint
from fastnet.tcp.numbers import HALF, MASK, MILLISECOND, SECOND
from fastnet.tcp.request import Request

SAME_AGAIN = 500 * MILLISECOND
"""No answer to the same empty segment before that, whatever tcp_invalid_ratelimit says: it may be an answer to ours."""
TIME_WAIT_LENGTH = 60 * SECOND
"""2 MSL: Linux's TCP_TIMEWAIT_LEN, where RFC 9293 has four minutes."""


class TimeWait(Endpoint):
    """Answers a FIN that comes again, and keeps old segments away from a new connection with the same 4-tuple.

    :param handshake: the connection's, with the window that it offered last in ``rcv_wnd``
    :param number: the connection's id, which it takes over
    :ivar entered: when it began, ms modulo 2^32 (tcp_tw_reuse_delay)
    :ivar answered_at: when what did not have to be answered last was, ns; ``answered``: its numbers (``Connection.asks_anew``)
    """

    __slots__ = ("answered", "answered_at", "context", "entered", "handshake", "rcv_nxt", "snd_nxt", "ts_recent")

    def __init__(
        self, context: Context, handshake: Request, number: int, snd_nxt: int, rcv_nxt: int, ts_recent: int, now: int
    ) -> None:
        self.timer = -1
        self.notified = False
        self.owner = None
        self.context = context
        self.handshake = handshake
        self.snd_nxt = snd_nxt
        self.rcv_nxt = rcv_nxt
        self.ts_recent = ts_recent
        self.entered = now // MILLISECOND & MASK
        self.answered_at = 0
        self.answered = 0
        self.context.place(number, self)
        if handshake.timestamps:
            context.ports.wait(handshake.flow)
        context.time_wait_count += 1
        context.counters.TW += 1
        context.arm(self, now + TIME_WAIT_LENGTH)

    def segment_arrives(self, seg: Segment, now: int) -> None:
        """RFC 9293 section 3.10.7.4 for TIME-WAIT, as Linux has it (tcp_timewait_state_process())."""
        stamped = self.handshake.timestamps and seg.options & OPTION_TIMESTAMPS != 0
        # 0: TS.Recent is not known (tcp_paws_check()).
        paws = stamped and self.ts_recent != 0 and (seg.ts_val - self.ts_recent & MASK) >= HALF
        if seg.flags & RST:
            if seg.seq == self.rcv_nxt:
                if self.context.settings.tcp_rfc1337:
                    self.context.counters.TcpInStrayRsts += 1
                else:
                    self.end()
            elif (seg.seq - self.rcv_nxt & MASK) >= self.handshake.rcv_wnd:
                self.context.counters.TCPInvalidSequence += 1
            elif self.may_answer(seg, now):
                # In the window, but not at the exact place (RFC 5961 section 3.2).
                self.context.counters.TCPChallengeACK += 1
                self.acknowledge(seg, now)
            return
        if seg.flags & (SYN | ACK | FIN) == SYN and not paws:
            # A new connection may start where the old one cannot be confused with it (RFC 9293 MAY-2, RFC 6191).
            newer = seg.seq - self.rcv_nxt & MASK
            if newer < HALF and newer or stamped and seg.ts_val != self.ts_recent:
                self.reopen(seg, now)
                return
        if paws:
            self.context.counters.PAWSEstab += 1
        elif seg.flags & FIN and (seg.end - self.rcv_nxt & MASK) == 0:
            self.context.arm(self, now + TIME_WAIT_LENGTH)
        if seg.seq == self.rcv_nxt and seg.length == 0 and not paws:
            # Only what lies at the right place says what time it is.
            if stamped:
                self.ts_recent = seg.ts_val
            if not seg.flags & ACK:
                self.context.counters.TcpInNoFlags += 1
            return
        if not paws:
            if seg.length and not seg.flags & SYN and (seg.seq - self.rcv_nxt & MASK) < HALF:
                self.context.counters.TcpInAfterFin += 1
            else:
                self.context.count_outside(seg, self.rcv_nxt)
        if seg.length and not seg.flags & SYN or self.may_answer(seg, now):
            self.acknowledge(seg, now)

    def may_answer(self, seg: Segment, now: int) -> bool:
        """May a segment without text and FIN be answered? Not so soon (tcp_timewait_check_oow_rate_limit()), nor the same one again."""
        numbers = seg.seq ^ (seg.ack << 16 & MASK | seg.ack >> 16)
        probe = (seg.seq - self.rcv_nxt & MASK) >= HALF and (self.snd_nxt - seg.ack & MASK) < HALF
        if not probe and not seg.flags & SYN and numbers == self.answered and now - self.answered_at < SAME_AGAIN:
            self.context.counters.TCPACKSkippedTimeWait += 1
            return False
        if self.answered_at and now - self.answered_at < self.context.settings.tcp_invalid_ratelimit * MILLISECOND:
            self.context.counters.TCPACKSkippedTimeWait += 1
            return False
        self.answered_at = now
        if not probe:
            self.answered = numbers
        return True

    def reopen(self, seg: Segment, now: int) -> None:
        """Make way, and let the listener have the SYN."""
        context = self.context
        number = context.demux.find_listener(seg.flow)
        if number < 0:
            self.acknowledge(seg, now)
            return
        self.end()
        context.counters.TWRecycled += 1
        listener = context.endpoints[number]
        if listener is not None:
            # The new connection's numbers begin behind all of this one's (RFC 9293 section 3.6.1, MAY-2 (1)).
            context.last_seq = self.snd_nxt
            listener.segment_arrives(seg, now)
            context.last_seq = -1

    def acknowledge(self, seg: Segment, now: int) -> None:
        """The last ACK again, with the window that the connection offered last (Linux's tw_rcv_wnd)."""
        handshake = self.handshake
        window = min(handshake.rcv_wnd >> handshake.rcv_shift, 0xFFFF)
        ts_val = now // MILLISECOND + self.handshake.ts_offset & MASK if self.handshake.timestamps else -1
        self.context.send_ack(seg, self.snd_nxt, self.rcv_nxt, window, ts_val, self.ts_recent)

    def timer_fires(self, now: int) -> None:
        """Two maximum segment lifetimes are over."""
        self.timer = -1
        self.end()

    def end(self) -> None:
        """CLOSED: the 4-tuple is free."""
        self.context.time_wait_count -= 1
        self.context.detach(self.handshake.flow, self)
