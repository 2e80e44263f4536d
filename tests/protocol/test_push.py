"""PSH, and what may be put together before it (RFC 9293 section 3.9.1.2)."""

import pytest
from scapy.layers.inet import TCP

from fastnet.tcp.connection import Connection
from tests.peer import Peer, Wire


def connected(wire: Wire) -> tuple[Peer, Connection]:
    peer = Peer(wire)
    return peer, peer.open(wire.stack.listen("0.0.0.0", 80), [("MSS", 1000)])


def test_successive_sends_share_one_push() -> None:
    """RFC 9293 SHLD-27: ten calls, of which each pushes, are three segments; only the last says PSH."""
    wire = Wire()
    _peer, connection = connected(wire)
    connection.nodelay = True
    for _ in range(10):
        connection.send(b"x" * 250)
    sent = wire.sent()
    assert [len(p[TCP].payload) for p in sent] == [1000, 1000, 500]
    assert ["P" in str(p[TCP].flags) for p in sent] == [False, False, True]


def test_corked_data_is_put_together() -> None:
    """RFC 9293 MAY-16: whole segments leave, the rest waits until it is let go."""
    wire = Wire()
    peer, connection = connected(wire)
    connection.set_cork(True)
    for _ in range(6):
        connection.send(b"x" * 250)
    assert [len(p[TCP].payload) for p in wire.sent()] == [1000]
    connection.send(b"y" * 100)
    assert wire.sent() == []
    connection.set_cork(False)
    assert wire.sent() == [], "Nagle's algorithm is still there"
    assert [len(p[TCP].payload) for p in peer.put("A", 1, 1001)] == [600]


def test_letting_go_of_the_cork_sends_what_waits() -> None:
    """tcp(7), TCP_CORK: what is queued is sent when the option is cleared; with nothing on its way, Nagle has nothing to wait for."""
    wire = Wire()
    peer, connection = connected(wire)
    connection.set_cork(True)
    connection.send(b"x" * 250)
    assert wire.sent() == []
    wire.wait(0.1)
    connection.set_cork(False)
    assert [peer.relative(p) for p in wire.sent()] == [("PA", 1, 1, b"x" * 250)]
    peer.put("A", 1, 251)
    assert wire.wait(10) == [], "and its 200 ms are over and done with"


@pytest.mark.parametrize("nodelay", [False, True])
def test_the_cork_holds_back_what_nodelay_would_send(nodelay: bool) -> None:
    """tcp(7): TCP_CORK overrides TCP_NODELAY; without it, TCP_NODELAY is in force again."""
    wire = Wire()
    _peer, connection = connected(wire)
    connection.nodelay = nodelay
    connection.send(b"x")
    assert len(wire.sent()) == 1
    connection.set_cork(True)
    connection.send(b"y")
    assert wire.sent() == []
    connection.set_cork(False)
    assert len(wire.sent()) == nodelay


def test_letting_go_sends_at_once() -> None:
    """TCP_CORK off: with nothing on its way, the rest leaves without waiting for the cork's 200 ms."""
    wire = Wire()
    peer, connection = connected(wire)
    connection.set_cork(True)
    connection.send(b"x" * 10)
    assert wire.sent() == []
    connection.set_cork(False)
    assert [peer.relative(packet) for packet in wire.sent()] == [("PA", 1, 1, b"x" * 10)]


def test_a_cork_does_not_hold_for_ever() -> None:
    """RFC 9293 MUST-60, tcp(7): 200 ms."""
    wire = Wire()
    peer, connection = connected(wire)
    connection.set_cork(True)
    connection.send(b"x" * 10)
    assert wire.sent() == []
    (when, packet), *_ = wire.wait(0.3)
    assert round(when, 2) == 0.2 and peer.relative(packet) == ("PA", 1, 1, b"x" * 10)


@pytest.mark.parametrize("flags", ["A", "PA"])
def test_data_is_handed_over_with_and_without_push(flags: str) -> None:
    """RFC 9293 section 3.9.1.3: the reader need not wait for a PSH."""
    wire = Wire()
    peer, connection = connected(wire)
    peer.put(flags, 1, 1, b"data")
    assert connection.receive(9) == b"data"


def test_the_fin_lets_go_what_is_corked() -> None:
    wire = Wire()
    peer, connection = connected(wire)
    connection.set_cork(True)
    connection.send(b"last")
    connection.close(wire.now)
    assert [peer.relative(p) for p in wire.sent()] == [("FPA", 1, 1, b"last")]
