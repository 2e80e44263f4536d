"""The bottleneck by itself: rates, queues, disciplines, cross traffic, a policer and a blackout, by arithmetic."""

from __future__ import annotations

from random import Random

import pytest

from fastnet._ring import PacketRing
from fastnet._timer import NEVER
from fastnet.sweep.aqm import CoDel, DropTail, Red, Step, make
from fastnet.sweep.bottleneck import Bottleneck, Path
from fastnet.sweep.histogram import Histogram

MILLISECOND = 1_000_000
SECOND = 1_000_000_000
NOT_ECT = bytes([0x45, 0]) + bytes(1498)
ECT = bytes([0x45, 2]) + bytes(1498)


def bottleneck(discipline: DropTail | None = None, seed: str = "0", **path: object) -> Bottleneck:
    """12 Mbit/s: a packet of 1,500 bytes takes a millisecond."""
    merged = {"rate": 12_000_000, "delay": 10 * MILLISECOND, "queue": 15_000, **path}
    made = Bottleneck(Path(**merged), discipline or DropTail(), seed, 1500)  # type: ignore[arg-type]
    made.start(0)
    return made


def drain(link: Bottleneck, until: int) -> list[int]:
    """When packets arrive, up to a time."""
    arrivals = []
    ring = PacketRing(64, 1500)
    while (at := link.next_delivery()) <= until:
        arrivals += [at] * link.deliver(ring, at)
        ring.clear()
    link.deliver(ring, until)
    return arrivals


def test_each_packet_takes_its_turn() -> None:
    link = bottleneck()
    assert link.send([NOT_ECT] * 3, 0) == 3
    assert drain(link, SECOND) == [11 * MILLISECOND, 12 * MILLISECOND, 13 * MILLISECOND]
    assert link.next_delivery() == NEVER
    assert link.busy == 3 * MILLISECOND
    assert [link.delays.percentile(percent) for percent in (1, 50, 100)] == [0, 992, 1984], "to a 32nd"


def test_a_full_queue_drops_the_tail() -> None:
    link = bottleneck()
    link.send([NOT_ECT] * 13, 0)
    assert len(drain(link, SECOND)) == 11, "ten wait, one is on the wire"
    assert link.tally.dropped == 2 and link.early == 0
    assert link.waiting == 0


def test_a_packet_that_is_lost_has_taken_its_turn() -> None:
    link = bottleneck(loss=1.0)
    link.send([NOT_ECT] * 3, 0)
    assert drain(link, SECOND) == []
    assert link.tally.lost == 3 and link.busy == 3 * MILLISECOND


def test_a_policer_lets_a_bucket_through_and_then_its_rate() -> None:
    link = bottleneck(policer=1_200_000, bucket=3000)
    link.send([NOT_ECT] * 4, 0)
    assert link.policed == 2
    link.send([NOT_ECT], 9 * MILLISECOND)
    assert link.policed == 3, "0.9 of a packet has come in"
    link.send([NOT_ECT] * 2, 10 * MILLISECOND)
    assert link.policed == 4 == link.tally.dropped


def test_nothing_arrives_in_a_blackout() -> None:
    link = bottleneck(blackout=(2 * MILLISECOND, 4 * MILLISECOND))
    link.send([NOT_ECT] * 5, 0)
    assert drain(link, SECOND) == [11 * MILLISECOND, 14 * MILLISECOND, 15 * MILLISECOND]


def test_cross_traffic_takes_its_part() -> None:
    link = bottleneck(cross=6_000_000)
    assert drain(link, 10 * SECOND) == []
    assert link.busy / (10 * SECOND) == pytest.approx(0.5, rel=0.05)


def test_cross_traffic_waits_in_the_same_queue() -> None:
    """What comes second is behind the cross traffic that came meanwhile, however late it is that anybody asks."""
    asked, not_asked = bottleneck(cross=9_000_000), bottleneck(cross=9_000_000)
    for at in range(0, 20 * MILLISECOND, MILLISECOND):
        drain(asked, at)
    for link in (asked, not_asked):
        link.send([NOT_ECT], 20 * MILLISECOND)
    assert drain(asked, SECOND) == drain(not_asked, SECOND)


def standing_queue(discipline: DropTail, packet: bytes, seconds: int = 4) -> Bottleneck:
    """A tenth more than the rate, for a while, into a queue that would hold all of it."""
    link = bottleneck(discipline, queue=10_000_000)
    for at in range(0, seconds * SECOND, 10 * MILLISECOND):
        link.send([packet] * 11, at)
        drain(link, at)
    return link


def test_codel_drops_when_packets_have_waited_too_long_for_too_long() -> None:
    link = standing_queue(CoDel(), NOT_ECT)
    assert link.early > 20
    assert link.waiting < standing_queue(DropTail(), NOT_ECT).waiting - 20 * 1500


def test_codel_leaves_a_short_queue_alone() -> None:
    link = bottleneck(CoDel(), queue=10_000_000)
    for at in range(0, 2 * SECOND, 5 * MILLISECOND):
        link.send([NOT_ECT] * 5, at)
        drain(link, at)
    assert link.early == 0 and link.tally.dropped == 0


def test_codel_by_hand() -> None:
    """RFC 8289 section 5.5: the first after 100 ms above 5 ms, the second 100 ms later, the third after 100 / sqrt(2)."""
    codel = CoDel()
    dropped = [at for at in range(1, 400) if codel.leaves(6 * MILLISECOND, 30_000, at * MILLISECOND)]
    assert dropped == [101, 201, 272, 330, 380]


@pytest.mark.parametrize("kind", ["red", "codel", "step"])
def test_a_discipline_marks_those_that_may_be_marked(kind: str) -> None:
    link = standing_queue(make(kind, 200_000, 12e6, Random(0)), ECT)
    assert link.tally.marked > 20
    assert link.early == 0 == link.tally.dropped


def test_red_spares_a_short_queue_and_not_a_long_one() -> None:
    red = Red(120_000, 12e6, Random(0))
    assert not any(red.arrives(8_000, at) for at in range(5000))
    early = sum(red.arrives(20_000, at) for at in range(5000))
    late = sum(red.arrives(60_000, at) for at in range(5000))
    assert 50 < early < 1000 < late


def test_step_marks_above_its_threshold_and_only_there() -> None:
    step = Step(120_000)
    assert step.threshold == 20_000
    assert [step.arrives(waiting, 0) for waiting in (0, 20_000, 20_001, 60_000)] == [False, False, True, True]
    assert Step(6_000).threshold == 3000


def test_no_such_discipline() -> None:
    with pytest.raises(ValueError, match="droptail, red, codel, step"):
        make("fifo", 1, 1, Random(0))


def test_percentiles() -> None:
    values = Histogram()
    assert values.percentile(50) == 0
    for value in range(1, 100_001):
        values.add(value)
    for percent in (1, 50, 95, 99, 100):
        assert values.percentile(percent) == pytest.approx(percent * 1000, rel=1 / 32)
    assert len(values._counts) < 500
