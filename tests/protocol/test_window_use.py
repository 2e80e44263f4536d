"""CWND that is not in use: what it keeps after a pause, what is given back, and where slow start ends (RFC 5681, RFC 7661, RFC 9438)."""

from __future__ import annotations

import pytest

from fastnet.devices import Impairment
from fastnet.tcp.congestion.base import NO_THRESHOLD
from fastnet.tcp.congestion.cubic import Cubic
from fastnet.twins import Twins
from tests.pair import Pair, Program
from tests.peer import MILLISECOND, SECOND
from tests.protocol.test_recovery import MSS, RTO, RTT, Talk, cubic_at


@pytest.mark.parametrize(("name", "ssthresh"), [("cubic", 7), ("reno", 5)])
def test_slow_start_ends_at_ssthresh(name: str, ssthresh: int) -> None:
    """tcp_slow_start(): one ACK after a timeout covers all ten segments. Slow start takes what is missing to SSTHRESH, congestion avoidance
    the rest: one segment at most."""
    talk = Talk(sack=False, tcp_frto=0, tcp_congestion_control=name)
    talk.send(40)
    assert talk.wait(310) == [(300.0, 0)]
    assert (talk.congestion.cwnd, talk.congestion.ssthresh) == (MSS, ssthresh * MSS)
    talk.ack(10, after=RTT)
    assert ssthresh * MSS <= talk.congestion.cwnd <= (ssthresh + 1) * MSS


@pytest.mark.parametrize("name", ["cubic", "reno"])
def test_a_pause_leaves_ssthresh_three_quarters_of_cwnd(name: str) -> None:
    """RFC 7661 section 4.4, tcp_current_ssthresh(): slow start goes most of the way back."""
    talk = Talk(tcp_congestion_control=name)
    talk.send(10)
    talk.ack(10, after=RTT)
    talk.congestion.cwnd, talk.congestion.ssthresh = 40 * MSS, 20 * MSS
    talk.wire.now += RTO + MILLISECOND
    assert len(talk.send(60)) == 10
    assert (talk.congestion.cwnd, talk.congestion.ssthresh) == (10 * MSS, 30 * MSS)
    talk.ack(20, after=RTT)
    talk.congestion.cwnd, talk.congestion.ssthresh = 10 * MSS, 90 * MSS
    talk.ack(40, after=RTT)
    talk.ack(70, after=RTT)
    talk.wire.now += 2 * SECOND
    talk.send(1)
    assert talk.congestion.ssthresh == 90 * MSS, "it never comes down by that"


@pytest.mark.parametrize("name", ["cubic", "reno"])
@pytest.mark.parametrize("setting", [1, 0])
def test_a_window_that_is_not_used_is_given_back(name: str, setting: int) -> None:
    """tcp_cwnd_application_limited(): after a timeout in which two segments were enough, half of what is above that, or above IW, goes."""
    talk = Talk(tcp_congestion_control=name, tcp_slow_start_after_idle=setting)
    talk.send(10)
    talk.ack(10, after=RTT)
    talk.congestion.cwnd, talk.congestion.ssthresh = 40 * MSS, 20 * MSS
    seen = []
    for i in range(12):
        assert len(talk.send(2)) == 2
        talk.ack(12 + 2 * i, after=RTT)
        if talk.congestion.cwnd not in seen:
            seen.append(talk.congestion.cwnd)
    if setting:
        assert seen[:3] == [40 * MSS, 25 * MSS, 17.5 * MSS] and talk.congestion.ssthresh == 30 * MSS
    else:
        assert seen == [40 * MSS] and talk.congestion.ssthresh == 20 * MSS


def test_a_window_that_is_used_is_kept() -> None:
    """As much as was on its way within a timeout counts; and a program that waits for room in its send buffer would use more."""
    talk = Talk(tcp_congestion_control="reno")
    talk.send(10)
    talk.ack(10, after=RTT)
    talk.congestion.cwnd, talk.congestion.ssthresh = 60 * MSS, 30 * MSS
    at = 10
    for _ in range(12):
        talk.send(40)
        at += 40
        talk.ack(at, after=RTT)
    assert 40 * MSS <= talk.congestion.cwnd < 60 * MSS
    talk = Talk(tcp_congestion_control="reno", tcp_wmem=(4096, 16384, 16384))
    talk.send(10)
    talk.ack(10, after=RTT)
    talk.congestion.cwnd, talk.congestion.ssthresh = 60 * MSS, 30 * MSS
    sender = talk.connection.need_sender()
    for _ in range(12):
        while talk.connection.send(bytes(MSS)):
            pass
        talk.wire.sent()
        sender.full = True
        talk.wire.now += RTT
        talk.connection.send_soon()
        talk.wire.sent()
    assert talk.congestion.cwnd >= 60 * MSS


@pytest.mark.parametrize("pause", [0.5, 60.0, 3600.0])
def test_cubic_does_not_count_the_time_of_a_pause(pause: float) -> None:
    """RFC 9438 sections 4.2 and 5.8: t is the time in which CWND was what held the sender back. After a quiet minute the curve goes on
    where it was, not by half of CWND in each round trip."""
    cubics = []
    for quiet in (0.0, pause):
        cubic = Cubic(MSS)
        cubic.cwnd = 200 * MSS
        cubic.reduce(200 * MSS, SECOND)
        cubic.recovered(SECOND)
        cubic_at(cubic, 2.0, 10.0)
        at = cubic.cwnd
        cubic_at(cubic, 1.0, 12.1 + quiet)
        assert cubic.cwnd > at
        cubics.append(cubic.cwnd)
    assert abs(cubics[0] - cubics[1]) <= MSS


def test_cubic_in_other_segments() -> None:
    """W_max is in segments: after a router said that the path takes only half of each, as many bytes are twice as many."""
    cubic = Cubic(MSS)
    cubic.cwnd = 200 * MSS
    cubic.reduce(200 * MSS, SECOND)
    cubic.recovered(SECOND)
    cubic_at(cubic, 2.0, 10.0)
    cwnd = cubic.cwnd
    cubic.set_mss(MSS // 2)
    assert (cubic.mss, cubic.cwnd, cubic.w_max, cubic.cwnd_prior) == (MSS // 2, cwnd, 400, 400)
    cubic.start_epoch(cubic.cwnd / cubic.mss, 20 * SECOND)
    assert cubic.cubic_window(0) == pytest.approx(cwnd / (MSS // 2)), "the curve begins where CWND is"
    assert cubic.cubic_window(cubic.k) == 400


def test_a_narrower_path_changes_the_units() -> None:
    talk = Talk(mss=1400)
    talk.send(10)
    cubic = talk.congestion
    assert isinstance(cubic, Cubic)
    cubic.w_max = 100.0
    talk.connection.path_narrowed(740, talk.wire.now)
    assert cubic.mss == 700 and cubic.w_max == 200
    assert cubic.ssthresh == NO_THRESHOLD


@pytest.mark.parametrize(("rate", "rtt"), [(10, 50), (100, 50), (20, 200)])
def test_the_first_slow_start_ends_without_a_loss(rate: int, rtt: int) -> None:
    """hystart_update(): with a queue of one bandwidth-delay product, CUBIC leaves slow start when the path is full, before the queue is."""
    fits = rate * 1_000_000 * rtt // 8000 // 1500
    memory = (4096, 16 << 20, 16 << 20)
    twins = Twins(
        Impairment(delay=rtt * MILLISECOND // 2, rate=rate * 1_000_000, queue=fits), Impairment(delay=rtt * MILLISECOND // 2),
        settings_a={"tcp_wmem": memory}, settings_b={"tcp_rmem": memory},
    )  # fmt: skip
    pair = Pair(twins, Program(bytes(8 << 20)), Program(b""), checked=False)

    def left() -> bool:
        sender = pair.a.connection.sender
        return sender is not None and sender.recovery.congestion.ssthresh < NO_THRESHOLD

    pair.run(left, 20)
    assert twins.link.forth.tally.dropped == 0
    assert fits <= pair.a.connection.need_sender().recovery.congestion.cwnd // 1448 <= 2 * fits


def test_a_round_begins_with_the_first_ack_of_what_was_sent_in_it() -> None:
    """RFC 9406 section 4.2, bictcp_hystart_reset(): not with the last ACK of what was sent before, after which there is a pause."""
    talk = Talk()
    talk.send(40)
    rounds = []
    for number in range(1, 11):
        talk.ack(number, after=RTT if number == 1 else 0)
        rounds.append(talk.recovery.round)
    assert rounds == [1] * 10
    talk.ack(11, after=RTT)
    assert talk.recovery.round == 2
