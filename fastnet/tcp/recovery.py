"""How much may be on its way now, and what of it is sent again: loss recovery around a scoreboard and a congestion control.

    OPEN ----- something is lost ------> RECOVERY --- all that was on its way then has arrived ---> OPEN
    any ------ the timer fired --------> LOSS ------- the same, or it was no loss (F-RTO) --------> OPEN

RECOVERY sends by Proportional Rate Reduction (RFC 9937). With SACK, RACK says what is lost (RFC 8985); without, the third duplicate
ACK and partial ACKs do (RFC 6582). A reduction that turns out to have been needless is undone: by a D-SACK for all that was sent again
(RFC 2883), by timestamps (RFC 3522), or by the arrival of an original after a timeout (RFC 5682).
"""

from fastnet._headers import ECE, OPTION_SACK, OPTION_TIMESTAMPS, Segment
from fastnet.tcp.congestion.base import CongestionControl, check
from fastnet.tcp.discovery import Discovery
from fastnet.tcp.ecn import Ecn
from fastnet.tcp.flights import Flight
from fastnet.tcp.numbers import ECT_0, HALF, LOSS, MASK, MILLISECOND, OPEN, RECOVERY
from fastnet.tcp.rack import DUP_THRESH
from fastnet.tcp.rates import Rates
from fastnet.tcp.rtt import RttEstimator
from fastnet.tcp.scoreboard import Scoreboard
from fastnet.tcp.tcb import Tcb

MAX_RTT = 120_000
"""Milliseconds: no round trip that an echo of our timestamp claims is longer than the longest timeout."""


class Recovery:
    """One connection's.

    :ivar rates: made when the connection paces, or its congestion control samples; None otherwise
    :ivar state: OPEN, RECOVERY or LOSS; ``recover``: SND.NXT when it was entered
    :ivar limited: CWND, and nothing else, held the sender back when it last sent
    :ivar validated_at: when CWND last was in use or given back, ns; ``used``: the most that was on its way since then, bytes
    :ivar duplicates: duplicate ACKs in a row, where there is no SACK
    :ivar reorder_deadline: when what is only late so far counts as lost, ns; 0 without
    :ivar probe_end: SND.NXT after a tail loss probe; ``probing``: one is out; ``probe_again``: it was a retransmission
    :ivar frto: after a timeout, until it is known whether it was spurious; ``hold``: 1: two new segments go before what counts as
        lost, 2: they went, and the next ACK decides;
        ``held``: that was so already; ``after_timeout``: there was a timeout, ever
    :ivar first_stamp: our timestamp on the first retransmission of an episode, -1 before it
    :ivar undo_bytes: retransmitted in this episode, or on their way again when it began, and not reported as duplicates
    :ivar undo_end: where the highest of this episode's retransmissions ended
    :ivar reduced: this episode brought CWND down; False where the peer's marks had done so already (RFC 3168 section 6.1.2)
    :ivar marked: the peer saw marks since it did, so that CWND is not given back (tcp_fastretrans_alert())
    :ivar needed: an ACK echoed a retransmission of this episode, which was no mistake then
    :ivar path: path MTU discovery, None while nothing says that the path is narrower than the handshake agreed
    :ivar path_seen: ``Context.path_changes`` when that was last looked up; -1: look again
    """

    __slots__ = (
        "after_timeout", "board", "congestion", "duplicates", "first_stamp", "frto", "held", "hold", "limited", "marked",
        "needed", "path", "path_seen", "probe_again", "probe_end", "probing",
        "prr_delivered", "prr_out", "rates", "recover", "recover_fs", "reduced", "reorder_deadline", "round", "round_end", "rtt", "state",
        "undo_bytes", "undo_cwnd", "undo_end", "undo_ssthresh", "undo_una", "used", "validated_at",
    )  # fmt: skip

    def __init__(self, congestion: CongestionControl, rtt: RttEstimator, snd_nxt: int) -> None:
        self.board = Scoreboard()
        self.congestion = congestion
        self.rates: Rates | None = None
        self.rtt = rtt
        self.state = OPEN
        self.recover = snd_nxt
        self.round = 0
        self.round_end = snd_nxt
        self.limited = False
        self.used = 0
        self.validated_at = 0
        self.duplicates = 0
        self.reorder_deadline = 0
        self.probe_end = 0
        self.probing = False
        self.probe_again = False
        self.prr_delivered = 0
        self.prr_out = 0
        self.recover_fs = 0
        self.frto = False
        self.hold = 0
        self.held = False
        self.after_timeout = False
        self.path: Discovery | None = None
        self.path_seen = 0
        self.first_stamp = -1
        self.reduced = False
        self.marked = False
        self.needed = False
        self.undo_una = 0
        self.undo_end = 0
        self.undo_bytes = 0
        self.undo_cwnd = 0
        self.undo_ssthresh = 0

    def replace(self, congestion: CongestionControl, in_flight: int) -> None:
        """Go on under another congestion control, which begins with its own CWND.

        :param in_flight: FlightSize, bytes
        """
        if self.state != OPEN and congestion.cwnd < congestion.ssthresh:
            # CWND goes where SSTHRESH is when the episode ends, and a fresh one is no bound at all.
            congestion.ssthresh = max(min(self.congestion.ssthresh, in_flight // 2), 2 * congestion.mss)
        self.congestion = congestion
        # Nor back to what the one before it had.
        self.undo_cwnd = congestion.cwnd
        self.undo_ssthresh = congestion.ssthresh

    def need_rates(self, tcb: Tcb) -> Rates:
        """The rates, made when they are needed."""
        rates = self.rates
        if rates is None:
            rates = self.rates = Rates()
        if not self.congestion.samples():
            rates.samples = False
        elif not rates.samples:
            rates.begin()
        rates.paces = self.congestion.paces() or rates.max_pacing_rate > 0 or tcb.context.settings.fastnet_pacing > 0
        return rates

    def take_rates(self, earlier: Rates) -> None:
        """Before the handshake was over, the program asked for a bound of the rate."""
        if self.rates is None:
            self.rates = Rates()
        self.rates.max_pacing_rate = earlier.max_pacing_rate
        self.rates.paces = self.rates.paces or earlier.paces

    def rate(self, tcb: Tcb) -> int:
        """How fast the congestion control wants to send, bytes/s (tcp_update_pacing_rate()); 0: no bound."""
        congestion = self.congestion
        rate = congestion.pacing_rate()
        if rate <= 0 and self.rtt.srtt:
            settings = tcb.context.settings
            # In the last round of slow start the pace is that of the time after it.
            slow = congestion.cwnd < congestion.ssthresh // 2
            ratio = settings.tcp_pacing_ss_ratio if slow else settings.tcp_pacing_ca_ratio
            rate = congestion.cwnd * ratio // 100 * 1_000_000 // max(self.rtt.srtt // 1000, 1)
        return rate

    def pipe(self, tcb: Tcb) -> int:
        """Bytes that are on their way, as far as anybody knows (RFC 6675 section 4)."""
        board = self.board
        outstanding = tcb.snd_nxt - tcb.snd_una & MASK
        if self.duplicates:
            # Each duplicate ACK stands for a segment that has arrived; the first on its way has not.
            arrived = min(self.duplicates * self.congestion.mss, outstanding - self.congestion.mss)
            return max(outstanding - board.lost - max(arrived, 0), 0)
        return outstanding - board.sacked - board.lost

    # ---- an ACK ----

    def acknowledged(self, tcb: Tcb, seg: Segment, before: int, duplicate: bool, now: int) -> None:
        """SND.UNA was ``before`` and is now what it is; the segment may carry SACK blocks, or be a duplicate ACK."""
        check(self.congestion)
        board = self.board
        ack = tcb.context.ack
        una = tcb.snd_una
        advanced = una != before
        delivered = board.delivered
        board.begin()
        if advanced:
            board.cumulative(una, now)
            if self.path is not None and self.path.arrived(tcb, now):
                self.follow_path(tcb, now)
        reported = False
        if tcb.handshake.sack:
            if seg.options & OPTION_SACK:
                reported = self.take_blocks(tcb, seg, before, now)
        elif advanced:
            self.duplicates = max(0, self.duplicates - (una - before & MASK) // self.congestion.mss) if self.state == RECOVERY else 0
        elif duplicate:
            self.duplicates += 1
        ack.acked = board.delivered - delivered
        ack.now = now
        self.measure(tcb, seg, advanced, reported)
        if advanced and 0 < (una - self.round_end & MASK) < HALF:
            # Data that was sent after the round began. With ">=", a round would begin with the last ACK of a burst, and then pause.
            self.round += 1
            self.round_end = tcb.snd_nxt
            self.rtt.round_over()
        if self.probing:
            self.answer_to_probe(tcb, seg, advanced, reported, now)
        if self.state != OPEN:
            if self.reduced and tcb.ecn is not None and seg.flags & ECE:
                self.marked = True
            self.end_or_undo(tcb, seg, advanced, now)
        lost = board.lost
        fresh = self.find_losses(tcb, advanced, now)
        if fresh and self.rates is not None:
            self.rates.newly_lost += board.lost - lost
        if fresh and self.state == OPEN and not self.is_probe_alone(tcb):
            self.enter_recovery(tcb, ack.acked, now)
        ack.round = self.round
        ack.in_flight = self.pipe(tcb)
        if tcb.ecn is not None:
            if seg.flags & ECE:
                tcb.ecn.delivered_ce = tcb.ecn.delivered_ce + (ack.acked + self.congestion.mss - 1) // self.congestion.mss & MASK
            if tcb.handshake.ecn & ECT_0:
                self.congestion.echoed(ack, seg.flags & ECE != 0)
        ack.paced = self.rates is not None and self.rates.paces
        if self.rates is not None and self.rates.samples:
            self.sample(tcb, self.rates, seg, now)
        elif self.state == RECOVERY:
            self.reduce_in_proportion(tcb, ack.acked, advanced and not fresh)
        elif tcb.ecn is not None and self.is_marked(tcb, tcb.ecn, seg, now):
            return
        elif advanced and ack.acked and self.limited:
            # Not for what arrived ahead: limited transmit leaves CWND alone (RFC 3042, tcp_may_raise_cwnd()).
            self.congestion.acknowledged(ack)

    def sample(self, tcb: Tcb, rates: Rates, seg: Segment, now: int) -> None:
        """Tell a congestion control that samples all that it goes by."""
        board = self.board
        ack = tcb.context.ack
        sample = rates.sample
        if tcb.ecn is not None:
            self.is_marked(tcb, tcb.ecn, seg, now)
        sample.total = board.delivered
        sample.recovering = self.state != OPEN
        sample.cwnd_limited = rates.cwnd_limited
        sample.hold = False
        rates.acknowledged(board, ack, board.rack.min_rtt)
        self.congestion.sampled(ack, sample)
        if sample.hold:
            rates.limit(board.delivered, ack.in_flight)

    def is_marked(self, tcb: Tcb, ecn: Ecn, seg: Segment, now: int) -> bool:
        """Does CWND come down in this round trip because the peer saw marks? The first ECE is like a loss of which all has arrived.

        RFC 3168 section 6.1.2.
        """
        if self.state != OPEN:
            return False
        if ecn.is_reducing(tcb.snd_una):
            return True
        if not seg.flags & ECE:
            return False
        if tcb.handshake.ecn & ECT_0 or tcb.context.settings.fastnet_abe:
            self.congestion.marked(tcb.snd_nxt - tcb.snd_una & MASK, now)
        else:
            self.congestion.reduce(tcb.snd_nxt - tcb.snd_una & MASK, now)
        self.congestion.recovered(now)
        ecn.reduced(tcb.snd_nxt)
        return True

    def take_blocks(self, tcb: Tcb, seg: Segment, before: int, now: int) -> bool:
        """SACK blocks; True when the first is a D-SACK (RFC 2883 section 4): it reports data that came twice."""
        board = self.board
        una = tcb.snd_una
        window = tcb.snd_nxt - una & MASK
        reported = False
        for i in range(seg.sack_count):
            left = seg.sack_edge(2 * i)
            right = seg.sack_edge(2 * i + 1)
            size = right - left & MASK
            if size == 0 or size >= HALF:
                tcb.context.counters.TCPSACKDiscard += 1
                continue
            if i == 0 and self.is_duplicate(seg, left, right):
                reported = True
                if (seg.ack - right & MASK) < HALF:
                    tcb.context.counters.TCPDSACKRecv += 1
                else:
                    tcb.context.counters.TCPDSACKOfoRecv += 1
                if (left - self.undo_una & MASK) < HALF:
                    self.undo_bytes -= size
                board.rack.duplicate_reported(una, tcb.snd_nxt)
                continue
            ahead = left - una & MASK
            if 0 < ahead < window and (right - una & MASK) <= window:
                board.sack(left, right, self.congestion.mss, now)
            elif (una - right & MASK) >= HALF:
                # Not old: beyond what was sent, or with the byte that the ACK says is missing (tcp_is_sackblock_valid()).
                tcb.context.counters.TCPSACKDiscard += 1
        if board.untaken:
            tcb.context.counters.TCPWqueueTooBig += board.untaken
            board.untaken = 0
        return reported

    def is_duplicate(self, seg: Segment, left: int, right: int) -> bool:
        """Is the first block a D-SACK: behind the cumulative ACK, or within the second block?"""
        if (seg.ack - right & MASK) < HALF:
            return True
        if seg.sack_count < 2:
            return False
        outer = seg.sack_edge(2)
        return (left - outer & MASK) < HALF and (seg.sack_edge(3) - right & MASK) < HALF

    def measure(self, tcb: Tcb, seg: Segment, advanced: bool, reported: bool) -> None:
        """A round-trip time: of what was sent once, as Karn's rule wants it, or from the echo of a timestamp (RFC 7323 section 4).

        :param reported: the segment has a D-SACK
        """
        board = self.board
        ack = tcb.context.ack
        ack.rtt = 0
        ack.min_rtt = board.rack.min_rtt
        if board.resent_at == 0:
            if board.earliest:
                ack.rtt = max(ack.now - board.latest, 1)
                self.rtt.measure(max(ack.now - board.earliest, 1))
        elif advanced and tcb.handshake.timestamps and seg.options & OPTION_TIMESTAMPS:
            offset = tcb.handshake.ts_offset
            stamp = seg.ts_ecr - offset & MASK
            if reported and (stamp - board.resent_at // MILLISECOND & MASK) >= HALF:
                # The ACK of the copy that the echo names was lost, and a later one brought this ACK. To measure from the echo would measure
                # the timeout. It was the last copy where no other is later, or where that makes a round trip like those before.
                elapsed = max(ack.now - board.resent_at, 1)
                if board.copies == 1 and (stamp - board.copied_at & MASK) < HALF or self.is_like_others(elapsed):
                    self.rtt.measure(elapsed)
                return
            # Whichever copy has arrived, its echo is exact. Without SACK nobody says whether more than one has.
            if tcb.handshake.sack or (stamp - board.resent_at // MILLISECOND & MASK) < HALF:
                elapsed = ack.now // MILLISECOND - stamp & MASK
                # An echo of what we never sent would be a round trip of days.
                if elapsed <= MAX_RTT:
                    self.rtt.measure(max(elapsed, 1) * MILLISECOND)

    def is_like_others(self, sample: int) -> bool:
        """Is a round-trip time among those that were measured, or close to them?"""
        least = self.board.rack.min_rtt or self.rtt.srtt // 2
        return least <= sample <= self.rtt.srtt + 4 * self.rtt.rttvar

    def find_losses(self, tcb: Tcb, advanced: bool, now: int) -> bool:
        """Was anything found lost that was not known to be?"""
        board = self.board
        lost = board.lost
        again = board.lost_again
        self.reorder_deadline = 0
        if tcb.handshake.sack:
            if board.sacked or self.state != OPEN or board.rack.reordering_seen:
                wait = board.lose_overdue(now, self.reordering_window(), self.congestion.mss)
                if wait:
                    self.reorder_deadline = now + wait
        elif self.state == RECOVERY:
            if advanced:
                board.lose_first(self.congestion.mss)
        elif self.state == OPEN and self.duplicates >= DUP_THRESH and not self.was_recovered(tcb):
            board.lose_first(self.congestion.mss)
        tcb.context.counters.TCPLostRetransmit += board.lost_again - again
        return board.lost > lost

    def was_recovered(self, tcb: Tcb) -> bool:
        """Duplicate ACKs for what a timeout sent again are no sign of loss (RFC 6582 section 4)."""
        return self.after_timeout and self.recover == tcb.snd_una

    def reordering_window(self) -> int:
        """How long RACK waits, ns."""
        many = self.state != OPEN or self.board.sacked >= DUP_THRESH * self.congestion.mss
        return self.board.rack.reordering_window(many, self.rtt.srtt)

    # ---- episodes ----

    def remember(self, tcb: Tcb) -> None:
        """An episode begins: note what to go back to if it was for nothing."""
        self.congestion.remember()
        self.undo_cwnd = self.congestion.cwnd
        self.undo_ssthresh = self.congestion.ssthresh
        self.undo_una = tcb.snd_una
        self.undo_bytes = self.board.on_their_way_again()
        if self.probing and self.probe_again and self.undo_bytes == 0:
            # The probe has arrived, or what it was a copy of has: a D-SACK for it may still come (tcp_init_undo()).
            self.undo_bytes = tcb.send_mss()
        self.undo_end = tcb.snd_una
        self.needed = False
        self.marked = False
        self.first_stamp = -1
        self.recover = tcb.snd_nxt

    def enter_recovery(self, tcb: Tcb, delivered: int, now: int) -> None:
        """Fast recovery begins."""
        in_flight = tcb.snd_nxt - tcb.snd_una & MASK
        self.remember(tcb)
        # Under DCTCP a mark may have taken next to nothing: a loss counts all the same (RFC 8257 section 3.5, dctcp_react_to_loss()).
        self.reduced = tcb.ecn is None or tcb.handshake.ecn & ECT_0 != 0 or not tcb.ecn.is_reducing(tcb.snd_una)
        if self.reduced:
            self.congestion.reduce(in_flight, now)
            if tcb.ecn is not None:
                tcb.ecn.reduced(tcb.snd_nxt)
        self.state = RECOVERY
        self.prr_delivered = 0
        self.prr_out = 0
        self.recover_fs = max(in_flight - self.board.sacked + delivered, self.congestion.mss, 1)
        if tcb.handshake.sack:
            tcb.context.counters.TCPSackRecovery += 1
        else:
            tcb.context.counters.TCPRenoRecovery += 1

    def reduce_in_proportion(self, tcb: Tcb, delivered: int, safe: bool) -> None:
        """PRR (RFC 9937 section 6.2): what leaves follows what arrives, until CWND is SSTHRESH."""
        congestion = self.congestion
        if self.rates is not None and self.rates.samples:
            # Its own business.
            return
        pipe = self.pipe(tcb)
        if not tcb.handshake.sack and delivered == 0 and self.duplicates:
            # A duplicate ACK stands for a segment.
            delivered = congestion.mss
        self.prr_delivered += delivered
        if pipe > congestion.ssthresh:
            # Rounded up.
            allowed = (self.prr_delivered * congestion.ssthresh + self.recover_fs - 1) // self.recover_fs - self.prr_out
        else:
            allowed = max(self.prr_delivered - self.prr_out, delivered)
            if safe:
                allowed += congestion.mss
            allowed = min(congestion.ssthresh - pipe, allowed)
        if self.prr_out == 0:
            allowed = max(allowed, congestion.mss)
        # A segment at least: with nothing on its way, nothing would ever let the next one out (tcp_cwnd_reduction()).
        congestion.cwnd = max(pipe + max(allowed, 0), congestion.mss)

    def end_or_undo(self, tcb: Tcb, seg: Segment, advanced: bool, now: int) -> None:
        """Is the episode over, or was it for nothing?"""
        counters = tcb.context.counters
        self.hold = 0
        if self.frto:
            # Without SACK, an ACK of what was sent again is for what had arrived behind it as well: no sign (tcp_clean_rtx_queue()).
            if self.board.original and (tcb.handshake.sack or not self.board.resent_at):
                counters.TCPSpuriousRTOs += 1
                counters.TCPLossUndo += 1
                if self.rtt.backoff:
                    # Not measured yet, as the ACK is of a retransmission too. Without it the next timeout would be as early (RFC 4015).
                    self.rtt.measure(now - self.board.latest)
                self.undo(tcb)
                return
            # The first ACK after the timeout lets new data out, in place of more retransmissions; the second decides.
            if advanced and not self.held:
                self.hold = 1
                self.held = True
            else:
                self.frto = False
        stamped = tcb.handshake.timestamps and seg.options & OPTION_TIMESTAMPS != 0 and seg.ts_ecr != 0
        if advanced and stamped and self.first_stamp >= 0 and not self.needed:
            if (seg.ts_ecr - self.first_stamp & MASK) < HALF:
                # It answers a retransmission. An old echo after it is of another segment (RFC 3522 section 3.2).
                self.needed = True
            elif self.is_undone_by(tcb):
                if self.state == LOSS:
                    counters.TCPLossUndo += 1
                else:
                    counters.TCPFullUndo += 1
                self.undo(tcb)
                return
        if self.first_stamp >= 0 and self.undo_bytes <= 0 and self.board.lost == 0:
            counters.TCPDSACKUndo += 1
            self.undo(tcb)
            return
        if (tcb.snd_una - self.recover & MASK) < HALF:
            self.end(tcb)
            if self.state == RECOVERY:
                self.congestion.recovered(now)
            self.state = OPEN

    def is_undone_by(self, tcb: Tcb) -> bool:
        """Does an echo from before all retransmissions forgive the whole episode?

        After a timeout it does. In fast recovery other segments may have been lost: not before an ACK covers everything that was sent again
        (tcp_try_undo_partial()).
        """
        return self.state == LOSS or (tcb.snd_una - self.undo_end & MASK) < HALF

    def end(self, tcb: Tcb) -> None:
        """Forget what the episode needed."""
        self.frto = False
        self.hold = 0
        self.duplicates = 0
        self.board.timed_out_at = 0
        self.board.rack.recovered()

    def undo(self, tcb: Tcb) -> None:
        """Nothing was lost: as it was before. CWND too, unless the peer saw marks meanwhile."""
        self.board.restore()
        if not self.marked:
            self.congestion.undo(self.undo_cwnd, self.undo_ssthresh)
            if tcb.ecn is not None and self.reduced:
                tcb.ecn.undone()
        self.end(tcb)
        self.first_stamp = -1
        self.state = OPEN

    # ---- timers ----

    def timed_out(self, tcb: Tcb, now: int) -> None:
        """The retransmission timer fired (RFC 5681 section 3.1, RFC 8985 section 6.3, RFC 5682)."""
        board = self.board
        if self.path is not None:
            self.path.timed_out(tcb)
        if self.state == OPEN:
            self.remember(tcb)
            self.congestion.timed_out(tcb.snd_nxt - tcb.snd_una & MASK, now)
            self.reduced = True
            if tcb.ecn is not None:
                tcb.ecn.reduced(tcb.snd_nxt)
            self.frto = tcb.context.settings.tcp_frto != 0
            self.held = False
            board.timed_out_at = now
        else:
            # The recovery, or the timeout before, has brought SSTHRESH down for this data already (RFC 5681 section 4.3, tcp_enter_loss()).
            self.congestion.timed_out_again()
            self.recover = tcb.snd_nxt
            self.frto = False
        self.hold = 0
        self.after_timeout = True
        self.state = LOSS
        self.duplicates = 0
        self.probing = False
        self.reorder_deadline = 0
        again = board.lost_again
        lost = board.lost
        wait = self.reordering_window() if tcb.handshake.sack else 0
        board.lose_at_timeout(now, wait, self.congestion.mss)
        if self.rates is not None:
            self.rates.newly_lost += board.lost - lost
        tcb.context.counters.TCPLostRetransmit += board.lost_again - again

    def reorder_timed_out(self, tcb: Tcb, now: int) -> None:
        """What was only late so far is lost (RFC 8985 section 6.2, the reordering timer)."""
        lost = self.board.lost
        fresh = self.find_losses(tcb, False, now)
        if fresh and self.rates is not None:
            self.rates.newly_lost += self.board.lost - lost
        if fresh and self.state == OPEN and not self.is_probe_alone(tcb):
            self.enter_recovery(tcb, 0, now)
        if self.state == RECOVERY:
            self.reduce_in_proportion(tcb, 0, False)

    # ---- path MTU discovery (RFC 1191, RFC 8899) ----

    def follow_path(self, tcb: Tcb, now: int) -> None:
        """Something is new about the path: segments get the size that it takes. Those on their way that are larger do not arrive."""
        self.path_seen = tcb.context.path_changes
        path = self.path if self.path is not None else Discovery()
        before = tcb.send_mss()
        fresh = (tcb.snd_nxt - tcb.handshake.iss & MASK) == 1
        if path.follow(tcb, fresh, now):
            mss = tcb.send_mss()
            self.congestion.set_mss(mss)
            if mss < before:
                self.board.lose_larger(mss)
        self.path = None if path.is_idle() else path

    def suspect_path(self, tcb: Tcb, silence: int, now: int) -> int:
        """Timeout after timeout: perhaps packets of this size vanish on their way, and no router says so (tcp_write_timeout()).

        :param silence: timeouts since tcp_retries1 of them
        :returns: bytes of data to send again
        """
        if not tcb.context.settings.tcp_mtu_probing:
            return tcb.send_mss()
        if self.path is None:
            self.path = Discovery()
        if self.path.is_doubtful(tcb, self.board.delivered):
            # A smaller one, but only this time.
            return min(self.path.next_piece(tcb, silence), tcb.send_mss())
        flight = self.board.flights[self.board.head]
        self.path.suspect(tcb, min(flight.end - flight.seq & MASK, tcb.send_mss()), now)
        self.follow_path(tcb, now)
        return tcb.send_mss()

    def is_calm(self) -> bool:
        """Is nothing missing, as far as anybody knows?"""
        return self.state == OPEN and self.board.sacked == 0 and self.board.lost == 0

    def is_probe_alone(self, tcb: Tcb) -> bool:
        """Is what was lost just now a probe of the path and nothing else? Then it goes out again in smaller segments, and CWND stays."""
        if self.path is None or not self.path.failed(self.board):
            return False
        tcb.context.counters.TCPMTUPFail += 1
        return True

    # ---- tail loss probe (RFC 8985 section 7) ----

    def may_probe(self, tcb: Tcb) -> bool:
        """Is a probe of use: with SACK, when nothing is known to be missing, none is out, and the window is open?"""
        return (
            tcb.handshake.sack
            and tcb.snd_wnd > 0
            and self.state == OPEN
            and not self.probing
            and self.board.sacked == 0
            and self.rtt.srtt > 0
        )

    def probe_sent(self, tcb: Tcb, again: bool) -> None:
        """A probe went out; ``again``: it was a retransmission."""
        self.probing = True
        self.probe_again = again
        self.probe_end = tcb.snd_nxt
        tcb.context.counters.TCPLossProbes += 1

    def answer_to_probe(self, tcb: Tcb, seg: Segment, advanced: bool, reported: bool, now: int) -> None:
        """Section 7.4: if the probe repaired a loss, that loss counts."""
        ahead = tcb.snd_una - self.probe_end & MASK
        if ahead >= HALF:
            return
        if not self.probe_again or reported or ahead == 0 and not advanced and ack_is_bare(seg):
            # It was new data, or it came twice: nothing had been lost.
            self.probing = False
        elif ahead:
            self.probing = False
            tcb.context.counters.TCPLossProbeRecovery += 1
            self.congestion.reduce(self.congestion.cwnd, now)
            self.congestion.recovered(now)
            if tcb.ecn is not None:
                tcb.ecn.reduced(tcb.snd_nxt)

    # ---- what the sender did ----

    def validate(self, tcb: Tcb, full: bool, now: int) -> None:
        """The sender sent what it could: was CWND in use (RFC 7661, tcp_cwnd_validate())?

        :param full: the send buffer is full, and the program waits
        """
        congestion = self.congestion
        if not self.limited:
            pipe = self.pipe(tcb)
            # Slow start may go on while more than half of the window is in use (tcp_is_cwnd_limited()).
            if congestion.cwnd >= congestion.ssthresh or 2 * pipe < congestion.cwnd:
                self.used = max(self.used, pipe)
                if now - self.validated_at >= self.rtt.rto:
                    # A whole timeout. A program that waits for room would send more (SOCK_NOSPACE).
                    if self.validated_at and self.state == OPEN and not full and tcb.context.settings.tcp_slow_start_after_idle:
                        congestion.unused(self.used, now)
                    self.used = 0
                    self.validated_at = now
                return
            self.limited = True
        self.used = 0
        self.validated_at = now

    def sent_again(self, tcb: Tcb, flight: Flight, size: int, segs: int, now: int) -> None:
        """The first ``size`` numbers of a flight were retransmitted, in so many segments."""
        self.board.sent_again(flight, size, now)
        self.undo_bytes += size
        end = flight.seq + size & MASK
        if (end - self.undo_end & MASK) < HALF:
            self.undo_end = end
        if self.first_stamp < 0:
            self.first_stamp = now // MILLISECOND + tcb.handshake.ts_offset & MASK
        if self.state == RECOVERY:
            self.prr_out += size
            tcb.context.counters.TCPFastRetrans += segs
        elif self.state == LOSS:
            tcb.context.counters.TCPSlowStartRetrans += segs

    def sent(self, seq: int, end: int, now: int) -> None:
        """New data went out."""
        self.board.sent(seq, end, now)
        if self.state == RECOVERY:
            self.prr_out += end - seq & MASK


def ack_is_bare(seg: Segment) -> bool:
    """Does it carry neither data nor SACK blocks?"""
    return seg.payload_length == 0 and not seg.options & OPTION_SACK
