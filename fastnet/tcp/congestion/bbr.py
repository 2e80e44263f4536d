"""BBR version 3 (draft-ietf-ccwg-bbr-04): a model of the path, not a loss, says how fast to send and how much may be on its way.

    STARTUP --> DRAIN --> DOWN --> CRUISE --> REFILL --> UP --> DOWN ...       any --> PROBE_RTT, every 5 s without a shorter round trip

The model is the rate at which data arrives (``max_bw``), the shortest round trip (``min_rtt``), and two bounds of what may be on its way:
one for long, which losses while probing have set (``inflight_longterm``), and one for short. Names and the order of the steps are the
draft's. Windows are bytes, rates bytes/s, times ns. What the draft leaves to an implementation:

- Departures are noted once for all that leaves in an instant (``rates.py``), so what was in flight behind a segment is that of its burst.
- Losses are looked at with each ACK, for the first segment that it shows lost, not for each segment.
- What the draft wants drawn at random comes from the low bits of the time.
- A mark (RFC 3168) counts as a loss in its round trip; the draft has no answer to marks yet.
"""

from fastnet.tcp.congestion.base import Acknowledgment, CongestionControl, RateSample
from fastnet.tcp.numbers import MILLISECOND, SECOND

STARTUP = 0
DRAIN = 1
DOWN = 2
CRUISE = 3
REFILL = 4
UP = 5
PROBE_RTT = 6

# BBR.ack_phase
STOPPING = 0
REFILLING = 1
STARTING = 2
FEEDBACK = 3
NO_PHASE = 4

LOSS_THRESH = 0.02
BETA = 0.7
HEADROOM = 0.15
STARTUP_PACING_GAIN = 2.77
DRAIN_PACING_GAIN = 0.35
DOWN_PACING_GAIN = 0.9
UP_PACING_GAIN = 1.25
CWND_GAIN = 2.0
UP_CWND_GAIN = 2.25
PROBE_RTT_CWND_GAIN = 0.5
PACING_MARGIN = 0.99
FULL_BW_GROWTH = 1.25
FULL_BW_ROUNDS = 3
FULL_LOSS_COUNT = 6
MIN_PIPE = 4
EXTRA_ACKED_ROUNDS = 10
RENO_ROUNDS = 63
MIN_RTT_WINDOW = 10 * SECOND
PROBE_RTT_INTERVAL = 5 * SECOND
PROBE_RTT_DURATION = 200 * MILLISECOND
INFINITE = 1 << 62
MOST_CWND = 0x7FFFFFFF


class Bbr(CongestionControl):
    """One connection's; the attributes are the draft's variables (section 2), ``prior_...`` what ``undo`` goes back to."""

    name = "bbr"

    __slots__ = (
        "ack_phase", "bdp", "bw", "bw_latest", "bw_probe_samples", "bw_probe_up_acks", "bw_probe_up_rounds", "bw_probe_wait",
        "bw_shortterm",
        "cwnd_gain", "cycle_stamp", "extra_acked", "extra_acked_before", "extra_acked_delivered", "extra_acked_from",
        "extra_acked_interval_start", "full_bw", "full_bw_count", "full_bw_now", "full_bw_reached", "idle_restart", "inflight_latest",
        "inflight_longterm", "inflight_shortterm", "initial", "loss_events", "loss_in_round", "loss_round_delivered", "loss_round_start",
        "max_bw_before", "max_bw_now", "max_inflight", "min_rtt", "min_rtt_stamp", "next_round_delivered", "pacing_gain", "prior_bw",
        "prior_cwnd", "prior_inflight", "prior_longterm", "probe_rtt_done_stamp", "probe_rtt_expired", "probe_rtt_min_delay",
        "probe_rtt_min_stamp", "probe_rtt_round_done", "probe_up_cnt", "rate", "round_count", "round_start", "rounds_since_bw_probe",
        "send_quantum", "started", "state",
    )  # fmt: skip

    def __init__(self, mss: int) -> None:
        CongestionControl.__init__(self, mss)
        self.initial = self.cwnd
        self.started = False
        self.rate = 0
        self.send_quantum = 2 * mss
        self.max_inflight = self.cwnd
        self.bdp = 0
        self.bw = 0
        self.max_bw_now = 0
        self.max_bw_before = 0
        self.min_rtt = INFINITE
        self.min_rtt_stamp = 0
        self.probe_rtt_min_delay = INFINITE
        self.probe_rtt_min_stamp = 0
        self.probe_rtt_done_stamp = 0
        self.probe_rtt_round_done = False
        self.probe_rtt_expired = False
        self.prior_cwnd = 0
        self.prior_bw = INFINITE
        self.prior_inflight = INFINITE
        self.prior_longterm = INFINITE
        self.idle_restart = False
        self.extra_acked = 0
        self.extra_acked_before = 0
        self.extra_acked_from = 0
        self.extra_acked_delivered = 0
        self.extra_acked_interval_start = 0
        self.full_bw_reached = False
        self.bw_latest = 0
        self.inflight_latest = 0
        self.loss_in_round = False
        self.loss_events = 0
        self.loss_round_start = False
        self.loss_round_delivered = 0
        self.bw_shortterm = INFINITE
        self.inflight_shortterm = INFINITE
        self.inflight_longterm = INFINITE
        self.next_round_delivered = 0
        self.round_start = False
        self.round_count = 0
        self.rounds_since_bw_probe = 0
        self.full_bw = 0
        self.full_bw_count = 0
        self.full_bw_now = False
        self.ack_phase = STOPPING
        self.bw_probe_samples = False
        self.bw_probe_up_acks = 0
        self.bw_probe_up_rounds = 0
        self.bw_probe_wait = 0
        self.probe_up_cnt = INFINITE
        self.cycle_stamp = 0
        self.enter_startup()

    # ---- what the sender asks and tells ----

    def paces(self) -> bool:
        """Always: pacing is what it controls the rate with."""
        return True

    def pacing_rate(self) -> int:
        """C.pacing_rate; 0 before the first ACK, when the sender goes by CWND and the round trip of the handshake."""
        return self.rate

    def samples(self) -> bool:
        """With each ACK."""
        return True

    def sampled(self, ack: Acknowledgment, sample: RateSample) -> None:
        """BBRUpdateOnACK() (section 5.2.3), with the loss that the ACK shows before it."""
        if not self.started:
            self.start(ack)
        if sample.newly_lost:
            self.lost(sample)
        self.update_latest_delivery_signals(sample)
        self.update_congestion_signals(sample)
        self.update_ack_aggregation(ack)
        self.check_full_bw_reached(sample)
        self.check_startup_done(ack, sample)
        if self.state == DRAIN and ack.in_flight <= self.inflight(1.0):
            self.cwnd_gain = CWND_GAIN
            self.start_down(sample, ack.now)
        self.update_probe_bw_cycle_phase(ack, sample)
        self.update_min_rtt(ack)
        self.check_probe_rtt(ack, sample)
        if self.loss_round_start:
            self.bw_latest = sample.delivery_rate
            self.inflight_latest = sample.delivered
        self.bound_bw_for_model()
        self.set_pacing_rate_with_gain(self.pacing_gain)
        self.send_quantum = max(min(self.rate // 1000, 65536), 2 * self.mss)
        self.set_cwnd(ack, sample)

    def resumed(self, now: int) -> None:
        """BBRHandleRestartFromIdle() (section 5.4.1)."""
        self.idle_restart = True
        self.extra_acked_interval_start = now
        if self.is_probing_cycle():
            self.set_pacing_rate_with_gain(1.0)
        elif self.state == PROBE_RTT:
            self.check_probe_rtt_done(now)

    def reduce(self, in_flight: int, now: int) -> None:
        """BBROnEnterFastRecovery() (section 5.6.4.4): what comes of the loss is ``lost``'s."""
        self.save_cwnd(False)

    def timed_out(self, in_flight: int, now: int) -> None:
        """BBROnEnterRTO(): one segment, and from there CWND grows by what arrives."""
        self.save_cwnd(False)
        self.cwnd = self.mss

    def recovered(self, now: int) -> None:
        """BBRRestoreCwnd(): the model bounds it with the next ACK."""
        self.cwnd = max(self.cwnd, self.prior_cwnd)

    def marked(self, in_flight: int, now: int) -> None:
        """A mark: as a loss in this round trip."""
        self.loss_in_round = True

    def remember(self) -> None:
        """The bounds before a loss."""
        self.prior_bw = self.bw_shortterm
        self.prior_inflight = self.inflight_shortterm
        self.prior_longterm = self.inflight_longterm

    def undo(self, cwnd: int, ssthresh: int) -> None:
        """It was no loss: CWND and the bounds are what they were, at least."""
        CongestionControl.undo(self, cwnd, ssthresh)
        self.full_bw_count = 0
        self.loss_in_round = False
        self.bw_shortterm = max(self.bw_shortterm, self.prior_bw)
        self.inflight_shortterm = max(self.inflight_shortterm, self.prior_inflight)
        self.inflight_longterm = max(self.inflight_longterm, self.prior_longterm)

    def restarted(self, now: int) -> None:
        """CWND stays: the rate bounds what leaves (section 5.4.2)."""

    def unused(self, used: int, now: int) -> None:
        """CWND stays: it follows the model, not what the program needed."""

    # ---- the start (section 5.2.1) ----

    def start(self, ack: Acknowledgment) -> None:
        """The first ACK: BBROnInit(), as far as it needs the time."""
        self.started = True
        now = ack.now
        self.min_rtt_stamp = now
        self.probe_rtt_min_stamp = now
        self.extra_acked_interval_start = now
        self.cycle_stamp = now
        rtt = ack.rtt if ack.rtt else ack.min_rtt
        self.rate = int(STARTUP_PACING_GAIN * float(self.initial) * SECOND / float(rtt if rtt else MILLISECOND))

    def enter_startup(self) -> None:
        """BBREnterStartup()."""
        self.state = STARTUP
        self.pacing_gain = STARTUP_PACING_GAIN
        self.cwnd_gain = CWND_GAIN

    # ---- STARTUP and DRAIN (sections 5.3.1 and 5.3.2) ----

    def reset_full_bw(self) -> None:
        """BBRResetFullBW()."""
        self.full_bw = 0
        self.full_bw_count = 0
        self.full_bw_now = False

    def check_full_bw_reached(self, sample: RateSample) -> None:
        """BBRCheckFullBWReached(): three round trips in which the rate did not grow by a quarter."""
        if self.full_bw_now or not self.round_start or sample.app_limited:
            return
        if float(sample.delivery_rate) >= float(self.full_bw) * FULL_BW_GROWTH:
            self.reset_full_bw()
            self.full_bw = sample.delivery_rate
            return
        self.full_bw_count += 1
        if self.full_bw_count >= FULL_BW_ROUNDS:
            self.full_bw_now = True
            self.full_bw_reached = True

    def check_startup_done(self, ack: Acknowledgment, sample: RateSample) -> None:
        """BBRCheckStartupDone(), BBRCheckStartupHighLoss()."""
        if self.state != STARTUP:
            return
        if sample.newly_lost:
            self.loss_events += 1
        if self.loss_round_start:
            if sample.recovering and self.loss_events >= FULL_LOSS_COUNT and is_inflight_too_high(sample.lost, sample.in_flight):
                self.full_bw_reached = True
                self.inflight_longterm = max(self.bdp_multiple(1.0), self.inflight_latest)
            self.loss_events = 0
        if self.full_bw_reached:
            self.state = DRAIN
            self.pacing_gain = DRAIN_PACING_GAIN
            self.cwnd_gain = CWND_GAIN

    # ---- the cycle (section 5.3.3) ----

    def is_probing_cycle(self) -> bool:
        """IsInAProbeBWState()."""
        return DOWN <= self.state <= UP

    def update_probe_bw_cycle_phase(self, ack: Acknowledgment, sample: RateSample) -> None:
        """BBRUpdateProbeBWCyclePhase()."""
        if not self.full_bw_reached:
            return
        self.adapt_long_term_model(ack, sample)
        if self.state == DOWN or self.state == CRUISE:
            if self.is_time_to_probe(ack.now):
                self.start_refill(sample)
            elif self.state == DOWN and ack.in_flight <= self.inflight_with_headroom() and ack.in_flight <= self.inflight_of(self.max_bw()):
                self.state = CRUISE
                self.pacing_gain = 1.0
        elif self.state == REFILL:
            if self.round_start:
                self.bw_probe_samples = True
                self.start_up(sample, ack.now)
        elif self.state == UP:
            if sample.cwnd_limited and self.cwnd >= self.inflight_longterm:
                # The bound is what holds the rate: it has to rise before there can be a plateau.
                self.reset_full_bw()
                self.full_bw = sample.delivery_rate
            elif self.full_bw_now:
                self.start_down(sample, ack.now)

    def start_down(self, sample: RateSample, now: int) -> None:
        """BBRStartProbeBW_DOWN(), BBRPickProbeWait()."""
        self.loss_in_round = False
        self.bw_latest = 0
        self.inflight_latest = 0
        self.probe_up_cnt = INFINITE
        chance = now // 1000 % 1024
        self.rounds_since_bw_probe = chance & 1
        self.bw_probe_wait = 2 * SECOND + chance * SECOND // 1024
        self.cycle_stamp = now
        self.ack_phase = STOPPING
        self.start_round(sample)
        self.state = DOWN
        self.pacing_gain = DOWN_PACING_GAIN
        self.cwnd_gain = CWND_GAIN

    def start_refill(self, sample: RateSample) -> None:
        """BBRStartProbeBW_REFILL()."""
        self.bw_shortterm = INFINITE
        self.inflight_shortterm = INFINITE
        self.bw_probe_up_rounds = 0
        self.bw_probe_up_acks = 0
        self.ack_phase = REFILLING
        self.start_round(sample)
        self.state = REFILL
        self.pacing_gain = 1.0

    def start_up(self, sample: RateSample, now: int) -> None:
        """BBRStartProbeBW_UP()."""
        self.ack_phase = STARTING
        self.start_round(sample)
        self.reset_full_bw()
        self.full_bw = sample.delivery_rate
        self.cycle_stamp = now
        self.state = UP
        self.pacing_gain = UP_PACING_GAIN
        self.cwnd_gain = UP_CWND_GAIN
        self.raise_slope()

    def is_time_to_probe(self, now: int) -> bool:
        """BBRIsTimeToProbeBW(): after two to three seconds, or as often as Reno would lose something (section 5.3.3.5)."""
        if now > self.cycle_stamp + self.bw_probe_wait:
            return True
        rounds = min(self.target_inflight() // self.mss, RENO_ROUNDS)
        return self.rounds_since_bw_probe >= rounds

    def target_inflight(self) -> int:
        """BBRTargetInflight()."""
        return min(self.bdp_multiple(1.0), self.cwnd)

    def inflight_with_headroom(self) -> int:
        """BBRInflightWithHeadroom(): room for others at the bottleneck."""
        if self.inflight_longterm == INFINITE:
            return INFINITE
        headroom = max(self.mss, int(HEADROOM * self.inflight_longterm))
        return max(self.inflight_longterm - headroom, MIN_PIPE * self.mss)

    def raise_slope(self) -> None:
        """BBRRaiseInflightLongtermSlope(): the bound grows by 1, 2, 4, ... segments in a round trip. The count is in bytes for one byte."""
        growth = self.mss << min(self.bw_probe_up_rounds, 20)
        self.bw_probe_up_rounds = min(self.bw_probe_up_rounds + 1, 30)
        self.probe_up_cnt = max(self.cwnd // growth, 1)

    def adapt_long_term_model(self, ack: Acknowledgment, sample: RateSample) -> None:
        """BBRAdaptLongTermModel()."""
        if self.round_start:
            if self.ack_phase == STARTING:
                self.ack_phase = FEEDBACK
            elif self.ack_phase == STOPPING:
                # All that was sent while probing has been acknowledged. Once: without the end of the phase, which the draft leaves
                # out, each round trip would be a cycle, and the rate would be forgotten after two.
                self.ack_phase = NO_PHASE
                self.bw_probe_samples = False
                if self.is_probing_cycle() and not sample.app_limited:
                    # Two cycles are what the filter of the rate remembers.
                    self.max_bw_before = self.max_bw_now
                    self.max_bw_now = 0
        if is_inflight_too_high(sample.lost, sample.in_flight):
            if self.bw_probe_samples:
                self.inflight_too_high(sample.in_flight, sample.app_limited, sample, ack.now)
            return
        if self.inflight_longterm == INFINITE:
            return
        if sample.in_flight > self.inflight_longterm:
            self.inflight_longterm = sample.in_flight
        if self.state == UP and sample.cwnd_limited and self.cwnd >= self.inflight_longterm:
            self.bw_probe_up_acks += ack.acked
            if self.bw_probe_up_acks >= self.probe_up_cnt:
                delta = self.bw_probe_up_acks // self.probe_up_cnt
                self.bw_probe_up_acks -= delta * self.probe_up_cnt
                self.inflight_longterm += delta
            if self.round_start:
                self.raise_slope()

    # ---- losses (section 5.5.10) ----

    def lost(self, sample: RateSample) -> None:
        """BBRHandleLostPacket(), for the first segment that an ACK shows lost."""
        if not self.loss_in_round:
            self.loss_round_delivered = sample.total
        self.loss_in_round = True
        if self.bw_probe_samples and is_inflight_too_high(sample.loss_lost, sample.loss_in_flight):
            # Where in that flight did losses cross the threshold (BBRInflightAtLoss())?
            size = sample.newly_lost
            before = sample.loss_in_flight - size
            prefix = (LOSS_THRESH * before - (sample.loss_lost - size)) / (1 - LOSS_THRESH)
            self.inflight_too_high(max(before + int(prefix), 0), sample.loss_app_limited, sample, 0)

    def inflight_too_high(self, in_flight: int, app_limited: bool, sample: RateSample, now: int) -> None:
        """BBRHandleInflightTooHigh(): once for each time that it probes."""
        self.bw_probe_samples = False
        if not app_limited:
            self.inflight_longterm = max(in_flight, int(self.target_inflight() * BETA))
        if self.state == UP:
            self.start_down(sample, now if now else self.cycle_stamp)

    def update_latest_delivery_signals(self, sample: RateSample) -> None:
        """BBRUpdateLatestDeliverySignals()."""
        self.loss_round_start = False
        self.bw_latest = max(self.bw_latest, sample.delivery_rate)
        self.inflight_latest = max(self.inflight_latest, sample.delivered)
        if sample.prior_delivered >= self.loss_round_delivered:
            self.loss_round_delivered = sample.total
            self.loss_round_start = True

    def update_congestion_signals(self, sample: RateSample) -> None:
        """BBRUpdateCongestionSignals(): unless it probes, a round trip with a loss brings the bounds for short down (section 5.5.10.3)."""
        self.update_max_bw(sample)
        if not self.loss_round_start:
            return
        if self.loss_in_round and self.state != STARTUP and self.state != REFILL and self.state != UP:
            if self.bw_shortterm == INFINITE:
                self.bw_shortterm = self.max_bw()
            if self.inflight_shortterm == INFINITE:
                self.inflight_shortterm = self.cwnd
            self.bw_shortterm = max(self.bw_latest, int(BETA * self.bw_shortterm))
            self.inflight_shortterm = max(self.inflight_latest, int(BETA * self.inflight_shortterm))
        self.loss_in_round = False

    # ---- the model (section 5.5) ----

    def max_bw(self) -> int:
        """BBR.max_bw: the highest rate of this cycle and the one before it."""
        return max(self.max_bw_now, self.max_bw_before)

    def update_max_bw(self, sample: RateSample) -> None:
        """BBRUpdateMaxBw(), BBRUpdateRound()."""
        self.round_start = False
        if sample.prior_delivered >= self.next_round_delivered:
            self.start_round(sample)
            self.round_count += 1
            self.rounds_since_bw_probe += 1
            self.round_start = True
        if sample.delivery_rate > 0 and (sample.delivery_rate >= self.max_bw() or not sample.app_limited):
            self.max_bw_now = max(self.max_bw_now, sample.delivery_rate)

    def start_round(self, sample: RateSample) -> None:
        """BBRStartRound(): it ends when something that is sent from now on is acknowledged."""
        self.next_round_delivered = sample.total

    def update_ack_aggregation(self, ack: Acknowledgment) -> None:
        """BBRUpdateACKAggregation(): how much more arrives at once than the rate says, at most, in ten round trips or twice that."""
        expected = int(float(self.bw) * (ack.now - self.extra_acked_interval_start) / SECOND)
        if self.extra_acked_delivered <= expected:
            self.extra_acked_delivered = 0
            self.extra_acked_interval_start = ack.now
            expected = 0
        self.extra_acked_delivered += ack.acked
        # The draft has no bound but CWND, which then grows with each ACK for all that is on its way; Linux has 100 ms of the rate.
        extra = min(self.extra_acked_delivered - expected, self.cwnd, self.bw // 10)
        if self.round_count - self.extra_acked_from >= (EXTRA_ACKED_ROUNDS if self.full_bw_reached else 1):
            self.extra_acked_from = self.round_count
            self.extra_acked_before = self.extra_acked
            self.extra_acked = 0
        self.extra_acked = max(self.extra_acked, extra)

    def update_min_rtt(self, ack: Acknowledgment) -> None:
        """BBRUpdateMinRTT()."""
        self.probe_rtt_expired = ack.now > self.probe_rtt_min_stamp + PROBE_RTT_INTERVAL
        if ack.rtt and (ack.rtt < self.probe_rtt_min_delay or self.probe_rtt_expired):
            self.probe_rtt_min_delay = ack.rtt
            self.probe_rtt_min_stamp = ack.now
        if self.probe_rtt_min_delay < self.min_rtt or ack.now > self.min_rtt_stamp + MIN_RTT_WINDOW:
            self.min_rtt = self.probe_rtt_min_delay
            self.min_rtt_stamp = self.probe_rtt_min_stamp

    def bound_bw_for_model(self) -> None:
        """BBRBoundBWForModel()."""
        self.bw = min(self.max_bw(), self.bw_shortterm)

    # ---- PROBE_RTT (section 5.3.4) ----

    def check_probe_rtt(self, ack: Acknowledgment, sample: RateSample) -> None:
        """BBRCheckProbeRTT(), BBRHandleProbeRTT()."""
        if self.state != PROBE_RTT and self.probe_rtt_expired and not self.idle_restart:
            self.save_cwnd(sample.recovering)
            self.state = PROBE_RTT
            self.pacing_gain = 1.0
            self.cwnd_gain = PROBE_RTT_CWND_GAIN
            self.probe_rtt_done_stamp = 0
            self.ack_phase = STOPPING
            self.start_round(sample)
        if self.state == PROBE_RTT:
            sample.hold = True
            if self.probe_rtt_done_stamp == 0 and ack.in_flight <= self.probe_rtt_cwnd():
                self.probe_rtt_done_stamp = ack.now + PROBE_RTT_DURATION
                self.probe_rtt_round_done = False
                self.start_round(sample)
            elif self.probe_rtt_done_stamp:
                if self.round_start:
                    self.probe_rtt_round_done = True
                if self.probe_rtt_round_done:
                    self.check_probe_rtt_done(ack.now)
                    if self.state == DOWN:
                        self.start_round(sample)
        if sample.delivered > 0:
            self.idle_restart = False

    def check_probe_rtt_done(self, now: int) -> None:
        """BBRCheckProbeRTTDone(), BBRExitProbeRTT()."""
        if self.probe_rtt_done_stamp == 0 or now <= self.probe_rtt_done_stamp:
            return
        self.probe_rtt_min_stamp = now
        self.cwnd = max(self.cwnd, self.prior_cwnd)
        self.bw_shortterm = INFINITE
        self.inflight_shortterm = INFINITE
        if not self.full_bw_reached:
            self.enter_startup()
            return
        # The queue is empty already, so DOWN is over as it begins; it sets the clock of the next probe.
        following = RateSample()
        following.total = self.next_round_delivered
        self.start_down(following, now)
        self.state = CRUISE
        self.pacing_gain = 1.0

    def probe_rtt_cwnd(self) -> int:
        """BBRProbeRTTCwnd()."""
        return max(self.bdp_multiple(PROBE_RTT_CWND_GAIN), MIN_PIPE * self.mss)

    # ---- what is controlled (section 5.6) ----

    def set_pacing_rate_with_gain(self, gain: float) -> None:
        """BBRSetPacingRateWithGain(): it does not come down before the path was full once."""
        rate = int(gain * self.bw * PACING_MARGIN)
        if self.full_bw_reached or rate > self.rate:
            self.rate = max(rate, 1)

    def bdp_multiple(self, gain: float) -> int:
        """BBRBDPMultiple()."""
        if self.min_rtt == INFINITE:
            return self.initial
        self.bdp = int(float(self.bw) * self.min_rtt / SECOND)
        return int(gain * self.bdp)

    def quantized(self, inflight: int) -> int:
        """BBRQuantizationBudget(): room for three bursts, and for four segments."""
        inflight = max(inflight, 3 * self.send_quantum, MIN_PIPE * self.mss)
        return inflight + 2 * self.mss if self.state == UP else inflight

    def inflight(self, gain: float) -> int:
        """BBRInflight()."""
        return self.quantized(self.bdp_multiple(gain))

    def inflight_of(self, bw: int) -> int:
        """The same of a rate that is not ``bw``, with a gain of 1."""
        if self.min_rtt == INFINITE:
            return self.initial
        return self.quantized(int(float(bw) * self.min_rtt / SECOND))

    def save_cwnd(self, recovering: bool) -> None:
        """BBRSaveCwnd()."""
        self.prior_cwnd = max(self.prior_cwnd, self.cwnd) if recovering or self.state == PROBE_RTT else self.cwnd

    def set_cwnd(self, ack: Acknowledgment, sample: RateSample) -> None:
        """BBRSetCwnd(), BBRBoundCwndForProbeRTT(), BBRBoundCwndForModel()."""
        self.max_inflight = self.quantized(self.bdp_multiple(self.cwnd_gain) + max(self.extra_acked, self.extra_acked_before))
        cwnd = self.cwnd
        if self.full_bw_reached:
            cwnd = min(cwnd + ack.acked, self.max_inflight)
        elif cwnd < self.max_inflight or sample.total < self.initial:
            cwnd += ack.acked
        least = MIN_PIPE * self.mss
        cwnd = max(cwnd, least)
        if self.state == PROBE_RTT:
            cwnd = min(cwnd, self.probe_rtt_cwnd())
        cap = INFINITE
        if self.state == PROBE_RTT or self.state == CRUISE:
            cap = self.inflight_with_headroom()
        elif self.is_probing_cycle():
            cap = self.inflight_longterm
        cap = max(min(cap, self.inflight_shortterm), least)
        self.cwnd = min(cwnd, cap, MOST_CWND)


def is_inflight_too_high(lost: int, in_flight: int) -> bool:
    """IsInflightTooHigh(): more than 2 % of what was in flight is lost."""
    return lost > in_flight * LOSS_THRESH
