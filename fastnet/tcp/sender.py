"""The sending side: what is queued, what goes out when, and what a timer does about what does not come back."""

from fastnet._buffer import ByteRing, Pool
from fastnet._headers import ACK, FIN, PSH, Segment
from fastnet.tcp.congestion.base import CongestionControl, check
from fastnet.tcp.flights import Flight
from fastnet.tcp.numbers import BYTES_A_FLIGHT, HALF, LOSS, MASK, MILLISECOND, MIN_FLIGHTS
from fastnet.tcp.rates import Rates
from fastnet.tcp.recovery import Recovery
from fastnet.tcp.rtt import RttEstimator
from fastnet.tcp.tcb import Tcb

MAX_ACK_DELAY = 200 * MILLISECOND
"""How long a peer may keep the ACK of a single segment: added to a tail loss probe's wait (RFC 8985 section 7.2)."""
PROBE_MIN = 2 * MILLISECOND
RENEGE_WAIT = 10 * MILLISECOND
"""An ACK that seems to take back a SACK may be one of several: wait so long at least for the next (tcp_check_sack_reneging())."""
CORK_MAX = 200 * MILLISECOND
"""A partial segment is kept back by TCP_CORK for so long at most (tcp(7))."""

SPARE = 4
"""Segments that follow a probe of the path: enough for SACKs to show that it was lost, so that no timeout is needed."""

NOTHING = 0
RETRANSMIT = 1
TAIL_PROBE = 2
REORDER = 3
WINDOW_PROBE = 4

NOBODY = 0
THE_NETWORK = 1
THE_WINDOW = 2
THE_PROGRAM = 3
MOST_COUNTED = 0xFFFF


class Sender:
    """Bytes from SND.UNA on, and the retransmission timer (RFC 6298).

    :param pool: where the memory is counted
    :param limit: bytes that it may hold (tcp_wmem)
    :param lowat: bytes that it may hold and has not sent (tcp_notsent_lowat)
    :ivar locked: the program has set the limit (SO_SNDBUF): it does not grow
    :ivar buffer: the head is the byte at SND.UNA
    :ivar moderated: the limit to go back to when memory is no longer short (tcp_mem); 0 where it was not lowered
    :ivar full: True when the program was told to wait; an ACK that makes room lets it go on
    :ivar fin_queued: a FIN follows the last byte; ``fin_sent``: it went out
    :ivar urgent: sequence number behind the last urgent byte (SND.UP), -1 without
    :ivar probes: probes of a shut window since data was last acknowledged, or the window was of use
    :ivar unanswered: timeouts and probes since the peer last said anything acceptable
    :ivar resent: retransmissions since the connection began; ``resent_bytes``: bytes of data in them
    :ivar data_segs: segments with data that went out, modulo 2^32
    :ivar held_by: what the sender waits for: NOBODY (there is nothing to send), THE_NETWORK, THE_WINDOW or THE_PROGRAM; ``held_since``:
        since when, ms modulo 2^32
    :ivar network_time, window_time, program_time: how long it waited for each before, ms modulo 2^32 (Linux: tcp_chrono_start())
    :ivar timeouts: timeouts since the connection began, 65535 at most; ``episodes``: of those, the first of several in a row;
        ``timeout_time``: from the first until the peer answered, all of them together, ms modulo 2^32
    :ivar waiting_since: when the first of those was sent, ns
    :ivar retransmit_at: when the oldest flight is sent again, ns (RFC 6298 section 5)
    :ivar deadline: when the timer has to look again, ns, 0 when nothing waits; ``purpose``: what for
    :ivar sent_at: when data last went out, ns
    """

    __slots__ = (
        "buffer", "cork", "cork_deadline", "data_segs", "deadline", "episodes", "fin_queued", "fin_sent", "full", "held_by",
        "held_since", "limit", "locked", "lowat", "moderated", "network_time", "probes", "program_time", "purpose", "recovery", "resent",
        "resent_bytes", "retransmit_at", "rtt", "sent_at", "timeout_time", "timeouts", "unanswered", "urgent", "waiting_since",
        "window_time",
    )  # fmt: skip

    def __init__(self, pool: Pool, limit: int, lowat: int, congestion: CongestionControl, snd_nxt: int) -> None:
        self.buffer = ByteRing(pool)
        self.locked = False
        self.lowat = lowat
        self.full = False
        self.fin_queued = False
        self.fin_sent = False
        self.cork = False
        self.cork_deadline = 0
        self.urgent = -1
        self.probes = 0
        self.unanswered = 0
        self.resent = 0
        self.resent_bytes = 0
        self.data_segs = 0
        self.held_by = NOBODY
        self.held_since = 0
        self.network_time = 0
        self.window_time = 0
        self.program_time = 0
        self.timeouts = 0
        self.episodes = 0
        self.timeout_time = 0
        self.waiting_since = 0
        self.retransmit_at = 0
        self.deadline = 0
        self.purpose = NOTHING
        self.sent_at = 0
        self.rtt = RttEstimator()
        self.recovery = Recovery(congestion, self.rtt, snd_nxt)
        self.set_limit(limit)

    def set_limit(self, limit: int) -> None:
        """Bytes that it may hold from now on; what is there already stays."""
        self.limit = limit
        self.moderated = 0
        # A flight is small, but bytes can be made into many.
        self.recovery.board.most = max(limit // BYTES_A_FLIGHT, MIN_FLIGHTS)

    def adopt(self, earlier: "Sender") -> None:
        """Take over what was queued before the handshake was complete."""
        self.buffer = earlier.buffer
        self.full = earlier.full
        self.fin_queued = earlier.fin_queued
        self.cork = earlier.cork
        self.lowat = earlier.lowat
        if earlier.recovery.rates is not None:
            self.recovery.take_rates(earlier.recovery.rates)
        self.urgent = earlier.urgent

    # ---- an ACK ----

    def acknowledged(self, tcb: Tcb, seg: Segment, before: int, duplicate: bool, now: int) -> None:
        """An acceptable ACK while data is on its way; SND.UNA was ``before``."""
        acked = tcb.snd_una - before & MASK
        if acked or tcb.snd_wnd == 0:
            # A peer that answers probes may keep its window shut for as long as it likes (RFC 9293 MUST-37).
            if self.unanswered and self.recovery.state == LOSS:
                self.timeout_time = self.timeout_time + (now - self.waiting_since) // MILLISECOND & MASK
            self.unanswered = 0
            self.waiting_since = 0
        if acked:
            # The FIN is acknowledged like a byte, but is none.
            self.buffer.discard(min(acked, self.buffer.length))
            self.probes = 0
            if self.urgent >= 0 and (tcb.snd_una - self.urgent & MASK) < HALF:
                # Kept, it would lie ahead again after 2 GB.
                self.urgent = -1
        self.recovery.acknowledged(tcb, seg, before, duplicate, now)
        if acked:
            self.retransmit_at = now + self.rtt.rto
        if self.recovery.board.is_reneged():
            self.retransmit_at = min(self.retransmit_at, now + max(self.rtt.srtt // 2, RENEGE_WAIT))
        tcb.send_soon()

    def probe_answered(self) -> None:
        """An acceptable ACK while nothing is on its way but probes: the window may stay shut as long as it likes (RFC 9293 MUST-37)."""
        self.unanswered = 0
        self.waiting_since = 0

    def window_changed(self, tcb: Tcb, now: int) -> None:
        """The window, which is being probed, is another. If it takes what waits, that goes at once and not when the next probe would."""
        if tcb.snd_wnd < min(tcb.send_mss(), self.buffer.length):
            return
        self.probes = 0
        if tcb.snd_nxt != tcb.snd_una:
            # It went out before the window shut, or shrank, and the peer had no room for it.
            board = self.recovery.board
            self.resend(tcb, board.flights[board.head], tcb.send_mss(), now)

    # ---- room ----

    def room(self, tcb: Tcb) -> int:
        """Bytes that may still be queued: under tcp_wmem as a whole, and under tcp_notsent_lowat of those that have not been sent."""
        if self.moderated and not tcb.context.memory.is_pressed():
            self.set_limit(self.moderated)
        unsent = self.buffer.length - (tcb.snd_nxt - tcb.snd_una & MASK)
        return min(self.limit - self.buffer.length, self.lowat - unsent)

    def tell_of_room(self, tcb: Tcb) -> None:
        """Let a program go on that was told to wait, once there is room for half of tcp_notsent_lowat, or for a third of the whole
        buffer where that is less (sk_stream_is_writeable())."""
        if not self.locked:
            self.grow(tcb)
        if self.room(tcb) >= max(min(self.limit // 3, self.lowat // 2), 1):
            self.full = False
            tcb.context.notify(tcb)

    def grow(self, tcb: Tcb) -> None:
        """A program that fills the buffer may queue two CWNDs: one on its way, and one to follow it (tcp_sndbuf_expand())."""
        wanted = min(2 * self.recovery.congestion.cwnd, tcb.context.settings.tcp_wmem[2])
        if wanted > self.limit and self.moderated == 0 and not tcb.context.memory.is_pressed():
            self.set_limit(wanted)

    def share(self, tcb: Tcb, size: int) -> int:
        """How many of so many bytes the memory of all connections lets it queue; with less, also its limit shrinks for as long as that
        is short (sk_stream_moderate_sndbuf())."""
        context = tcb.context
        smallest = context.settings.tcp_wmem[0]
        held = self.buffer.length
        if context.memory.allows(self.buffer, held + size, smallest):
            return size
        if self.moderated == 0:
            self.moderated = self.limit
        self.limit = max(held // 2, smallest)
        self.full = True
        # What is left of the block that it has, or of what everybody may have.
        return min(size, max(self.buffer.allocated, smallest) - held)

    # ---- sending ----

    def transmit(self, tcb: Tcb, now: int) -> None:
        """What was lost, then new data, then the FIN: as far as the peer's window and CWND go; then set the timer."""
        recovery = self.recovery
        recovery.limited = False
        if recovery.path_seen != tcb.context.path_changes or recovery.path is not None and recovery.path.is_over(now):
            recovery.follow_path(tcb, now)
        mss = tcb.send_mss()
        if tcb.receiver is not None and tcb.receiver.has_blocks(tcb.handshake.sack):
            mss -= tcb.room_for_blocks(mss)
        idle = tcb.snd_nxt == tcb.snd_una
        if idle and self.sent_at and now - self.sent_at > self.rtt.rto and tcb.context.settings.tcp_slow_start_after_idle:
            recovery.congestion.restarted(now)
        check(recovery.congestion)
        room = recovery.congestion.cwnd - recovery.pipe(tcb)
        if recovery.rates is not None:
            room = self.paced(tcb, recovery.rates, room, idle, now)
        if recovery.hold:
            # F-RTO: two new segments, once, if there is something new that may go.
            if recovery.hold == 1:
                recovery.hold = 2
                if self.send_new(tcb, mss, 2 * mss, now) == 0:
                    recovery.hold = 0
                    recovery.frto = False
                    room -= self.send_lost(tcb, mss, room, now)
        else:
            if recovery.board.lost:
                room -= self.send_lost(tcb, mss, room, now)
            if not self.fin_sent and recovery.board.lost == 0:
                self.send_new(tcb, mss, room, now)
        if idle and tcb.snd_nxt != tcb.snd_una:
            self.retransmit_at = now + self.rtt.rto
        if recovery.rates is not None:
            self.pace(tcb, recovery.rates, mss, now)
        recovery.validate(tcb, self.full, now)
        self.set_timer(tcb, now)
        if self.full:
            self.tell_of_room(tcb)
        self.keep_time(tcb, mss, now)

    def keep_time(self, tcb: Tcb, mss: int, now: int) -> None:
        """What has to happen before more is sent or all is done (Linux: tcp_chrono_start())?"""
        in_flight = tcb.snd_nxt - tcb.snd_una & MASK
        unsent = self.buffer.length - in_flight
        held = THE_NETWORK
        if self.buffer.length == 0:
            held = NOBODY if in_flight == 0 else THE_NETWORK
        elif unsent <= 0:
            if self.full:
                held = THE_PROGRAM
        elif tcb.snd_wnd - in_flight < min(unsent, mss) and not self.recovery.limited:
            held = THE_WINDOW
        if held != self.held_by:
            self.turn_to(held, now)

    def turn_to(self, held: int, now: int) -> None:
        """It waits for something else from now on."""
        clock = now // MILLISECOND & MASK
        elapsed = clock - self.held_since & MASK
        if self.held_by == THE_NETWORK:
            self.network_time = self.network_time + elapsed & MASK
        elif self.held_by == THE_WINDOW:
            self.window_time = self.window_time + elapsed & MASK
        elif self.held_by == THE_PROGRAM:
            self.program_time = self.program_time + elapsed & MASK
        self.held_by = held
        self.held_since = clock

    def paced(self, tcb: Tcb, rates: Rates, room: int, idle: bool, now: int) -> int:
        """How many bytes may leave, of those for which CWND has room.

        :param idle: nothing is on its way
        """
        recovery = self.recovery
        if idle and rates.samples and rates.app_limited and self.buffer.length:
            recovery.congestion.resumed(now)
        if rates.paces:
            room = min(room, rates.allowance(recovery.rate(tcb), tcb.send_mss(), now))
        rates.wake_at = 0
        return room

    def pace(self, tcb: Tcb, rates: Rates, mss: int, now: int) -> None:
        """The sender sent what it could: what holds it back, its pace or the program?"""
        recovery = self.recovery
        if recovery.limited:
            if rates.paces and rates.left < mss and recovery.congestion.cwnd - recovery.pipe(tcb) >= mss:
                # CWND has room: what is left has its turn when the burst before it is over.
                recovery.limited = False
                rates.wake_at = max(rates.next_at, now + 1)
                tcb.wake_at(rates.wake_at)
        elif rates.samples and self.buffer.length - (tcb.snd_nxt - tcb.snd_una & MASK) < mss and recovery.board.lost == 0:
            rates.limit(recovery.board.delivered, recovery.pipe(tcb))
        # Slow start may count CWND as in use where half of it is (``Recovery.validate``); a model may not.
        rates.cwnd_limited = recovery.limited

    def send_lost(self, tcb: Tcb, mss: int, room: int, now: int) -> int:
        """Send again what was lost, as far as CWND lets; how many bytes."""
        recovery = self.recovery
        board = recovery.board
        sent = 0
        flight = board.next_lost()
        while flight is not None:
            most = tcb.path.burst(mss)
            size = flight.end - flight.seq & MASK
            if size > mss and flight.seq != tcb.snd_una and board.is_full():
                # Taken back by the peer, it is one flight of many segments (join()): they go as room for them comes.
                recovery.limited = True
                break
            if min(size, most) > room - sent:
                most = (room - sent) // mss * mss
                if most <= 0:
                    recovery.limited = True
                    break
            sent += self.resend(tcb, flight, most, now)
            flight = board.next_lost()
        return sent

    def resend(self, tcb: Tcb, flight: Flight, most: int, now: int) -> int:
        """The first ``most`` bytes of a flight again, or as many as fit a packet, and its FIN behind all of them; how many numbers."""
        offset = flight.seq - tcb.snd_una & MASK
        size = flight.end - flight.seq & MASK
        data = min(size, self.buffer.length - offset)
        flags = ACK
        if self.fin_sent and flight.end == tcb.snd_nxt and data <= most:
            flags |= FIN
        segs = tcb.segs_out
        if data > 0:
            sent = tcb.put_data(flight.seq, flags | PSH, self.buffer, offset, min(data, most), self.urgent, now)
            self.resent_bytes += sent
            self.data_segs = self.data_segs + tcb.segs_out - segs & MASK
            if sent < data:
                size = sent
        else:
            tcb.put(flight.seq, flags, now)
        # What the device cuts counts as segments (tcp_skb_pcount()).
        segs = tcb.segs_out - segs & MASK
        recovery = self.recovery
        recovery.sent_again(tcb, flight, size, segs, now)
        if recovery.rates is not None:
            self.note_rates(tcb, recovery.rates, size, now)
        self.resent = self.resent + segs & MASK
        tcb.context.counters.TcpRetransSegs += segs
        if self.waiting_since == 0:
            self.waiting_since = now
        if offset == 0:
            # The oldest of all had its turn just now (RFC 6675 section 5, step 4.2, tcp_xmit_retransmit_queue()).
            self.retransmit_at = now + self.rtt.backed_off(self.probes)
        return size

    def send_new(self, tcb: Tcb, mss: int, room: int, now: int) -> int:
        """New segments (RFC 9293 section 3.8.6.2.1), then the FIN; how many bytes."""
        recovery = self.recovery
        burst = tcb.path.burst(mss)
        total = 0
        if recovery.path is not None:
            total = self.send_path_probe(tcb, mss, room, now)
            room -= total
        while not self.fin_sent:
            in_flight = tcb.snd_nxt - tcb.snd_una & MASK
            unsent = self.buffer.length - in_flight
            usable = tcb.snd_wnd - in_flight
            size = min(unsent, usable, burst)
            if size > 0 and recovery.board.is_full():
                break
            if size <= 0:
                if unsent == 0 and self.fin_queued:
                    self.fin_sent = True
                    tcb.put(tcb.snd_nxt, FIN | ACK, now)
                    self.went_out(tcb, 1, 1, now)
                break
            if size > room:
                size = min(size, room // mss * mss)
                if size <= 0:
                    recovery.limited = True
                    break
            if size > mss:
                # Whole segments; a rest has a turn of its own.
                size -= size % mss
            elif size < mss and not self.may_send_small(tcb, size, unsent, in_flight, now):
                break
            flags = ACK
            if size == unsent:
                flags |= PSH
                if self.fin_queued and usable > size:
                    flags |= FIN
            segs = tcb.segs_out
            sent = tcb.put_data(tcb.snd_nxt, flags, self.buffer, in_flight, size, self.urgent, now)
            segs = tcb.segs_out - segs & MASK
            self.data_segs = self.data_segs + segs & MASK
            self.fin_sent = sent == size and flags & FIN != 0
            self.went_out(tcb, sent + self.fin_sent, segs, now)
            room -= sent
            total += sent
        return total

    def send_path_probe(self, tcb: Tcb, mss: int, room: int, now: int) -> int:
        """New data in a segment larger than those before, if it is time to find out whether the path takes it; how many bytes."""
        recovery = self.recovery
        if recovery.path is None or not recovery.is_calm() or recovery.board.is_full():
            return 0
        size = recovery.path.wants(tcb, recovery.congestion.cwnd, now)
        if size == 0:
            return 0
        in_flight = tcb.snd_nxt - tcb.snd_una & MASK
        enough = size + SPARE * mss
        if room < size or tcb.snd_wnd - in_flight < enough or self.buffer.length - in_flight < enough:
            return 0
        if tcb.receiver is not None and tcb.receiver.has_blocks(tcb.handshake.sack):
            # They would take room in it.
            return 0
        recovery.path.sent(tcb, size)
        # Only this packet is larger.
        path = tcb.path
        tcb.path = path.copy(mtu=recovery.path.probe)
        sent = tcb.put_data(tcb.snd_nxt, ACK, self.buffer, in_flight, size, self.urgent, now)
        self.data_segs = self.data_segs + 1 & MASK
        tcb.path = path
        self.went_out(tcb, sent, 1, now)
        return sent

    def may_send_small(self, tcb: Tcb, size: int, unsent: int, in_flight: int, now: int) -> bool:
        """May a segment go that is not full?"""
        if size < unsent:
            # Cut short by the window. It waits for a better one unless it is half of the largest that the peer ever offered
            # (silly window avoidance, RFC 9293 section 3.8.6.2.1).
            return size >= tcb.max_snd_wnd // 2
        if self.fin_queued:
            return True
        if self.cork:
            if self.cork_deadline == 0:
                self.cork_deadline = now + CORK_MAX
                tcb.wake_at(self.cork_deadline)
            if now < self.cork_deadline:
                return False
            self.cork_deadline = 0
            return True
        # Nagle: the last small piece waits for the ACK of what is on its way. Not where the buffer is full: no byte could join it before.
        return in_flight == 0 or tcb.nodelay or self.buffer.length >= self.limit

    def went_out(self, tcb: Tcb, size: int, segs: int, now: int) -> None:
        """New sequence numbers are on their way, in so many segments."""
        seq = tcb.snd_nxt
        tcb.snd_nxt = seq + size & MASK
        recovery = self.recovery
        recovery.sent(seq, tcb.snd_nxt, now)
        if recovery.rates is not None:
            self.note_rates(tcb, recovery.rates, size, now)
        self.sent_at = now
        tcb.context.counters.TCPOrigDataSent += segs

    def note_rates(self, tcb: Tcb, rates: Rates, size: int, now: int) -> None:
        """So many numbers went out just now."""
        if rates.paces:
            rates.charge(size, now)
        if rates.samples:
            rates.sent(self.recovery.board, self.recovery.pipe(tcb), size, now)

    # ---- the timer ----

    def set_timer(self, tcb: Tcb, now: int) -> None:
        """When to look again, and what for. The wheel is only told when that is sooner than it would wake us anyway."""
        recovery = self.recovery
        if tcb.snd_nxt == tcb.snd_una:
            if self.buffer.length == 0:
                self.cork_deadline = 0
            if self.buffer.length == 0 or self.cork_deadline > now and not self.fin_queued and tcb.snd_wnd >= self.buffer.length:
                # Nothing to send, or it is the cork that keeps it back.
                self.deadline = 0
                self.purpose = NOTHING
                self.waiting_since = 0
                return
            # Bytes to send and none on their way: the window is shut.
            if self.purpose != WINDOW_PROBE:
                self.purpose = WINDOW_PROBE
                self.deadline = now + self.rtt.backed_off(self.probes)
                if self.waiting_since:
                    self.deadline = tcb.no_later(self.deadline, self.waiting_since)
        else:
            self.purpose = RETRANSMIT
            if self.waiting_since:
                self.retransmit_at = tcb.no_later(self.retransmit_at, self.waiting_since)
            self.deadline = self.retransmit_at
            if recovery.reorder_deadline:
                self.purpose = REORDER
                self.deadline = min(recovery.reorder_deadline, self.retransmit_at)
            elif recovery.may_probe(tcb):
                self.purpose = TAIL_PROBE
                self.deadline = self.probe_due(tcb)
        tcb.wake_at(self.deadline)

    def probe_due(self, tcb: Tcb) -> int:
        """When a tail loss probe is due, ns: after the PTO, or in place of the timeout if that comes first (RFC 8985 section 7.2)."""
        wait = 2 * self.rtt.srtt
        wait += MAX_ACK_DELAY if (tcb.snd_nxt - tcb.snd_una & MASK) <= tcb.send_mss() else PROBE_MIN
        return min(self.sent_at + wait, self.retransmit_at)

    def timeout(self, tcb: Tcb, now: int) -> bool:
        """The wheel fired. False when the peer has been silent for too long (R2 of RFC 9293 section 3.8.3)."""
        if self.cork_deadline and now >= self.cork_deadline:
            tcb.send_soon()
        rates = self.recovery.rates
        if rates is not None and rates.wake_at and now >= rates.wake_at:
            # The next burst's turn.
            tcb.send_soon()
        if self.deadline == 0 or now < self.deadline:
            return True
        purpose = self.purpose
        self.purpose = NOTHING
        if self.is_stale(tcb, purpose, now):
            tcb.send_soon()
            return True
        if purpose == REORDER and now < self.retransmit_at:
            self.recovery.reorder_timed_out(tcb, now)
        elif purpose == TAIL_PROBE:
            self.send_tail_probe(tcb, now)
        elif purpose == WINDOW_PROBE:
            if not self.send_window_probe(tcb, now):
                return False
        else:
            if not self.retransmission_timeout(tcb, now):
                return False
        tcb.send_soon()
        return True

    def is_stale(self, tcb: Tcb, purpose: int, now: int) -> bool:
        """Has an ACK of the same batch, for which the timer was not set yet, made it needless?"""
        if purpose == WINDOW_PROBE:
            return tcb.snd_nxt != tcb.snd_una or self.buffer.length == 0 or tcb.snd_wnd >= min(tcb.send_mss(), self.buffer.length)
        if tcb.snd_nxt == tcb.snd_una:
            return True
        if purpose == RETRANSMIT:
            return now < self.retransmit_at
        if purpose == TAIL_PROBE:
            return not self.recovery.may_probe(tcb) or now < self.probe_due(tcb)
        return False

    def retransmission_timeout(self, tcb: Tcb, now: int) -> bool:
        """RFC 6298 section 5.4 to 5.6. False when it was the last."""
        counters = tcb.context.counters
        if tcb.snd_wnd:
            # A shut window is not counted as one (tcp_retransmit_timer()).
            counters.TCPTimeouts += 1
        if tcb.gave_up(self.unanswered, self.waiting_since, now):
            return False
        if tcb.snd_wnd and self.timeouts < MOST_COUNTED:
            self.timeouts += 1
            if self.unanswered == 0:
                self.episodes += 1
        self.unanswered += 1
        most = 0
        over = self.unanswered - tcb.context.settings.tcp_retries1
        if over >= 0 and tcb.snd_wnd:
            most = self.recovery.suspect_path(tcb, over, now)
        if over == 0:
            # R1: the program may look (RFC 9293 SHLD-9).
            tcb.context.notify(tcb)
        board = self.recovery.board
        if board.renege():
            counters.TCPSACKReneging += 1
        if tcb.snd_wnd == 0:
            # The window shut, or shrank, over what is on its way: that is probed, not lost (RFC 9293 section 3.8.6).
            counters.TCPWinProbe += 1
            self.probes += 1
        else:
            self.recovery.timed_out(tcb, now)
            self.rtt.back_off()
        # Whatever CWND is: what else has been sent may fill it (section 5.4).
        self.resend(tcb, board.flights[board.head], most or tcb.send_mss(), now)
        return True

    def send_window_probe(self, tcb: Tcb, now: int) -> bool:
        """A probe of a shut window, or what a silly one takes (RFC 9293 sections 3.8.6.1 and 3.8.6.2.1). False when it was the last.

        The probe is Linux's (tcp_xmit_probe_skb()): no data, and a sequence number that has been acknowledged, which the peer must answer.
        A byte that the peer has no room for would be a hole, and its repair would bring CWND down.
        """
        if tcb.snd_wnd:
            tcb.context.counters.TCPWinProbe += 1
            size = min(self.buffer.length, tcb.snd_wnd, tcb.send_mss())
            size = tcb.put_data(tcb.snd_nxt, ACK | PSH, self.buffer, 0, size, self.urgent, now)
            self.data_segs = self.data_segs + 1 & MASK
            self.went_out(tcb, size, 1, now)
            self.retransmit_at = now + self.rtt.rto
            return True
        if tcb.gave_up(self.unanswered, self.waiting_since, now):
            return False
        tcb.context.counters.TCPWinProbe += 1
        self.unanswered += 1
        self.probes += 1
        if self.waiting_since == 0:
            self.waiting_since = now
        tcb.put(tcb.snd_una - 1 & MASK, ACK, now)
        return True

    def send_tail_probe(self, tcb: Tcb, now: int) -> None:
        """A tail loss probe: new data if some may go, else the last flight again (RFC 8985 section 7.3)."""
        recovery = self.recovery
        mss = tcb.send_mss()
        timeout = now + self.rtt.rto
        if self.send_new(tcb, mss, mss, now):
            recovery.probe_sent(tcb, False)
        else:
            board = recovery.board
            last = len(board.flights) - 1
            flight: Flight = board.flights[last]
            if (flight.end - flight.seq & MASK) > mss:
                board.split(last, flight.end - mss & MASK)
                flight = board.flights[last + 1]
            self.resend(tcb, flight, mss, now)
            recovery.probe_sent(tcb, True)
            if not tcb.handshake.timestamps:
                # Its ACK will measure nothing. If the round trip has become as long as this, only a longer timeout will (Karn's algorithm).
                self.rtt.back_off()
        self.retransmit_at = timeout
