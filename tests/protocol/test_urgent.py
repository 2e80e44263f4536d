"""Urgent data, in both directions (RFC 9293 section 3.8.5, RFC 6093)."""

from scapy.layers.inet import TCP

from fastnet.tcp.connection import Connection
from fastnet.tcp.states import State
from tests.peer import Peer, Wire


def connected(wire: Wire, options: list | None = None, **fields: int) -> tuple[Peer, Connection]:
    peer = Peer(wire, **fields)
    return peer, peer.open(wire.stack.listen("0.0.0.0", 80), options)


class Owner:
    def wake(self) -> None:
        """Is told through ``take_ready``."""


def test_the_pointer_is_behind_the_last_urgent_byte() -> None:
    """RFC 9293 MUST-30, MUST-62; what is sent afterwards is not urgent."""
    wire = Wire()
    _peer, connection = connected(wire)
    connection.nodelay = True
    connection.send(b"plain")
    wire.sent()
    assert connection.send_urgent(b"urgent") == 6
    connection.send(b"rest")
    (packet,) = wire.sent()
    assert "U" in str(packet[TCP].flags) and packet[TCP].urgptr == 6 and bytes(packet[TCP].payload) == b"urgentrest"
    connection.send(b"more")
    (packet,) = wire.sent()
    assert "U" not in str(packet[TCP].flags) and packet[TCP].urgptr == 0


def test_urgent_data_of_any_length() -> None:
    """RFC 9293 MUST-31: more than a segment, more than the pointer can say: every segment before its end says that it goes on."""
    wire = Wire()
    peer, connection = connected(wire, [("MSS", 1460), ("WScale", 3)])
    peer.put("A", 1, 1, window=60000)
    connection.need_sender().recovery.congestion.cwnd = 1 << 20
    connection.nodelay = True
    connection.send_urgent(b"!" * 100_000)
    connection.send(b"." * 3000)
    sent = wire.sent()
    for packet in sent:
        _, seq, _, _data = peer.relative(packet)
        left = 100_001 - seq
        assert ("U" in str(packet[TCP].flags)) == (left > 0), seq
        assert packet[TCP].urgptr == min(max(left, 0), 0xFFFF)
    assert sum(len(peer.relative(p)[3]) for p in sent) == 103_000


def test_urgent_data_that_is_lost_comes_again_as_urgent() -> None:
    wire = Wire()
    _peer, connection = connected(wire)
    connection.send_urgent(b"!")
    wire.sent()
    ((_, again),) = wire.wait(1.1)
    assert "U" in str(again[TCP].flags) and again[TCP].urgptr == 1


def test_an_ack_of_what_is_before_it_leaves_it_urgent() -> None:
    wire = Wire()
    peer, connection = connected(wire)
    connection.nodelay = True
    connection.send(b"plain")
    wire.sent()
    connection.send_urgent(b"urgent")
    wire.sent()
    peer.put("A", 1, 6)
    (_, again), *_ = wire.wait(1.1)
    assert "U" in str(again[TCP].flags) and again[TCP].urgptr == 6 and bytes(again[TCP].payload) == b"urgent"
    peer.put("A", 1, 12)
    connection.send(b"more")
    (packet,) = wire.sent()
    assert "U" not in str(packet[TCP].flags)


def test_the_program_hears_and_sees_how_much() -> None:
    """RFC 9293 MUST-32, MUST-33: told at once, although the urgent data itself has not come yet."""
    wire = Wire()
    peer, connection = connected(wire)
    connection.owner = Owner()
    assert connection.urgent_left() == 0
    peer.put("UA", 1, 1, urgptr=10)
    assert wire.stack.take_ready() == [connection] and connection.urgent_left() == 10
    peer.put("PUA", 1, 1, b"0123456", urgptr=10)
    assert connection.urgent_left() == 10 and connection.readable() == 7
    assert connection.receive(4) == b"0123" and connection.urgent_left() == 6
    peer.put("PUA", 8, 1, b"789rest", urgptr=3)
    assert connection.receive(99) == b"456789rest", "it stays in the stream (RFC 6093 section 4)"
    assert connection.urgent_left() == 0


def test_a_later_pointer_counts_an_earlier_one_does_not() -> None:
    wire = Wire()
    peer, connection = connected(wire)
    peer.put("UA", 1, 1, urgptr=10)
    peer.put("UA", 1, 1, urgptr=4)
    assert connection.urgent_left() == 10
    peer.put("UA", 1, 1, urgptr=20)
    assert connection.urgent_left() == 20
    peer.put("A", 1, 1, urgptr=500)
    assert connection.urgent_left() == 20, "the pointer counts only with the flag"


def test_urgent_counts_with_a_shut_window() -> None:
    """RFC 9293 MUST-66."""
    wire = Wire(tcp_rmem=(2048, 2048, 2048))
    peer, connection = connected(wire, [("MSS", 1460)])
    peer.put("PA", 1, 1, b"x" * 1024)
    peer.put("PA", 1025, 1, b"x" * 1024)
    peer.put("PUA", 2049, 1, b"!", urgptr=1)
    assert connection.readable() == 2048 and connection.urgent_left() == 2049


def test_old_urgent_pointers_are_forgotten() -> None:
    """After 2 GB more, a pointer that is kept would lie ahead again."""
    wire = Wire()
    peer, connection = connected(wire)
    connection.send_urgent(b"!")
    wire.sent()
    peer.put("A", 1, 2)
    assert connection.sender.urgent == -1
    peer.put("PUA", 1, 1, b"!", urgptr=1)
    assert connection.receive(1) == b"!"
    assert connection.receiver.urgent == -1


def test_urgent_with_fin() -> None:
    wire = Wire()
    peer, connection = connected(wire)
    peer.put("FPUA", 1, 1, b"end", urgptr=3)
    assert connection.urgent_left() == 3 and connection.state == State.CLOSE_WAIT
    assert connection.receive(9) == b"end" and connection.urgent_left() == 0
