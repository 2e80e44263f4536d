"""The server's end of TCP Fast Open (RFC 7413 section 4.2.2): a connection that can be read and written before its handshake is over."""

import errno

from fastnet._headers import ACK, ECE, FIN, RST, SYN, Segment
from fastnet.tcp.connection import Connection
from fastnet.tcp.context import Context
from fastnet.tcp.ecn import Ecn
from fastnet.tcp.fastopen import FastOpenQueue, fast_open_option, syn_options
from fastnet.tcp.numbers import ECT_0, MASK, MILLISECOND, SECOND
from fastnet.tcp.request import Request
from fastnet.tcp.states import Event, State, next_state

AFTER_SYN = next_state(State.LISTEN, Event.RCV_SYN)
CLOSED = int(State.CLOSED)
SYN_RECEIVED = int(State.SYN_RECEIVED)
RCV_ACK_OF_SYN = int(Event.RCV_ACK_OF_SYN)
EVENT_CLOSE = int(Event.CLOSE)
REFUSED = int(Event.REFUSED)

MAX_WAIT = 120 * SECOND
"""Linux's TCP_RTO_MAX: no wait between two SYN-ACKs is longer."""


class EarlyConnection(Connection):
    """A connection whose SYN brought a good cookie: in SYN-RECEIVED until the final ACK, and then like any other.

    SND.UNA begins behind our SYN. An ACK of anything from there on acknowledges the SYN too, and nothing less is acceptable.

    :ivar queue: where it waits for its final ACK; None once that has come, or when the connection is over
    :ivar syn_data: bytes that the SYN brought and the program got
    """

    __slots__ = ("queue", "syn_data")

    queue: FastOpenQueue | None
    syn_data: int

    def begin(self, context: Context, request: Request, queue: FastOpenQueue, seg: Segment, now: int) -> None:
        """Fill a new connection from a SYN (tcp_fastopen_create_child()); ``answer`` sends the SYN-ACK."""
        self.fill(context, request, AFTER_SYN, now)
        self.queue = queue
        self.segs_in = 1
        self.syn_data = 0
        queue.pending += 1
        request.rtt = 0
        context.counters.TcpPassiveOpens += 1
        context.counters.TCPFastOpenPassive += 1
        self.snd_una = request.iss + 1 & MASK
        self.snd_nxt = self.snd_una
        # The window of a SYN is never scaled (RFC 7323 section 2.2).
        self.snd_wnd = seg.window
        self.max_snd_wnd = seg.window
        self.snd_wl1 = seg.seq
        self.snd_wl2 = 0
        self.rcv_nxt = request.irs + 1 & MASK
        self.rcv_adv = self.rcv_nxt + request.rcv_wnd & MASK
        self.ts_recent = request.ts_recent
        if request.ecn:
            self.ecn = Ecn(self.snd_nxt)
        if seg.payload_length:
            self.take_text(seg, now)
        # What the SYN-ACK offers counts from behind the data.
        request.rcv_wnd = self.rcv_adv - self.rcv_nxt & MASK

    def take_text(self, seg: Segment, now: int) -> None:
        """Data of the SYN for the program; what does not fit is not acknowledged, and comes again (tcp_fastopen_add_skb())."""
        receiver = self.need_receiver(now)
        size = min(seg.payload_length, self.handshake.rcv_wnd)
        if size == 0 or not self.may_receive(size):
            return
        seg.deliver(receiver.buffer, 0, size)
        self.rcv_nxt = self.rcv_nxt + size & MASK
        self.syn_data = size
        receiver.data_segs = 1
        receiver.data_came(seg.payload_length, self.receive_mss(), now)
        # The SYN-ACK is its ACK.
        receiver.acknowledged(self.rcv_nxt)

    def answer(self, cookie: bytes, now: int) -> None:
        """The SYN-ACK, for the first time. ``cookie``: b"" without one."""
        request = self.handshake
        if cookie:
            self.segs_out = self.segs_out + 1 & MASK
            ts_val = now // MILLISECOND + request.ts_offset & MASK
            options = syn_options(request, self.mss_to_offer(), ts_val, self.ts_recent) + fast_open_option(cookie)
            flags = SYN | ACK | ECE if request.ecn else SYN | ACK
            path = self.path.with_ecn() if request.ecn & ECT_0 else self.path
            self.context.writer.verbatim(request.flow, request.iss, self.rcv_nxt, flags, request.rcv_wnd, options, path)
        else:
            self.send_synack(now)
        self.state_deadline = now + SECOND
        self.wake_at(self.state_deadline)

    def send_synack(self, now: int) -> None:
        """The SYN-ACK without a cookie."""
        self.put_syn(ACK | ECE if self.handshake.ecn else ACK, now)

    # ---- SEGMENT ARRIVES ----

    def segment_arrives(self, seg: Segment, now: int) -> None:
        """RFC 9293 section 3.10.7.4. In SYN-RECEIVED a SYN that comes again is answered, and an ACK of what was not sent is reset."""
        if self.queue is not None:
            flags = seg.flags
            if flags & (SYN | ACK | RST | FIN) == SYN and seg.seq == self.handshake.irs:
                if self.was_challenged(now):
                    self.context.counters.TCPACKSkippedSynRecv += 1
                else:
                    self.challenged_at = now
                    self.handshake.answered_at = now
                    self.send_synack(now)
                return
            if flags & (ACK | RST) == ACK and (seg.ack - self.snd_una & MASK) > (self.snd_nxt - self.snd_una & MASK):
                self.context.send_reset(seg)
                return
        Connection.segment_arrives(self, seg, now)

    def ack_arrives(self, seg: Segment, now: int) -> bool:
        """The first acceptable ACK is the one that the handshake waits for."""
        if self.queue is not None:
            self.complete(seg, now)
        return Connection.ack_arrives(self, seg, now)

    def complete(self, seg: Segment, now: int) -> None:
        """ESTABLISHED; what was put off until now may go."""
        request = self.handshake
        self.leave(False, now)
        self.state_deadline = 0
        request.rtt = request.round_trip(seg, now)
        self.move(RCV_ACK_OF_SYN)
        self.context.counters.TcpCurrEstab += 1
        sender = self.sender
        if sender is not None:
            if sender.fin_queued:
                self.move(EVENT_CLOSE)
            if sender.deadline:
                # It may have been due for long: nothing was sent again before the peer had answered.
                self.wake_at(sender.deadline)
        if self.receiver is not None and self.receiver.buffer.length == 0:
            # What the data needed is given back (``was_read``).
            self.wake_at(now + SECOND)
        self.send_soon()
        self.context.notify(self)

    def reset_arrives(self) -> None:
        """In SYN-RECEIVED a RST ends the handshake, and counts on in the queue."""
        if self.queue is not None:
            self.context.counters.TcpAttemptFails += 1
            self.leave(True, self.heard_at)
            self.error = errno.ECONNRESET
            self.finish(REFUSED)
        else:
            Connection.reset_arrives(self)

    def leave(self, reset: bool, now: int) -> None:
        """It does not wait for its final ACK any more."""
        queue = self.queue
        if queue is not None:
            self.queue = None
            queue.leave(reset, now)

    # ---- TIMEOUT ----

    def timer_fires(self, now: int) -> None:
        """Before the final ACK only the SYN-ACK is sent again: with a stolen cookie nobody can have more than a flight sent to its victim.

        Linux: tcp_fastopen_synack_timer().
        """
        if self.queue is None:
            Connection.timer_fires(self, now)
            return
        self.timer = -1
        if now >= self.state_deadline:
            self.synack_timeout(now)
            if self.state == CLOSED:
                return
        self.wake_at(self.state_deadline)

    def synack_timeout(self, now: int) -> None:
        """No final ACK in time: the SYN-ACK again, after 1, 2, 4, ... s, or the end."""
        request = self.handshake
        context = self.context
        context.counters.TCPTimeouts += 1
        if request.retries >= context.settings.tcp_synack_retries or self.orphan and self.must_go():
            context.counters.TcpAttemptFails += 1
            self.error = errno.ETIMEDOUT
            self.finish(REFUSED)
            return
        request.retries += 1
        context.counters.TCPSynRetrans += 1
        context.counters.TcpRetransSegs += 1
        self.send_synack(now)
        self.state_deadline = now + min(SECOND << min(request.retries, 7), MAX_WAIT)

    # ---- the user's calls ----

    def was_read(self) -> None:
        """Before the final ACK no window is worth an ACK of its own: the peer has just been told one."""
        if self.queue is None:
            Connection.was_read(self)

    def shutdown(self) -> None:
        """CLOSE for sending alone: in SYN-RECEIVED the FIN follows what was queued, and the state follows the final ACK."""
        if self.context.forked:
            self.context.check()
        if self.queue is not None:
            self.need_sender().fin_queued = True
            self.send_soon()
        else:
            Connection.shutdown(self)

    def finish(self, event: int) -> None:
        """CLOSED, also before the handshake was over."""
        self.leave(False, self.heard_at)
        Connection.finish(self, event)
