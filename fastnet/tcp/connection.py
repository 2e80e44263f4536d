"""A connection in the synchronized states: the TCB, the user's calls, and SEGMENT ARRIVES (RFC 9293 sections 3.3.1 and 3.10).

Segments only note what has to be sent; ``send_pending`` sends it when the batch is over, so that a burst gets one ACK (MUST-58).
"""

import errno

from fastnet._headers import ACK, FIN, OPTION_SACK, OPTION_TIMESTAMPS, RST, SYN, URG, Segment
from fastnet.tcp.congestion import algorithm
from fastnet.tcp.congestion.base import CongestionControl
from fastnet.tcp.context import Context
from fastnet.tcp.numbers import HALF, MASK, MILLISECOND, SECOND
from fastnet.tcp.patience import Patience
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
SENDING = (ESTABLISHED, CLOSE_WAIT, int(State.SYN_SENT), int(State.SYN_RECEIVED))
"""States in which SEND queues."""

INVALID_RATELIMIT = 500 * MILLISECOND
"""At most one challenge ACK in this time for each connection (tcp_invalid_ratelimit). A limit of the whole stack's, which RFC 5961
section 7 has, lets one connection's attacker learn of another's (CVE-2016-5696)."""


class Connection(Tcb):
    """One TCP connection.

    :ivar state: a ``State`` number
    :ivar sender: made when there is something to send
    :ivar orphan: the program has closed; nobody will read or write again
    :ivar error: errno of what ended the connection, 0 for an orderly end
    :ivar soft_error: errno of what ICMP last said about the way to the peer (RFC 1122 section 4.2.3.9); it ends nothing
    :ivar heard_at: when the peer last sent something acceptable, ns
    :ivar state_deadline: when the present state ends, ns, or SYN is sent again; 0 without
    :ivar challenged_at: when the last challenge ACK was sent, ns
    :ivar patience: made when the program asks for keep-alive or a user timeout
    :ivar congestion: the congestion control it asked for, None for the setting's
    """

    __slots__ = (
        "challenged_at", "congestion", "error", "heard_at", "orphan", "patience", "sender", "soft_error", "state", "state_deadline",
    )  # fmt: skip

    state: int
    orphan: bool
    error: int
    soft_error: int
    sender: Sender | None
    patience: Patience | None
    congestion: type[CongestionControl] | None
    heard_at: int
    state_deadline: int
    challenged_at: int

    def fill(self, context: Context, handshake: Request, state: int, now: int) -> None:
        """What every new connection (made by ``__new__``) begins with, and its 4-tuple taken."""
        self.id = -1
        self.timer = -1
        self.notified = False
        self.owner = None
        self.context = context
        self.handshake = handshake
        self.state = state
        self.sender = None
        self.receiver = None
        self.patience = None
        self.congestion = None
        self.ack_due = False
        self.queued = False
        self.fin_received = False
        self.orphan = False
        self.nodelay = False
        self.ttl = 0
        self.tos = 0
        self.error = 0
        self.soft_error = 0
        self.armed = 0
        self.state_deadline = 0
        self.challenged_at = 0
        self.heard_at = now
        context.attach(handshake.flow, self)

    def establish(self, context: Context, request: Request, seg: Segment, now: int) -> None:
        """Fill a new connection from a request and the segment that acknowledged its SYN-ACK."""
        self.fill(context, request, AFTER_HANDSHAKE, now)
        # Karn's rule: only an exchange without retransmissions measures the round trip.
        request.rtt = now - request.born if request.retries == 0 else 0
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

    # ---- SEGMENT ARRIVES: RFC 9293 section 3.10.7.4, its checks in its order ----

    def segment_arrives(self, seg: Segment, now: int) -> None:
        """A segment whose checksum is good and whose 4-tuple is ours."""
        context = self.context
        flags = seg.flags
        stamped = self.handshake.timestamps and seg.options & OPTION_TIMESTAMPS != 0
        if stamped and (seg.ts_val - self.ts_recent & MASK) >= HALF and not flags & RST:
            context.counters.PAWSEstab += 1  # RFC 7323 section 5.3, R1
            self.refuse(seg, now)
            return

        # First, the sequence number.
        ahead = seg.seq - self.rcv_nxt & MASK
        if ahead and not self.is_acceptable(seg, ahead):
            if not flags & RST:
                self.refuse(seg, now)
            return
        # Second, RST: only at the exact place; elsewhere in the window it is challenged (RFC 5961 section 3.2).
        if flags & RST:
            if ahead == 0:
                self.reset_arrives()
            else:
                self.challenge(now)
            return
        # Fourth, SYN: never in a synchronized state (RFC 5961 section 4.2).
        if flags & SYN:
            context.counters.TCPSYNChallenge += 1
            self.challenge(now)
            return
        # Fifth, ACK.
        if not flags & ACK:
            context.counters.TcpInNoFlags += 1
            return
        self.heard_at = now
        if stamped and (ahead == 0 or ahead >= HALF):
            self.ts_recent = seg.ts_val
        if not self.ack_arrives(seg, now):
            return
        # Sixth, URG.
        if flags & URG:
            self.urgent_arrives(seg)
        # Seventh, the text; eighth, FIN: this segment's, or one that came before its data.
        if seg.payload_length:
            self.text_arrives(seg, ahead, now)
        if flags & FIN or self.receiver is not None and self.receiver.fin >= 0:
            self.fin_of(seg, now)

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

    def refuse(self, seg: Segment, now: int) -> None:
        """A segment that is not acceptable gets an ACK; one without data not as often as it comes (tcp_oow_rate_limited())."""
        if seg.payload_length:
            if (self.rcv_nxt - seg.seq & MASK) < HALF:
                # What has been received already, and is sent again: say so (RFC 2883).
                self.note_duplicate(seg)
            self.acknowledge_soon()
        elif self.challenged_at and now - self.challenged_at < INVALID_RATELIMIT:
            self.context.counters.TCPACKSkippedSeq += 1
        else:
            self.challenged_at = now
            self.acknowledge_soon()

    def note_duplicate(self, seg: Segment) -> None:
        """Data that lies before RCV.NXT, in a D-SACK with the next ACK."""
        if self.handshake.sack and self.context.settings.tcp_dsack:
            end = seg.seq + seg.payload_length & MASK
            if (end - self.rcv_nxt & MASK) < HALF:
                end = self.rcv_nxt
            self.need_receiver(self.heard_at).duplicate = (seg.seq, end)
            self.context.counters.TCPDSACKOldSent += 1

    def challenge(self, now: int) -> None:
        """A challenge ACK (RFC 5961): a peer that means it will answer with the right sequence number."""
        if self.challenged_at and now - self.challenged_at < INVALID_RATELIMIT:
            self.context.counters.TCPACKSkippedChallenge += 1
            return
        self.challenged_at = now
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
                self.challenge(now)
                return False
            return True  # An old one: nothing new in it, but its text counts.
        window = seg.window << self.handshake.snd_shift
        newer = seg.seq - self.snd_wl1 & MASK
        changed = False
        if acked or newer < HALF and (newer or (seg.ack - self.snd_wl2 & MASK) < HALF):
            self.snd_wl1 = seg.seq
            self.snd_wl2 = seg.ack
            if window != self.snd_wnd:
                changed = True
                self.snd_wnd = window
                self.max_snd_wnd = max(window, self.max_snd_wnd)
                if sender is not None:
                    self.send_soon()
        if sender is None or in_flight == 0:
            return True
        before = self.snd_una
        self.snd_una = seg.ack
        # A duplicate ACK as RFC 5681 section 2 defines it.
        duplicate = not acked and not changed and seg.length == 0
        if acked or duplicate or changed or seg.options & OPTION_SACK:
            sender.acknowledged(self, seg, before, duplicate, now)
        if acked and sender.fin_sent and self.snd_una == self.snd_nxt:
            self.fin_acknowledged(now)
        return self.state != CLOSED

    def fin_acknowledged(self, now: int) -> None:
        """Our FIN arrived."""
        if self.state == FIN_WAIT_1:
            self.move(RCV_ACK_OF_FIN)
            if self.orphan:
                self.end_fin_wait_2(now)
        elif self.state == CLOSING:
            self.enter_time_wait(RCV_ACK_OF_FIN, now)
        elif self.state == LAST_ACK:
            self.finish(RCV_ACK_OF_FIN)

    def urgent_arrives(self, seg: Segment) -> None:
        """The urgent pointer: the sequence number of the first byte that is not urgent (RFC 9293 section 3.10.7.4, sixth check).

        Urgent data stays where it is in the stream (RFC 6093 section 4): the program learns how much of what it has still to read is
        urgent.
        """
        end = seg.seq + seg.urgent & MASK
        receiver = self.need_receiver(self.heard_at)
        if seg.urgent and (end - self.rcv_nxt & MASK) < HALF and (receiver.urgent < 0 or 0 < (end - receiver.urgent & MASK) < HALF):
            receiver.urgent = end
            self.context.notify(self)

    def text_arrives(self, seg: Segment, ahead: int, now: int) -> None:
        """Bytes for the reader; those out of order wait for the gap to close, and what does not fit the window will come again.

        :param ahead: by how much the first byte lies beyond RCV.NXT
        """
        if self.state != ESTABLISHED and self.state != FIN_WAIT_1 and self.state != FIN_WAIT_2:
            return
        if self.orphan:
            # Nobody will read it: say so, or the peer goes on sending for nothing (RFC 9293 SHLD-3, RFC 2525 2.17).
            self.context.counters.TCPAbortOnData += 1
            self.abort(now)
            return
        window = self.rcv_adv - self.rcv_nxt & MASK
        receiver = self.receiver
        if receiver is None:
            receiver = self.need_receiver(now)
        if ahead and ahead < HALF:
            self.acknowledge_soon()
            if receiver.keep(seg, self.rcv_nxt, min(seg.payload_length, window - ahead)):
                self.context.counters.TCPOFOQueue += 1
            else:
                self.context.counters.TCPOFODrop += 1
            return
        skip = MASK + 1 - ahead & MASK
        if skip >= seg.payload_length:
            self.note_duplicate(seg)
            self.acknowledge_soon()
            return
        size = min(seg.payload_length - skip, window)
        if size == 0:
            self.context.counters.TCPZeroWindowDrop += 1
            self.acknowledge_soon()
            return
        seg.deliver(receiver.buffer, skip, size)
        self.rcv_nxt = self.rcv_nxt + size & MASK
        if receiver.pieces:
            # A segment that fills a gap is acknowledged at once (RFC 5681 section 4.2).
            self.ack_due = True
            self.rcv_nxt = receiver.close_gap(self.rcv_nxt)
        elif skip or size < seg.payload_length - skip:
            self.ack_due = True
        receiver.data_came(seg.payload_length, now)
        self.send_soon()
        self.context.notify(self)

    def fin_of(self, seg: Segment, now: int) -> None:
        """The segment's FIN, or one that came before its data."""
        if self.state == CLOSED or self.fin_received:
            return
        if seg.flags & FIN and (seg.end - 1 & MASK) == self.rcv_nxt:
            self.fin_arrives(now)
        elif seg.flags & FIN:
            self.fin_seen(seg)
        elif self.receiver is not None and self.receiver.fin == self.rcv_nxt:
            self.fin_arrives(now)

    def fin_seen(self, seg: Segment) -> None:
        """A FIN before its data: note where it is, to count once everything before it has come. Beyond the window it is not believed."""
        where = seg.end - 1 & MASK
        if self.fin_received or (where - self.rcv_nxt & MASK) > (self.rcv_adv - self.rcv_nxt & MASK):
            return
        if self.state in (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2):
            self.need_receiver(self.heard_at).fin = where
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
        if self.orphan or self.state not in SENDING:
            raise BrokenPipeError(errno.EPIPE, "the sending side is closed")
        sender = self.sender
        if sender is None:
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
        self.was_read()
        return data

    def was_read(self) -> None:
        """The reader made room: a window update, once it is worth two full segments, or half of all there is (as BSD has it)."""
        receiver = self.receiver
        if receiver is not None and self.id >= 0 and not self.fin_received:
            gain = receiver.growth(self.rcv_nxt, self.rcv_adv)
            if gain >= min(2 * self.send_mss(), receiver.limit // 2):
                window = self.rcv_adv - self.rcv_nxt & MASK
                # Linux waits until the window has doubled (__tcp_select_window()): a reader in small steps sends few updates.
                if gain >= window or gain >= receiver.limit // 4:
                    self.acknowledge_soon()

    def readable(self) -> int:
        """Bytes that ``receive`` would give now."""
        return self.receiver.buffer.length if self.receiver is not None else 0

    def writable(self) -> int:
        """Bytes that ``send`` would take now."""
        if self.orphan or self.state not in SENDING:
            return 0
        if self.sender is None:
            return self.context.settings.tcp_wmem[2]
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
            self.end_fin_wait_2(now)

    def end_fin_wait_2(self, now: int) -> None:
        """Nobody waits for the peer's FIN any more: give it tcp_fin_timeout."""
        self.state_deadline = now + self.context.settings.tcp_fin_timeout * SECOND
        self.wake_at(self.state_deadline)

    def abort(self, now: int) -> None:
        """ABORT (RFC 9293 section 3.10.5): a RST to the peer, and everything is forgotten."""
        if self.state == CLOSED or self.state == TIME_WAIT:
            return
        self.put(self.snd_nxt, RST | ACK, now)
        self.context.counters.TcpOutRsts += 1
        self.error = errno.ECONNABORTED
        self.finish(EVENT_ABORT)

    # ---- Options of a connection ----

    def set_congestion_control(self, choice: type[CongestionControl] | str) -> None:
        """Another congestion control, by name or as a class of one's own (TCP_CONGESTION); data on its way goes on under it.

        :raises ValueError: no such name
        """
        kind = algorithm(choice) if isinstance(choice, str) else choice
        self.congestion = kind
        if self.sender is not None:
            self.sender.recovery.congestion = kind(self.send_mss())

    def need_patience(self) -> Patience:
        """Keep-alive and the user timeout, to be set; call ``watch`` afterwards."""
        if self.patience is None:
            self.patience = Patience(self.context.settings)
        return self.patience

    def watch(self) -> None:
        """What ``patience`` says has changed: have the timer look."""
        if self.patience is not None and self.id >= 0:
            deadline = self.patience.next_look(self.heard_at)
            if deadline:
                self.wake_at(deadline)

    def set_cork(self, cork: bool) -> None:
        """TCP_CORK: keep partial segments back, for 200 ms at most; letting go sends what waits."""
        sender = self.need_sender()
        sender.cork = cork
        if not cork:
            sender.cork_deadline = 0
            self.send_soon()

    def send_urgent(self, data: bytes | bytearray | memoryview) -> int:
        """SEND with the urgent flag: as ``send``, and what was queued up to its end is urgent (RFC 9293 section 3.8.5)."""
        taken = self.send(data)
        if taken and self.sender is not None:
            self.sender.urgent = self.snd_una + self.sender.buffer.length & MASK
        return taken

    def urgent_left(self) -> int:
        """Bytes that are still to be read, or to come, up to the end of the urgent data; 0 when there is none (MUST-33)."""
        receiver = self.receiver
        if receiver is None or receiver.urgent < 0:
            return 0
        left = receiver.urgent - self.rcv_nxt + receiver.buffer.length & MASK
        return left if left < HALF else 0

    def unanswered(self) -> int:
        """Retransmissions since the peer last acknowledged something: at tcp_retries1 the owner is told (SHLD-9)."""
        return self.sender.unanswered if self.sender is not None else 0

    # ---- ICMP (RFC 9293 section 3.9.2.2, RFC 5927) ----

    def unreachable(self, number: int, hard: bool, now: int) -> None:
        """An error about a segment that is on its way; it never ends a synchronized connection (RFC 5927 section 4)."""
        self.soft_error = number
        self.context.notify(self)

    def path_narrowed(self, mtu: int, now: int) -> None:
        """A router on the way takes only so many bytes (RFC 1191): smaller segments, and what was too large again."""
        mss = max(mtu - 40, self.context.settings.tcp_min_snd_mss)
        if mss < self.handshake.mss and self.sender is not None:
            self.handshake.mss = mss
            recovery = self.sender.recovery
            recovery.congestion.mss = self.send_mss()
            recovery.board.lose_larger(self.send_mss())
            self.send_soon()

    # ---- TIMEOUT (RFC 9293 section 3.10.8) ----

    def timer_fires(self, now: int) -> None:
        """Something may be due; what is not yet has its own deadline, and the wheel is told of the nearest."""
        self.timer = -1
        if self.state_deadline and now >= self.state_deadline:
            self.state_deadline = 0
            self.state_timeout(now)
            if self.state == CLOSED:
                return
        receiver = self.receiver
        if receiver is not None and receiver.ack_at and now >= receiver.ack_at:
            receiver.ack_at = 0
            self.context.counters.DelayedACKs += 1
            self.acknowledge_soon()
        sender = self.sender
        if sender is not None and not sender.timeout(self, now):
            self.give_up()
            return
        if self.patience is not None:
            self.keep_alive(now)
            if self.state == CLOSED:
                return
        deadline = self.state_deadline
        if receiver is not None and receiver.ack_at and (deadline == 0 or receiver.ack_at < deadline):
            deadline = receiver.ack_at
        if sender is not None:
            if sender.deadline > now and (deadline == 0 or sender.deadline < deadline):
                deadline = sender.deadline
            if sender.cork_deadline > now and (deadline == 0 or sender.cork_deadline < deadline):
                deadline = sender.cork_deadline
        if deadline:
            self.wake_at(deadline)
        self.watch()

    def state_timeout(self, now: int) -> None:
        """The peer's FIN did not come in time."""
        if self.state == FIN_WAIT_2 and self.orphan:
            self.finish(EVENT_TIMEOUT)

    def give_up(self) -> None:
        """The peer has been silent for too long."""
        self.context.counters.TCPAbortOnTimeout += 1
        # Where the network said why, so does the error (tcp_write_err()).
        self.error = self.soft_error or errno.ETIMEDOUT
        self.finish(EVENT_TIMEOUT)

    def gave_up(self, retries: int, since: int, now: int) -> bool:
        """R2: tcp_retries2, tcp_orphan_retries, or the time that the program set."""
        if self.patience is not None and self.patience.user_timeout and not self.orphan:
            return since > 0 and now - since >= self.patience.user_timeout
        settings = self.context.settings
        if self.orphan:
            # 0 stands for 8 (tcp_orphan_retries()).
            return retries >= (settings.tcp_orphan_retries or 8)
        return retries >= settings.tcp_retries2

    def keep_alive(self, now: int) -> None:
        """A probe, if the peer was silent for long enough: no data, and a sequence number that has been acknowledged (SHLD-12)."""
        patience = self.patience
        if patience is None or not patience.keepalive or self.snd_nxt != self.snd_una:
            return
        if now - self.heard_at < patience.idle:
            patience.probes = 0
            return
        if now < patience.next_look(self.heard_at):
            return
        if patience.is_over(self.heard_at, now):
            self.put(self.snd_nxt, RST | ACK, now)
            self.context.counters.TcpOutRsts += 1
            self.give_up()
            return
        patience.probes += 1
        self.context.counters.TCPKeepAlive += 1
        self.put(self.snd_nxt - 1 & MASK, ACK, now)

    # ---- Sending ----

    def send_pending(self, now: int) -> None:
        """All that the windows let go, and the ACK that is due."""
        self.queued = False
        if self.id < 0:
            return
        receiver = self.receiver
        if self.sender is not None:
            if receiver is not None and self.sender.buffer.length:
                receiver.data_sent(now)
            self.sender.transmit(self, now)
        if self.ack_due:
            self.put(self.snd_nxt, ACK, now)
        elif receiver is not None and receiver.acked != self.rcv_nxt and receiver.ack_at == 0:
            if receiver.may_delay(self.rcv_nxt):
                self.wake_at(receiver.delay(now))
            else:
                self.put(self.snd_nxt, ACK, now)
        elif receiver is not None and receiver.ack_at and not receiver.may_delay(self.rcv_nxt):
            self.put(self.snd_nxt, ACK, now)

    def need_receiver(self, now: int) -> Receiver:
        """The receiver, made at first use."""
        if self.receiver is None:
            rmem = self.context.settings.tcp_rmem
            self.receiver = Receiver(rmem[1], rmem[2], self.rcv_nxt, self.rcv_adv, now)
        return self.receiver

    def need_sender(self) -> Sender:
        """The sender, made at first use."""
        if self.sender is None:
            settings = self.context.settings
            kind = self.congestion if self.congestion is not None else algorithm(settings.tcp_congestion_control)
            congestion = kind(self.send_mss())
            self.sender = Sender(settings.tcp_wmem[2], congestion, self.snd_nxt)
            if self.handshake.rtt:
                self.sender.rtt.measure(self.handshake.rtt)
            if self.handshake.retries > 1:
                # The handshake met loss: one segment to begin with (RFC 5681 section 3.1).
                congestion.cwnd = congestion.mss
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
