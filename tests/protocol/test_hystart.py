"""HyStart++ as RFC 9406 section 4.2 has it, ACK by ACK: when slow start is left, what is only jitter, how fast CWND grows meanwhile."""

from __future__ import annotations

from collections import deque

import pytest

from fastnet.tcp.congestion.base import NO_THRESHOLD, Acknowledgment
from fastnet.tcp.congestion.cubic import Cubic
from fastnet.tcp.congestion.hystart import HyStart

MS = 1_000_000
SECOND = 1_000_000_000
MSS = 1000


class Slow:
    """Slow start of some connection, round after round."""

    def __init__(self) -> None:
        self.hystart = HyStart()
        self.round = 0

    def ack(self, rtt: float, acked: int = MSS, now: float = 0, min_rtt: float = 0, in_flight: int = 0) -> int:
        ack = Acknowledgment()
        ack.acked, ack.rtt, ack.round = acked, round(rtt * MS), self.round
        ack.now, ack.min_rtt, ack.in_flight = round(now * MS), round(min_rtt * MS), in_flight
        return self.hystart.growth(ack, MSS)

    def run(self, *rtts: float) -> list[int]:
        """A round trip with these measurements; by how much each let CWND grow."""
        self.round += 1
        return [self.ack(rtt) for rtt in rtts]


@pytest.mark.parametrize(
    ("last", "current", "leaves"),
    [
        (100, 112, False),  # an eighth is 12.5 ms
        (100, 112.5, True),
        (8, 11.9, False),  # an eighth would be 1 ms: MIN_RTT_THRESH is 4
        (8, 12, True),
        (400, 415.9, False),  # an eighth would be 50 ms: MAX_RTT_THRESH is 16
        (400, 416, True),
        (100, 90, False),
    ],
)
def test_when_slow_start_is_left(last: float, current: float, leaves: bool) -> None:
    slow = Slow()
    assert slow.run(*[last] * 8) == [MSS] * 8
    assert slow.run(*[current] * 8) == [MSS] * 8
    assert slow.hystart.css == leaves and not slow.hystart.done
    assert slow.ack(current) == (MSS // 4 if leaves else MSS), "CSS_GROWTH_DIVISOR"


def test_eight_measurements_are_needed() -> None:
    """N_RTT_SAMPLE; an ACK that measures nothing is none of them, and the smallest of a round counts."""
    slow = Slow()
    slow.run(*[50] * 8)
    assert slow.run(*[80] * 7, 0, 0, 0) == [MSS] * 10
    assert not slow.hystart.css
    slow.ack(80)
    assert slow.hystart.css
    slow = Slow()
    slow.run(90, *[50] * 2, *[90] * 5)
    slow.run(*[80] * 3, 53, *[80] * 9)
    assert not slow.hystart.css, "53 ms are no more than 50"


def test_the_first_round_has_nothing_to_compare_with() -> None:
    slow = Slow()
    slow.run(*[50] * 8, *[500] * 20)
    assert not slow.hystart.css
    slow = Slow()
    slow.run(*[0] * 10)
    slow.run(*[500] * 20)
    assert not slow.hystart.css, "nor has one after a round without a measurement"


def test_five_rounds_of_conservative_slow_start_end_it() -> None:
    """CSS_ROUNDS: a quarter of the growth, and then slow start is over."""
    slow = Slow()
    slow.run(*[50] * 8)
    slow.run(*[80] * 8)
    assert slow.hystart.css
    for _ in range(4):
        assert slow.run(*[80] * 10) == [MSS // 4] * 10 and not slow.hystart.done
    slow.run(80)
    assert slow.hystart.done


def test_jitter_resumes_slow_start() -> None:
    """A round below the baseline was none of a growing queue; the next growth begins its five rounds anew."""
    slow = Slow()
    slow.run(*[50] * 8)
    slow.run(*[80] * 8)
    slow.run(*[80] * 8)
    assert slow.hystart.css, "as slow as the baseline is no less"
    assert slow.run(*[79] * 8)[-1] == MSS // 4 and not slow.hystart.css
    assert slow.ack(79) == MSS
    slow.run(*[120] * 8)
    assert slow.hystart.css
    for _ in range(4):
        slow.run(*[120] * 8)
        assert not slow.hystart.done
    slow.run(120)
    assert slow.hystart.done


def test_seven_measurements_below_the_baseline_are_not_enough() -> None:
    slow = Slow()
    slow.run(*[50] * 8)
    slow.run(*[80] * 8)
    slow.run(*[60] * 7)
    assert slow.hystart.css
    slow.ack(60)
    assert not slow.hystart.css


def test_one_ack_of_many_segments_counts_for_all_of_them() -> None:
    """tcp_slow_start(): where segments are put together, one ACK covers a burst of 64 KiB. With an L of 8 slow start would be linear."""
    slow = Slow()
    slow.round = 1
    assert [slow.ack(50, n * MSS) for n in (1, 7, 8, 9, 44)] == [n * MSS for n in (1, 7, 8, 9, 44)]
    slow.run(*[50] * 8)
    slow.run(80)
    assert not slow.hystart.css
    assert slow.ack(80, 14 * MSS) == 14 * MSS and slow.hystart.css, "it also stands for the ACKs of every second segment"


class Bottleneck:
    """A link of some rate in front of a receiver that sends one ACK for so many segments; no queue overflows. Times in ns.

    :param step: segments of a whole burst
    """

    def __init__(self, rate: int, rtt: float, step: int) -> None:
        self.cubic = Cubic(MSS)
        self.rtt = round(rtt * MS)
        self.each = MSS * 8 * SECOND // rate
        self.fits = self.rtt // self.each
        self.step = step
        self.min_rtt = 0

    def run(self, until: int = 1 << 62) -> tuple[int, int, int]:
        """Slow start, to its end or so long; segments that CWND had at the end of growing fast, most segments in flight, the time."""
        cubic, sent, acked, free, now, round_end, number, fast = self.cubic, 0, 0, 0, 0, 0, 0, 0
        arrivals: deque[tuple[int, int, int]] = deque()
        most = 0
        while cubic.ssthresh == NO_THRESHOLD and now < until:
            room = cubic.cwnd // MSS - (sent - acked)
            while room > 0:
                burst = min(room, self.step)
                free = max(free, now) + burst * self.each
                arrivals.append((free + self.rtt, burst, now))
                sent, room = sent + burst, room - burst
            most = max(most, sent - acked)
            now, burst, sent_at = arrivals.popleft()
            acked += burst
            ack = Acknowledgment()
            ack.acked, ack.now, ack.rtt = burst * MSS, now, now - sent_at
            ack.min_rtt = self.min_rtt = min(self.min_rtt or ack.rtt, ack.rtt)
            ack.in_flight = (sent - acked) * MSS
            if acked > round_end:
                number, round_end = number + 1, sent
            ack.round = number
            cubic.acknowledged(ack)
            if cubic.hystart is not None and not cubic.hystart.css:
                fast = cubic.cwnd // MSS
        return fast, most, now


@pytest.mark.parametrize("step", [1, 2, 8, 44])
@pytest.mark.parametrize(("rate", "rtt"), [(100, 50), (100, 200), (1000, 10), (1000, 50), (1000, 200), (10_000, 50)])
def test_slow_start_ends_before_a_queue_of_one_path_overflows(rate: int, rtt: int, step: int) -> None:
    """hystart_update(): a train of ACKs of half a round trip. The delay alone ends it beyond twice what the path and its queue hold."""
    link = Bottleneck(rate * 1_000_000, rtt, step)
    fast, most, _ = link.run()
    assert 0.9 * link.fits <= fast <= 1.6 * link.fits + step, "CWND doubles until it is about what fits"
    assert most <= 2 * link.fits + 2 * step, "the path, and as much again in the queue"
    assert link.cubic.ssthresh >= 1.1 * link.fits * MSS, "and the path is full"


@pytest.mark.parametrize("step", [1, 44])
def test_slow_start_is_no_slower_where_one_ack_covers_a_burst(step: int) -> None:
    """100 Gbit/s, 50 ms: ten segments doubled in each of ten round trips."""
    link = Bottleneck(100_000_000_000, 50, step)
    link.run(round(10.5 * 50 * MS))
    assert 10 * MSS << 10 <= link.cubic.cwnd <= (10 * MSS << 10) + step * MSS


@pytest.mark.parametrize("rtt", [0.1, 1, 4])
def test_a_short_path_may_have_a_queue_of_some_milliseconds(rtt: float) -> None:
    """Half of a round trip of 0.1 ms is three segments at 1 Gbit/s: no reason to leave slow start (MIN_RTT_THRESH)."""
    link = Bottleneck(1_000_000_000, rtt, 1)
    fast, _, _ = link.run()
    assert fast * link.each >= 4 * MS


def test_acks_with_a_pause_are_no_train() -> None:
    """A program that sends in two halves: ACKs come half a round trip after the round began, but not without a pause."""
    for pause in (1, 30):
        slow = Slow()
        slow.run(*[50] * 8)
        slow.round += 1
        for i in range(20):
            slow.ack(50, now=100 + i + (pause if i >= 10 else 0), min_rtt=50, in_flight=40 * MSS)
        for i in range(20):
            slow.ack(50, now=100 + pause + 20 + i, min_rtt=50, in_flight=40 * MSS)
        assert slow.hystart.css == (pause == 1)
