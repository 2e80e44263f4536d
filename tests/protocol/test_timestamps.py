"""TS.Recent: what it follows, and when it says nothing (RFC 7323 sections 3.2, 4.3 and 5)."""

import pytest
from scapy.layers.inet import TCP
from scapy.packet import Packet

from fastnet.tcp.connection import Connection
from fastnet.tcp.states import State
from tests.peer import Peer, Wire

DAY = 24 * 3600


def stamp(value: int, echo: int = 0) -> list:
    return [("Timestamp", (value, echo))]


def connected(wire: Wire, value: int = 100) -> tuple[Peer, Connection]:
    """A connection whose peer's clock is at ``value``."""
    peer = Peer(wire)
    peer.options = stamp(value)
    return peer, peer.open(wire.stack.listen("0.0.0.0", 80), stamp(value))


def echo(packet: Packet) -> int:
    """TSecr of what the stack sent."""
    return int(dict(packet[TCP].options)["Timestamp"][1])


def test_the_echo_is_of_the_first_segment_that_an_ack_covers() -> None:
    """Section 4.3: TS.Recent follows Last.ACK.sent, so that the time an ACK was delayed is in the peer's round trip."""
    wire = Wire()
    peer, _ = connected(wire)
    (ack,) = wire.put(*(peer.packet("PA", 1 + i, 1, b"a", options=stamp(200 + 10 * i)) for i in range(3)))
    assert echo(ack) == 200
    assert peer.relative(ack)[2] == 4


def test_a_segment_behind_a_hole_is_not_echoed() -> None:
    """Section 4.3, (b)."""
    wire = Wire()
    peer, _ = connected(wire)
    (ack,) = wire.put(peer.packet("PA", 101, 1, b"ahead", options=stamp(300)))
    assert echo(ack) == 100
    (ack,) = wire.put(peer.packet("PA", 1, 1, b"x" * 100, options=stamp(250)))
    assert echo(ack) == 250


def test_the_segment_that_completes_the_handshake_may_lie_behind_a_hole() -> None:
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn(stamp(100))
    wire.put(peer.packet("PA", 101, 1, b"ahead", options=stamp(300)))
    connection = listener.accept()
    assert connection is not None and connection.ts_recent == 100
    wire.put(peer.packet("PA", 1, 1, b"x" * 100, options=stamp(250)))
    assert connection.readable() == 105 and wire.counter("PAWSEstab") == 0


@pytest.mark.parametrize(("days", "lives"), [(23, False), (25, True)])
def test_a_timestamp_says_nothing_after_24_days(days: int, lives: bool) -> None:
    """Section 5.5: the peer's clock may have gone half its way round."""
    wire = Wire()
    peer, connection = connected(wire, 1)
    wire.wait(days * DAY)
    old = stamp(1 + (1 << 31) + 5)
    wire.put(peer.packet("PA", 1, 1, b"hello", options=old))
    assert connection.readable() == (5 if lives else 0)
    assert wire.counter("PAWSEstab") == (not lives)
    if lives:
        assert connection.ts_recent == 1 + (1 << 31) + 5


def test_zero_is_a_timestamp_that_is_not_known() -> None:
    """Some peers' SYNs say 0, and their first segments what they like (tcp_paws_check())."""
    wire = Wire()
    peer, connection = connected(wire, 0)
    wire.put(peer.packet("PA", 1, 1, b"hello", options=stamp(0xF0000000)))
    assert connection.readable() == 5 and connection.ts_recent == 0xF0000000


def test_zero_in_the_handshake() -> None:
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn(stamp(0))
    assert wire.put(peer.packet("A", 1, 1, options=stamp(0xF0000000))) == []
    assert listener.accept() is not None


def test_what_has_no_timestamp_is_dropped_and_ends_nothing() -> None:
    """Section 3.2: SHOULD silently drop; MUST NOT abort. A RST needs none, and a SYN is challenged (RFC 5961 section 4.2)."""
    wire = Wire()
    peer, connection = connected(wire)
    assert wire.put(peer.packet("PA", 1, 1, b"hello", options=[])) == []
    assert connection.readable() == 0 and connection.state == State.ESTABLISHED and wire.counter("TcpInNoTimestamp") == 1
    (challenge,) = wire.put(peer.packet("S", 0, options=[]))
    assert peer.relative(challenge)[:3] == ("A", 1, 1) and wire.counter("TCPSYNChallenge") == 1
    wire.put(peer.packet("R", 1, options=[]))
    assert connection.state == State.CLOSED


def test_a_final_ack_without_timestamp_completes_nothing() -> None:
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn(stamp(100))
    assert wire.put(peer.packet("A", 1, 1)) == [] and listener.accept() is None and wire.counter("TcpInNoTimestamp") == 1
    wire.put(peer.packet("A", 1, 1, options=stamp(101)))
    assert listener.accept() is not None
