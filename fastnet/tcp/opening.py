"""Active OPEN: a connection from SYN-SENT on (RFC 9293 sections 3.5, 3.10.1 and 3.10.7.3), simultaneous open included."""

import errno

from fastnet._flow import FourTuple
from fastnet._headers import (
    ACK,
    CWR,
    ECE,
    OPTION_MSS,
    OPTION_SACK_PERMITTED,
    OPTION_TIMESTAMPS,
    OPTION_WSCALE,
    RST,
    SYN,
    Segment,
)  # fmt: skip
from fastnet.tcp.congestion import needs_ecn
from fastnet.tcp.connection import Connection
from fastnet.tcp.context import Context
from fastnet.tcp.ecn import Ecn
from fastnet.tcp.numbers import ECT_0, HALF, MASK, MILLISECOND, MIN_SEND_MSS, REOPENED_GAP, SECOND
from fastnet.tcp.request import Request, window_shift
from fastnet.tcp.states import Event, State, next_state
from fastnet.tcp.timewait import TimeWait

SYN_SENT = int(State.SYN_SENT)
SYN_RECEIVED = int(State.SYN_RECEIVED)
CLOSED = int(State.CLOSED)
AFTER_ACTIVE_OPEN = next_state(State.CLOSED, Event.ACTIVE_OPEN)

RCV_SYN = int(Event.RCV_SYN)
RCV_SYN_ACK = int(Event.RCV_SYN_ACK)
RCV_ACK_OF_SYN = int(Event.RCV_ACK_OF_SYN)
EVENT_CLOSE = int(Event.CLOSE)
REFUSED = int(Event.REFUSED)

MAX_WAIT = 120 * SECOND
"""Linux's TCP_RTO_MAX: no wait between two SYNs is longer."""


class ActiveConnection(Connection):
    """A connection that we opened. Once the handshake is over it is a ``Connection`` like any other.

    What sets it apart from a passive open stays with it for good (RFC 9293 MUST-11): when it is refused, the program hears of it.
    """

    __slots__ = ()

    def open(self, context: Context, flow: FourTuple, now: int) -> None:
        """OPEN: fill a new connection (made by ``__new__``); ``start`` sends its SYN, so that options can be set in between."""
        settings = context.settings
        offer = Request.__new__(Request)
        offer.timer = -1
        offer.listener = None
        offer.flow = flow
        drawn = context.isn.draw(flow, now)
        offer.iss = drawn & MASK
        offer.ts_offset = drawn >> 32
        offer.irs = 0
        offer.mss = context.writer.path_of(flow).default_mss
        offer.wscale = settings.tcp_window_scaling != 0
        offer.snd_shift = 0
        offer.rcv_shift = 0
        offer.sack = settings.tcp_sack != 0
        offer.timestamps = settings.tcp_timestamps != 0
        offer.ecn = 1 if settings.tcp_ecn == 1 else 0
        offer.ts_recent = 0
        offer.rcv_wnd = 0
        offer.retries = 0
        offer.acked = False
        offer.answered_at = 0
        offer.user_mss = 0
        offer.born = now
        offer.rtt = 0
        offer.source = None
        offer.choice = None
        self.fill(context, offer, AFTER_ACTIVE_OPEN, now)
        self.snd_una = offer.iss
        self.snd_nxt = offer.iss + 1 & MASK
        self.snd_wnd = 0
        self.max_snd_wnd = 0
        self.snd_wl1 = 0
        self.snd_wl2 = 0
        self.rcv_nxt = 0
        self.rcv_adv = 0
        self.ts_recent = 0

    def succeed(self, last: TimeWait) -> None:
        """The 4-tuple comes from a TIME-WAIT that has made way (tcp_twsk_unique()): call it between ``open`` and ``start``.

        Sequence numbers begin behind the old connection's, and its clock of timestamps goes on, so that the peer can tell what is new
        (RFC 6191, RFC 7323 section 5.3).
        """
        offer = self.handshake
        if (offer.iss - last.snd_nxt - 1 & MASK) >= HALF:
            offer.iss = last.snd_nxt + REOPENED_GAP & MASK
        offer.ts_offset = last.handshake.ts_offset
        self.ts_recent = last.ts_recent
        self.snd_una = offer.iss
        self.snd_nxt = offer.iss + 1 & MASK
        self.context.counters.TWRecycled += 1

    def start(self, now: int) -> None:
        """The SYN, for the first time."""
        offer = self.handshake
        rmem = self.context.settings.tcp_rmem
        offer.rcv_wnd = min(self.receive_limit or rmem[1], 0xFFFF)
        if offer.wscale:
            offer.rcv_shift = window_shift(self.receive_limit or rmem[2])
        self.context.counters.TcpActiveOpens += 1
        if needs_ecn(self.context.settings.tcp_congestion_control) if self.congestion is None else self.congestion.needs_ecn:
            offer.ecn = ECT_0
        # An ECN-setup SYN (RFC 3168 section 6.1.1).
        self.put_syn(ECE | CWR if offer.ecn else 0, now)
        self.state_deadline = now + SECOND
        self.wake_at(self.state_deadline)

    def segment_arrives(self, seg: Segment, now: int) -> None:
        """SEGMENT ARRIVES, before the handshake is over here and after it in ``Connection``."""
        if self.state == SYN_SENT:
            self.segs_in = self.segs_in + 1 & MASK
            self.syn_sent(seg, now)
        elif self.state == SYN_RECEIVED:
            self.segs_in = self.segs_in + 1 & MASK
            self.syn_received(seg, now)
        else:
            Connection.segment_arrives(self, seg, now)

    def syn_sent(self, seg: Segment, now: int) -> None:
        """RFC 9293 section 3.10.7.3, its checks in its order."""
        context = self.context
        offer = self.handshake
        flags = seg.flags
        # First, ACK: of our SYN and nothing else.
        if flags & ACK and seg.ack != self.snd_nxt and not self.covers_data(seg.ack):
            if flags & RST:
                context.counters.TcpInStrayRsts += 1
            context.send_reset(seg)
            return
        if flags & ACK and offer.timestamps and seg.options & OPTION_TIMESTAMPS and seg.ts_ecr and not flags & RST:
            # It echoes a timestamp that we did not send since (tcp_rcv_synsent_state_process()).
            started = offer.born // MILLISECOND + offer.ts_offset & MASK
            latest = now // MILLISECOND + offer.ts_offset & MASK
            if (seg.ts_ecr - started & MASK) > (latest - started & MASK):
                context.counters.PAWSActive += 1
                context.send_reset(seg)
                return
        # Second, RST: believed only with an acceptable ACK.
        if flags & RST:
            if flags & ACK:
                self.refuse_open(errno.ECONNREFUSED)
            else:
                context.counters.TcpInStrayRsts += 1
            return
        # Fourth, SYN.
        if not flags & SYN:
            context.counters.TcpInNoFlags += 1
            return
        if self.is_from_before(seg):
            context.counters.PAWSEstab += 1
            return
        self.agree(seg)
        if not flags & ACK:
            # Simultaneous open: both have sent a SYN, and neither is a listener.
            self.move(RCV_SYN)
            self.put_syn(ACK | ECE if offer.ecn else ACK, now)
            self.state_deadline = now + SECOND
            self.wake_at(self.state_deadline)
            return
        self.snd_una = seg.ack
        offer.rtt = offer.round_trip(seg, now)
        self.become_established(RCV_SYN_ACK, seg, now)
        self.acknowledge_soon()
        self.rest_arrives(seg, 1, now)

    def covers_data(self, ack: int) -> bool:
        """Does an ACK cover data that went with our SYN? It had none."""
        return False

    def is_from_before(self, seg: Segment) -> bool:
        """Is it a SYN of the connection whose TIME-WAIT made way? Its timestamp says so; a SYN-ACK of our SYN is never that old."""
        old = self.ts_recent and self.handshake.timestamps and not seg.flags & ACK and seg.options & OPTION_TIMESTAMPS
        return bool(old) and (seg.ts_val - self.ts_recent & MASK) >= HALF

    def agree(self, seg: Segment) -> None:
        """The peer's SYN: its sequence number and window, and of the options those that both have."""
        offer = self.handshake
        offer.irs = seg.seq
        self.rcv_nxt = seg.seq + 1 & MASK
        self.rcv_adv = self.rcv_nxt + offer.rcv_wnd & MASK
        if seg.options & OPTION_MSS:
            offer.mss = max(seg.mss, MIN_SEND_MSS)
        if offer.user_mss:
            offer.mss = min(offer.mss, offer.user_mss)
        offer.wscale = offer.wscale and seg.options & OPTION_WSCALE != 0
        if offer.wscale:
            offer.snd_shift = seg.wscale
        else:
            offer.rcv_shift = 0
        offer.sack = offer.sack and seg.options & OPTION_SACK_PERMITTED != 0
        offer.timestamps = offer.timestamps and seg.options & OPTION_TIMESTAMPS != 0
        if offer.timestamps:
            self.ts_recent = seg.ts_val
        # A SYN-ACK agrees with ECE alone; to the SYN of a simultaneous open, which has both, our SYN-ACK does.
        if seg.flags & (ECE | CWR) != (ECE if seg.flags & ACK else ECE | CWR):
            offer.ecn = 0
        # The window of a SYN is never scaled (RFC 7323 section 2.2).
        self.snd_wnd = seg.window
        self.max_snd_wnd = seg.window
        self.snd_wl1 = seg.seq
        self.snd_wl2 = seg.ack

    def syn_received(self, seg: Segment, now: int) -> None:
        """RFC 9293 section 3.10.7.4 for SYN-RECEIVED after a simultaneous open."""
        flags = seg.flags
        ahead = seg.seq - self.rcv_nxt & MASK
        if seg.seq == self.handshake.irs and flags & SYN:
            # Its SYN, or the SYN-ACK that is its answer to ours. The latter acknowledges our SYN.
            if not flags & ACK:
                self.put_syn(ACK | ECE if self.handshake.ecn else ACK, now)
                return
        elif ahead and not self.is_acceptable(seg, ahead):
            if flags & RST:
                self.context.counters.TCPInvalidSequence += 1
            else:
                self.refuse(seg, False, now)
            return
        elif flags & RST:
            if ahead == 0:
                self.refuse_open(errno.ECONNREFUSED)
            else:
                self.challenge(now)
            return
        elif flags & SYN:
            self.challenge(now)
            return
        if not flags & ACK:
            self.context.counters.TcpInNoFlags += 1
            return
        if seg.ack != self.snd_nxt and not self.covers_data(seg.ack):
            self.context.send_reset(seg)
            return
        self.snd_una = seg.ack
        if not flags & SYN:
            self.snd_wnd = seg.window << self.handshake.snd_shift
            self.max_snd_wnd = max(self.max_snd_wnd, self.snd_wnd)
            self.snd_wl1 = seg.seq
            self.snd_wl2 = seg.ack
        self.become_established(RCV_ACK_OF_SYN, seg, now)
        if flags & SYN:
            self.acknowledge_soon()
        self.rest_arrives(seg, 1 if flags & SYN else 0, now)

    def become_established(self, event: int, seg: Segment, now: int) -> None:
        """The handshake is complete; what was queued for sending may go."""
        self.state_deadline = 0
        self.heard_at = now
        if self.handshake.ecn:
            self.ecn = Ecn(self.snd_nxt)
        self.move(event)
        self.context.counters.TcpCurrEstab += 1
        if self.sender is not None:
            # It was made before there was a window to measure by.
            sender = self.sender
            self.sender = None
            self.need_sender().adopt(sender)
            if sender.fin_queued:
                self.move(EVENT_CLOSE)
        self.context.notify(self)
        self.send_soon()

    def rest_arrives(self, seg: Segment, syn: int, now: int) -> None:
        """Text and FIN of the segment that completed the handshake (RFC 9293 section 3.10.7.3, fourth check, last paragraph)."""
        if seg.payload_length:
            self.text_arrives(seg, seg.seq + syn - self.rcv_nxt & MASK, now)
        self.fin_of(seg, now)

    def refuse_open(self, error: int) -> None:
        """The open failed: the program hears why."""
        self.context.counters.TcpAttemptFails += 1
        self.error = error
        self.finish(REFUSED)

    def state_timeout(self, now: int) -> None:
        """No answer in time: the SYN again, after 1, 2, 4, ... s, or the end (R2 of RFC 9293 section 3.8.3)."""
        if self.state != SYN_SENT and self.state != SYN_RECEIVED:
            Connection.state_timeout(self, now)
            return
        offer = self.handshake
        settings = self.context.settings
        limit = settings.tcp_syn_retries if self.state == SYN_SENT else settings.tcp_synack_retries
        self.context.counters.TCPTimeouts += 1
        if self.patience is not None and self.patience.syn_retries and self.state == SYN_SENT:
            limit = self.patience.syn_retries
        if self.patience is not None and self.patience.user_timeout:
            over = now - offer.born >= self.patience.user_timeout
        else:
            over = offer.retries >= limit
        if over:
            self.refuse_open(self.soft_error or errno.ETIMEDOUT)
            return
        offer.retries += 1
        self.context.counters.TCPSynRetrans += 1
        self.context.counters.TcpRetransSegs += 1
        if self.state == SYN_RECEIVED:
            self.put_syn(ACK | ECE if offer.ecn else ACK, now)
        else:
            # Perhaps somebody on the way drops what asks for ECN (RFC 3168 section 6.1.1.1, tcp_ecn_clear_syn()).
            self.put_syn(ECE | CWR if offer.ecn and not settings.tcp_ecn_fallback else 0, now)
        self.state_deadline = self.no_later(now + min(SECOND << min(offer.retries, 7), MAX_WAIT), offer.born)
        self.wake_at(self.state_deadline)

    def send_pending(self, now: int) -> None:
        """No data leaves before the handshake is over; SYN and SYN-ACK went at once."""
        if self.state == SYN_SENT or self.state == SYN_RECEIVED:
            self.queued = False
            if self.ack_due and self.state == SYN_RECEIVED:
                self.put(self.snd_nxt, ACK, now)
            self.ack_due = False
        else:
            Connection.send_pending(self, now)

    def shutdown(self) -> None:
        """CLOSE for sending alone (RFC 9293 section 3.10.4). In SYN-SENT it ends the open: the program is told ECONNRESET, as on Linux
        (inet_shutdown(), tcp_disconnect()). In SYN-RECEIVED the FIN waits until the handshake is complete.
        """
        if self.context.forked:
            self.context.check()
        if self.state == SYN_SENT:
            self.error = errno.ECONNRESET
            self.finish(EVENT_CLOSE)
        elif self.state == SYN_RECEIVED:
            self.need_sender().fin_queued = True
        else:
            Connection.shutdown(self)

    def close(self, now: int) -> None:
        """CLOSE (RFC 9293 section 3.10.4): before the handshake is over there is nothing to end in order."""
        if self.context.forked:
            self.context.check()
        if self.state == SYN_SENT:
            self.become_orphan()
            self.error = errno.ECONNABORTED
            self.finish(EVENT_CLOSE)
        elif self.state == SYN_RECEIVED:
            # Queued until the handshake is complete.
            self.become_orphan()
            self.need_sender().fin_queued = True
            if self.must_go():
                self.abort_for_memory(now)
        else:
            Connection.close(self, now)

    def abort(self, now: int) -> None:
        """ABORT (RFC 9293 section 3.10.5): in SYN-SENT the peer knows nothing that a RST could end."""
        if self.context.forked:
            self.context.check()
        if self.state == SYN_SENT:
            self.error = errno.ECONNABORTED
            self.finish(EVENT_CLOSE)
        else:
            Connection.abort(self, now)

    def unreachable(self, number: int, hard: bool, now: int) -> None:
        """Nobody there: before the handshake is over, a hard error ends the open (RFC 5461 section 4, tcp_v4_err())."""
        if hard and (self.state == SYN_SENT or self.state == SYN_RECEIVED):
            self.refuse_open(number)
        else:
            Connection.unreachable(self, number, hard, now)
