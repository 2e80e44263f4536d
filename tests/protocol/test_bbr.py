"""BBRv3 (draft-ietf-ccwg-bbr-04): its model and its states by hand, and what becomes of them over a path."""

from __future__ import annotations

from typing import Any

import pytest

from fastnet.config import Settings
from fastnet.sweep import Cell, Result, measure
from fastnet.tcp.congestion import algorithm
from fastnet.tcp.congestion import bbr as draft
from fastnet.tcp.congestion.base import Acknowledgment, RateSample
from fastnet.tcp.congestion.bbr import Bbr
from fastnet.tcpinfo import LAYOUT, NAMES, tcp_info
from tests.peer import MILLISECOND, SECOND
from tests.protocol.test_pacing import MSS, accepted

STARTUP, DRAIN, DOWN, CRUISE, REFILL, UP, PROBE_RTT = range(7)
INFINITE = 1 << 62
RTT = 50 * MILLISECOND


class Path:
    """An ideal path: each call of ``round`` is a round trip in which everything arrives at the rate of the bottleneck."""

    def __init__(self, rate: int = 1_250_000) -> None:
        self.rate = rate
        self.bbr = Bbr(MSS)
        self.now = 10 * SECOND
        self.total = 0
        self.prior = 0
        # A round trip that is no shorter than the shortest so far does not put PROBE_RTT off.
        self.shorter = 0

    @property
    def bdp(self) -> int:
        return self.rate * RTT // SECOND

    def ack(self, rate: int, acked: int, rtt: int = RTT, in_flight: int | None = None, **fields: Any) -> RateSample:
        ack = Acknowledgment()
        ack.now, ack.rtt, ack.acked, ack.min_rtt = self.now, rtt, acked, RTT
        self.total += acked
        ack.in_flight = self.bbr.cwnd if in_flight is None else in_flight
        sample = RateSample()
        sample.total, sample.delivered, sample.delivery_rate = self.total, acked, rate
        sample.prior_delivered = self.prior
        sample.in_flight = self.bbr.cwnd
        for name, value in fields.items():
            setattr(sample, name, value)
        self.bbr.sampled(ack, sample)
        return sample

    def round(self, **fields: Any) -> None:
        """A round trip: CWND arrives in ten parts, and takes as long as the bottleneck needs for it. Losses show with the first."""
        size = self.bbr.cwnd
        rate = fields.pop("rate", min(self.rate, size * SECOND // RTT))
        in_flight = fields.pop("in_flight", min(size, self.bdp * 9 // 10) if self.bbr.state == DRAIN else size)
        self.prior = self.total
        self.shorter += 1
        for _ in range(10):
            self.now += max(RTT, size * SECOND // self.rate) // 10
            self.ack(rate, size // 10, RTT - self.shorter, in_flight, **fields)
            fields.pop("newly_lost", None)

    def to(self, state: int) -> Bbr:
        for _ in range(200):
            if self.bbr.state == state:
                return self.bbr
            if self.bbr.state == DOWN:
                self.round(in_flight=self.bdp // 2)
            else:
                self.round()
        raise AssertionError(self.bbr.state)


# ---- by hand ----


def test_its_constants_are_the_drafts() -> None:
    bbr = Bbr(MSS)
    assert (bbr.state, bbr.pacing_gain, bbr.cwnd_gain, bbr.cwnd) == (STARTUP, 2.77, 2.0, 10 * MSS)
    assert bbr.paces() and bbr.samples() and bbr.pacing_rate() == 0
    assert algorithm("bbr") is Bbr and Settings(tcp_congestion_control="bbr").tcp_congestion_control == "bbr"
    assert draft.Bbr.name == "bbr"


def test_the_first_rate_is_of_the_initial_window() -> None:
    """BBRInitPacingRate(): 2.77 initial windows for a round trip; it does not come down in STARTUP."""
    path = Path()
    path.ack(1000, MSS)
    assert path.bbr.pacing_rate() == int(2.77 * 10 * MSS * 20)
    assert path.bbr.cwnd == 11 * MSS


def test_startup_ends_when_the_rate_stays() -> None:
    """BBRCheckFullBWReached(): three round trips without a quarter more; DRAIN, then DOWN."""
    path = Path()
    rates = []
    while path.bbr.state == STARTUP:
        path.round()
        rates.append(path.bbr.max_bw())
    assert rates[-1] == path.rate and rates.count(path.rate) == 3, rates
    assert path.bbr.state == DRAIN and path.bbr.pacing_rate() == int(0.35 * path.rate * 0.99)
    path.round()
    assert path.bbr.state == CRUISE and path.bbr.pacing_gain == 1.0 and path.bbr.min_rtt < RTT, "through DOWN, as the queue is empty"
    assert path.bbr.cwnd <= 2 * path.bdp + path.bbr.extra_acked + path.bbr.extra_acked_before + 3 * path.bbr.send_quantum


def test_samples_of_a_slow_program_do_not_end_startup() -> None:
    path = Path()
    for _ in range(20):
        path.round(rate=100_000, app_limited=True)
    assert path.bbr.state == STARTUP and path.bbr.full_bw_count == 0
    path.round(rate=5_000_000, app_limited=True)
    assert path.bbr.max_bw() == 5_000_000, "a higher rate counts all the same"


def test_losses_end_startup() -> None:
    """BBRCheckStartupHighLoss(): six times in a round trip, more than 2 %, in recovery."""
    for events, lost, state in ((6, 0.03, DRAIN), (5, 0.03, STARTUP), (6, 0.01, STARTUP)):
        path = Path(1 << 40)
        for _ in range(4):
            path.round()
        assert path.bbr.state == STARTUP
        path.prior = path.total - 1
        flight = path.bbr.cwnd
        for _ in range(events - 1):
            path.ack(path.bbr.max_bw(), MSS, newly_lost=MSS, recovering=True, lost=0, loss_in_flight=flight)
        path.prior = path.total
        path.now += RTT
        path.ack(2 * path.bbr.max_bw(), MSS, newly_lost=MSS, recovering=True, lost=int(lost * flight), in_flight=flight)
        assert path.bbr.state == state, (events, lost)
        assert (path.bbr.inflight_longterm < INFINITE) == (state == DRAIN)


def test_the_cycle() -> None:
    """DOWN, CRUISE, REFILL, UP, DOWN; two to three seconds of rest, or as many round trips as Reno would take."""
    path = Path()
    bbr = path.to(CRUISE)
    assert bbr.pacing_gain == 1.0
    began = path.now
    path.to(REFILL)
    assert path.now - began <= 3 * SECOND + 2 * RTT
    assert bbr.bw_shortterm == INFINITE == bbr.inflight_shortterm
    path.round()
    assert bbr.state == UP and (bbr.pacing_gain, bbr.cwnd_gain) == (1.25, 2.25) and bbr.bw_probe_samples
    rounds = 0
    while bbr.state == UP:
        path.round()
        rounds += 1
    assert bbr.state == DOWN and rounds == 3


def test_a_faster_path_is_found() -> None:
    path = Path()
    bbr = path.to(UP)
    path.rate *= 2
    for _ in range(10):
        path.to(CRUISE)
        path.to(UP)
    assert bbr.max_bw() > 1.9 * 1_250_000


def test_a_slower_path_is_believed_after_two_cycles() -> None:
    """BBRAdvanceMaxBwFilter(): this cycle and the one before it."""
    path = Path()
    bbr = path.to(CRUISE)
    path.rate //= 2
    cycles = 0
    while bbr.max_bw() > path.rate and cycles < 5:
        path.to(UP)
        path.to(CRUISE)
        cycles += 1
    assert cycles <= 3


def test_loss_while_it_cruises_brings_the_short_bounds_down() -> None:
    """BBRLossLowerBounds(): to what was delivered, by three tenths at most; REFILL forgets them."""
    path = Path()
    bbr = path.to(CRUISE)
    path.round(newly_lost=MSS, rate=path.rate // 2)
    path.round(rate=path.rate // 2)
    assert bbr.bw_shortterm == path.rate, "the round trip before the loss still counts"
    path.round(newly_lost=MSS, rate=path.rate // 2)
    path.round(rate=path.rate // 2)
    assert bbr.bw_shortterm == int(0.7 * path.rate) == bbr.bw
    path.to(REFILL)
    assert bbr.bw_shortterm == INFINITE


def test_too_much_loss_while_probing_sets_the_long_bound() -> None:
    """BBRHandleInflightTooHigh(): once, at what was in flight where losses passed 2 %, and three tenths off at most."""
    path = Path()
    bbr = path.to(UP)
    flight = bbr.cwnd
    path.prior = path.total
    path.ack(path.rate, MSS, newly_lost=flight // 10, loss_lost=flight // 10, loss_in_flight=flight)
    assert bbr.state == DOWN and not bbr.bw_probe_samples
    assert int(0.7 * path.bdp) <= bbr.inflight_longterm <= flight
    held = bbr.inflight_longterm
    path.ack(path.rate, MSS, newly_lost=flight // 2, loss_lost=flight // 2, loss_in_flight=flight)
    assert bbr.inflight_longterm == held
    path.to(CRUISE)
    path.round()
    assert bbr.cwnd <= max(held - int(0.15 * held), 4 * MSS) + 1


def test_it_looks_for_the_round_trip_after_five_seconds() -> None:
    """BBRCheckProbeRTT(): half a BDP for 200 ms and a round trip, then back."""
    path = Path()
    bbr = path.to(CRUISE)
    before = bbr.cwnd
    while bbr.state != PROBE_RTT:
        sample = path.ack(path.rate, MSS, rtt=2 * RTT)
        path.prior = path.total
        path.now += RTT
    assert sample.hold and bbr.cwnd == pytest.approx(path.bdp // 2, abs=2) and bbr.cwnd < before
    began = path.now
    while bbr.state == PROBE_RTT:
        path.now += RTT
        path.prior = path.total
        path.ack(path.rate // 2, MSS, in_flight=bbr.cwnd)
    assert 200 * MILLISECOND <= path.now - began <= 400 * MILLISECOND
    assert bbr.state == CRUISE and bbr.cwnd >= path.bdp


@pytest.mark.parametrize("state", [STARTUP, CRUISE, UP])
def test_it_looks_for_the_round_trip_at_the_rate_of_the_path(state: int) -> None:
    """BBREnterProbeRTT() (section 5.3.4.3): the pacing gain is 1, whichever state it comes from; another would fill the queue."""
    path = Path()
    bbr = path.to(state)
    if state == STARTUP:
        path.round()
    path.now = bbr.probe_rtt_min_stamp + 5 * SECOND
    path.ack(path.rate, MSS, rtt=2 * RTT)
    assert bbr.state != PROBE_RTT, "not before the interval is over"
    path.now += 1
    path.ack(path.rate, MSS, rtt=2 * RTT)
    assert bbr.state == PROBE_RTT and bbr.pacing_gain == 1.0
    if state != STARTUP:
        assert bbr.pacing_rate() == int(bbr.bw * 0.99)


def test_the_shortest_round_trip_is_believed_for_ten_seconds() -> None:
    """BBR.MinRTTFilterLen of section 2.14.1: a path that has become longer is found out then, not before."""
    path = Path()
    bbr = path.to(CRUISE)
    before, since = bbr.min_rtt, bbr.min_rtt_stamp
    while bbr.min_rtt == before:
        assert path.now <= since + 10 * SECOND + MILLISECOND
        path.now += MILLISECOND
        path.prior = path.total
        path.ack(path.rate, MSS, rtt=2 * RTT, in_flight=4 * MSS)
    assert path.now > since + 10 * SECOND and bbr.min_rtt == 2 * RTT


def test_recovery_and_timeouts_keep_the_window() -> None:
    """BBRSaveCwnd(), BBRRestoreCwnd()."""
    path = Path()
    bbr = path.to(CRUISE)
    before = bbr.cwnd
    bbr.reduce(before, path.now)
    assert bbr.cwnd == before
    bbr.timed_out(before, path.now)
    assert bbr.cwnd == MSS
    bbr.recovered(path.now)
    assert bbr.cwnd == before
    bbr.restarted(path.now)
    bbr.unused(MSS, path.now)
    assert bbr.cwnd == before


def test_a_loss_that_was_none_is_undone() -> None:
    path = Path()
    bbr = path.to(CRUISE)
    bbr.remember()
    before = bbr.cwnd
    path.round(newly_lost=MSS, rate=path.rate // 2)
    path.round(rate=path.rate // 2)
    assert bbr.bw_shortterm < INFINITE
    bbr.undo(before, bbr.ssthresh)
    assert bbr.bw_shortterm == INFINITE == bbr.inflight_shortterm and bbr.cwnd >= before


def test_after_a_pause_it_sends_at_the_rate_that_it_knows() -> None:
    """BBRHandleRestartFromIdle()."""
    path = Path()
    bbr = path.to(CRUISE)
    bbr.resumed(path.now)
    assert bbr.idle_restart and bbr.pacing_rate() == int(path.rate * 0.99)


# ---- over a path ----


def test_tcp_info_has_its_rates() -> None:
    wire, peer, connection = accepted(tcp_congestion_control="bbr")
    connection.send(bytes(10 * MSS))
    sent = 0
    for _ in range(4):
        for _, packet in wire.wait(0.01):
            sent += len(packet.load)
        peer.put("A", 1, 1 + sent, window=0xFFFF)
    info = dict(zip(NAMES, LAYOUT.unpack(tcp_info(connection, None, wire.now)), strict=True))
    assert info["pacing_rate"] > 0 and info["delivery_rate"] > 0


def run(**fields: Any) -> Result:
    result = measure(Cell(control="bbr", **fields))
    assert result.failed == 0
    return result


def test_it_fills_a_path_with_a_short_queue() -> None:
    ours = run(rate=10e6, rtt=0.05, duration=8.0, warmup=2.0)
    theirs = measure(Cell(control="cubic", rate=10e6, rtt=0.05, duration=8.0, warmup=2.0))
    assert ours.utilisation > 0.9 and ours.queue_p50 < theirs.queue_p50 / 4
    assert ours.timeouts == 0 and ours.needless <= ours.segments // 1000


def test_random_loss_is_no_congestion() -> None:
    ours = run(rate=10e6, rtt=0.1, duration=10.0, loss=0.01)
    theirs = measure(Cell(control="cubic", rate=10e6, rtt=0.1, duration=10.0, loss=0.01))
    assert ours.goodput > 3 * theirs.goodput and ours.utilisation > 0.7, (ours.goodput, theirs.goodput)


def test_a_policer_passes_most_of_it() -> None:
    assert run(rate=100e6, rtt=0.05, policer=10e6, bucket=16000, duration=8.0).goodput > 0.85 * 10e6


def test_two_flows_share() -> None:
    result = run(rate=10e6, rtt=0.04, flows=2, duration=20.0, warmup=8.0)
    assert result.jain > 0.8 and result.utilisation > 0.9


@pytest.mark.parametrize("loss", [0.05, 0.2])
def test_it_lives_through_heavy_loss(loss: float) -> None:
    assert run(rate=10e6, rtt=0.05, duration=8.0, loss=loss).goodput > 50_000


def test_the_same_seed_is_the_same_run() -> None:
    first, second = (run(rate=10e6, rtt=0.05, duration=3.0, loss=0.01, seed=3) for _ in range(2))
    assert first == second
