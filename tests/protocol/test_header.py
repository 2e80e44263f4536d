"""What a program may say about the IP header of its packets: TTL and the DS field (RFC 9293 sections 3.9.1.9 and 3.9.2)."""

import pytest
from scapy.layers.inet import IP, TCP

from fastnet.tcp.connection import Connection
from fastnet.tcp.states import State
from tests.peer import Peer, Wire, call


def connected(wire: Wire, port: int = 80) -> tuple[Peer, Connection]:
    peer = Peer(wire, port=port)
    return peer, peer.open(wire.stack.listen("0.0.0.0", port))


def worn(packets: list) -> set[tuple[int, int]]:
    return {(p[IP].ttl, p[IP].tos) for p in packets}


def test_ttl_of_the_stack() -> None:
    """RFC 9293 MUST-49: ip_default_ttl."""
    wire = Wire(ip_default_ttl=99)
    peer, _connection = connected(wire)
    assert worn(peer.put("PA", 1, 1, b"x")) == {(99, 0)}


def test_ttl_and_ds_of_a_connection() -> None:
    """RFC 9293 MUST-48, MUST-49: of every packet of it, whatever it is for, and of no other's."""
    wire = Wire()
    peer, connection = connected(wire)
    _other, plain = connected(wire, 81)
    connection.change_path(ttl=5, tos=0xB8)
    sent = peer.put("PA", 1, 1, b"x")
    connection.send(b"data")
    plain.send(b"data")
    both = wire.sent()
    assert worn([p for p in both if p[TCP].sport == 81]) == {(64, 0)}
    sent += [p for p in both if p[TCP].sport == 80]
    sent += [p for _, p in wire.wait(2) if p[TCP].sport == 80]
    sent += peer.put("S", 50)
    connection.receive(9)
    connection.close(wire.now)
    sent += wire.sent() + peer.put("A", 2, 5)
    connection.abort(wire.now)
    sent += wire.sent()
    assert worn(sent) == {(5, 0xB8)} and connection.state == State.CLOSED
    assert {str(p[TCP].flags) for p in sent} == {"A", "PA", "FA", "RA"}
    assert worn(Peer(wire, port=82).put("S")) == {(64, 0)}, "what comes after it is as before"


def dress(connection: Connection, ttl: int, tos: int) -> None:
    connection.change_path(ttl=ttl, tos=tos)


def test_ds_may_change_while_the_connection_lasts() -> None:
    """RFC 9293 SHLD-21."""
    wire = Wire()
    _peer, connection = connected(wire)
    connection.nodelay = True
    seen = []
    for tos in (0, 0x28, 0x48, 0):
        connection.change_path(tos=tos)
        connection.send(b"x")
        seen += [p[IP].tos for p in wire.sent()]
    assert seen == [0, 0x28, 0x48, 0]


@pytest.mark.parametrize("tos", [0, 4, 0x20, 0xB8, 0xE0, 0xFC])
@pytest.mark.parametrize("ttl", [1, 64, 255])
def test_passed_unchanged(tos: int, ttl: int) -> None:
    """RFC 9293 SHLD-22: every value, from the SYN on."""
    wire = Wire()
    peer, connection, syn = call(wire, prepare=lambda c: dress(c, ttl, tos))
    sent = [syn, *(p for _, p in wire.wait(1.1)), *peer.put("SA", 0, 1)]
    connection.send(b"x")
    assert worn(sent + wire.sent()) == {(ttl, tos)}


def test_a_listeners_are_its_connections_to_begin_with() -> None:
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    listener.change_path(ttl=7, tos=0x10)
    peer = Peer(wire)
    sent = [peer.syn(), peer.syn(), *(p for _, p in wire.wait(1.1))]
    peer.put("A", 1, 1)
    connection = listener.accept()
    assert connection is not None
    sent += peer.put("PA", 1, 1, b"x")
    assert len(sent) == 4 and worn(sent) == {(7, 0x10)}


def test_every_packet_has_the_same_identification() -> None:
    """RFC 9293 MAY-4: a retransmission's, too: never fragmented, so it may be 0 (RFC 6864 section 4.1)."""
    wire = Wire()
    _peer, connection = connected(wire)
    connection.send(b"x")
    sent = wire.sent() + [p for _, p in wire.wait(10)]
    assert len(sent) > 2 and {(p[IP].id, str(p[IP].flags)) for p in sent} == {(0, "DF")}
