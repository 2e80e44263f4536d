"""TIME-WAIT: what it keeps away, how long, and how it makes way (RFC 9293 section 3.6.1, RFC 1337, RFC 6191, RFC 7323)."""

import pytest
from scapy.layers.inet import TCP

from fastnet.tcp.connection import Connection
from fastnet.tcp.listener import Listener
from fastnet.tcp.states import State
from tests.peer import M, Peer, Wire


def stamp(value: int, echo: int = 0) -> list:
    return [("Timestamp", (value, echo))]


def waiting(wire: Wire, stamped: bool = False, **fields: int) -> tuple[Peer, Listener]:
    """A connection that has just gone into TIME-WAIT; our FIN has number 1, the peer's too."""
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire, **fields)
    peer.syn(stamp(100) if stamped else None)
    peer.options = stamp(100) if stamped else []
    peer.put("A", 1, 1)
    connection = listener.accept()
    assert connection is not None
    finish(wire, peer, connection)
    return peer, listener


def finish(wire: Wire, peer: Peer, connection: Connection, una: int = 1) -> None:
    connection.close(wire.now)
    wire.sent()
    assert [peer.relative(p) for p in peer.put("FA", 1, una + 1)] == [("A", una + 1, 2, b"")]
    assert connection.state == State.TIME_WAIT


def test_two_msl_from_the_last_fin() -> None:
    """RFC 9293 MUST-13: the peer's FIN again is acknowledged again, and the time begins anew."""
    wire = Wire()
    peer, _ = waiting(wire)
    assert wire.counter("TW") == 1, "Linux counts it when it begins"
    for _ in range(5):
        wire.wait(59)
        assert [peer.relative(p) for p in peer.put("FA", 1, 2)] == [("A", 2, 2, b"")]
    wire.wait(59.9)
    assert wire.stack.context.time_wait_count == 1
    wire.wait(0.2)
    assert wire.stack.context.time_wait_count == 0 and len(wire.stack.context.timers) == 0


def test_its_acks_offer_the_window_that_the_connection_did() -> None:
    """Linux's tw_rcv_wnd, scaled."""
    for scaled in (False, True):
        wire = Wire()
        peer = Peer(wire)
        connection = peer.open(wire.stack.listen("0.0.0.0", 80), [("WScale", 7)] if scaled else None)
        connection.close(wire.now)
        wire.sent()
        (last,) = peer.put("FA", 1, 2)
        wire.wait(1)
        (again,) = peer.put("FA", 1, 2)
        assert again[TCP].window == last[TCP].window > 0


def test_a_reset_in_the_window_is_challenged() -> None:
    """RFC 5961 section 3.2: only the exact number ends anything."""
    wire = Wire()
    peer, _ = waiting(wire)
    assert [peer.relative(p) for p in peer.put("R", 3)] == [("A", 2, 2, b"")]
    assert wire.counter("TCPChallengeACK") == 1
    assert peer.put("R", 4) == [] and wire.counter("TCPACKSkippedTimeWait") == 1, "not so soon"
    assert peer.put("R", 1) == peer.put("R", 1_000_000) == [], "outside the window"
    assert wire.stack.context.time_wait_count == 1
    assert peer.put("R", 2) == [] and wire.stack.context.time_wait_count == 0


def test_other_segments_do_not_prolong_it() -> None:
    wire = Wire()
    peer, _ = waiting(wire)
    wire.wait(30)
    assert [peer.relative(p) for p in peer.put("PA", 1, 2, b"old")] == [("A", 2, 2, b"")]
    assert peer.put("A", 2, 2) == [], "what is as expected says nothing"
    assert [peer.relative(p) for p in peer.put("FA", 77, 2)] == [("A", 2, 2, b"")]
    wire.wait(30.1)
    assert wire.stack.context.time_wait_count == 0


def test_data_that_was_delayed_does_not_get_into_a_new_connection() -> None:
    """RFC 1337's three hazards: old data is answered and not delivered, here nor, by its number, to whoever comes after."""
    wire = Wire(tcp_rfc1337=1)
    peer, listener = waiting(wire)
    assert [peer.relative(p) for p in peer.put("PA", 1, 2, b"old")] == [("A", 2, 2, b"")]
    assert peer.put("R", 2) == [] and wire.stack.context.time_wait_count == 1, "the RST that this answer may cause kills nothing"
    again = Peer(wire, iss=peer.iss + 10)
    connection = again.open(listener)
    (answer,) = peer.put("PA", 1, 2, b"old")
    assert again.relative(answer)[2] == 1 and connection.readable() == 0


@pytest.mark.parametrize(("ahead", "reopens"), [(3, True), (0x7FFFFFFF, True), (2, False), (1, False), (-5, False), (0x80000010, False)])
def test_a_newer_sequence_number_reopens(ahead: int, reopens: bool) -> None:
    wire = Wire()
    peer, _ = waiting(wire)
    (answer,) = Peer(wire, iss=(peer.iss + ahead) & M).put("S")
    assert str(answer[TCP].flags) == ("SA" if reopens else "A")
    assert wire.counter("TWRecycled") == reopens and wire.stack.context.time_wait_count == (not reopens)


@pytest.mark.parametrize(("value", "reopens"), [(101, True), (0x7FFFFFFF, True), (100, False), (99, False)])
def test_a_newer_timestamp_reopens_whatever_the_number(value: int, reopens: bool) -> None:
    """RFC 9293 SHLD-4, RFC 6191."""
    wire = Wire()
    peer, _ = waiting(wire, stamped=True)
    older = Peer(wire, iss=peer.iss - 5000)
    (answer,) = older.put("S", options=stamp(value))
    assert str(answer[TCP].flags) == ("SA" if reopens else "A")


def test_an_old_timestamp_keeps_a_newer_number_away() -> None:
    wire = Wire()
    peer, _ = waiting(wire, stamped=True)
    (answer,) = Peer(wire, iss=peer.iss + 5000).put("S", options=stamp(99))
    assert str(answer[TCP].flags) == "A" and wire.counter("PAWSEstab") == 1


def test_a_reopened_connection_begins_behind_the_old_ones_numbers() -> None:
    """RFC 9293 MAY-2 (1): also where it sent faster than the clock of the ISN runs, 250 kB/s."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn([("MSS", 1460)], window=65535)
    peer.put("A", 1, 1, window=65535)
    connection = listener.accept()
    assert connection is not None
    connection.need_sender().recovery.congestion.cwnd = 1 << 20
    for i in range(10):
        connection.nodelay = True
        connection.send(b"x" * 60_000)
        wire.sent()
        peer.put("A", 1, 1 + 60_000 * (i + 1), window=65535)
    finish(wire, peer, connection, 600_001)
    again = Peer(wire, iss=peer.iss + 10)
    again.syn()
    assert (again.irs - (peer.irs + 600_002)) & M < 1_000_000
    # And without a TIME-WAIT the clock alone says.
    assert wire.stack.context.last_seq == -1


def test_nobody_listens_any_more() -> None:
    wire = Wire()
    peer, listener = waiting(wire)
    listener.close(wire.now)
    (answer,) = Peer(wire, iss=peer.iss + 100).put("S")
    assert str(answer[TCP].flags) == "A" and wire.stack.context.time_wait_count == 1


@pytest.mark.parametrize("seconds", [0, 5])
def test_fin_wait_2_of_an_orphan(seconds: int) -> None:
    """tcp_fin_timeout; what the peer sends after it finds nobody."""
    wire = Wire(tcp_fin_timeout=seconds)
    peer = Peer(wire)
    connection = peer.open(wire.stack.listen("0.0.0.0", 80))
    connection.close(wire.now)
    wire.sent()
    peer.put("A", 1, 2)
    wire.wait(seconds + 0.1)
    assert connection.state == State.CLOSED and connection.error == 0
    assert [str(p[TCP].flags) for p in peer.put("FA", 1, 2)] == ["R"]


def test_no_bucket_is_left() -> None:
    """tcp_max_tw_buckets = 0: closed at once, the last ACK sent."""
    wire = Wire(tcp_max_tw_buckets=0)
    peer = Peer(wire)
    connection = peer.open(wire.stack.listen("0.0.0.0", 80))
    connection.close(wire.now)
    wire.sent()
    assert [peer.relative(p) for p in peer.put("FA", 1, 2)] == [("A", 2, 2, b"")]
    assert wire.counter("TCPTimeWaitOverflow") == 1 and wire.counter("TW") == 0 and len(wire.stack.context.demux) == 0
