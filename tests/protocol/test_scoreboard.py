"""The scoreboard against a list of flights that are looked through from the first to the last each time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import pytest

from fastnet.tcp.flights import Flight
from fastnet.tcp.scoreboard import Scoreboard

M = 0xFFFFFFFF
MSS = 100


@dataclass
class Plain:
    """One flight, its numbers counted from the first of all."""

    seq: int
    end: int
    sent_at: int
    again: bool = False
    sacked: bool = False
    lost: bool = False


class Model:
    """What the scoreboard should say, without any order or index."""

    def __init__(self) -> None:
        self.flights: list[Plain] = []
        self.una = 0
        self.nxt = 0
        self.delivered = 0
        self.lost_again = 0
        self.arrived: list[Plain] = []

    def cut(self, at: int) -> None:
        """Let a flight begin at a number."""
        for i, flight in enumerate(self.flights):
            if flight.seq < at < flight.end:
                self.flights[i : i + 1] = [replace(flight, end=at), replace(flight, seq=at)]
                return

    def cumulative(self, una: int) -> None:
        for flight in self.flights:
            if flight.end <= una and not flight.sacked:
                self.arrived.append(flight)
        self.cut(una)
        self.delivered += sum(flight.end - flight.seq for flight in self.flights if flight.end <= una and not flight.sacked)
        self.flights = [flight for flight in self.flights if flight.end > una]
        self.una = una

    def sack(self, left: int, right: int) -> None:
        for flight in list(self.flights):
            if flight.sacked or flight.end <= left or flight.seq >= right:
                continue
            first = max(0, -(-(left - flight.seq) // MSS) * MSS)
            last = flight.end - flight.seq if right >= flight.end else (right - flight.seq) // MSS * MSS
            if first < last and first < flight.end - flight.seq:
                self.cut(flight.seq + first)
                self.cut(flight.seq + last)
                (part,) = [one for one in self.flights if one.seq == flight.seq + first]
                part.sacked, part.lost = True, False
                self.delivered += part.end - part.seq
                self.arrived.append(part)

    def lose(self, flight: Plain) -> None:
        flight.lost = True
        if flight.again:
            self.lost_again += -(-(flight.end - flight.seq) // MSS)

    def lose_overdue(self, board: Scoreboard, now: int, wait: int, base: int) -> int:
        longest = 0
        for flight in self.flights:
            if not flight.sacked and not flight.lost and board.rack.is_later_than(flight.sent_at, base + flight.end & M):
                remaining = flight.sent_at + board.rack.rtt + wait - now
                if remaining <= 0:
                    self.lose(flight)
                longest = max(longest, remaining)
        return longest

    def lose_at_timeout(self, board: Scoreboard, now: int, wait: int) -> None:
        for i, flight in enumerate(self.flights):
            if not flight.sacked and not flight.lost and (i == 0 or flight.sent_at + board.rack.rtt + wait <= now):
                self.lose(flight)

    def first_lost(self) -> Plain | None:
        return next((flight for flight in self.flights if flight.lost), None)


def compare(board: Scoreboard, model: Model, base: int) -> None:
    """Byte for byte: the board joins what has arrived, and the model does not."""
    flights = board.flights[board.head :]
    assert [f.seq for f in flights[1:]] == [f.end for f in flights[:-1]], "without a gap"
    seen = []
    for flight in flights:
        start, end = (flight.seq - base & M), (flight.end - base & M)
        sent = not flight.sacked and (flight.sent_at, bool(flight.retransmitted))
        seen.append((start, end, bool(flight.sacked), bool(flight.lost), sent))
    expected: list[tuple[int, int, bool, bool, object]] = []
    for plain in model.flights:
        row = (plain.seq, plain.end, plain.sacked, plain.lost, not plain.sacked and (plain.sent_at, plain.again))
        if plain.sacked and expected and expected[-1][2]:
            expected[-1] = (expected[-1][0], *row[1:])
        else:
            expected.append(row)
    assert seen == expected
    assert board.sacked == sum(f.end - f.seq for f in model.flights if f.sacked)
    assert board.lost == sum(f.end - f.seq for f in model.flights if f.lost)
    assert (board.delivered, board.lost_again) == (model.delivered, model.lost_again)
    lost, first = board.next_lost(), model.first_lost()
    assert (lost is None) == (first is None)
    if lost is not None and first is not None:
        assert lost.seq - base & M == first.seq
    assert board.is_reneged() == (bool(model.flights) and model.flights[0].sacked)


def told(board: Scoreboard, model: Model, timed_out_at: int) -> None:
    """What the ACK says about time."""
    once = [flight.sent_at for flight in model.arrived if not flight.again]
    assert board.earliest == (once[0] if once else 0) and board.latest == max(once, default=0)
    assert board.resent_at == max((flight.sent_at for flight in model.arrived if flight.again), default=0)
    assert board.original == any(when < timed_out_at for when in once)


@pytest.mark.parametrize("seed", range(60))
def test_against_a_plain_list(seed: int) -> None:
    """Sent, acknowledged, SACKed in whole and in part, lost, sent again in parts, taken back, not lost after all; around 2**32."""
    draw = Random(seed)
    base = draw.choice([0, 5, M - 3000, M - 20_000, 1 << 31])
    board, model = Scoreboard(), Model()
    board.most = 100_000
    now = 1_000_000
    for _ in range(300):
        now += draw.choice([1, 10, 1000, 50_000])
        action = draw.random()
        in_flight = model.nxt - model.una
        if action < 0.25 or not in_flight:
            for _ in range(draw.randint(1, 8)):
                size = draw.choice([1, 50, 100, 100, 100, 500, 730])
                board.sent(base + model.nxt & M, base + model.nxt + size & M, now)
                model.flights.append(Plain(model.nxt, model.nxt + size, now))
                model.nxt += size
                now += draw.choice([1, 100])
        elif action < 0.6:
            board.begin()
            model.arrived = []
            board.timed_out_at = draw.choice([0, now - 20_000])
            if draw.random() < 0.4:
                una = draw.choice([draw.choice(model.flights).end, draw.randint(model.una + 1, model.nxt)])
                board.cumulative(base + una & M, now)
                model.cumulative(una)
            for _ in range(draw.randint(0, 3)):
                if model.nxt - model.una < 2:
                    break
                left = draw.choice([draw.choice(model.flights).seq, draw.randint(model.una + 1, model.nxt - 1)])
                right = min(model.nxt, left + draw.choice([1, 100, 100, 300, 1000, 5000]))
                if left > model.una:
                    board.sack(base + left & M, base + right & M, MSS, now)
                    model.sack(left, right)
            told(board, model, board.timed_out_at)
        elif action < 0.75:
            wait = draw.choice([0, 100, 10_000])
            assert board.lose_overdue(now, wait, MSS) == model.lose_overdue(board, now, wait, base)
        elif action < 0.92:
            flight, plain = board.next_lost(), model.first_lost()
            if flight is not None and plain is not None:
                size = min(plain.end - plain.seq, draw.choice([100, 100, 1000, 37]))
                board.sent_again(flight, size, now)
                model.cut(plain.seq + size)
                (plain,) = [one for one in model.flights if one.seq == plain.seq]
                plain.sent_at, plain.again, plain.lost = now, True, False
        elif action < 0.95:
            board.lose_at_timeout(now, 500, MSS)
            model.lose_at_timeout(board, now, 500)
        elif action < 0.97:
            board.restore()
            for plain in model.flights:
                plain.lost = False
        elif action < 0.98:
            board.lose_larger(MSS)
            for plain in model.flights:
                if not plain.sacked and not plain.lost and plain.end - plain.seq > MSS:
                    model.lose(plain)
        elif action < 0.99:
            first = model.flights[0]
            size = board.lose_first(MSS)
            if first.sacked or first.lost:
                assert size == 0
            else:
                assert size == min(MSS, first.end - first.seq)
                model.cut(min(first.seq + MSS, first.end))
                model.lose(model.flights[0])
        elif model.flights[0].sacked:
            assert board.renege()
            forget(board, model, base)
        else:
            assert not board.renege()
        compare(board, model, base)


def forget(board: Scoreboard, model: Model, base: int) -> None:
    """What was joined is one flight after that, sent when the first of them was: let the model have it so."""
    model.flights = [
        Plain(f.seq - base & M, f.end - base & M, f.sent_at, bool(f.retransmitted), bool(f.sacked), bool(f.lost))
        for f in board.flights[board.head :]
    ]
    assert not any(flight.sacked for flight in model.flights) and board.sacked == 0


def test_there_is_a_bound_on_flights() -> None:
    board = Scoreboard()
    board.most = 3
    for i in range(3):
        assert not board.is_full()
        board.sent(1000 * i, 1000 * (i + 1), 5)
    assert board.is_full()
    board.sack(1100, 1300, MSS, 6)
    assert (board.sacked, board.untaken, len(board.flights)) == (0, 1, 3), "one may not become three"
    board.cumulative(1000, 7)
    assert not board.is_full()


def test_a_list_that_is_over_is_let_go() -> None:
    """Acknowledged flights stay at its front until they are most of it, and not longer; a connection at rest keeps no order."""
    board = Scoreboard()
    board.most = 10_000
    for i in range(1000):
        board.sent(10 * i, 10 * i + 10, i + 1)
    board.sack(20, 30, MSS, 2000)
    board.lose_overdue(2000, 0, MSS)
    assert board.order is not None and board.losses is not None
    for i in range(1, 1000):
        board.cumulative(10 * i, 3000)
        assert len(board.flights) - board.head == 1000 - i and len(board.flights) <= max(65, 2 * (1001 - i))
    board.cumulative(10_000, 3000)
    assert board.flights == [] and board.order is None and board.losses is None


def test_nothing_is_kept_for_ever_of_what_is_sent_while_something_is_missing() -> None:
    """The order of sending is cleaned as it grows."""
    board = Scoreboard()
    board.most = 10_000
    for i in range(20):
        board.sent(100 * i, 100 * i + 100, i + 1)
    board.need_order()
    for i in range(20, 5000):
        board.sent(100 * i, 100 * i + 100, i + 40)
        board.cumulative(100 * (i - 10), i + 41)
        assert board.order is not None and len(board.order.queue) <= 120
    assert all(isinstance(flight, Flight) for flight in board.order.queue)


def test_what_is_lost_again_counts_in_segments() -> None:
    """A retransmission of several segments, cut by the device, is as many that were lost (tcp_mark_skb_lost())."""
    board = Scoreboard()
    board.sent(0, 3 * MSS + 1, 1000)
    board.lose(board.flights[0], MSS)
    assert board.lost_again == 0
    board.sent_again(board.flights[0], 3 * MSS + 1, 2000)
    board.lose_at_timeout(3000, 0, MSS)
    assert board.lost_again == 4
