"""Two ends that disagree about numbers must not answer each other without end, whatever tcp_invalid_ratelimit says."""

from __future__ import annotations

from itertools import product

import pytest
from scapy.layers.inet import TCP

from fastnet._headers import ACK
from fastnet.devices import Impairment
from fastnet.tcp.connection import Connection
from fastnet.tcp.states import State
from fastnet.tcp.timewait import TimeWait
from fastnet.twins import Twins
from tests.pair import LOCAL_PORT, MASK, PORT, B
from tests.peer import SECOND, Peer, Wire


def open_twins(timestamps: int) -> tuple[Twins, Connection, Connection]:
    settings = {"tcp_invalid_ratelimit": 0, "tcp_timestamps": timestamps}
    twins = Twins(Impairment(delay=20_000_000), settings_a=settings, settings_b=settings)
    listener = twins.b.listen("0.0.0.0", PORT)
    a = twins.a.connect(B, PORT, local_port=LOCAL_PORT)
    b = None
    while b is None:
        assert twins.step()
        b = listener.accept()
    twins.pass_time(1)
    return twins, a, b


def move(end: Connection | TimeWait, offset: int) -> None:
    """RCV.NXT is not where the other end believes it to be."""
    end.rcv_nxt = end.rcv_nxt + offset & MASK
    if isinstance(end, Connection):
        end.rcv_adv = end.rcv_adv + offset & MASK


def packets_after_an_ack(twins: Twins, ends: list[Connection | TimeWait]) -> int:
    """Each end says where it is, once; how many packets there are in 20 s."""
    before = twins.a.counters.IpOutRequests + twins.b.counters.IpOutRequests
    for stack, end in zip((twins.a, twins.b), ends, strict=True):
        stamps = end.handshake.timestamps
        stamp = twins.clock() // 1_000_000 + end.handshake.ts_offset & MASK
        stack.context.writer.control(end.handshake.flow, end.snd_nxt, end.rcv_nxt, ACK, 500, stamps, stamp, end.ts_recent)
        stack.flush(twins.clock())
    twins.pass_time(20)
    return twins.a.counters.IpOutRequests + twins.b.counters.IpOutRequests - before


OFFSETS = (0, 1, 100, -1, -100, 1 << 20, -(1 << 20), 1 << 31)
"""By how much a number of one end is moved from where the other believes it to be."""


@pytest.mark.parametrize("timestamps", [0, 1])
@pytest.mark.parametrize("over", [False, True])
def test_no_ping_pong(over: bool, timestamps: int) -> None:
    """RCV.NXT of both ends moved, as a stranger's data does it, in ESTABLISHED or TIME-WAIT: it is over after a few answers."""
    for forth, back in product(OFFSETS, OFFSETS):
        twins, a, b = open_twins(timestamps)
        ends: list[Connection | TimeWait] = [a, b]
        if over:
            for connection in (a, b):
                connection.close(twins.clock())
            twins.pass_time(1)
            ends = [end for stack in (twins.a, twins.b) for end in stack.context.endpoints if isinstance(end, TimeWait)]
        for end, offset in zip(ends, (forth, back), strict=True):
            move(end, offset)
        count = packets_after_an_ack(twins, ends)
        assert count < 10, f"{count} packets for RCV.NXT off by {forth} and {back}"


def test_both_ends_believe_in_a_later_clock() -> None:
    """TS.Recent of both was poisoned: each refuses what the other says (PAWS)."""
    twins, a, b = open_twins(1)
    for connection in (a, b):
        connection.ts_recent = connection.ts_recent + 1_000_000 & MASK
    assert packets_after_an_ack(twins, [a, b]) < 10
    assert twins.a.counters.PAWSEstab + twins.b.counters.PAWSEstab >= 2


def test_a_probe_is_answered_each_time() -> None:
    """A keep-alive's number lies before RCV.NXT: its peer may have lost the answer, and asks again the same."""
    wire = Wire(tcp_invalid_ratelimit=0)
    peer = Peer(wire)
    connection = peer.open(wire.stack.listen("0.0.0.0", 80))
    for _ in range(5):
        (answer,) = peer.put("A", 0, 1)
        assert peer.relative(answer)[1:3] == (1, 1)
    assert connection.state == State.ESTABLISHED


@pytest.mark.parametrize(("seq", "ack"), [(1, 5000), (90_000, 1), (0, 5000)])
def test_what_is_no_probe_is_answered_less_and_less(seq: int, ack: int) -> None:
    """An ACK of what was not sent, and a number beyond the window: as RFC 9293 section 3.10.7.4 says, and at once when it is another."""
    wire = Wire(tcp_invalid_ratelimit=0)
    peer = Peer(wire)
    peer.open(wire.stack.listen("0.0.0.0", 80))
    assert len(peer.put("A", seq, ack)) == 1
    assert [peer.put("A", seq, ack) for _ in range(5)] == [[]] * 5
    assert wire.counter("TCPACKSkippedSeq") + wire.counter("TCPACKSkippedChallenge") == 5
    waits = []
    for i in range(200):
        wire.now += SECOND // 10
        if peer.put("A", seq, ack):
            waits.append(i)
    assert waits == [4, 14, 34, 74, 154], "the same again after 0.5 s, 1 s, 2 s, 4 s, 8 s"
    assert len(peer.put("A", seq, ack + 1)) == 1
    assert len(peer.put("A", seq, ack, b"data")) == 1, "text is always answered"


def test_what_was_not_answered_for_the_rate_is_answered_later() -> None:
    wire = Wire()
    peer = Peer(wire)
    peer.open(wire.stack.listen("0.0.0.0", 80))
    assert [len(peer.put("A", 1, 5000 + i)) for i in range(3)] == [1, 0, 0]
    wire.now += SECOND
    assert len(peer.put("A", 1, 5002)) == 1


def test_time_wait_answers_once() -> None:
    wire = Wire(tcp_invalid_ratelimit=0)
    peer = Peer(wire)
    connection = peer.open(wire.stack.listen("0.0.0.0", 80))
    connection.close(wire.now)
    wire.sent()
    peer.put("FA", 1, 2)
    assert connection.state == State.TIME_WAIT
    assert [len(peer.put("A", 500, 2)) for _ in range(3)] == [1, 0, 0] and wire.counter("TCPACKSkippedTimeWait") == 2
    assert [len(peer.put("A", 1, 2)) for _ in range(3)] == [1, 1, 1], "a probe"
    (answer,) = peer.put("FA", 1, 2)
    assert answer[TCP].flags == "A"
