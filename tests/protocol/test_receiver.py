"""The receiver by itself: its estimate of the round trip, when it makes its window larger, and when it thinks that a program answers."""

from __future__ import annotations

import pytest

from fastnet._buffer import Pool
from fastnet.tcp.receiver import Receiver

MILLISECOND = 1_000_000
START = 1000


def receiver_of(limit: int = 10_000, largest: int = 65_536) -> Receiver:
    return Receiver(Pool(), limit, largest, START, START + limit, 5 * MILLISECOND)


@pytest.mark.parametrize("echoed", [False, True])
def test_the_round_trip_follows_a_shorter_one_at_once(echoed: bool) -> None:
    """And is never 0, which stands for an estimate that is not there."""
    receiver = receiver_of()
    for sample, rtt in ((100, 100), (40, 40), (39, 39), (1, 1), (0, 1)):
        receiver.round_trip_over(sample, echoed)
        assert receiver.rtt == rtt


def test_a_longer_one_counts_slowly() -> None:
    """By an eighth and a millisecond each time; a window that took more than 8 times as long says that the peer was slow, not the path."""
    receiver = receiver_of()
    receiver.round_trip_over(80, False)
    for sample, rtt in ((85, 85), (200, 96), (768, 109), (873, 109), (872, 123)):
        receiver.round_trip_over(sample, False)
        assert receiver.rtt == rtt, sample
    receiver.round_trip_over(10_000, True)
    assert receiver.rtt == 123 + 15 + 1, "an echo is believed, however late"


def test_the_window_doubles_when_it_is_what_slows_the_peer() -> None:
    """A whole window in two round trips, and the reader keeps up: up to the largest."""
    rtt = 20 * MILLISECOND
    for took, held, doubles in ((40, 0, True), (41, 0, False), (40, 5_000, True), (40, 5_001, False)):
        receiver = receiver_of()
        receiver.buffer.append(bytes(held))
        edge = receiver.edge
        now = receiver.edge_at + took * MILLISECOND
        receiver.measure(edge - 1, edge + 9, rtt, now)
        assert receiver.limit == 10_000 and receiver.edge == edge, "not a whole window yet"
        receiver.measure(edge, edge + 10_000, rtt, now)
        assert receiver.limit == (20_000 if doubles else 10_000), (took, held)
        assert receiver.edge == edge + 10_000 and receiver.edge_at == now, "the next measurement begins"
    receiver = receiver_of(40_000)
    receiver.measure(receiver.edge, receiver.edge + 1, rtt, receiver.edge_at)
    assert receiver.limit == 65_536
    receiver = receiver_of()
    receiver.measure(receiver.edge, receiver.edge + 1, 0, receiver.edge_at + 2 * MILLISECOND)
    assert receiver.limit == 20_000, "a round trip takes a millisecond at least"


def test_room_that_there_is() -> None:
    """Never less than was offered (SHLD-14)."""
    receiver = receiver_of()
    assert receiver.growth(START, START + 10_000) == 0 and receiver.growth(START, START + 9_000) == 1_000
    assert receiver.growth(START, START + 11_000) == 0
    receiver.buffer.append(bytes(600))
    assert receiver.growth(START, START + 9_000) == 400 and receiver.growth(START + 600, START + 10_000) == 0


def test_a_program_that_answers() -> None:
    """What it sends within 40 ms of what came is an answer: ACKs wait for the next one."""
    for late, answers in ((0, True), (39, True), (40, False)):
        receiver = receiver_of()
        receiver.data_sent(MILLISECOND)
        assert not receiver.pingpong, "nothing has come"
        receiver.data_came(500, 1000, 50 * MILLISECOND)
        receiver.data_sent((50 + late) * MILLISECOND)
        assert receiver.pingpong == answers


def test_what_full_sized_means() -> None:
    """The largest segment so far; what a device has put together is several."""
    receiver = receiver_of()
    for size, largest in ((300, 300), (200, 300), (1460, 1460), (20_000, 1460), (5, 1460)):
        receiver.data_came(size, 1460, MILLISECOND)
        assert receiver.largest_segment == largest and receiver.data_at == MILLISECOND
