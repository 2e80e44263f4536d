"""Data, windows, acknowledgments and every way to close (RFC 9293 sections 3.6, 3.8, 3.10)."""

import errno
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import TCP

from fastnet.tcp.connection import Connection
from fastnet.tcp.states import State
from tests.peer import Peer, Wire

WSCALE_7 = [("WScale", 7)]


def connected(wire: Wire, options: list | None = None, **fields: int) -> tuple[Peer, Connection]:
    peer = Peer(wire, **fields)
    listener = wire.stack.listen("0.0.0.0", peer.ports["dport"])
    return peer, peer.open(listener, options)


def stamp(value: int, echo: int = 0) -> list:
    return [("NOP", None), ("NOP", None), ("Timestamp", (value, echo))]


def test_segments_of_the_peers_mss() -> None:
    wire = Wire()
    peer, connection = connected(wire, [("MSS", 1000)])
    assert connection.send(b"x" * 2500) == 2500
    sent = [peer.relative(p) for p in wire.sent()]
    assert [(flags, seq, len(data)) for flags, seq, _, data in sent] == [("A", 1, 1000), ("A", 1001, 1000)]
    # Nagle keeps the small rest until what is on its way has arrived.
    assert [peer.relative(p)[:2] for p in peer.put("A", 1, 2001)] == [("PA", 2001)]


def test_default_mss_is_536() -> None:
    """RFC 9293 MUST-15."""
    wire = Wire()
    peer, connection = connected(wire, [])
    connection.send(b"x" * 536 * 2)
    assert [len(peer.relative(p)[3]) for p in wire.sent()] == [536, 536]


def test_timestamps_make_segments_smaller() -> None:
    """RFC 6691: options come off the MSS."""
    wire = Wire()
    peer = Peer(wire)
    listener = wire.stack.listen("0.0.0.0", 80)
    peer.syn([("MSS", 1460), ("Timestamp", (5, 0))])
    peer.put("A", 1, 1, options=stamp(6))
    connection = listener.accept()
    assert connection is not None
    connection.send(b"x" * 1448)
    ((_, _, _, data),) = [peer.relative(p) for p in wire.sent()]
    assert len(data) == 1448


def test_nodelay_sends_small_segments_at_once() -> None:
    """RFC 9293 MUST-17."""
    wire = Wire()
    peer, connection = connected(wire)
    connection.send(b"a")
    assert len(wire.sent()) == 1
    connection.send(b"b")
    assert wire.sent() == []
    connection.nodelay = True
    connection.send(b"c")
    assert [peer.relative(p)[3] for p in wire.sent()] == [b"bc"]


def test_the_peers_window_bounds_what_is_sent() -> None:
    wire = Wire()
    peer, connection = connected(wire, [("MSS", 1460)])
    peer.put("A", 1, 1, window=3000)
    connection.send(b"x" * 10000)
    assert sum(len(peer.relative(p)[3]) for p in wire.sent()) <= 3000
    peer.put("A", 1, 2921, window=0)
    assert wire.sent() == []


def test_window_of_more_than_32767_is_unsigned() -> None:
    """RFC 9293 MUST-1."""
    wire = Wire()
    peer, connection = connected(wire, [("MSS", 1460)])
    peer.put("A", 1, 1, window=65535)
    connection.nodelay = True
    connection.need_sender().recovery.congestion.cwnd = 1 << 20
    connection.send(b"x" * 65535)
    assert sum(len(peer.relative(p)[3]) for p in wire.sent()) == 65535


def test_window_scale_is_used_both_ways() -> None:
    wire = Wire()
    peer, connection = connected(wire, [("MSS", 1460), ("WScale", 3)])
    peer.put("A", 1, 1, window=1000)
    assert connection.snd_wnd == 8000
    answer = peer.put("PA", 1, 1, b"x")[0]
    assert answer[TCP].window << 7 in range(65_536, 131_073), "tcp_rmem's default, which 16 bits could not say"


def test_a_shut_window_is_probed_until_it_opens() -> None:
    """RFC 9293 MUST-36: first after the RTO, then twice as late each time; the peer may take as long as it likes."""
    wire = Wire()
    peer, connection = connected(wire, [("MSS", 1460)])
    peer.put("A", 1, 1, window=0)
    connection.send(b"abcdef")
    assert wire.sent() == []
    sent = wire.wait(3.5)
    assert [round(when, 1) for when, _ in sent] == [1.0, 3.0]
    assert {peer.relative(p) for _, p in sent} == {("A", 0, 1, b"")}
    for _ in range(40):
        peer.put("A", 1, 1, window=0)
        wire.wait(100)
    assert connection.state == State.ESTABLISHED
    data = b"".join(peer.relative(p)[3] for p in peer.put("A", 1, 1, window=1000))
    assert data == b"abcdef"


def test_lost_data_is_sent_again_with_backoff_and_given_up() -> None:
    """RFC 6298, RFC 9293 MUST-20: R2 is the time of tcp_retries2 timeouts, 3 s for 3 (tcp_model_timeout())."""
    wire = Wire(tcp_retries2=3)
    peer, connection = connected(wire)
    connection.send(b"lost")
    assert len(wire.sent()) == 1
    sent = wire.wait(6.9)
    assert connection.state == State.ESTABLISHED
    wire.wait(0.2)
    assert [round(when, 1) for when, _ in sent] == [1.0, 3.0], "6 s after the first retransmission it is over"
    assert {peer.relative(p) for _, p in sent} == {("PA", 1, 1, b"lost")}
    assert connection.state == State.CLOSED and connection.error == errno.ETIMEDOUT
    assert wire.counter("TCPAbortOnTimeout") == 1 and wire.counter("TcpRetransSegs") == 2


def test_an_ack_stops_retransmission() -> None:
    wire = Wire()
    peer, connection = connected(wire)
    connection.send(b"data")
    wire.sent()
    peer.put("A", 1, 5)
    assert wire.wait(300) == []
    assert len(wire.stack.context.timers) == 0


def test_everything_lost_in_one_flight_comes_again() -> None:
    """After a timeout, slow start over what is missing: two segments for the first ACK, and so on (RFC 5681 section 3.1)."""
    wire = Wire()
    peer, connection = connected(wire, [("MSS", 100)])
    connection.nodelay = True
    connection.send(bytes(range(250)) * 2)
    assert len(wire.sent()) == 5
    ((_, packet),) = wire.wait(1.1)
    assert peer.relative(packet)[1:] == (1, 1, bytes(range(100)))
    assert [peer.relative(p)[1] for p in peer.put("A", 1, 101)] == [101, 201]
    assert [peer.relative(p)[1] for p in peer.put("A", 1, 301)] == [301, 401]
    assert peer.put("A", 1, 501) == []
    assert wire.wait(300) == []


def test_out_of_order_data_is_kept_and_acknowledged_at_once() -> None:
    """RFC 9293 SHLD-31, MAY-13."""
    wire = Wire()
    peer, connection = connected(wire)
    assert [peer.relative(p) for p in peer.put("PA", 4, 1, b"def")] == [("A", 1, 1, b"")]
    assert connection.readable() == 0
    assert [peer.relative(p) for p in peer.put("PA", 1, 1, b"abc")] == [("A", 1, 7, b"")]
    assert connection.receive(10) == b"abcdef"
    assert wire.counter("TCPOFOQueue") == 1


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_order_and_any_overlap_give_the_bytes_that_were_sent(data: st.DataObject) -> None:
    """Pieces of a stream, cut anywhere, in any order, some again, read in between; the FIN with whichever piece ends last."""
    stream = bytes(random.Random(data.draw(st.integers(0, 1000))).randbytes(data.draw(st.integers(1, 600))))
    wire = Wire()
    iss = data.draw(st.sampled_from([1000, 0xFFFFFFFF - 300]))
    peer, connection = connected(wire, [("MSS", 1460)], iss=iss)
    received = b""
    pieces = data.draw(st.lists(st.tuples(st.integers(0, len(stream)), st.integers(0, len(stream))), max_size=12))
    ends = [(min(a, b), max(a, b)) for a, b in pieces]
    # Whatever was left out comes at last, as a retransmission would bring it.
    for left, right in [*ends, (0, len(stream))]:
        flags = "FPA" if right == len(stream) else "PA"
        if left == right and flags == "PA":
            continue
        peer.put(flags, 1 + left, 1, stream[left:right])
        if data.draw(st.booleans()):
            received += connection.receive(data.draw(st.integers(0, 700)))
        assert stream.startswith(received), "never a byte that was not sent, or at another place"
    received += connection.receive(10_000)
    assert received == stream
    assert connection.state == State.CLOSE_WAIT and connection.fin_received
    assert not connection.receiver.pieces


def test_pieces_are_bounded() -> None:
    """Every other byte, as an attacker sends them: so many pieces, and no more memory than the window."""
    wire = Wire()
    peer, connection = connected(wire)
    for i in range(300):
        peer.put("A", 3 + 2 * i, 1, b"x")
    assert len(connection.receiver.pieces) == 128
    assert wire.counter("TCPOFODrop") == 300 - 128
    peer.put("A", 65_000, 1, b"far away")
    assert connection.receiver.buffer.allocated <= 2 * 131_072
    peer.put("A", 1, 1, b"y" * 300)
    assert connection.receive(1000)[:300] == b"y" * 300


def test_out_of_order_beyond_the_window_is_cut_off() -> None:
    wire = Wire(tcp_rmem=(4096, 4096, 4096))
    peer, connection = connected(wire, [("MSS", 1460)])
    peer.put("A", 4001, 1, b"z" * 1000)
    assert connection.receiver.pieces == [((peer.iss + 4001) & 0xFFFFFFFF, (peer.iss + 4097) & 0xFFFFFFFF)]


def test_overlapping_and_old_data() -> None:
    wire = Wire()
    peer, connection = connected(wire)
    peer.put("PA", 1, 1, b"abc")
    assert [peer.relative(p) for p in peer.put("PA", 1, 1, b"abc")] == [("A", 1, 4, b"")]
    peer.put("PA", 2, 1, b"bcdef")
    assert connection.receive(10) == b"abcdef"


def test_data_beyond_the_window_is_cut_off() -> None:
    wire = Wire(tcp_rmem=(4096, 8192, 8192))
    peer, connection = connected(wire, [("MSS", 1460)])
    sent = 0
    for _ in range(20):
        answer = peer.put("PA", 1 + sent, 1, b"x" * 1000)[0]
        sent = peer.relative(answer)[2] - 1
        if answer[TCP].window == 0:
            break
    assert sent == connection.readable() <= 8192
    assert answer[TCP].window == 0
    peer.put("PA", 1 + sent, 1, b"y" * 100)
    assert connection.readable() == sent
    assert wire.counter("TCPZeroWindowDrop") == 1


def test_reading_opens_the_window_by_large_steps() -> None:
    """RFC 9293 MUST-39, SHLD-14: no update for a few bytes, and the right edge never moves back."""
    wire = Wire(tcp_rmem=(4096, 8192, 8192))
    peer, connection = connected(wire, [("MSS", 1460)])
    for i in range(4):
        peer.put("PA", 1 + 1000 * i, 1, b"x" * 1000)
    edge = peer.wire.put(peer.packet("A", 4001, 1, b""))  # an ACK alone asks for nothing
    assert edge == []
    connection.receive(10)
    assert wire.sent() == []
    connection.receive(4000)
    ((flags, seq, ack, data),) = [peer.relative(p) for p in wire.sent()]
    assert (flags, seq, ack, data) == ("A", 1, 4001, b"")


def test_rst_in_a_zero_window_is_believed() -> None:
    """RFC 9293 MUST-66."""
    wire = Wire(tcp_rmem=(2048, 2048, 2048))
    peer, connection = connected(wire, [("MSS", 1460)])
    peer.put("PA", 1, 1, b"x" * 1024)
    assert peer.put("PA", 1025, 1, b"x" * 1024)[0][TCP].window == 0
    assert (connection.rcv_adv - connection.rcv_nxt) & 0xFFFFFFFF == 0
    peer.put("R", 2049)
    assert connection.state == State.CLOSED and connection.error == errno.ECONNRESET


def test_a_rst_may_carry_data() -> None:
    """RFC 9293 SHLD-2: it is a RST all the same, at the exact place and elsewhere; its text is nobody's."""
    wire = Wire()
    peer, connection = connected(wire)
    assert [peer.relative(p) for p in peer.put("RA", 2, 1, b"go away")] == [("A", 1, 1, b"")]
    assert connection.state == State.ESTABLISHED
    assert peer.put("RA", 1, 1, b"go away") == []
    assert connection.state == State.CLOSED and connection.error == errno.ECONNRESET and connection.readable() == 0


def test_rst_must_be_exact() -> None:
    """RFC 5961 section 3.2."""
    wire = Wire()
    peer, connection = connected(wire)
    assert [peer.relative(p) for p in peer.put("R", 2)] == [("A", 1, 1, b"")]
    assert wire.counter("TCPChallengeACK") == 1
    assert peer.put("R", 100_000) == []
    assert peer.put("R", 0) == []
    assert connection.state == State.ESTABLISHED
    assert peer.put("R", 1) == []
    assert connection.state == State.CLOSED and wire.counter("TcpEstabResets") == 1


def test_syn_in_a_connection_is_challenged() -> None:
    """RFC 5961 section 4.2, inside the window and out of it."""
    wire = Wire()
    peer, connection = connected(wire)
    assert [peer.relative(p) for p in peer.put("S", 5)] == [("A", 1, 1, b"")]
    assert peer.put("S", 6) == [], "not more than one in half a second (RFC 5961 section 7)"
    assert wire.counter("TCPACKSkippedChallenge") == 1
    wire.wait(0.6)
    assert [peer.relative(p) for p in peer.put("S", 200_000)] == [("A", 1, 1, b"")]
    assert wire.counter("TCPSYNChallenge") == 3 and wire.counter("TCPChallengeACK") == 2
    assert connection.state == State.ESTABLISHED


def test_acks_that_cannot_be() -> None:
    """RFC 9293 section 3.10.7.4 and RFC 5961 section 5.2: of data never sent, or from too long ago."""
    wire = Wire()
    peer, connection = connected(wire)
    for ack in (2, 1000, 0, -100, -100_000):
        wire.wait(0.6)
        assert [peer.relative(p) for p in peer.put("PA", 1, ack, b"evil")] == [("A", 1, 1, b"")]
    assert connection.readable() == 0 and connection.state == State.ESTABLISHED
    connection.send(bytes(200))
    wire.sent()
    peer.put("A", 1, 201)
    peer.put("PA", 1, 101, b"old")
    assert connection.receive(9) == b"old", "an old ACK may carry new data"


def test_segment_without_ack_is_dropped() -> None:
    wire = Wire()
    peer, connection = connected(wire)
    assert peer.put("P", 1, 0, b"data") == []
    assert connection.readable() == 0 and wire.counter("TcpInNoFlags") == 1


def test_paws() -> None:
    """RFC 7323 section 5.3: an old timestamp is not acceptable; a RST needs none."""
    wire = Wire()
    peer = Peer(wire)
    listener = wire.stack.listen("0.0.0.0", 80)
    peer.syn([("Timestamp", (100, 0))])
    peer.put("A", 1, 1, options=stamp(100))
    connection = listener.accept()
    assert connection is not None
    assert len(peer.put("PA", 1, 1, b"old", options=stamp(99))) == 1
    assert connection.readable() == 0 and wire.counter("PAWSEstab") == 1
    assert [len(peer.put("A", 1, 1, options=stamp(98))) for _ in range(3)] == [1, 0, 0]
    assert wire.counter("TCPACKSkippedPAWS") == 2, "text is always answered, a bare ACK sparingly"
    answer = peer.put("PA", 1, 1, b"new", options=stamp(101))[0]
    assert connection.receive(9) == b"new"
    assert dict(answer[TCP].options)["Timestamp"][1] == 101
    # A segment from beyond what was acknowledged does not set TS.Recent (R3).
    answer = peer.put("PA", 50, 1, b"far", options=stamp(500))[0]
    assert dict(answer[TCP].options)["Timestamp"][1] == 101
    peer.put("R", 4, options=stamp(1))
    assert connection.state == State.CLOSED


# ---- closing ----


def test_active_close_to_time_wait() -> None:
    wire = Wire()
    peer, connection = connected(wire)
    connection.close(wire.now)
    assert connection.state == State.FIN_WAIT_1
    assert [peer.relative(p) for p in wire.sent()] == [("FA", 1, 1, b"")]
    peer.put("A", 1, 2)
    assert connection.state == State.FIN_WAIT_2
    assert [peer.relative(p) for p in peer.put("FA", 1, 2)] == [("A", 2, 2, b"")]
    assert connection.state == State.TIME_WAIT
    wire.wait(50)
    assert [peer.relative(p) for p in peer.put("FA", 1, 2)] == [("A", 2, 2, b"")], "RFC 9293: a FIN again, the ACK again"
    wire.wait(50)
    assert wire.stack.context.time_wait_count == 1, "and 2 MSL from then"
    wire.wait(11)
    assert wire.stack.context.time_wait_count == 0 and wire.counter("TW") == 1
    assert wire.counter("TWRecycled") == 0
    assert len(wire.stack.context.demux) == 0


def test_simultaneous_close() -> None:
    wire = Wire()
    peer, connection = connected(wire)
    connection.close(wire.now)
    wire.sent()
    assert [peer.relative(p) for p in peer.put("FA", 1, 1)] == [("A", 2, 2, b"")]
    assert connection.state == State.CLOSING
    assert peer.put("A", 2, 2) == []
    assert connection.state == State.TIME_WAIT


def test_fin_and_ack_of_our_fin_in_one() -> None:
    wire = Wire()
    peer, connection = connected(wire)
    connection.close(wire.now)
    wire.sent()
    assert [peer.relative(p) for p in peer.put("FA", 1, 2)] == [("A", 2, 2, b"")]
    assert connection.state == State.TIME_WAIT


def test_half_close() -> None:
    """We send no more, and go on receiving; then the other way round."""
    wire = Wire()
    peer, connection = connected(wire)
    connection.send(b"last")
    connection.shutdown()
    assert [peer.relative(p) for p in wire.sent()] == [("FPA", 1, 1, b"last")]
    with pytest.raises(BrokenPipeError):
        connection.send(b"more")
    peer.put("A", 1, 6)
    peer.put("PA", 1, 6, b"still here")
    assert connection.receive(99) == b"still here" and connection.state == State.FIN_WAIT_2
    wire.wait(1000)
    assert connection.state == State.FIN_WAIT_2, "nobody closed, so no tcp_fin_timeout"


def test_peer_closes_first_and_we_go_on_sending() -> None:
    wire = Wire()
    peer, connection = connected(wire)
    peer.put("FA", 1, 1)
    assert connection.state == State.CLOSE_WAIT
    connection.send(b"still here")
    assert [peer.relative(p) for p in wire.sent()] == [("PA", 1, 2, b"still here")]
    assert wire.counter("TcpCurrEstab") == 1


def test_lost_fin_comes_again() -> None:
    wire = Wire()
    peer, connection = connected(wire)
    connection.close(wire.now)
    wire.sent()
    sent = wire.wait(3.5)
    assert [(round(when), peer.relative(p)) for when, p in sent] == [(1, ("FA", 1, 1, b"")), (3, ("FA", 1, 1, b""))]


def test_fin_before_its_data_waits() -> None:
    """A FIN counts only when everything before it has come, and then at once."""
    wire = Wire()
    peer, connection = connected(wire)
    assert [peer.relative(p) for p in peer.put("FA", 4, 1)] == [("A", 1, 1, b"")]
    assert connection.state == State.ESTABLISHED
    assert [peer.relative(p) for p in peer.put("PA", 1, 1, b"abc")] == [("A", 1, 5, b"")]
    assert connection.state == State.CLOSE_WAIT and connection.receive(9) == b"abc"


def test_two_fins_and_data_after_fin() -> None:
    wire = Wire()
    peer, connection = connected(wire)
    peer.put("FA", 1, 1)
    assert [peer.relative(p) for p in peer.put("FA", 1, 1)] == [("A", 1, 2, b"")]
    peer.put("PA", 2, 1, b"too late")
    assert connection.readable() == 0 and connection.state == State.CLOSE_WAIT


def test_orphan_in_fin_wait_2_ends() -> None:
    """tcp_fin_timeout."""
    wire = Wire(tcp_fin_timeout=30)
    peer, connection = connected(wire)
    connection.close(wire.now)
    wire.sent()
    peer.put("A", 1, 2)
    wire.wait(29)
    assert connection.state == State.FIN_WAIT_2
    wire.wait(2)
    assert connection.state == State.CLOSED and len(wire.stack.context.demux) == 0


def test_data_for_an_orphan_is_reset() -> None:
    """RFC 9293 SHLD-3, RFC 2525 section 2.17: the peer must learn that its data is lost."""
    wire = Wire()
    peer, connection = connected(wire)
    connection.close(wire.now)
    wire.sent()
    assert [str(p[TCP].flags) for p in peer.put("PA", 1, 1, b"anybody?")] == ["RA"]
    assert wire.counter("TCPAbortOnData") == 1 and connection.state == State.CLOSED


def test_close_with_unread_data_is_a_rst() -> None:
    wire = Wire()
    peer, connection = connected(wire)
    peer.put("PA", 1, 1, b"unread")
    connection.close(wire.now)
    assert [peer.relative(p)[:2] for p in wire.sent()] == [("RA", 1)]
    assert wire.counter("TCPAbortOnClose") == 1 and connection.state == State.CLOSED


def test_abort() -> None:
    wire = Wire()
    peer, connection = connected(wire)
    connection.send(b"never sent again")
    wire.sent()
    connection.abort(wire.now)
    assert [peer.relative(p)[:2] for p in wire.sent()] == [("RA", 17)]
    assert wire.wait(100) == []
    connection.abort(wire.now)
    assert wire.sent() == []


def test_reset_after_the_peers_fin_is_epipe() -> None:
    """tcp_reset(): EPIPE in CLOSE-WAIT, ECONNRESET elsewhere."""
    wire = Wire()
    peer, connection = connected(wire)
    peer.put("FA", 1, 1)
    peer.put("R", 2)
    assert connection.error == errno.EPIPE
    with pytest.raises(OSError, match="EPIPE"):
        connection.send(b"x")


@pytest.mark.parametrize("rfc1337", [0, 1])
def test_rst_in_time_wait(rfc1337: int) -> None:
    wire = Wire(tcp_rfc1337=rfc1337)
    peer, connection = connected(wire)
    connection.close(wire.now)
    wire.sent()
    peer.put("FA", 1, 2)
    peer.put("R", 500)
    assert wire.stack.context.time_wait_count == 1, "a RST at the wrong place never counts"
    peer.put("R", 2)
    assert wire.stack.context.time_wait_count == rfc1337
    assert wire.counter("TcpInStrayRsts") == rfc1337, "what is dropped is counted, once"


def test_time_wait_is_reopened_by_a_newer_syn_only() -> None:
    """RFC 9293 MAY-2: a sequence number beyond the last one; an old one is told what is expected."""
    wire = Wire()
    peer, connection = connected(wire)
    connection.close(wire.now)
    wire.sent()
    peer.put("FA", 1, 2)
    assert [peer.relative(p) for p in peer.put("S", -5)] == [("A", 2, 2, b"")]
    again = Peer(wire, iss=peer.iss + 100)
    again.syn()
    assert wire.counter("TWRecycled") == 1 and wire.stack.context.time_wait_count == 0


def test_time_wait_is_reopened_by_a_newer_timestamp() -> None:
    """RFC 6191."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn([("Timestamp", (100, 0))])
    peer.options = stamp(100)
    peer.put("A", 1, 1)
    connection = listener.accept()
    assert connection is not None
    connection.close(wire.now)
    wire.sent()
    peer.put("FA", 1, 2)
    older = Peer(wire, iss=peer.iss - 5000)
    assert len(older.put("S", options=[("Timestamp", (99, 0))])) == 1
    assert wire.stack.context.time_wait_count == 1
    older.syn([("Timestamp", (101, 0))])


def test_time_wait_buckets_are_bounded() -> None:
    wire = Wire(tcp_max_tw_buckets=2)
    listener = wire.stack.listen("0.0.0.0", 80)
    for sport in (1, 2, 3):
        peer = Peer(wire, sport=sport)
        connection = peer.open(listener)
        connection.close(wire.now)
        wire.sent()
        assert [peer.relative(p) for p in peer.put("FA", 1, 2)] == [("A", 2, 2, b"")]
    assert wire.stack.context.time_wait_count == 2 and wire.counter("TCPTimeWaitOverflow") == 1
    assert len(wire.stack.context.demux) == 2


def test_send_buffer_is_bounded() -> None:
    """tcp_wmem; the program hears when there is room again."""
    wire = Wire(tcp_wmem=(4096, 8192, 10_000))
    peer, connection = connected(wire, [("MSS", 1460)])
    peer.put("A", 1, 1, window=3000)
    heard = []

    class Owner:
        def wake(self) -> None:
            heard.append(True)

    connection.owner = Owner()
    assert connection.send(b"x" * 20_000) == 10_000
    assert connection.send(b"x") == 0 and connection.writable() == 0
    acked = 0
    while acked < 6000:
        acked += sum(len(peer.relative(p)[3]) for p in wire.sent())
        for p in peer.put("A", 1, 1 + acked, window=3000):
            acked += len(peer.relative(p)[3])
    peer.put("A", 1, 1 + acked, window=3000)
    assert connection in wire.stack.take_ready()
    assert connection.writable() > 0


def test_what_was_not_sent_is_bounded() -> None:
    """tcp_notsent_lowat, also where nothing is acknowledged: the program hears when what it wrote has left."""
    wire = Wire(tcp_notsent_lowat=20_000)
    peer, connection = connected(wire, [("MSS", 1460)])
    connection.owner = object()
    connection.need_sender().recovery.congestion.cwnd = 10 * 1460
    assert connection.writable() == 20_000
    assert connection.send(bytes(100_000)) == 20_000 and connection.writable() == 0
    assert sum(len(peer.relative(p)[3]) for p in wire.sent()) == 14_600
    assert connection.writable() == 14_600
    assert connection in wire.stack.take_ready()
    assert connection.send(bytes(100_000)) == 14_600
    assert wire.sent() == [] and wire.stack.take_ready() == []
    peer.put("A", 1, 1 + 14_600)
    assert connection in wire.stack.take_ready()


def test_a_burst_leaves_no_memory_behind() -> None:
    """A second after it, both queues have given their memory back."""
    wire = Wire()
    peer, connection = connected(wire, [("MSS", 1460)])
    connection.need_sender().recovery.congestion.cwnd = 1 << 20
    connection.nodelay = True
    connection.send(bytes(60_000))
    for i in range(20):
        peer.put("A", 1 + 1000 * i, 1, bytes(1000))
    assert len(connection.receive(1 << 20)) == 20_000
    assert connection.sender.buffer.allocated >= 60_000 and connection.receiver.buffer.allocated >= 20_000
    peer.put("A", 20_001, 60_001)
    wire.wait(3)
    assert connection.sender.buffer.allocated == 0 and connection.receiver.buffer.allocated == 0
