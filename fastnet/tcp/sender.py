"""The sending side: what is queued, what goes out under the peer's window, and what is sent again."""

from fastnet._buffer import ByteRing
from fastnet._headers import ACK, FIN, OPTION_TIMESTAMPS, PSH, Segment
from fastnet.tcp.numbers import HALF, MASK, MILLISECOND
from fastnet.tcp.rtt import RttEstimator
from fastnet.tcp.tcb import Tcb

MAX_BACKOFF = 16
MAX_RTT = 120_000
"""Milliseconds: no measured round-trip time is longer than the longest timeout."""


class Sender:
    """Bytes from SND.UNA on, and the retransmission timer (RFC 6298).

    :param limit: bytes that it may hold (tcp_wmem)
    :ivar buffer: the head is the byte at SND.UNA
    :ivar full: True when the program was told to wait; the next ACK lets it go on
    :ivar fin_queued: a FIN follows the last byte; ``fin_sent``: it went out
    :ivar backoff: how often the timeout was doubled since data was last acknowledged
    :ivar unanswered: retransmissions and probes since the peer last said anything acceptable
    :ivar deadline: when the oldest segment is sent again, ns; 0 when nothing waits
    :ivar recover: SND.NXT at the last timeout: up to there, each ACK sends the next hole
    """

    __slots__ = (
        "backoff", "buffer", "deadline", "fin_queued", "fin_sent", "full", "limit", "recover", "recovering", "rtt", "unanswered",
    )  # fmt: skip

    def __init__(self, limit: int) -> None:
        self.buffer = ByteRing()
        self.limit = limit
        self.full = False
        self.fin_queued = False
        self.fin_sent = False
        self.backoff = 0
        self.unanswered = 0
        self.deadline = 0
        self.recover = 0
        self.recovering = False
        self.rtt = RttEstimator()

    def acknowledge(self, tcb: Tcb, seg: Segment, acked: int, now: int) -> None:
        """SND.UNA moved forward by ``acked``."""
        # The FIN is acknowledged like a byte, but is none.
        self.buffer.discard(min(acked, self.buffer.length))
        self.backoff = 0
        self.unanswered = 0
        if tcb.handshake.timestamps and seg.options & OPTION_TIMESTAMPS:
            # RFC 7323 section 4: an echo of our clock needs no note of what was retransmitted (Karn's rule is kept).
            elapsed = now // MILLISECOND + tcb.handshake.ts_offset - seg.ts_ecr & MASK
            # An echo of what we never sent would be a round trip of days.
            if elapsed <= MAX_RTT:
                self.rtt.measure(elapsed * MILLISECOND)
        if tcb.snd_una == tcb.snd_nxt:
            self.deadline = 0
            self.recovering = False
            tcb.context.disarm(tcb)
        else:
            self.deadline = now + self.rtt.rto
            if self.recovering:
                if (tcb.snd_una - self.recover & MASK) < HALF:
                    self.recovering = False
                else:
                    self.retransmit(tcb, now)
        if self.full and self.buffer.length <= self.limit // 2:
            self.full = False
            tcb.context.notify(tcb)
        tcb.send_soon()

    def transmit(self, tcb: Tcb, now: int) -> None:
        """New segments as far as the peer's window goes (RFC 9293 section 3.8.6.2.1), then the FIN."""
        mss = tcb.send_mss()
        idle = tcb.snd_nxt == tcb.snd_una
        while not self.fin_sent:
            in_flight = tcb.snd_nxt - tcb.snd_una & MASK
            unsent = self.buffer.length - in_flight
            usable = tcb.snd_wnd - in_flight
            size = min(unsent, usable, mss)
            if size <= 0:
                if unsent == 0 and self.fin_queued:
                    self.fin_sent = True
                    tcb.put(tcb.snd_nxt, FIN | ACK, now)
                    tcb.snd_nxt = tcb.snd_nxt + 1 & MASK
                break
            if size < mss and in_flight > 0:
                # Nagle: a small last piece waits for the ACK of what is on its way. Silly windows: a piece cut short by the
                # window waits too, unless it is half of the largest that the peer ever offered.
                if size == unsent and not tcb.nodelay and not self.fin_queued:
                    break
                if size < unsent and size < tcb.max_snd_wnd // 2:
                    break
            flags = ACK
            if size == unsent:
                flags |= PSH
                if self.fin_queued and usable > size:
                    flags |= FIN
                    self.fin_sent = True
            tcb.put_data(tcb.snd_nxt, flags, self.buffer, in_flight, size, now)
            tcb.snd_nxt = tcb.snd_nxt + size + (flags & FIN) & MASK
        in_flight = tcb.snd_nxt - tcb.snd_una & MASK
        if in_flight and (idle or self.deadline == 0) or self.deadline == 0 and self.buffer.length:
            # The first of a flight starts the retransmission timer. With bytes to send and none on their way the window is shut, and
            # the timer is the probe's.
            self.deadline = now + self.rtt.rto
            tcb.context.arm(tcb, self.deadline)

    def retransmit(self, tcb: Tcb, now: int) -> None:
        """The segment at SND.UNA again."""
        in_flight = tcb.snd_nxt - tcb.snd_una & MASK
        data = min(in_flight, self.buffer.length)
        size = min(data, tcb.send_mss())
        flags = ACK
        if size == data and self.fin_sent:
            flags |= FIN
        if size:
            tcb.put_data(tcb.snd_una, flags | PSH, self.buffer, 0, size, now)
        else:
            tcb.put(tcb.snd_una, flags, now)
        tcb.context.counters.TcpRetransSegs += 1

    def timeout(self, tcb: Tcb, now: int) -> bool:
        """The wheel fired: send again, or probe a shut window. False when the peer has been silent too long (R2)."""
        if self.deadline == 0:
            return True
        if now < self.deadline:
            # ACKs have moved the deadline since the timer was armed.
            tcb.context.arm(tcb, self.deadline)
            return True
        tcb.context.counters.TCPTimeouts += 1
        if tcb.snd_nxt == tcb.snd_una:
            # The window is shut: one byte beyond it (RFC 9293 section 3.8.6.1); from now on it is retransmitted like any other.
            tcb.put_data(tcb.snd_una, ACK | PSH, self.buffer, 0, 1, now)
            tcb.snd_nxt = tcb.snd_nxt + 1 & MASK
        else:
            if self.unanswered >= tcb.context.settings.tcp_retries2:
                return False
            self.unanswered += 1
            self.backoff += 1
            self.recover = tcb.snd_nxt
            self.recovering = True
            self.retransmit(tcb, now)
        self.deadline = now + self.rtt.backed_off(min(self.backoff, MAX_BACKOFF))
        tcb.context.arm(tcb, self.deadline)
        return True
