"""What a connection with a fault says on the wire and to its program, segment by segment, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import TCP

from fastnet.server.faults import (
    Corrupt,
    DelayAck,
    Duplicate,
    Fault,
    FinAfter,
    HalfOpen,
    NeverAck,
    Reorder,
    ResetAfter,
    ResetAfterAccept,
    Silence,
    Trickle,
    ZeroWindow,
    policy,
)
from fastnet.tcp.states import State
from tests.peer import STACK, Peer, Wire


def accepted(*faults: Fault, answers: int = 0) -> tuple[Wire, Peer, Any]:
    """A connection with faults, accepted; ``answers``: packets that follow the handshake at once."""
    wire = Wire()
    listener = wire.stack.listen(STACK, 80)
    listener.set_policy(policy(lambda flow: faults))
    peer = Peer(wire)
    peer.syn()
    assert len(peer.put("A", 1, 1)) == answers
    return wire, peer, listener.accept()


def data(peer: Peer, packets: list[Any]) -> list[tuple[str, int, bytes]]:
    return [(flags, seq, payload) for flags, seq, _, payload in map(peer.relative, packets)]


def test_before_its_end_a_fin_is_the_programs_business() -> None:
    """RFC 9293 section 3.10.7.4: CLOSE-WAIT, in which the program may go on sending."""
    wire, peer, connection = accepted(FinAfter(100))
    assert [str(p[TCP].flags) for p in peer.put("FA", 1, 1)] == ["A"]
    assert connection.state == State.CLOSE_WAIT and connection.fin_received
    assert connection.send(b"abc") == 3
    assert data(peer, wire.sent()) == [("PA", 1, b"abc")]


def test_fin_after() -> None:
    """n bytes and a FIN; what the program says after it is taken and forgotten, and the peer's FIN ends the connection."""
    wire, peer, connection = accepted(FinAfter(3))
    assert connection.writable() > 3
    assert connection.send(b"abcdef") == 6, "the program is told that it is sent"
    sent = wire.sent()
    assert b"".join(bytes(p[TCP].payload) for p in sent) == b"abc" and "F" in str(sent[-1][TCP].flags)
    assert connection.writable() == 0 and connection.send(b"xyz") == 3
    assert wire.sent() == []
    peer.put("A", 1, 5)
    assert [peer.relative(p) for p in peer.put("PA", 1, 5, b"hello")] == [("A", 5, 6, b"")]
    assert connection.readable() == 0, "nobody reads it"
    assert peer.relative(peer.put("FA", 6, 5)[-1]) == ("A", 5, 7, b"")
    assert connection.state == State.TIME_WAIT and connection.orphan, "the stack does the rest alone"


def test_fin_after_exactly() -> None:
    """The end is where n bytes are, in however many calls."""
    wire, peer, connection = accepted(FinAfter(3))
    assert connection.send(b"ab") == 2
    assert data(peer, wire.sent()) == [("PA", 1, b"ab")]
    assert connection.writable() > 0 and connection.state == State.ESTABLISHED
    peer.put("A", 1, 3)
    assert connection.send(b"c") == 1
    sent = wire.sent()
    assert b"".join(bytes(p[TCP].payload) for p in sent) == b"c" and "F" in str(sent[-1][TCP].flags)


def test_reset_after() -> None:
    """n bytes and a RST right behind them: its sequence number is the next one."""
    wire, peer, connection = accepted(ResetAfter(3))
    assert connection.send(b"abcdef") == 6
    first, last = wire.sent()
    assert data(peer, [first]) == [("PA", 1, b"abc")]
    assert "R" in str(last[TCP].flags) and peer.relative(last)[1] == 4
    assert connection.state == State.CLOSED


def test_reset_after_accept() -> None:
    wire, _peer, connection = accepted(ResetAfterAccept(), answers=1)
    assert connection.state == State.CLOSED and wire.sent() == []


@pytest.mark.parametrize("fault", [NeverAck(), HalfOpen(0)])
def test_nothing_is_acknowledged(fault: Fault) -> None:
    """Neither data nor a FIN; only who is gone says nothing itself."""
    wire, peer, connection = accepted(fault)
    assert peer.put("PA", 1, 1, b"hello") == []
    assert peer.put("FA", 6, 1) == []
    assert wire.wait(1) == []
    assert connection.readable() == 0 and not connection.fin_received
    sent = connection.send(b"abc")
    if isinstance(fault, NeverAck):
        assert sent == 3 and peer.relative(wire.sent()[0]) == ("PA", 1, 1, b"abc")
    else:
        assert sent == 0 and wire.sent() == []


def test_half_open_after_some_bytes() -> None:
    """The n-th byte is the last that is heard: what comes with or behind it finds nobody, for ever."""
    wire, peer, connection = accepted(HalfOpen(5))
    assert [peer.relative(p) for p in peer.put("PA", 1, 1, b"abcd")] == [("A", 1, 5, b"")]
    assert connection.receive(10) == b"abcd"
    wire.wait(1)
    assert peer.put("PA", 5, 1, b"e") == []
    assert connection.gone
    assert [p for _, p in wire.wait(600)] == []
    assert peer.put("PA", 5, 1, b"e") == []
    connection.abort(wire.now)
    assert wire.sent() == [], "a host without power sends no RST"


def test_silence() -> None:
    """All is acknowledged and nothing said, not even when the client has closed."""
    wire, peer, connection = accepted(Silence())
    assert [peer.relative(p) for p in peer.put("PA", 1, 1, b"hello")] == [("A", 1, 6, b"")]
    assert [peer.relative(p) for p in peer.put("FA", 6, 1)] == [("A", 1, 7, b"")]
    assert connection.readable() == 0 and connection.receive(10) == b"" and connection.writable() == 0
    assert connection.send(b"abc") == 0
    connection.shutdown()
    connection.close(wire.now)
    assert wire.sent() == []
    assert connection.state == State.CLOSE_WAIT


def test_zero_window_counts_what_was_read() -> None:
    """n bytes are taken; the window's right edge stays where it is, whatever the program reads."""
    wire, peer, connection = accepted(ZeroWindow(4))
    peer.put("PA", 1, 1, b"ab")
    assert connection.receive(10) == b"ab"
    wire.wait(1)
    (ack,) = peer.put("PA", 3, 1, b"cd")
    assert peer.relative(ack) == ("A", 1, 5, b"") and ack[TCP].window == 0
    assert connection.receive(10) == b"cd"
    wire.wait(5)
    (ack,) = peer.put("A", 4, 1)
    assert peer.relative(ack) == ("A", 1, 5, b"") and ack[TCP].window == 0, "the answer to a probe"


def test_trickle() -> None:
    """n bytes at a time and one portion each t seconds, each a segment of its own."""
    wire, peer, connection = accepted(Trickle(2, 0.5))
    connection.nodelay = True
    start, at, left = wire.now, [], b"abcde"
    while left:
        left = left[connection.send(left) :]
        for packet in wire.sent():
            at.append(((wire.now - start) / 1e9, bytes(packet[TCP].payload)))
            peer.put("A", 1, peer.relative(packet)[1] + len(packet[TCP].payload))
        if left:
            assert connection.writable() == 0
            wire.wait(0.5)
    assert at == [(0.0, b"ab"), (0.5, b"cd"), (1.0, b"e")]


def test_delay_ack() -> None:
    """An ACK that has no data to go with waits t seconds; data takes it along."""
    wire, peer, connection = accepted(DelayAck(0.3))
    assert peer.put("PA", 1, 1, b"ab") == []
    assert [(round(when, 3), peer.relative(p)) for when, p in wire.wait(2)] == [(0.3, ("A", 1, 3, b""))]
    assert peer.put("PA", 3, 1, b"cd") == []
    connection.send(b"x")
    assert data(peer, wire.sent()) == [("PA", 1, b"x")]
    peer.put("A", 5, 2)
    assert wire.wait(2) == [], "it went with the data"


def test_duplicate_reorder_and_corrupt_by_probability() -> None:
    """Probability 1: every segment twice; the first of two behind the second; one bit of every packet wrong."""
    wire, peer, connection = accepted(Duplicate(1.0))
    connection.send(b"abc")
    assert data(peer, wire.sent()) == [("PA", 1, b"abc")] * 2
    wire, peer, connection = accepted(Reorder(1.0))
    connection.send(b"x" * 536 + b"y" * 536)
    assert [seq for _, seq, _ in data(peer, wire.sent())] == [537, 1]
    wire, peer, connection = accepted(Corrupt(1.0))
    connection.send(b"abc")
    wire.stack.flush(wire.now)
    (raw,) = wire.device.drain()
    good = bytes(raw)
    wire, peer, connection = accepted(Duplicate(0.0), Reorder(0.0), Corrupt(0.0))
    connection.send(b"abc")
    (clean,) = wire.sent()
    wrong = [i for i, (a, b) in enumerate(zip(good, bytes(clean), strict=True)) if a != b]
    assert len(wrong) == 1 and wrong[0] >= 20
    assert (good[wrong[0]] ^ bytes(clean)[wrong[0]]).bit_count() == 1
