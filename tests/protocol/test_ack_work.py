"""What an ACK costs does not depend on how much is on its way, or lost: lines of the protocol's Python, counted, not timed."""

from __future__ import annotations

import struct
import sys
from types import FrameType
from typing import Any

import pytest

import fastnet.tcp.scoreboard
from fastnet.tcp.connection import Connection
from tests.fuzz.packets import tcp_packet
from tests.pair import check
from tests.peer import MILLISECOND, PEER, STACK, M, Peer, Wire

pytestmark = pytest.mark.skipif(
    not str(fastnet.tcp.scoreboard.__file__).endswith(".py"), reason="lines of compiled code cannot be counted; it is the same code"
)

MSS = 100
FEW, MANY = 128, 1024
ACK = 16


class Counting:
    """A connection with ``count`` segments on their way, and the lines that each ACK of its peer's takes.

    :ivar lines: of each ACK so far
    """

    def __init__(self, count: int) -> None:
        self.wire = Wire(tcp_wmem=(4096, 1 << 20, 1 << 20))
        peer = Peer(self.wire)
        listener = self.wire.stack.listen("0.0.0.0", 80)
        peer.syn([("MSS", MSS), ("WScale", 8), ("SAckOK", b"")])
        self.wire.now += 20 * MILLISECOND
        peer.put("A", 1, 1, window=0xFFFF)
        connection = listener.accept()
        assert connection is not None
        self.connection: Connection = connection
        connection.nodelay = True
        sender = connection.need_sender()
        sender.recovery.congestion.cwnd = count * MSS
        self.first = connection.snd_una
        self.seq = connection.rcv_nxt
        self.count = count
        connection.send(bytes(count * MSS))
        self.wire.stack.flush(self.wire.now)
        self.wire.device.drain()
        assert connection.snd_nxt - self.first & M == count * MSS
        self.lines: list[int] = []

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        """Count the lines of the protocol, and nobody else's."""
        if "/fastnet/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            self.lines[-1] += 1
        return self.trace

    def ack(self, una: int, *blocks: tuple[int, int], after: int = 0) -> None:
        """An ACK of everything before a segment, with SACK blocks of segments."""
        self.wire.now += after
        edges = [self.first + MSS * edge & M for block in blocks for edge in block]
        option = struct.pack(f">BBBB{len(edges)}I", 1, 1, 5, 2 + 4 * len(edges), *edges) if edges else b""
        packet = tcp_packet((PEER, 40000, STACK, 80), self.seq, self.first + MSS * una, ACK, 0xFFFF, option, b"", 0)
        self.wire.device.inject(packet)
        self.lines.append(0)
        before = sys.gettrace()
        sys.settrace(self.trace)
        try:
            self.wire.stack.poll(self.wire.now)
        finally:
            sys.settrace(before)
        self.wire.device.drain()

    @property
    def mean(self) -> float:
        return sum(self.lines) / len(self.lines)


def every_other_is_lost(talk: Counting) -> None:
    """SACKs of every other segment, one a millisecond: RACK finds each of the others lost, and CWND lets few out again."""
    talk.connection.need_sender().recovery.congestion.ssthresh = 20 * MSS
    for i in range(1, talk.count, 2):
        talk.ack(0, (i, i + 1), after=MILLISECOND if i == 1 else 100)


def all_but_the_last_are_lost(talk: Counting) -> None:
    """The last segment arrives: all before it are lost at once; each ACK lets one out."""
    talk.ack(0, (talk.count - 4, talk.count), after=20 * MILLISECOND)
    for i in range(1, talk.count // 2):
        talk.ack(i, (talk.count - 4, talk.count), after=100_000)


def all_may_be_late(talk: Counting) -> None:
    """Order was seen to mean little: what is behind is waited for, with all of it within the reordering window."""
    talk.connection.need_sender().recovery.board.rack.reordering_seen = True
    talk.ack(0, (talk.count - 1, talk.count), after=20 * MILLISECOND)
    for i in range(1, talk.count // 2):
        talk.ack(i, (talk.count - 1 - i % 3, talk.count), after=1000)


def blocks_from_behind(talk: Counting) -> None:
    """Each ACK has a new block, far from the one before, so that nothing joins; then the gaps are filled."""
    middle = talk.count // 2
    for i in range(1, talk.count // 4):
        talk.ack(0, (2 * i, 2 * i + 1), (middle + 2 * i, middle + 2 * i + 1), after=1000)
    for i in range(1, talk.count // 4):
        talk.ack(0, (2 * i - 1, 2 * i), (middle + 2 * i - 1, middle + 2 * i), after=1000)


def sacked_and_taken_back(talk: Counting) -> None:
    """Each second ACK takes back what the one before it has said."""
    for i in range(talk.count // 4):
        talk.ack(2 * i, (2 * i + 1, 2 * i + 2), after=1000)
        talk.ack(2 * i + 1, after=1000)


def retransmissions_are_lost_too(talk: Counting) -> None:
    """What was sent again is lost again, low numbers between high ones."""
    talk.ack(0, (talk.count - 4, talk.count), after=20 * MILLISECOND)
    for i in range(talk.count // 4):
        at = talk.count - 6 - 2 * i
        talk.ack(0, (at, at + 1), after=25 * MILLISECOND if i % 8 == 0 else 1000)


@pytest.mark.parametrize(
    "peer",
    [
        every_other_is_lost,
        all_but_the_last_are_lost,
        all_may_be_late,
        blocks_from_behind,
        sacked_and_taken_back,
        retransmissions_are_lost_too,
    ],
)
def test_an_ack_costs_the_same_whatever_is_lost(peer: Any) -> None:
    """With eight times as much on its way, an ACK takes not even half more on average: a look-up is three steps longer."""
    few, many = Counting(FEW), Counting(MANY)
    peer(few)
    check(few.connection)
    peer(many)
    check(many.connection)
    assert many.mean < 1.5 * few.mean, f"{few.mean:.0f} lines with {FEW} on their way, {many.mean:.0f} with {MANY}"


@pytest.mark.parametrize("count", [FEW, MANY])
def test_the_worst_of_many_acks_is_paid_for(count: int) -> None:
    """One ACK may find everything lost; it costs so much a segment, and the ones that follow do not pay for it again."""
    talk = Counting(count)
    all_but_the_last_are_lost(talk)
    assert max(talk.lines) == talk.lines[0] < 60 * count + 1000
    assert max(talk.lines[1:]) < 1200, "as many at either count"
