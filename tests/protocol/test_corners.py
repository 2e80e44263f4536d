"""What happens seldom: segments that are partly old, several timers of one connection, memory that ends later, opens that end early."""

from __future__ import annotations

import errno

import pytest

from fastnet.tcp.connection import Connection
from fastnet.tcp.states import State
from tests.peer import MILLISECOND, SECOND, M, Peer, Wire, call

SACK = [("MSS", 1000), ("SAckOK", b"")]


def connected(options: list[tuple[str, object]] | None = None, **settings: object) -> tuple[Wire, Peer, Connection]:
    wire = Wire(**settings)  # type: ignore[arg-type]
    peer = Peer(wire)
    return wire, peer, peer.open(wire.stack.listen("0.0.0.0", 80), options or [("MSS", 1000)])


def opened(wire: Wire) -> tuple[Peer, Connection]:
    """An active open that has succeeded."""
    peer, connection, _ = call(wire)
    peer.put("SA", 0, 1)
    assert connection.state == State.ESTABLISHED
    return peer, connection


# ---- segments that are partly old, or reach too far ----


def test_old_data_with_a_new_fin() -> None:
    """Its data is reported as a duplicate (RFC 2883), its FIN counts."""
    wire, peer, connection = connected(SACK)
    peer.put("A", 1, 1, b"abc")
    wire.wait(0.1)
    (answer,) = peer.put("FA", 1, 1, b"abc")
    assert peer.relative(answer)[2] == 5 and connection.state == State.CLOSE_WAIT and connection.fin_received
    assert connection.receive(9) == b"abc" and wire.counter("TCPDSACKOldSent") == 1
    blocks = dict(answer["TCP"].options)["SAck"]
    assert [(edge - peer.iss) & M for edge in blocks] == [1, 4]


@pytest.mark.parametrize("beyond", [0, 1])
def test_a_fin_beyond_the_window_is_not_believed(beyond: int) -> None:
    """RFC 9293 section 3.10.7.4: what lies outside the window is trimmed; the FIN just behind its last byte is still taken."""
    wire, peer, connection = connected(tcp_rmem=(4096, 4096, 4096))
    window = connection.rcv_adv - connection.rcv_nxt & M
    step = 512
    for seq in range(1 + step, window + 1, step):
        peer.put("A", seq, 1, bytes(step if seq + step <= window + 1 else window + 1 - seq))
    last = window + 1 - 256
    peer.put("FA", last, 1, bytes(256 + beyond))
    peer.put("A", 1, 1, bytes(step))
    assert connection.readable() == window
    assert connection.fin_received == (not beyond)
    if beyond:
        connection.receive(window)
        wire.sent()
        peer.put("FA", window + 1, 1, b"z")
        assert connection.fin_received and connection.receive(9) == b"z", "it comes again"


def test_a_fin_is_moved_by_nothing_that_comes_later() -> None:
    """A FIN that came before its data counts once everything before it has come, and only where it was."""
    _, peer, connection = connected()
    peer.put("FA", 4, 1, b"def")
    assert connection.state == State.ESTABLISHED
    peer.put("A", 1, 1, b"ab")
    assert connection.state == State.ESTABLISHED and connection.receive(9) == b"ab"
    (answer,) = peer.put("A", 3, 1, b"c")
    assert connection.state == State.CLOSE_WAIT and connection.receive(9) == b"cdef" and peer.relative(answer)[2] == 8
    edge = connection.rcv_nxt
    peer.put("A", 8, 1, b"more")
    assert connection.rcv_nxt == edge and connection.readable() == 0, "nothing comes after the end"


def test_each_old_segment_of_a_batch_is_reported() -> None:
    """An ACK has room for one D-SACK, so that of the segment before goes out at once."""
    wire, peer, _ = connected(SACK)
    peer.put("A", 1, 1, b"abcdef")
    wire.wait(0.1)
    answers = wire.put(peer.packet("A", 1, 1, b"ab"), peer.packet("A", 3, 1, b"cd"))
    reported = [tuple((edge - peer.iss) & M for edge in dict(answer["TCP"].options)["SAck"]) for answer in answers]
    assert reported == [(1, 3), (3, 5)] and wire.counter("TCPDSACKOldSent") == 2


def test_without_dsack_nothing_is_reported_twice() -> None:
    """tcp_dsack = 0."""
    wire, peer, _ = connected(SACK, tcp_dsack=0)
    peer.put("A", 1, 1, b"abc")
    (answer,) = peer.put("A", 1, 1, b"abc")
    assert not answer["TCP"].options
    peer.put("A", 6, 1, b"xyz")
    (answer,) = peer.put("A", 6, 1, b"xyz")
    blocks = dict(answer["TCP"].options)["SAck"]
    assert [(edge - peer.iss) & M for edge in blocks] == [6, 9]
    assert wire.counter("TCPDSACKOldSent") == wire.counter("TCPDSACKOfoSent") == 0


# ---- several timers of one connection ----


def test_each_timer_of_a_connection_fires_in_its_time() -> None:
    """A delayed ACK, the cork and keep-alive at once: none hides another."""
    wire, peer, connection = connected()
    patience = connection.need_patience()
    patience.keepalive, patience.idle = True, 5 * SECOND
    connection.watch()
    receiver = connection.need_receiver(wire.now)
    receiver.pingpong = True
    connection.set_cork(True)
    start = wire.now
    peer.put("A", 1, 1, b"ping")
    assert connection.receive(9) == b"ping"
    connection.send(b"pong")
    sent = [(round(at, 2), *peer.relative(packet)) for at, packet in wire.wait(1)]
    acks = [at for at, _, _, ack, data in sent if ack == 5 and not data]
    data = [at for at, *_, data in sent if data]
    assert acks and acks[0] < 0.2 and data[0] == 0.2, sent
    peer.put("A", 5, 5)
    before = (wire.now - start) / SECOND
    probes = [before + at for at, packet in wire.wait(6) if peer.relative(packet)[1] == 4]
    assert len(probes) == 1 and 5 < probes[0] < 6.2


def test_an_orphan_ends_when_memory_does() -> None:
    """tcp_out_of_resources(): looked at when its timer fires, so also when it was others that took the memory after it was closed."""
    wire = Wire(tcp_mem=(4, 8, 16))
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    connection = peer.open(listener)
    connection.send(bytes(10_000))
    wire.sent()
    connection.close(wire.now)
    assert connection.state == State.FIN_WAIT_1
    others = [Peer(wire, sport=50_000 + i).open(listener) for i in range(20)]
    for other in others:
        other.send(bytes(4096))
    assert wire.stack.context.memory.pool.allocated > 16 * 4096
    flags = [peer.relative(packet)[0] for _, packet in wire.wait(3) if packet["TCP"].dport == 40000]
    assert flags[-1] == "RA" and connection.state == State.CLOSED
    assert wire.counter("TCPAbortOnMemory") == 1 and wire.stack.context.orphans == 0
    assert all(other.state == State.ESTABLISHED for other in others), "others have somebody who wants them"


# ---- opens ----


def test_an_active_opens_fin_wait_2_ends() -> None:
    """tcp_fin_timeout holds for who opened the connection as well; while somebody may still read, it does not."""
    wire = Wire(tcp_fin_timeout=7)
    peer, connection = opened(wire)
    connection.shutdown()
    wire.sent()
    peer.put("A", 1, 2)
    wire.wait(100)
    assert connection.state == State.FIN_WAIT_2
    connection.close(wire.now)
    wire.wait(6.5)
    assert connection.state == State.FIN_WAIT_2
    wire.wait(1)
    assert connection.state == State.CLOSED and wire.stack.context.orphans == 0 and connection.error == 0


@pytest.mark.parametrize("count", [1, 2, 4])
def test_so_many_syns(count: int) -> None:
    """TCP_SYNCNT goes before tcp_syn_retries; the open ends when the last one's time is over (tcp(7))."""
    wire = Wire(tcp_syn_retries=3)
    _, connection, _ = call(wire)
    connection.need_patience().syn_retries = count
    times = [round(at) for at, _ in wire.wait(2 ** (count + 1) - 1.5)]
    assert times == [2 ** (i + 1) - 1 for i in range(count)]
    assert connection.state == State.SYN_SENT
    wire.wait(1)
    assert connection.state == State.CLOSED and connection.error == errno.ETIMEDOUT
    assert wire.counter("TCPSynRetrans") == wire.counter("TcpRetransSegs") == count
    assert wire.counter("TCPTimeouts") == count + 1 and wire.counter("TcpAttemptFails") == 1


def test_syn_received_has_its_own_retries() -> None:
    """A simultaneous open sends its SYN-ACK again tcp_synack_retries times, whatever TCP_SYNCNT says."""
    wire = Wire(tcp_synack_retries=2)
    peer, connection, _ = call(wire)
    connection.need_patience().syn_retries = 5
    peer.put("S")
    assert connection.state == State.SYN_RECEIVED
    sent = [peer.relative(packet)[0] for _, packet in wire.wait(60)]
    assert sent == ["SA", "SA"] and connection.error == errno.ETIMEDOUT


def test_an_orphan_too_many_in_syn_received() -> None:
    """Closed before the handshake is over, it is an orphan like others."""
    for orphans, state in ((0, State.CLOSED), (1, State.SYN_RECEIVED)):
        wire = Wire(tcp_max_orphans=orphans)
        peer, connection, _ = call(wire)
        peer.put("S")
        assert connection.state == State.SYN_RECEIVED
        connection.close(wire.now)
        assert connection.state == state and wire.counter("TCPAbortOnMemory") == (orphans == 0)
        assert wire.stack.context.orphans == orphans


def test_a_syn_again_with_the_ack() -> None:
    """A SYN that lies before the window is trimmed off (tcp_check_req()): with the right ACK the handshake is over."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn()
    peer.put("SA", 0, 1, b"x")
    connection = listener.accept()
    assert connection is not None
    assert connection.state == State.ESTABLISHED


def test_a_request_outlives_segments_that_are_not_for_it() -> None:
    """Without ACK, or with a RST beside its number, a request stays; the challenge says what would be right (RFC 5961)."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn()
    assert peer.put("P", 1, data=b"x") == [] and wire.counter("TcpInNoFlags") == 1
    wire.now += SECOND // 2
    (answer,) = peer.put("R", 5)
    assert peer.relative(answer)[:3] == ("A", 1, 1) and len(listener.syn_queue) == 1
    assert [peer.relative(p)[0] for p in peer.put("A", 1, 5)] == ["R"] and len(listener.syn_queue) == 1
    peer.put("R", 1)
    assert not listener.syn_queue and wire.counter("TcpAttemptFails") == 1 and listener.refused.reset == 1


# ---- windows ----


def test_a_shut_window_opens_when_it_is_read() -> None:
    """And both are counted (TCPToZeroWindowAdv, TCPFromZeroWindowAdv), once each."""
    wire, peer, connection = connected(tcp_rmem=(4096, 8000, 8000))
    sent = 0
    while (window := connection.rcv_adv - connection.rcv_nxt & M) > 0:
        peer.put("A", 1 + sent, 1, bytes(min(window, 1000)))
        sent += min(window, 1000)
        wire.wait(0.3)
    assert connection.readable() == sent
    assert (wire.counter("TCPToZeroWindowAdv"), wire.counter("TCPFromZeroWindowAdv")) == (1, 0)
    (answer,) = peer.put("A", 1 + sent, 1, b"x")
    assert answer["TCP"].window == 0 and wire.counter("TCPZeroWindowDrop") == 1
    assert connection.receive(100) and wire.sent() == [], "not for so little (RFC 9293 section 3.8.6.2.2)"
    connection.receive(1 << 20)
    (update,) = wire.sent()
    assert update["TCP"].window >= 4000
    assert (wire.counter("TCPToZeroWindowAdv"), wire.counter("TCPFromZeroWindowAdv")) == (1, 1)


@pytest.mark.parametrize("shift", [None, 1, 7])
def test_no_more_is_taken_than_the_field_can_offer(shift: int | None) -> None:
    """RFC 9293 section 3.10.7.4: the receive window is what was offered. Without the scale that is 65535 bytes, whatever the buffer."""
    options = [("MSS", 1000)] + ([("WScale", shift)] if shift is not None else [])
    wire = Wire(tcp_rmem=(4096, 131072, 131072 if shift != 7 else 6291456))
    peer = Peer(wire)
    connection = peer.open(wire.stack.listen("0.0.0.0", 80), options)
    at = 1
    for _ in range(100):
        answers = peer.put("A", at, 1, bytes(1000)) + peer.put("A", at + 1000, 1, bytes(1000))
        at += 2000
        connection.receive(1 << 20)
        for last in (answers + wire.sent())[-1:]:
            offered = last["TCP"].window << connection.handshake.rcv_shift
            assert connection.rcv_adv == (last["TCP"].ack + offered) & M
    window = connection.rcv_adv - connection.rcv_nxt & M
    assert window <= 0xFFFF << connection.handshake.rcv_shift and window > 60_000
    before = wire.counter("TCPOFOQueue")
    peer.put("A", at + window, 1, b"x")
    assert wire.counter("TCPOFOQueue") == before, "beyond the right edge"
    peer.put("A", at + window - 1, 1, b"x")
    assert wire.counter("TCPOFOQueue") == before + 1


def test_a_challenge_is_not_repeated_at_once() -> None:
    """tcp_invalid_ratelimit: 500 ms between two answers to what should not have come; 0 is no limit."""
    for limit, answered in ((500, [1, 0, 0, 1]), (0, [1, 1, 1, 1])):
        wire, peer, connection = connected(tcp_invalid_ratelimit=limit)
        counts = []
        for pause in (0, 1, 498, 1):
            wire.now += pause * MILLISECOND
            counts.append(len(peer.put("S", 5)))
        assert counts == answered
        assert wire.counter("TCPSYNChallenge") == 4 and wire.counter("TCPChallengeACK") == sum(answered)
        assert wire.counter("TCPACKSkippedChallenge") == 4 - sum(answered) and connection.state == State.ESTABLISHED


def test_a_batch_that_is_said_to_be_longer_than_it_is_ends() -> None:
    """A loop over what is not there would raise once for each of 2^63 packets."""
    wire = Wire()
    # Compiled, this one is out of a program's reach.
    if hasattr(wire.stack, "packets_of_all_kinds"):
        wire.stack.packets_of_all_kinds((1 << 63) - 1, wire.now)
    wire.stack.tcp.segments_arrive((), (1 << 63) - 1, wire.now)
    assert wire.sent() == []
