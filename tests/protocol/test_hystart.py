"""HyStart++ as RFC 9406 section 4.2 has it, ACK by ACK: when slow start is left, what is only jitter, how fast CWND grows meanwhile."""

from __future__ import annotations

import pytest

from fastnet.tcp.congestion.base import Acknowledgment
from fastnet.tcp.congestion.hystart import HyStart

MS = 1_000_000
MSS = 1000


class Slow:
    """Slow start of some connection, round after round."""

    def __init__(self) -> None:
        self.hystart = HyStart()
        self.round = 0

    def ack(self, rtt: float, acked: int = MSS) -> int:
        ack = Acknowledgment.__new__(Acknowledgment)
        ack.acked, ack.rtt, ack.round = acked, round(rtt * MS), self.round
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


def test_one_ack_of_many_segments_counts_for_eight() -> None:
    """L, where nothing is paced (section 4.2: min(N, L * SMSS))."""
    slow = Slow()
    slow.round = 1
    assert [slow.ack(50, n * MSS) for n in (1, 7, 8, 9, 100)] == [MSS, 7 * MSS, 8 * MSS, 8 * MSS, 8 * MSS]
