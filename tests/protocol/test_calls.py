"""SEND, RECEIVE, CLOSE, ABORT and STATUS (RFC 9293 section 3.9.1): what they answer in each state, and what they leave behind."""

from __future__ import annotations

import errno

import pytest

from fastnet.tcp.connection import Connection
from fastnet.tcp.listener import Listener
from fastnet.tcp.states import State
from tests.peer import MILLISECOND, PEER, SECOND, Peer, Wire, call


def connected(**settings: object) -> tuple[Wire, Peer, Connection]:
    wire = Wire(**settings)  # type: ignore[arg-type]
    peer = Peer(wire)
    return wire, peer, peer.open(wire.stack.listen("0.0.0.0", 80), [("MSS", 1000)])


def test_a_read_leaves_nothing_due_at_once() -> None:
    """What a burst needed is given back a second later; until then nobody is woken for it."""
    wire, peer, connection = connected()
    for i in range(40):
        peer.put("A", 1 + 1000 * i, 1, bytes(1000))
    wire.wait(0.3)
    pool = wire.stack.context.memory.pool
    connection.receive(1 << 20)
    assert pool.allocated > 16384, "it may be needed again in a moment"
    wire.sent()
    assert wire.stack.poll(wire.now) > connection.heard_at + 0.9 * SECOND
    wire.wait(1.5)
    assert pool.allocated == 0


@pytest.mark.parametrize("measured", [0, 30, 2500])
def test_the_round_trip_is_a_second_until_it_is_known(measured: int) -> None:
    """RFC 6298 section 2.1's guess before the first measurement; from the handshake; then what was sent tells it, smoothed."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn()
    wire.now += measured * MILLISECOND
    peer.put("A", 1, 1)
    connection = listener.accept()
    assert connection is not None
    assert connection.round_trip_known() == measured * MILLISECOND
    assert connection.round_trip() == (measured * MILLISECOND or SECOND)
    connection.send(b"x")
    wire.sent()
    wire.now += 110 * MILLISECOND
    peer.put("A", 1, 2)
    expected = (7 * measured + 110) / 8 if measured else 110
    assert connection.round_trip_known() == connection.round_trip() == pytest.approx(expected * MILLISECOND, abs=MILLISECOND)


def test_send_takes_what_fits() -> None:
    """Up to SO_SNDBUF, less at the end, then nothing until an ACK made room; ``writable`` says how much that is."""
    wire, peer, connection = connected()
    connection.owner = object()
    assert connection.writable() > 0
    connection.limit_sending(10_000)
    assert connection.writable() == 10_000
    assert connection.send(bytes(9_999)) == 9_999 and connection.writable() == 1
    assert connection.send(b"ab") == 1 and connection.writable() == 0
    assert connection.send(b"c") == 0
    wire.sent()
    wire.stack.take_ready()
    peer.put("A", 1, 8001)
    assert connection.writable() == 8_000 and connection in wire.stack.take_ready(), "whoever waits hears of it"
    assert connection.send(bytes(9_000)) == 8_000


def test_nothing_is_sent_after_the_end() -> None:
    """EPIPE on our side's end, ECONNRESET where the peer reset; ``writable`` is 0, and what had come can be read."""
    wire, peer, connection = connected()
    peer.put("A", 1, 1, b"last words")
    connection.shutdown()
    assert [peer.relative(p)[0] for p in wire.sent()] == ["FA"]
    assert connection.writable() == 0
    with pytest.raises(BrokenPipeError):
        connection.send(b"x")
    connection.shutdown()
    assert wire.sent() == [], "a second one says nothing"
    peer.put("RA", 11, 2)
    with pytest.raises(ConnectionResetError):
        connection.send(b"x")
    assert connection.readable() == 10 and connection.receive(4) == b"last" and connection.receive(99) == b" words"
    assert connection.receive(1) == b"" and connection.readable() == 0


@pytest.mark.parametrize("state", ["calling", "called", "refused"])
def test_calls_before_the_handshake_is_over(state: str) -> None:
    """SEND queues (RFC 9293 section 3.10.2), to go with or after the handshake; a second end of it is EPIPE."""
    wire = Wire()
    peer, connection, _ = call(wire)
    assert connection.writable() > 0 and connection.receive(5) == b"" and connection.readable() == 0
    assert connection.send(b"early") == 5 and wire.sent() == []
    if state == "calling":
        answers = peer.put("SA", 0, 1)
        answers += wire.sent()
        assert [(flags.replace("P", ""), data) for flags, _, _, data in map(peer.relative, answers)] == [("A", b"early")]
    elif state == "called":
        peer.put("S")
        answers = peer.put("A", 1, 1)
        assert b"".join(peer.relative(p)[3] for p in answers) == b"early"
    else:
        peer.put("RA", 0, 1)
        assert connection.state == State.CLOSED
        with pytest.raises(ConnectionRefusedError):
            connection.send(b"more")
        return
    assert connection.state == State.ESTABLISHED


def test_close_with_bytes_that_nobody_read_resets() -> None:
    """RFC 2525 section 2.17: the peer must not believe that they were read. Read to the last byte, it is an orderly end."""
    for read, flags in ((4, "RA"), (5, "FA")):
        wire, peer, connection = connected()
        peer.put("A", 1, 1, b"12345")
        connection.receive(read)
        connection.close(wire.now)
        assert [peer.relative(p)[0] for p in wire.sent()][-1] == flags
        assert wire.counter("TCPAbortOnClose") == (read == 4)
        assert wire.counter("TcpOutRsts") == (read == 4)
        assert connection.orphan == (read == 5) and connection.state == (State.CLOSED if read == 4 else State.FIN_WAIT_1)


def test_an_end_after_the_end_does_nothing() -> None:
    """CLOSE and ABORT in CLOSED and in TIME-WAIT: nothing is sent, no orphan is counted, no error comes of it."""
    wire, peer, connection = connected()
    connection.abort(wire.now)
    assert [peer.relative(p)[0] for p in wire.sent()] == ["RA"] and connection.error == errno.ECONNABORTED
    connection.abort(wire.now)
    connection.close(wire.now)
    connection.shutdown()
    assert wire.sent() == [] and wire.counter("TcpOutRsts") == 1 and wire.stack.context.orphans == 0
    wire, peer, connection = connected()
    connection.shutdown()
    wire.sent()
    peer.put("FA", 1, 2)
    assert connection.state == State.TIME_WAIT
    connection.abort(wire.now)
    connection.close(wire.now)
    assert wire.sent() == [] and connection.error == 0 and connection.state == State.TIME_WAIT and wire.stack.context.orphans == 0
    assert wire.stack.context.time_wait_count == 1


def test_orphans_are_counted_once_and_for_as_long_as_they_live() -> None:
    wire, peer, connection = connected()
    connection.close(wire.now)
    connection.close(wire.now)
    wire.sent()
    assert wire.stack.context.orphans == 1
    peer.put("A", 1, 2)
    assert wire.stack.context.orphans == 1 and connection.state == State.FIN_WAIT_2
    wire.wait(59)
    assert connection.state == State.FIN_WAIT_2
    wire.wait(2)
    assert connection.state == State.CLOSED and wire.stack.context.orphans == 0, "tcp_fin_timeout"


def test_established_connections_are_counted() -> None:
    """TcpCurrEstab (RFC 4022): ESTABLISHED and CLOSE-WAIT; TcpEstabResets: those of them that went to CLOSED."""

    def counts(wire: Wire) -> tuple[int, int]:
        return wire.counter("TcpCurrEstab"), wire.counter("TcpEstabResets")

    wire, peer, connection = connected()
    assert counts(wire) == (1, 0)
    peer.put("FA", 1, 1)
    assert connection.state == State.CLOSE_WAIT and counts(wire) == (1, 0)
    connection.close(wire.now)
    assert connection.state == State.LAST_ACK and counts(wire) == (0, 0)
    wire, peer, connection = connected()
    peer.put("FA", 1, 1)
    peer.put("RA", 2, 1)
    assert connection.state == State.CLOSED and counts(wire) == (0, 1)
    wire, peer, connection = connected()
    connection.shutdown()
    wire.sent()
    assert counts(wire) == (0, 0)
    peer.put("RA", 1, 2)
    assert connection.state == State.CLOSED and counts(wire) == (0, 0)


def test_urgent_bytes_are_counted_down() -> None:
    """MUST-33: how many are left before the end of the urgent data, and 0 once they are read, for good."""
    _, peer, connection = connected()
    assert connection.urgent_left() == 0
    peer.put("AU", 1, 1, b"abcdef", urgptr=4)
    left = connection.urgent_left()
    assert left in (4, 5)
    connection.receive(3)
    assert connection.urgent_left() == left - 3
    connection.receive(left - 3)
    assert connection.urgent_left() == 0
    receiver = connection.receiver
    assert receiver is not None and receiver.urgent == -1
    peer.put("FA", 7, 1)
    assert connection.urgent_left() == 0


def test_urgent_data_stays_urgent_until_it_is_acknowledged() -> None:
    """RFC 9293 section 3.8.5: URG goes with every segment up to its end, also those that an ACK of the first ones lets go."""
    wire, peer, connection = connected()
    peer.put("A", 1, 1, window=1000)
    assert connection.send_urgent(bytes(2500)) == 2500
    seen = []
    for ack in (1, 1001, 2001, 2501):
        packets = wire.sent() + peer.put("A", 1, ack, window=1000)
        seen += [(peer.relative(p)[1], "U" in str(p["TCP"].flags), p["TCP"].urgptr) for p in packets]
    assert seen == [(1, True, 2500), (1001, True, 1500), (2001, True, 500)]
    connection.send(b"calm")
    (calm,) = wire.sent()
    assert "U" not in str(calm["TCP"].flags) and calm["TCP"].urgptr == 0


def test_cork_keeps_partial_segments_for_200_ms() -> None:
    """tcp(7), TCP_CORK: or until it is let go."""
    wire, peer, connection = connected()
    connection.nodelay = True
    connection.set_cork(True)
    connection.send(bytes(1500))
    assert [len(p["TCP"].payload) for p in wire.sent()] == [1000]
    assert [(round(at, 1), len(p["TCP"].payload)) for at, p in wire.wait(0.21)] == [(0.2, 500)]
    peer.put("A", 1, 1501)
    connection.send(b"now")
    assert wire.sent() == []
    connection.set_cork(False)
    assert [bytes(p["TCP"].payload) for p in wire.sent()] == [b"now"]


def test_a_smaller_receive_buffer_takes_no_window_back() -> None:
    """SHLD-14; it is what the window comes to once what was offered is used up."""
    wire, peer, connection = connected()
    edge = connection.rcv_adv
    connection.limit_receiving(2000)
    peer.put("A", 1, 1, bytes(1000))
    assert connection.rcv_adv == edge
    assert connection.need_receiver(wire.now).limit == 2000


def test_a_listener_for_one() -> None:
    """listen(2) with a backlog of 0: one connection may wait; the next SYN is dropped, and both queues are counted as full."""
    wire = Wire(tcp_syncookies=0)
    listener: Listener = wire.stack.listen("0.0.0.0", 80, 0)
    Peer(wire, sport=1).open_without_accept()
    second = Peer(wire, sport=2)
    assert second.put("S") == [] and wire.counter("ListenOverflows") == wire.counter("ListenDrops") == 1
    assert listener.refused.accept_queue_full == 1 and not listener.syn_queue
    assert listener.accept() is not None
    second.syn()
    third = Peer(wire, sport=3, source=PEER)
    assert third.put("S") == [] and wire.counter("TCPReqQFullDrop") == 1 and listener.refused.syn_queue_full == 1
    assert wire.counter("ListenDrops") == 2
