"""A connection in the synchronized states: the TCB, the user's calls, and SEGMENT ARRIVES (RFC 9293 sections 3.3.1 and 3.10).

Segments only note what has to be sent; ``send_pending`` sends it when the batch is over, so that a burst gets one ACK (MUST-58).
"""

import errno

from fastnet._headers import ACK, FIN, OPTION_TIMESTAMPS, RST, SYN, Segment
from fastnet.tcp.context import Context
from fastnet.tcp.numbers import HALF, MASK, SECOND
from fastnet.tcp.receiver import Receiver
from fastnet.tcp.request import Request
from fastnet.tcp.sender import Sender
from fastnet.tcp.states import EVENTS, TABLE, Event, State, next_state
from fastnet.tcp.tcb import Tcb
from fastnet.tcp.timewait import TimeWait

ESTABLISHED = int(State.ESTABLISHED)
FIN_WAIT_1 = int(State.FIN_WAIT_1)
FIN_WAIT_2 = int(State.FIN_WAIT_2)
TIME_WAIT = int(State.TIME_WAIT)
CLOSED = int(State.CLOSED)
CLOSE_WAIT = int(State.CLOSE_WAIT)
LAST_ACK = int(State.LAST_ACK)
CLOSING = int(State.CLOSING)

EVENT_CLOSE = int(Event.CLOSE)
RCV_FIN = int(Event.RCV_FIN)
RCV_ACK_OF_FIN = int(Event.RCV_ACK_OF_FIN)
RCV_RST = int(Event.RCV_RST)
EVENT_ABORT = int(Event.ABORT)
EVENT_TIMEOUT = int(Event.TIMEOUT)
AFTER_HANDSHAKE = next_state(State.SYN_RECEIVED, Event.RCV_ACK_OF_SYN)


class Connection(Tcb):
    """One TCP connection.

    :ivar state: a ``State`` number
    :ivar sender: made when there is something to send
    :ivar orphan: the program has closed; nobody will read or write again
    :ivar error: errno of what ended the connection, 0 for an orderly end
    """

    __slots__ = ("error", "orphan", "sender", "state")

    state: int
    orphan: bool
    error: int
    sender: Sender | None

    def establish(self, context: Context, request: Request, seg: Segment) -> None:
        """Fill a new connection (made by ``__new__``) from a request and the segment that acknowledged its SYN-ACK."""
        self.id = -1
        self.timer = -1
        self.notified = False
        self.owner = None
        self.context = context
        self.handshake = request
        self.state = AFTER_HANDSHAKE
        self.snd_una = request.iss + 1 & MASK
        self.snd_nxt = self.snd_una
        # The final ACK's own window is scaled already (RFC 7323 section 2.2); without the option the shift is 0.
        self.snd_wnd = seg.window << request.snd_shift
        self.max_snd_wnd = self.snd_wnd
        self.snd_wl1 = seg.seq
        self.snd_wl2 = seg.ack
        self.rcv_nxt = request.irs + 1 & MASK
        self.rcv_adv = self.rcv_nxt + request.rcv_wnd & MASK
        self.ts_recent = seg.ts_val if request.timestamps and seg.options & OPTION_TIMESTAMPS else request.ts_recent
        self.sender = None
        self.receiver = None
        self.ack_due = False
        self.queued = False
        self.fin_received = False
        self.orphan = False
        self.nodelay = False
        self.error = 0
        context.attach(request.flow, self)

    # ---- SEGMENT ARRIVES: RFC 9293 section 3.10.7.4, its checks in its order ----

    def segment_arrives(self, seg: Segment, now: int) -> None:
        """A segment whose checksum is good and whose 4-tuple is ours."""
        context = self.context
        flags = seg.flags
        stamped = self.handshake.timestamps and seg.options & OPTION_TIMESTAMPS != 0
        if stamped and (seg.ts_val - self.ts_recent & MASK) >= HALF and not flags & RST:
            context.counters.PAWSEstab += 1  # RFC 7323 section 5.3, R1
            self.acknowledge_soon()
            return

        # First, the sequence number.
        ahead = seg.seq - self.rcv_nxt & MASK
        if ahead and not self.is_acceptable(seg, ahead):
            if not flags & RST:
                self.acknowledge_soon()
            return
        # Second, RST: only at the exact place; elsewhere in the window it is challenged (RFC 5961 section 3.2).
        if flags & RST:
            if ahead == 0:
                self.reset_arrives()
            else:
                self.challenge()
            return
        # Fourth, SYN: never in a synchronized state (RFC 5961 section 4.2).
        if flags & SYN:
            self.challenge()
            return
        # Fifth, ACK.
        if not flags & ACK:
            context.counters.TcpInNoFlags += 1
            return
        if stamped and (ahead == 0 or ahead >= HALF):
            self.ts_recent = seg.ts_val
        if not self.ack_arrives(seg, now):
            return
        # Seventh, the text; eighth, FIN: this segment's, or one that came before its data.
        if seg.payload_length:
            self.text_arrives(seg, ahead, now)
        if self.state == CLOSED:
            return
        if flags & FIN and (seg.end - 1 & MASK) == self.rcv_nxt:
            self.fin_arrives(now)
        elif flags & FIN:
            self.fin_seen(seg)
        elif self.receiver is not None and self.receiver.fin == self.rcv_nxt and not self.fin_received:
            self.fin_arrives(now)

    def is_acceptable(self, seg: Segment, ahead: int) -> bool:
        """RFC 9293 section 3.10.7.4's table: does any part of the segment lie in the receive window?"""
        window = self.rcv_adv - self.rcv_nxt & MASK
        if ahead < window:
            return True
        return seg.length > 0 and window > 0 and (seg.end - 1 - self.rcv_nxt & MASK) < window

    def reset_arrives(self) -> None:
        """The peer gave the connection up: ECONNRESET, or EPIPE where it had already sent its FIN (tcp_reset())."""
        self.error = errno.EPIPE if self.state == CLOSE_WAIT else errno.ECONNRESET
        self.finish(RCV_RST)

    def challenge(self) -> None:
        """A challenge ACK (RFC 5961): a peer that means it will answer with the right sequence number."""
        self.context.counters.TCPChallengeACK += 1
        self.acknowledge_soon()

    def ack_arrives(self, seg: Segment, now: int) -> bool:
        """SND.UNA, SND.WND and the states that wait for an ACK of our FIN. False when the segment is to be dropped."""
        acked = seg.ack - self.snd_una & MASK
        in_flight = self.snd_nxt - self.snd_una & MASK
        sender = self.sender
        if acked > in_flight:
            if acked < HALF or (self.snd_una - seg.ack & MASK) > self.max_snd_wnd:
                # An ACK of what was never sent, or one too old to be honest (RFC 5961 section 5.2).
                self.challenge()
                return False
            return True  # An old one: nothing new in it, but its text counts.
        window = seg.window << self.handshake.snd_shift
        newer = seg.seq - self.snd_wl1 & MASK
        if acked or newer < HALF and (newer or (seg.ack - self.snd_wl2 & MASK) < HALF):
            self.snd_wl1 = seg.seq
            self.snd_wl2 = seg.ack
            if window != self.snd_wnd:
                self.snd_wnd = window
                self.max_snd_wnd = max(window, self.max_snd_wnd)
                if sender is not None:
                    self.send_soon()
        if acked and sender is not None:
            self.snd_una = seg.ack
            sender.acknowledge(self, seg, acked, now)
            if sender.fin_sent and self.snd_una == self.snd_nxt:
                self.fin_acknowledged(now)
            return self.state != CLOSED
        if sender is not None and window == 0:
            # A peer that answers probes may keep its window shut for as long as it likes (RFC 9293 MUST-37).
            sender.unanswered = 0
        return True

    def fin_acknowledged(self, now: int) -> None:
        """Our FIN arrived."""
        if self.state == FIN_WAIT_1:
            self.move(RCV_ACK_OF_FIN)
            if self.orphan:
                self.context.arm(self, now + self.context.settings.tcp_fin_timeout * SECOND)
        elif self.state == CLOSING:
            self.enter_time_wait(RCV_ACK_OF_FIN, now)
        elif self.state == LAST_ACK:
            self.finish(RCV_ACK_OF_FIN)

    def text_arrives(self, seg: Segment, ahead: int, now: int) -> None:
        """Bytes for the reader; those out of order wait for the gap to close, and what does not fit the window will come again."""
        if self.state != ESTABLISHED and self.state != FIN_WAIT_1 and self.state != FIN_WAIT_2:
            return
        self.acknowledge_soon()
        if self.orphan:
            # Nobody will read it: say so, or the peer goes on sending for nothing (RFC 9293 SHLD-3, RFC 2525 2.17).
            self.context.counters.TCPAbortOnData += 1
            self.abort(now)
            return
        window = self.rcv_adv - self.rcv_nxt & MASK
        receiver = self.need_receiver()
        if ahead and ahead < HALF:
            if receiver.keep(seg, self.rcv_nxt, min(seg.payload_length, window - ahead)):
                self.context.counters.TCPOFOQueue += 1
            else:
                self.context.counters.TCPOFODrop += 1
            return
        skip = self.rcv_nxt - seg.seq & MASK
        if skip >= seg.payload_length:
            return
        size = min(seg.payload_length - skip, window)
        if size == 0:
            self.context.counters.TCPZeroWindowDrop += 1
            return
        seg.deliver(receiver.buffer, skip, size)
        self.rcv_nxt = self.rcv_nxt + size & MASK
        if receiver.pieces:
            self.rcv_nxt = receiver.close_gap(self.rcv_nxt)
        self.context.notify(self)

    def fin_seen(self, seg: Segment) -> None:
        """A FIN before its data: note where it is, to count once everything before it has come. Beyond the window it is not believed."""
        where = seg.end - 1 & MASK
        if self.fin_received or (where - self.rcv_nxt & MASK) > (self.rcv_adv - self.rcv_nxt & MASK):
            return
        if self.state in (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2):
            self.need_receiver().fin = where
            self.acknowledge_soon()

    def fin_arrives(self, now: int) -> None:
        """The peer will send no more; all that it sent before is with the reader."""
        self.rcv_nxt = self.rcv_nxt + 1 & MASK
        # The FIN takes no room: without this a reader that never drains its buffer would refuse it for ever.
        if (self.rcv_adv - self.rcv_nxt & MASK) >= HALF:
            self.rcv_adv = self.rcv_nxt
        self.fin_received = True
        self.acknowledge_soon()
        if self.state == FIN_WAIT_2:
            self.enter_time_wait(RCV_FIN, now)
        else:
            self.move(RCV_FIN)
        self.context.notify(self)

    # ---- The user's calls (RFC 9293 section 3.9.1) ----

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """SEND: queue bytes; returns how many fitted under tcp_wmem (0: wait until writable).

        :raises BrokenPipeError: our side is closed
        :raises OSError: the connection failed; ``errno`` says how
        """
        if self.error:
            raise OSError(self.error, errno.errorcode[self.error])
        if self.state != ESTABLISHED and self.state != CLOSE_WAIT or self.orphan:
            raise BrokenPipeError(errno.EPIPE, "the sending side is closed")
        sender = self.need_sender()
        room = sender.limit - sender.buffer.length
        if room <= 0:
            sender.full = True
            return 0
        view = memoryview(data).cast("B")
        if len(view) > room:
            view = view[:room]
            sender.full = True
        sender.buffer.append(view)
        self.send_soon()
        return len(view)

    def receive(self, size: int) -> bytes:
        """RECEIVE: at most ``size`` bytes; b"" when there are none now (``fin_received`` tells an end from a pause)."""
        receiver = self.receiver
        if receiver is None or receiver.buffer.length == 0:
            return b""
        data = receiver.buffer.take(size)
        # A window update, once it is worth a segment: two full ones, or half of all there is (as BSD has it).
        if self.id >= 0 and not self.fin_received:
            gain = receiver.growth(self.rcv_nxt, self.rcv_adv)
            if gain >= min(2 * self.send_mss(), receiver.limit // 2):
                self.acknowledge_soon()
        return data

    def readable(self) -> int:
        """Bytes that ``receive`` would give now."""
        return self.receiver.buffer.length if self.receiver is not None else 0

    def writable(self) -> int:
        """Bytes that ``send`` would take now."""
        if self.state != ESTABLISHED and self.state != CLOSE_WAIT or self.orphan:
            return 0
        if self.sender is None:
            return int(self.context.settings.tcp_wmem[2])
        return max(0, self.sender.limit - self.sender.buffer.length)

    def shutdown(self) -> None:
        """CLOSE as RFC 9293 has it: no more to send, but still to receive (SHUT_WR)."""
        if self.state == ESTABLISHED or self.state == CLOSE_WAIT:
            self.need_sender().fin_queued = True
            self.move(EVENT_CLOSE)
            self.send_soon()

    def close(self, now: int) -> None:
        """The program lets go: an orderly end, or a RST where bytes were left unread (tcp_close())."""
        if self.orphan or self.state == CLOSED or self.state == TIME_WAIT:
            self.orphan = True
            return
        if self.readable():
            self.context.counters.TCPAbortOnClose += 1
            self.abort(now)
            return
        self.orphan = True
        self.shutdown()
        if self.state == FIN_WAIT_2:
            self.context.arm(self, now + self.context.settings.tcp_fin_timeout * SECOND)

    def abort(self, now: int) -> None:
        """ABORT (RFC 9293 section 3.10.5): a RST to the peer, and everything is forgotten."""
        if self.state == CLOSED or self.state == TIME_WAIT:
            return
        self.put(self.snd_nxt, RST | ACK, now)
        self.context.counters.TcpOutRsts += 1
        self.error = errno.ECONNABORTED
        self.finish(EVENT_ABORT)

    # ---- TIMEOUT (RFC 9293 section 3.10.8) ----

    def timer_fires(self, now: int) -> None:
        """Retransmission, or the end of an orphan's FIN-WAIT-2."""
        self.timer = -1
        if self.state == FIN_WAIT_2:
            if self.orphan:
                self.finish(EVENT_TIMEOUT)
        elif self.sender is not None and not self.sender.timeout(self, now):
            self.context.counters.TCPAbortOnTimeout += 1
            self.error = errno.ETIMEDOUT
            self.finish(EVENT_TIMEOUT)

    # ---- Sending ----

    def send_pending(self, now: int) -> None:
        """All that the windows let go, and the ACK that is due."""
        self.queued = False
        if self.id < 0:
            return
        if self.sender is not None:
            self.sender.transmit(self, now)
        if self.ack_due:
            self.put(self.snd_nxt, ACK, now)

    def need_receiver(self) -> Receiver:
        """The receiver, made at first use."""
        if self.receiver is None:
            self.receiver = Receiver(self.context.settings.tcp_rmem[1])
        return self.receiver

    def need_sender(self) -> Sender:
        """The sender, made at first use."""
        if self.sender is None:
            self.sender = Sender(self.context.settings.tcp_wmem[2])
        return self.sender

    # ---- States ----

    def move(self, event: int) -> None:
        """Take the transition that the table has for an event."""
        before = self.state
        # next_state(), without the call.
        self.state = TABLE[before * EVENTS + event] or next_state(before, event)
        if before in (ESTABLISHED, CLOSE_WAIT) and self.state != CLOSE_WAIT:
            self.context.counters.TcpCurrEstab -= 1
            if self.state == CLOSED:
                self.context.counters.TcpEstabResets += 1

    def finish(self, event: int) -> None:
        """CLOSED: the 4-tuple is free; bytes that came before the end can still be read."""
        self.move(event)
        self.context.detach(self.handshake.flow, self)
        self.sender = None
        if self.owner is not None:
            self.context.notify(self)

    def enter_time_wait(self, event: int, now: int) -> None:
        """Leave the 4-tuple to a TIME-WAIT, which is smaller; the last ACK goes first."""
        context = self.context
        self.move(event)
        if self.ack_due:
            self.put(self.snd_nxt, ACK, now)
        self.sender = None
        if context.time_wait_count >= context.settings.tcp_max_tw_buckets:
            context.counters.TCPTimeWaitOverflow += 1
            context.detach(self.handshake.flow, self)
        else:
            context.disarm(self)
            TimeWait(context, self.handshake, self.id, self.snd_nxt, self.rcv_nxt, self.ts_recent, now)
            self.id = -1
        context.notify(self)
