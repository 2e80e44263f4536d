"""When to acknowledge (RFC 9293 section 3.8.6.3, RFC 5681 section 4.2)."""

import pytest

from fastnet._ring import PacketRing
from fastnet.devices import Wrapper
from fastnet.tcp.connection import Connection
from fastnet.tcp.states import State
from tests.peer import Peer, Wire


def connected(wire: Wire, options: list | None = None) -> tuple[Peer, Connection, int]:
    """A connection whose first, quick ACKs are over; and how far the peer is."""
    peer = Peer(wire)
    connection = peer.open(wire.stack.listen("0.0.0.0", 80), options)
    for i in range(16):
        assert len(peer.put("PA", 1 + 1000 * i, 1, b"x" * 1000)) == 1, "at once, while the peer's window is small"
        connection.receive(1000)
        wire.sent()
    return peer, connection, 16_001


def test_an_ack_waits_but_not_for_long() -> None:
    """RFC 9293 MUST-40, SHLD-18: less than half a second."""
    wire = Wire()
    peer, _connection, at = connected(wire, [("MSS", 1460)])
    assert peer.put("PA", at, 1, b"y" * 1000) == []
    ((when, ack),) = wire.wait(10)
    assert 0 < when < 0.5 and peer.relative(ack) == ("A", 1, at + 1000, b"")
    assert wire.counter("DelayedACKs") == 1


def test_every_second_full_segment_is_acknowledged() -> None:
    """RFC 9293 SHLD-19."""
    wire = Wire()
    peer, _connection, at = connected(wire, [("MSS", 1460)])
    answers = [len(peer.put("PA", at + 1000 * i, 1, b"y" * 1000)) for i in range(10)]
    assert answers == [0, 1] * 5
    # Small ones add up to the same.
    at += 10_000
    acked = at
    for i in range(40):
        for answer in peer.put("PA", at + 100 * i, 1, b"z" * 100):
            assert peer.relative(answer)[2] - acked <= 2000
            acked = peer.relative(answer)[2]
    assert acked > at + 1900


def test_a_burst_gets_one_ack_for_all() -> None:
    """RFC 9293 MUST-58, MUST-59."""
    wire = Wire()
    peer, _connection, at = connected(wire, [("MSS", 1460)])
    answers = wire.put(*(peer.packet("PA", at + 1000 * i, 1, b"y" * 1000) for i in range(7)))
    assert [peer.relative(p) for p in answers] == [("A", 1, at + 7000, b"")]


def test_out_of_order_is_acknowledged_at_once_and_so_is_what_fills_the_gap() -> None:
    """RFC 9293 MAY-13, RFC 5681 section 4.2."""
    wire = Wire()
    peer, _connection, at = connected(wire, [("MSS", 1460)])
    for i in (1, 2, 3):
        assert [peer.relative(p)[2] for p in peer.put("PA", at + 1000 * i, 1, b"y" * 1000)] == [at]
    assert [peer.relative(p)[2] for p in peer.put("PA", at, 1, b"y" * 500)] == [at + 500], "a part of the gap"
    assert [peer.relative(p)[2] for p in peer.put("PA", at + 500, 1, b"y" * 500)] == [at + 4000]


def test_a_duplicate_and_a_fin_are_acknowledged_at_once() -> None:
    wire = Wire()
    peer, connection, at = connected(wire, [("MSS", 1460)])
    assert len(peer.put("PA", at - 1000, 1, b"x" * 1000)) == 1
    assert [peer.relative(p)[2] for p in peer.put("FA", at, 1)] == [at + 1]
    assert connection.state == State.CLOSE_WAIT


def test_every_copy_of_a_fin_is_acknowledged() -> None:
    """Its sender waits for that; only what takes no sequence number is answered sparingly (tcp_oow_rate_limited())."""
    wire = Wire()
    peer = Peer(wire)
    peer.open(wire.stack.listen("0.0.0.0", 80))
    for _ in range(4):
        assert [peer.relative(p) for p in peer.put("FA", 1, 1)] == [("A", 1, 2, b"")]
        wire.wait(0.2)
    assert wire.counter("TCPACKSkippedSeq") == 0


def test_acks_outside_the_window_are_answered_sparingly() -> None:
    """Two ends that disagree must not answer each other for ever."""
    wire = Wire()
    peer = Peer(wire)
    peer.open(wire.stack.listen("0.0.0.0", 80))
    assert [len(peer.put("A", 500_000, 1)) for _ in range(5)] == [1, 0, 0, 0, 0]
    assert wire.counter("TCPACKSkippedSeq") == 4
    wire.wait(0.6)
    assert len(peer.put("A", 500_000, 1)) == 1


def test_data_takes_the_ack_along() -> None:
    wire = Wire()
    peer, connection, at = connected(wire, [("MSS", 1460)])
    assert peer.put("PA", at, 1, b"question") == []
    connection.send(b"answer")
    assert [peer.relative(p) for p in wire.sent()] == [("PA", 1, at + 8, b"answer")]
    assert [p for _, p in wire.wait(0.15)] == [], "and no ACK of its own follows"


def test_a_program_that_answers_makes_acks_wait() -> None:
    """Ping-pong: from the first answer on, even the quick ACKs of the beginning wait for the next (tcp_event_data_sent())."""
    wire = Wire()
    peer = Peer(wire)
    connection = peer.open(wire.stack.listen("0.0.0.0", 80))
    assert len(peer.put("PA", 1, 1, b"q")) == 1
    connection.send(b"a")
    wire.sent()
    for i in range(1, 10):
        assert peer.put("PA", 1 + i, 1 + i, b"q") == []
        connection.send(b"a")
        assert [peer.relative(p) for p in wire.sent()] == [("PA", 1 + i, 2 + i, b"a")]


@pytest.mark.parametrize("data", [b"", b"x"])
def test_an_ack_is_never_acknowledged(data: bytes) -> None:
    wire = Wire()
    peer = Peer(wire)
    connection = peer.open(wire.stack.listen("0.0.0.0", 80))
    connection.send(data)
    wire.sent()
    assert peer.put("A", 1, 1 + len(data)) == []
    assert wire.wait(100) == []


class PutTogether(Wrapper):
    """A device in front of another that says of large packets that they are of segments of so many bytes of data each (TSO, GRO)."""

    def __init__(self, wire: Wire, size: int) -> None:
        super().__init__(wire.device)
        self.size = size

    def receive(self, ring: PacketRing) -> int:
        count = super().receive(ring)
        for slot in range(count):
            ring.segment_sizes[slot] = self.size if ring.lengths[slot] > self.size + 40 else 0
        return count


@pytest.mark.parametrize(("size", "waits"), [(2000, False), (1001, False), (1000, True)])
def test_full_is_what_the_peer_sends_whatever_the_device_puts_together(size: int, waits: bool) -> None:
    """RFC 9293 SHLD-18, MUST-58: full is the size of the peer's segments, which are smaller here than the largest that this end takes."""
    wire = Wire(mtu=9000)
    wire.stack.device = PutTogether(wire, 1000)
    peer, connection, at = connected(wire, [("MSS", 8960)])
    for _ in range(20):
        peer.put("A", at, 1, b"x" * 8000)
        at += 8000
        connection.receive(1 << 20)
    wire.wait(0.1)
    answers = peer.put("PA", at, 1, b"y" * size)
    assert [peer.relative(p)[2] for p in answers] == ([] if waits else [at + size])
