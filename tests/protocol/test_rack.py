"""RACK's memory of what has arrived (RFC 8985 section 6.2, steps 1 to 4), segment by segment."""

from __future__ import annotations

import pytest

from fastnet.tcp.rack import Rack

MS = 1_000_000
M = 0xFFFFFFFF


def arrived(*segments: tuple[int, int, int]) -> Rack:
    """Segments as (sent, end, arrived), ms."""
    rack = Rack()
    for sent, end, now in segments:
        rack.delivered(sent * MS, end & M, False, now * MS)
    return rack


@pytest.mark.parametrize(
    ("segments", "latest"),
    [
        ([(10, 1000, 50)], (10, 1000, 40)),
        ([(10, 1000, 50), (20, 2000, 55)], (20, 2000, 35)),
        ([(20, 2000, 50), (10, 1000, 55)], (20, 2000, 30)),  # an older one changes nothing
        ([(10, 1000, 50), (10, 2000, 55)], (10, 2000, 45)),  # of one moment, the one that ends later
        ([(10, 2000, 50), (10, 1000, 55)], (10, 2000, 40)),
        ([(10, -500, 50), (10, 500, 55)], (10, 500, 45)),  # over the wrap
        ([(10, 500, 50), (10, -500, 55)], (10, 500, 40)),
    ],
)
def test_the_latest_is_the_one_that_was_sent_last(segments: list, latest: tuple[int, int, int]) -> None:
    """Step 2: RACK.segment, RACK.end_seq, RACK.rtt."""
    rack = arrived(*segments)
    assert (rack.xmit_ts, rack.end_seq, rack.rtt) == (latest[0] * MS, latest[1], latest[2] * MS)


def test_what_was_sent_before_the_latest_is_older() -> None:
    rack = Rack()
    assert not rack.is_later_than(0, 5), "nothing has arrived"
    rack = arrived((10, 1000, 50))
    assert rack.is_later_than(9 * MS, 5000) and not rack.is_later_than(11 * MS, 500)
    assert rack.is_later_than(10 * MS, 999) and not rack.is_later_than(10 * MS, 1000) and not rack.is_later_than(10 * MS, 1001)
    rack = arrived((10, 5, 50))
    assert rack.is_later_than(10 * MS, M - 5), "over the wrap"


def test_the_smallest_round_trip() -> None:
    """Step 1: of segments that were sent once; one that came back sooner than any ever did was the original."""
    rack = arrived((10, 1000, 50), (20, 2000, 45), (30, 3000, 99))
    assert rack.min_rtt == 25 * MS
    rack.delivered(40 * MS, 4000, True, 60 * MS)
    assert (rack.min_rtt, rack.xmit_ts, rack.fack) == (25 * MS, 30 * MS, 3000), "not even noted"
    rack.delivered(40 * MS, 4000, True, 65 * MS)
    assert (rack.min_rtt, rack.xmit_ts, rack.fack) == (25 * MS, 40 * MS, 4000)
    rack.delivered(70 * MS, 5000, True, 99 * MS)
    assert rack.min_rtt == 25 * MS, "a retransmission measures nothing"
    assert arrived((10, 1000, 10)).min_rtt == 1, "0 would mean none"


def test_reordering_is_what_arrives_below_the_highest() -> None:
    """Step 3: unless it was sent again, as that is no sign of it."""
    assert not arrived((10, 1000, 50), (11, 2000, 51)).reordering_seen
    assert not arrived((10, 1000, 50), (10, 1000, 51)).reordering_seen, "the same again"
    assert arrived((10, 2000, 50), (11, 1000, 51)).reordering_seen
    assert arrived((10, 500, 50), (11, -500, 51)).reordering_seen, "over the wrap"
    rack = arrived((10, 2000, 50))
    rack.delivered(11 * MS, 1000, True, 99 * MS)
    assert not rack.reordering_seen and rack.fack == 2000


def test_the_reordering_window() -> None:
    """Step 4: none with three segments ahead or in recovery, unless reordering was seen; else a quarter of the smallest RTT, up to SRTT."""
    rack = arrived((10, 2000, 50))
    assert rack.reordering_window(True, 90 * MS) == 0
    assert rack.reordering_window(False, 90 * MS) == 10 * MS
    rack.delivered(11 * MS, 1000, False, 99 * MS)
    assert rack.reordering_window(True, 90 * MS) == 10 * MS
    for expected in (20, 30, 35, 35):
        una = 1000 * expected
        rack.dsack_seen = False
        rack.duplicate_reported(una, una)
        assert rack.reordering_window(True, 35 * MS) == expected * MS


def test_a_dsack_widens_once_in_a_round_trip_and_for_sixteen_recoveries() -> None:
    rack = arrived((10, 2000, 50))
    rack.duplicate_reported(1000, 5000)
    assert rack.reo_wnd_mult == 2
    rack.duplicate_reported(4999, 9000)
    assert rack.reo_wnd_mult == 2, "SND.UNA is not past what was on its way then"
    rack.duplicate_reported(5000, 9000)
    assert rack.reo_wnd_mult == 3
    for _ in range(15):
        rack.recovered()
        assert rack.reo_wnd_mult == 3
    rack.recovered()
    assert rack.reo_wnd_mult == 1
    rack.recovered()
    rack.duplicate_reported(9000, 9900)
    assert rack.reo_wnd_mult == 2
