"""SEGMENT ARRIVES and TIMEOUT of a connection in the synchronized states (RFC 9293 sections 3.10.7.4 and 3.10.8).

Segments only note what has to be sent; ``send_pending`` sends it when the batch is over, so that a burst gets one ACK (MUST-58).
"""

from errno import ECONNRESET, EPIPE, ETIMEDOUT

from fastnet._headers import ACK, FIN, OPTION_SACK, OPTION_TIMESTAMPS, PSH, RST, SYN, URG, Segment
from fastnet.tcp.calls import UserCalls
from fastnet.tcp.context import Context
from fastnet.tcp.ecn import Ecn
from fastnet.tcp.numbers import CE, CODEPOINT, ECT_0, HALF, MASK, MILLISECOND, SECOND
from fastnet.tcp.request import Request
from fastnet.tcp.rtt import time_of_timeouts
from fastnet.tcp.states import Event, State, next_state
from fastnet.tcp.timewait import TimeWait

ESTABLISHED = int(State.ESTABLISHED)
FIN_WAIT_1 = int(State.FIN_WAIT_1)
FIN_WAIT_2 = int(State.FIN_WAIT_2)
CLOSED = int(State.CLOSED)
CLOSE_WAIT = int(State.CLOSE_WAIT)
LAST_ACK = int(State.LAST_ACK)
CLOSING = int(State.CLOSING)

RCV_FIN = int(Event.RCV_FIN)
RCV_ACK_OF_FIN = int(Event.RCV_ACK_OF_FIN)
RCV_RST = int(Event.RCV_RST)
EVENT_TIMEOUT = int(Event.TIMEOUT)
AFTER_HANDSHAKE = next_state(State.SYN_RECEIVED, Event.RCV_ACK_OF_SYN)

IDLE = SECOND
"""Silence after which a connection keeps no memory for a burst."""

SAME_AGAIN = 500 * MILLISECOND
"""No answer to the same empty segment before that, and twice that the next time, whatever tcp_invalid_ratelimit says."""
MAX_REPEATS = 16

EACH_BEHIND_A_GAP = 3
"""Full segments behind the first gap that are acknowledged one by one, however many come together (TCP_FASTRETRANS_THRESH)."""

TIMESTAMP_LIFE = 24 * 24 * 3600 * SECOND
"""After so long without a segment, TS.Recent says nothing: a clock of 1 ms has gone half its way round (RFC 7323 section 5.5)."""


class Connection(UserCalls):
    """One TCP connection."""

    __slots__ = ()

    def __init__(self) -> None:
        raise TypeError("a stack makes its connections: Stack.connect(), Listener.accept()")

    def establish(self, context: Context, request: Request, seg: Segment, now: int) -> None:
        """Fill a new connection from a request and the segment that acknowledged its SYN-ACK."""
        self.fill(context, request, AFTER_HANDSHAKE, now)
        context.counters.TcpPassiveOpens += 1
        context.counters.TcpCurrEstab += 1
        request.rtt = request.round_trip(seg, now)
        self.snd_una = request.iss + 1 & MASK
        self.snd_nxt = self.snd_una
        # The final ACK's own window is scaled already (RFC 7323 section 2.2); without the option the shift is 0.
        self.snd_wnd = seg.window << request.snd_shift
        self.max_snd_wnd = self.snd_wnd
        self.snd_wl1 = seg.seq
        self.snd_wl2 = seg.ack
        self.rcv_nxt = request.irs + 1 & MASK
        self.rcv_adv = self.rcv_nxt + request.rcv_wnd & MASK
        # Only from a segment that begins at or before Last.ACK.sent (RFC 7323 section 4.3).
        in_order = (self.rcv_nxt - seg.seq & MASK) < HALF
        self.ts_recent = seg.ts_val if in_order and request.timestamps and seg.options & OPTION_TIMESTAMPS else request.ts_recent
        if request.ecn:
            self.ecn = Ecn(self.snd_nxt)
        # The SYN, and the ACK; one with text is delivered as soon as the connection is there, and counted then.
        self.segs_in = 1 if seg.length else 2

    # ---- SEGMENT ARRIVES: RFC 9293 section 3.10.7.4, its checks in its order ----

    def segment_arrives(self, seg: Segment, now: int) -> None:
        """A segment whose checksum is good and whose 4-tuple is ours."""
        context = self.context
        self.segs_in = self.segs_in + 1 & MASK
        flags = seg.flags
        stamped = self.handshake.timestamps
        if stamped and not flags & RST:
            if not seg.options & OPTION_TIMESTAMPS:
                if flags & SYN:
                    self.challenge_syn(now)
                else:
                    context.counters.TcpInNoTimestamp += 1  # RFC 7323 section 3.2
                return
            if (seg.ts_val - self.ts_recent & MASK) >= HALF and self.ts_recent and now - self.heard_at < TIMESTAMP_LIFE:
                if flags & SYN:
                    self.challenge_syn(now)
                    return
                context.counters.PAWSEstab += 1  # RFC 7323 section 5.3, R1
                self.refuse(seg, True, now)
                return

        # First, the sequence number.
        ahead = seg.seq - self.rcv_nxt & MASK
        if ahead and not self.is_acceptable(seg, ahead):
            if flags & RST:
                context.counters.TCPInvalidSequence += 1
            elif flags & SYN:
                self.challenge_syn(now)
            else:
                self.refuse(seg, False, now)
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
            self.challenge_syn(now)
            return
        # Fifth, ACK.
        if not flags & ACK:
            context.counters.TcpInNoFlags += 1
            return
        if not self.ack_is_possible(seg):
            if seg.length == 0 and (self.was_challenged(now) or not self.asks_anew(seg, now)):
                context.counters.TCPACKSkippedChallenge += 1
            else:
                self.challenge(now)
            return
        # Only now, as a blind attacker would have had to guess three numbers for it (tcp_ack()).
        self.heard_at = now
        if stamped and (self.last_ack_sent() - seg.seq & MASK) < HALF:
            # RFC 7323 section 4.3: of several segments, the peer measures from the first that our ACK covers.
            self.ts_recent = seg.ts_val
        if not self.ack_arrives(seg, now):
            return
        # Sixth, URG.
        if flags & URG:
            self.urgent_arrives(seg)
        # Seventh, the text; eighth, FIN: this segment's, or one that came before its data.
        if seg.payload_length:
            if self.ecn is not None:
                self.mark_arrives(self.ecn, seg, now)
            self.text_arrives(seg, ahead, now)
        if flags & FIN or self.receiver is not None and self.receiver.fin >= 0:
            self.fin_of(seg, now)

    def mark_arrives(self, ecn: Ecn, seg: Segment, now: int) -> None:
        """A segment with data, marked or not."""
        if self.handshake.ecn & ECT_0 == 0:
            if ecn.data_arrives(seg):
                self.acknowledge_soon()
            return
        if (seg.tos & CODEPOINT == CE) != ecn.echo and self.receiver is not None and self.receiver.acked != self.rcv_nxt:
            # The ACK of what came before says what was so for that (RFC 8257 section 3.2, dctcp_ece_ack_update()).
            self.put(self.snd_nxt, ACK, now)
        if ecn.data_arrives_under_dctcp(seg):
            self.acknowledge_soon()

    def last_ack_sent(self) -> int:
        """Last.ACK.sent of RFC 7323 section 4.3: RCV.NXT as of our last segment. Without a receiver, nothing waits for an ACK."""
        return self.receiver.acked if self.receiver is not None else self.rcv_nxt

    def is_acceptable(self, seg: Segment, ahead: int) -> bool:
        """RFC 9293 section 3.10.7.4's table: does any part of the segment lie in the receive window?"""
        window = self.rcv_adv - self.rcv_nxt & MASK
        if ahead < window:
            return True
        return seg.length > 0 and window > 0 and (seg.end - 1 - self.rcv_nxt & MASK) < window

    def reset_arrives(self) -> None:
        """The peer gave the connection up: ECONNRESET, or EPIPE where it had already sent its FIN (tcp_reset())."""
        self.error = EPIPE if self.state == CLOSE_WAIT else ECONNRESET
        self.finish(RCV_RST)

    def refuse(self, seg: Segment, paws: bool, now: int) -> None:
        """A segment that is not acceptable gets an ACK; one without text and FIN not as often as it comes (tcp_oow_rate_limited())."""
        if not paws:
            self.context.count_outside(seg, self.rcv_nxt)
        if seg.length:
            if seg.payload_length and 0 < (self.rcv_nxt - seg.seq & MASK) < HALF:
                # What has been received already, and is sent again: say so (RFC 2883).
                self.note_duplicate(seg, now)
            self.acknowledge_soon()
        elif self.was_challenged(now) or not self.asks_anew(seg, now):
            if paws:
                self.context.counters.TCPACKSkippedPAWS += 1
            else:
                self.context.counters.TCPACKSkippedSeq += 1
        else:
            self.challenged_at = now
            self.acknowledge_soon()

    def asks_anew(self, seg: Segment, now: int) -> bool:
        """May an empty segment that should not have come be answered, or has it been? Two ends could answer each other without end.

        A probe is always answered: its number lies before RCV.NXT, and what it acknowledges was sent. At most one of two ends can take
        what the other sends for one, as the other's answer then lies at or behind RCV.NXT. Anything else with the same numbers as what was
        answered last waits for an answer, and each time twice as long: an answer to our own answer comes after a round trip.
        """
        if (seg.seq - self.rcv_nxt & MASK) >= HALF and self.ack_is_possible(seg):
            return True
        numbers = seg.seq ^ (seg.ack << 16 & MASK | seg.ack >> 16)
        if numbers != self.answered:
            self.answered = numbers
            self.repeats = 0
        elif now - self.challenged_at < SAME_AGAIN << self.repeats:
            return False
        else:
            self.repeats = min(self.repeats + 1, MAX_REPEATS)
        return True

    def challenge_syn(self, now: int) -> None:
        """A SYN, wherever it lies (RFC 5961 section 4.2)."""
        self.context.counters.TCPSYNChallenge += 1
        self.challenge(now)

    def note_duplicate(self, seg: Segment, now: int) -> None:
        """Data that lies before RCV.NXT, in a D-SACK with the next ACK."""
        if self.receiver is not None:
            self.receiver.hurry()
        if self.handshake.sack and self.context.settings.tcp_dsack:
            end = seg.seq + seg.payload_length & MASK
            if (end - self.rcv_nxt & MASK) < HALF:
                end = self.rcv_nxt
            receiver = self.need_receiver(self.heard_at)
            if receiver.duplicate is not None:
                # An ACK reports one: that of a segment before this one in the batch goes first.
                self.put(self.snd_nxt, ACK, now)
            receiver.duplicate = (seg.seq, end)
            self.context.counters.TCPDSACKOldSent += 1

    def count_duplicate(self, before: tuple[int, int] | None) -> None:
        """Was data ahead of RCV.NXT received twice just now? ``before``: what was to be reported without it."""
        receiver = self.receiver
        if receiver is None or receiver.duplicate is before:
            return
        if self.context.settings.tcp_dsack:
            self.context.counters.TCPDSACKOfoSent += 1
        else:
            receiver.duplicate = None

    def challenge(self, now: int) -> None:
        """A challenge ACK (RFC 5961): a peer that means it will answer with the right sequence number."""
        context = self.context
        if self.was_challenged(now) or not context.challenges.take(context.settings.tcp_challenge_ack_limit, now):
            context.counters.TCPACKSkippedChallenge += 1
            return
        self.challenged_at = now
        context.counters.TCPChallengeACK += 1
        self.acknowledge_soon()

    def was_challenged(self, now: int) -> bool:
        """Was it just now that this connection last answered what should not have come (tcp_oow_rate_limited())?"""
        return self.challenged_at != 0 and now - self.challenged_at < self.context.settings.tcp_invalid_ratelimit * MILLISECOND

    def ack_is_possible(self, seg: Segment) -> bool:
        """Does it acknowledge what was sent, and is not too old to be honest (RFC 5961 section 5.2)?"""
        acked = seg.ack - self.snd_una & MASK
        if acked <= (self.snd_nxt - self.snd_una & MASK):
            return True
        # Nor of what lies before all that was ever sent (tcp_ack()).
        sent = self.snd_una - self.handshake.iss - 1 & MASK
        if sent < self.max_snd_wnd and self.sender is not None and self.sender.recovery.board.delivered >= HALF:
            # More than 4 GB were sent, and the number begins again.
            sent = self.max_snd_wnd
        return acked >= HALF and (self.snd_una - seg.ack & MASK) <= min(self.max_snd_wnd, sent)

    def ack_arrives(self, seg: Segment, now: int) -> bool:
        """SND.UNA, SND.WND and the states that wait for an ACK of our FIN. False when the connection is over."""
        acked = seg.ack - self.snd_una & MASK
        in_flight = self.snd_nxt - self.snd_una & MASK
        sender = self.sender
        if acked > in_flight:
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
        if sender is None:
            return True
        if in_flight == 0:
            if sender.probes:
                sender.probe_answered()
                if changed:
                    sender.window_changed(self, now)
            return True
        before = self.snd_una
        self.snd_una = seg.ack
        # A duplicate ACK as RFC 5681 section 2 defines it.
        shut = self.snd_wnd == 0
        # The answer to a probe of a shut window is none.
        duplicate = not acked and not changed and not shut and seg.length == 0
        if acked:
            # It has arrived, whatever ICMP said (tcp_ack()).
            self.soft_error = 0
        if acked or duplicate or changed or shut or seg.options & OPTION_SACK:
            sender.acknowledged(self, seg, before, duplicate, now)
            if changed and sender.probes:
                sender.window_changed(self, now)
        if acked and sender.fin_sent and self.snd_una == self.snd_nxt:
            self.fin_acknowledged(now)
        return self.state != CLOSED

    def fin_acknowledged(self, now: int) -> None:
        """Our FIN arrived."""
        if self.state == FIN_WAIT_1:
            self.move(RCV_ACK_OF_FIN)
            if self.orphan:
                self.end_fin_wait_2(now)
            # A close() that lingers waits for this.
            self.context.notify(self)
        elif self.state == CLOSING:
            self.enter_time_wait(RCV_ACK_OF_FIN, now)
        elif self.state == LAST_ACK:
            self.finish(RCV_ACK_OF_FIN)

    def urgent_arrives(self, seg: Segment) -> None:
        """The urgent pointer: the sequence number of the first byte that is not urgent (RFC 9293 section 3.10.7.4, sixth check).

        Urgent data stays where it is in the stream (RFC 6093 section 4): the program learns how much of what it has still to read is
        urgent. After the peer's FIN there is none.
        """
        if self.fin_received:
            return
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
            self.context.counters.TcpInAfterFin += 1
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
        receiver.data_segs = receiver.data_segs + 1 & MASK
        if ahead and ahead < HALF:
            if receiver.unreported or receiver.duplicate is not None:
                self.report_before(seg, now)
            reported = receiver.duplicate
            size = min(seg.payload_length, window - ahead)
            wanted = receiver.buffer.length + ahead + size
            if (wanted <= receiver.buffer.allocated or self.may_receive(wanted)) and receiver.keep(seg, self.rcv_nxt, size):
                self.context.counters.TCPOFOQueue += 1
                self.count_duplicate(reported)
            else:
                self.context.counters.TCPOFODrop += 1
            if self.handshake.sack and ahead > EACH_BEHIND_A_GAP * receiver.largest_segment:
                self.acknowledge_soon()
            else:
                # One for each: without SACK, their number is all that the peer has to go by (RFC 5681 section 4.2). With SACK, the first
                # three behind a gap: where ACKs are lost too, one of them arrives, and no timeout is needed (__tcp_ack_snd_check()).
                self.put(self.snd_nxt, ACK, now)
            return
        skip = MASK + 1 - ahead & MASK
        if skip >= seg.payload_length:
            self.context.counters.DelayedACKLost += 1
            self.note_duplicate(seg, now)
            self.acknowledge_soon()
            return
        size = min(seg.payload_length - skip, window)
        if size == 0:
            self.context.counters.TCPZeroWindowDrop += 1
            self.acknowledge_soon()
            return
        wanted = receiver.buffer.length + size
        if wanted > receiver.buffer.allocated and not self.may_receive(wanted) and not self.make_room(wanted):
            self.context.counters.TCPRcvQDrop += 1
            self.acknowledge_soon()
            self.context.notify(self)
            return
        if skip:
            self.note_duplicate(seg, now)
        seg.deliver(receiver.buffer, skip, size)
        self.rcv_nxt = self.rcv_nxt + size & MASK
        if receiver.pieces:
            # A segment that fills a gap is acknowledged at once (RFC 5681 section 4.2).
            self.ack_due = True
            reported = receiver.duplicate
            self.rcv_nxt = receiver.close_gap(self.rcv_nxt)
            self.count_duplicate(reported)
        elif skip or size < seg.payload_length - skip:
            self.ack_due = True
        receiver.data_came(seg.segment_size or seg.payload_length, self.receive_mss(), now)
        self.pushed = seg.flags & PSH != 0 or seg.payload_length < receiver.largest_segment
        if (self.rcv_nxt - receiver.rtt_edge & MASK) < HALF:
            self.measure_round_trip(seg, now)
        self.send_soon()
        self.context.notify(self)

    def report_before(self, seg: Segment, now: int) -> None:
        """Send an ACK if a segment out of order would crowd out what came in this batch: no later ACK would report that."""
        receiver = self.need_receiver(now)
        if receiver.duplicate is not None or self.handshake.sack and receiver.crowds_out(seg.seq, self.blocks_in(self.send_mss())):
            self.put(self.snd_nxt, ACK, now)

    def measure_round_trip(self, seg: Segment, now: int) -> None:
        """All of a window has come: how long did that take, or how old is the timestamp that the last of it echoes?"""
        receiver = self.need_receiver(now)
        clock = now // MILLISECOND & MASK
        if receiver.rtt == 0:
            known = self.round_trip_known()
            if known:
                receiver.rtt = max(known // MILLISECOND, 1)
        if self.handshake.timestamps:
            sample = clock + self.handshake.ts_offset - seg.ts_ecr & MASK
            if seg.ts_ecr and sample < HALF:
                receiver.round_trip_over(sample, True)
        elif receiver.rtt_at:
            receiver.round_trip_over(clock - receiver.rtt_at & MASK, False)
        first = self.handshake.irs + 1 & MASK
        if (self.rcv_adv - first & MASK) < (receiver.rtt_edge - first & MASK):
            # The stream has 4 GiB more; nothing else counts them.
            receiver.wraps = receiver.wraps + 1 & 0xFF
        receiver.rtt_edge = self.rcv_adv
        receiver.rtt_at = clock

    def may_receive(self, wanted: int) -> bool:
        """May the receive buffer take the block for so many bytes (tcp_try_rmem_schedule())? If not, no more is offered than it has."""
        receiver = self.need_receiver(self.heard_at)
        smallest = self.context.settings.tcp_rmem[0]
        if self.context.memory.allows(receiver.buffer, wanted, smallest):
            return True
        self.context.counters.PruneCalled += 1
        receiver.limit = min(receiver.limit, max(receiver.buffer.allocated, smallest))
        return False

    def make_room(self, wanted: int) -> bool:
        """Room for so many bytes in order, though memory is short: for them, what lies ahead is forgotten (tcp_prune_queue()).

        Whoever has nothing to read gets what comes, or it would wait for ever (sk_forced_mem_schedule()).
        """
        receiver = self.need_receiver(self.heard_at)
        if receiver.pieces:
            self.context.counters.OfoPruned += 1
            receiver.forget_pieces()
        if wanted <= receiver.buffer.allocated or receiver.buffer.length == 0:
            return True
        self.context.counters.RcvPruned += 1
        return False

    def fin_of(self, seg: Segment, now: int) -> None:
        """The segment's FIN, or one that came before its data."""
        if self.state == CLOSED:
            return
        if self.fin_received:
            if not seg.payload_length:
                # With text it was counted there.
                self.context.counters.TcpInAfterFin += 1
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
        if self.receiver is not None and self.receiver.pieces:
            # A peer that has sent bytes from beyond its end: they are none (tcp_fin()).
            self.receiver.forget_pieces()
        self.acknowledge_soon()
        if self.state == FIN_WAIT_2:
            self.enter_time_wait(RCV_FIN, now)
        else:
            self.move(RCV_FIN)
        self.context.notify(self)

    def enter_time_wait(self, event: int, now: int) -> None:
        """Leave the 4-tuple to a TIME-WAIT, which is smaller; the last ACK goes first."""
        context = self.context
        self.move(event)
        if self.ack_due:
            self.put(self.snd_nxt, ACK, now)
        self.sender = None
        if self.orphan:
            context.orphans -= 1
        if self.handshake.source is not None:
            self.leave_source()
        if context.time_wait_count >= context.settings.tcp_max_tw_buckets:
            context.counters.TCPTimeWaitOverflow += 1
            context.detach(self.handshake.flow, self)
        else:
            context.disarm(self)
            # What the SYN offered is of no use any more: the window for the ACKs to come needs no place of its own.
            self.handshake.rcv_wnd = self.rcv_adv - self.rcv_nxt & MASK
            TimeWait(context, self.handshake, self.id, self.snd_nxt, self.rcv_nxt, self.ts_recent, now)
            self.id = -1
        context.notify(self)

    # ---- ICMP (RFC 9293 section 3.9.2.2, RFC 5927) ----

    def unreachable(self, number: int, hard: bool, now: int) -> None:
        """An error about a segment that is on its way; it never ends a synchronized connection (RFC 5927 section 4)."""
        self.soft_error = number
        self.context.notify(self)

    def path_narrowed(self, mtu: int, now: int) -> None:
        """A router on the way takes only so many bytes (RFC 1191): smaller segments, and what was too large again."""
        context = self.context
        if self.sender is not None and context.paths.narrowed(self.handshake.flow, mtu, now):
            context.path_changes = context.path_changes + 1 & HALF - 1
            self.sender.recovery.follow_path(self, now)
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
            # The program did not answer in time: do not wait for it next time (tcp_delack_timer_handler()).
            receiver.pingpong = False
            self.context.counters.DelayedACKs += 1
            self.acknowledge_soon()
        sender = self.sender
        if sender is not None and self.orphan and self.must_go():
            self.abort_for_memory(now)
            return
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
            rates = sender.recovery.rates
            if rates is not None and rates.wake_at > now and (deadline == 0 or rates.wake_at < deadline):
                deadline = rates.wake_at
        if deadline:
            self.wake_at(deadline)
        if self.snd_nxt == self.snd_una:
            if sender is None or sender.buffer.length == 0:
                # While something is on its way, or about to be, the retransmission timer looks after the peer (tcp_keepalive_timer()).
                self.watch()
            self.give_back(now)

    def give_back(self, now: int) -> None:
        """Give back what a burst needed, a second after it."""
        receiver = self.receiver
        sender = self.sender
        held = 0
        if receiver is not None and receiver.buffer.length == 0:
            held += receiver.buffer.allocated
        if sender is not None:
            held += sender.buffer.allocated
        if held == 0:
            return
        if now - self.heard_at < IDLE:
            self.wake_at(now + IDLE)
            return
        if receiver is not None:
            receiver.buffer.release()
        if sender is not None:
            sender.buffer.release()

    def state_timeout(self, now: int) -> None:
        """The peer's FIN did not come in time."""
        if self.state == FIN_WAIT_2 and self.orphan:
            self.finish(EVENT_TIMEOUT)

    def give_up(self) -> None:
        """The peer has been silent for too long."""
        self.context.counters.TCPAbortOnTimeout += 1
        # Where the network said why, so does the error (tcp_write_err()).
        self.error = self.soft_error or ETIMEDOUT
        self.finish(EVENT_TIMEOUT)

    def gave_up(self, retries: int, since: int, now: int) -> bool:
        """R2: the time that the program set, or that tcp_retries2 (an orphan's: tcp_orphan_retries) timeouts take; of probes, so many."""
        if self.patience is not None and self.patience.user_timeout and not self.orphan:
            return since > 0 and now - since >= self.patience.user_timeout
        settings = self.context.settings
        # 0 stands for 8 (tcp_orphan_retries()).
        most = (settings.tcp_orphan_retries or 8) if self.orphan else settings.tcp_retries2
        if self.snd_wnd == 0:
            if self.orphan and self.sender is not None:
                # A peer that answers probes and keeps its window shut is given no longer (tcp_probe_timer()).
                retries = max(retries, self.sender.probes)
            return retries >= most
        # How long they would take from the smallest RTO on, however large it is by now (retransmits_timed_out()).
        return since > 0 and now - since >= time_of_timeouts(most)

    def no_later(self, deadline: int, since: int) -> int:
        """The user timeout ends when it ends, not at the retransmission after it (tcp_clamp_rto_to_user_timeout())."""
        if self.patience is not None and self.patience.user_timeout and not self.orphan:
            return min(deadline, since + self.patience.user_timeout)
        return deadline

    def keep_alive(self, now: int) -> None:
        """A probe, if the peer was silent for long enough: no data, and a sequence number that has been acknowledged (SHLD-12)."""
        patience = self.patience
        if patience is None or not patience.keepalive or now < patience.next_look(self.heard_at):
            return
        if self.snd_nxt != self.snd_una or self.sender is not None and self.sender.buffer.length:
            # What waits for an ACK, or for the window, has a timer of its own.
            return
        if patience.is_over(self.heard_at, now):
            self.put(self.snd_nxt, RST | ACK, now)
            self.context.counters.TcpOutRsts += 1
            self.give_up()
            return
        patience.probe(self.heard_at, now)
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
