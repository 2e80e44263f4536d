"""When a reduction of CWND is taken back, and when it is not: D-SACK (RFC 2883), timestamps (RFC 3522), and what CUBIC gets back."""

from __future__ import annotations

import pytest

from fastnet.tcp.congestion.base import NO_THRESHOLD
from fastnet.tcp.congestion.cubic import Cubic
from tests.peer import MILLISECOND, SECOND, M
from tests.protocol.test_recovery import MSS, RTT, Talk

RECOVERY = 1


@pytest.mark.parametrize("arrived", [True, False])
def test_a_dsack_of_a_probe_undoes_no_loss(arrived: bool) -> None:
    """tcp_init_undo(): a tail loss probe that is on its way when the episode begins may bring a D-SACK later. That one is not for the
    retransmission of the episode.

    :param arrived: the original of the probe has been reported before the loss is found
    """
    talk = Talk()
    assert talk.send(4) == [0, 1, 2, 3]
    assert talk.wait(210) == [(202.0, 3)]
    if arrived:
        assert talk.ack(0, (1, 4)) == [0]
    else:
        assert talk.ack(0, (1, 3)) == []
        assert talk.wait(60) == [(53.0, 0)], "a quarter of the 210 ms that the others took"
    assert talk.recovery.state == RECOVERY
    ssthresh = talk.congestion.ssthresh
    talk.ack(0, (3, 4), (1, 4), after=MILLISECOND)
    assert talk.counter("TCPDSACKUndo") == 0 and talk.recovery.state == RECOVERY
    talk.send(4)
    talk.ack(4, after=RTT)
    assert talk.recovery.state == 0 and talk.congestion.ssthresh == ssthresh < NO_THRESHOLD


def test_dsacks_of_the_probe_and_of_the_retransmission_undo() -> None:
    """Both copies were needless."""
    talk = Talk()
    talk.send(4)
    assert talk.wait(210) == [(202.0, 3)]
    assert talk.ack(0, (1, 4)) == [0]
    talk.send(4)
    talk.ack(0, (3, 4), (1, 4), after=MILLISECOND)
    assert talk.counter("TCPDSACKUndo") == 0
    talk.ack(4, (0, 1), after=MILLISECOND)
    assert talk.counter("TCPDSACKUndo") == 1 and talk.congestion.ssthresh == NO_THRESHOLD


def lossy_talk() -> tuple[Talk, int]:
    """Segments 0 and 5 of ten are missing and have been sent again; the timestamp of the originals."""
    talk = Talk(stamps=True)
    talk.send(40)
    first = talk.last_stamp
    sent = []
    for end in (2, 3, 4, 5):
        sent += talk.ack(0, (1, end), after=RTT if end == 2 else 0, echo=first)
    for end in (7, 8, 9, 10):
        sent += talk.ack(0, (6, end), (1, 5), echo=first)
    assert {0, 5} <= set(sent) and talk.recovery.state == RECOVERY
    return talk, first


def test_an_old_echo_does_not_forgive_another_segment() -> None:
    """RFC 3522 section 3.2: the first ACK after the retransmission decides. It echoed the retransmission: that loss was real, whatever the
    echo of a segment that was only late says afterwards."""
    talk, first = lossy_talk()
    ssthresh = talk.congestion.ssthresh
    talk.ack(5, (6, 10), after=50 * MILLISECOND, echo=first + 100)
    talk.ack(10, after=MILLISECOND, echo=first)
    assert talk.counter("TCPFullUndo") == talk.counter("TCPLossUndo") == 0
    assert talk.congestion.ssthresh == ssthresh < NO_THRESHOLD


def test_a_partial_ack_with_an_old_echo_waits_for_the_other_retransmissions() -> None:
    """tcp_try_undo_partial(): segment 0 was only late. That forgives nothing while the retransmission of segment 5 is on its way, and
    nothing at all when that was needed."""
    talk, first = lossy_talk()
    ssthresh = talk.congestion.ssthresh
    talk.ack(5, (6, 10), after=10 * MILLISECOND, echo=first)
    assert talk.counter("TCPFullUndo") == 0 and talk.recovery.state == RECOVERY
    talk.ack(10, after=90 * MILLISECOND, echo=first + 100)
    assert talk.counter("TCPFullUndo") == 0 and talk.congestion.ssthresh == ssthresh < NO_THRESHOLD


def test_when_all_were_late_everything_is_undone() -> None:
    """Each ACK echoes an original, up to the last that was sent again."""
    talk, first = lossy_talk()
    talk.ack(5, (6, 10), after=10 * MILLISECOND, echo=first)
    talk.ack(10, after=10 * MILLISECOND, echo=first)
    assert talk.counter("TCPFullUndo") == 1 and talk.recovery.state == 0
    assert talk.congestion.ssthresh == NO_THRESHOLD and talk.congestion.cwnd >= 10 * MSS


def test_cubic_gets_its_curve_back() -> None:
    """RFC 9438 section 4.9: W_max, cwnd_prior, K, W_est and the epoch, besides CWND and SSTHRESH."""
    talk = Talk()
    talk.send(10)
    talk.ack(10, after=RTT)
    cubic = talk.congestion
    assert isinstance(cubic, Cubic)
    cubic.cwnd, cubic.ssthresh = 20 * MSS, 14 * MSS
    cubic.w_max, cubic.cwnd_prior, cubic.k, cubic.w_est, cubic.epoch = 40.0, 41.0, 3.0, 21.5, SECOND
    curve = (cubic.w_max, cubic.cwnd_prior, cubic.k, cubic.w_est, cubic.epoch)
    talk.send(60)
    talk.ack(10, (11, 14), after=RTT)
    assert talk.recovery.state == RECOVERY
    assert cubic.epoch == 0 and cubic.w_max == 20 * 0.85
    talk.ack(14, after=10 * MILLISECOND)
    talk.ack(14, (10, 11), after=RTT)
    assert talk.counter("TCPDSACKUndo") == 1
    assert cubic.cwnd >= 20 * MSS and cubic.ssthresh == 14 * MSS
    assert (cubic.w_max, cubic.cwnd_prior, cubic.k) == curve[:3]
    # What has arrived since then may have been the first growth on the old curve: the pause does not count.
    assert cubic.w_est >= curve[3] and cubic.epoch >= SECOND


def test_an_undone_loss_is_no_end_of_the_first_slow_start() -> None:
    """SSTHRESH is unknown again, so HyStart++ has to look for it again: else slow start would go on until something overflows."""
    cubic = Cubic(MSS)
    cubic.remember()
    cubic.reduce(10 * MSS, SECOND)
    assert cubic.known
    cubic.undo(10 * MSS, NO_THRESHOLD)
    assert not cubic.known and cubic.ssthresh == NO_THRESHOLD and (cubic.w_max, cubic.epoch) == (0, 0)


def test_one_undo_does_not_bring_back_what_an_earlier_loss_left() -> None:
    """After ``set_congestion_control`` in an episode there is nothing to go back to."""
    cubic = Cubic(MSS)
    cubic.reduce(10 * MSS, SECOND)
    w_max = cubic.w_max
    cubic.undo(10 * MSS, 20 * MSS)
    assert cubic.w_max == w_max and cubic.known


def test_an_undone_reduction_is_none_for_ecn_either() -> None:
    """A loss right after it reduces CWND, and the peer is not told of the first: tcp_ecn_withdraw_cwr()."""
    talk = Talk(ecn=True)
    talk.send(40)
    talk.ack(0, (1, 4), after=RTT)
    assert talk.recovery.state == RECOVERY
    talk.ack(4, after=10 * MILLISECOND)
    talk.ack(4, (0, 1), after=MILLISECOND)
    assert talk.counter("TCPDSACKUndo") == 1 and talk.congestion.ssthresh == NO_THRESHOLD
    before = talk.congestion.cwnd
    talk.ack(4, (5, 8), after=MILLISECOND)
    assert talk.recovery.state == RECOVERY and talk.congestion.ssthresh < before
    talk.ack(4 + (talk.connection.snd_nxt - talk.connection.snd_una & M) // MSS, after=RTT)
    assert talk.recovery.state == 0 and talk.congestion.cwnd <= before


def test_marks_in_an_episode_hold_the_reduction() -> None:
    """Nothing was lost, and the path is full all the same: RFC 3168 section 6.1.2, tcp_fastretrans_alert()."""
    talk = Talk(ecn=True)
    talk.send(40)
    talk.ack(0, (1, 4), after=RTT)
    ssthresh = talk.congestion.ssthresh
    talk.ack(4, after=10 * MILLISECOND, flags="AE")
    talk.ack(4, (0, 1), after=MILLISECOND)
    assert talk.recovery.state == 0
    assert talk.congestion.ssthresh == ssthresh < NO_THRESHOLD and talk.congestion.cwnd <= ssthresh + MSS
