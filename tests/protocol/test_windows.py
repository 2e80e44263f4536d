"""Windows: shut, shrinking and silly ones, in both directions (RFC 9293 section 3.8.6)."""

import errno
import itertools

import pytest
from scapy.layers.inet import TCP
from scapy.packet import Packet

from fastnet.tcp.connection import Connection
from fastnet.tcp.states import State
from tests.peer import M, Peer, Wire

MSS = [("MSS", 1000)]


def connected(wire: Wire, options: list | None = None, **fields: int) -> tuple[Peer, Connection]:
    peer = Peer(wire, **fields)
    return peer, peer.open(wire.stack.listen("0.0.0.0", 80), options)


def ranges(peer: Peer, packets: list) -> list[tuple[int, int]]:
    """Sequence number and length of each."""
    return [(peer.relative(p)[1], len(peer.relative(p)[3])) for p in packets]


def answer_probes(wire: Wire, peer: Peer, ack: int, seconds: int) -> int:
    """A peer that answers each probe and keeps its window shut; how many there were."""
    end = wire.now + seconds * 1_000_000_000
    probes = 0
    while wire.now < end:
        for _ in wire.wait(1):
            probes += 1
            peer.put("A", 1, ack, window=0)
    return probes


# ---- a window that shrinks ----


def test_nothing_new_into_a_window_that_shrank() -> None:
    """RFC 9293 MUST-34, SHLD-15: what is usable is never negative."""
    wire = Wire()
    peer, connection = connected(wire, MSS)
    peer.put("A", 1, 1, window=5000)
    connection.send(b"x" * 20_000)
    assert ranges(peer, wire.sent()) == [(1 + 1000 * i, 1000) for i in range(5)]
    assert peer.put("A", 1, 1001, window=1500) == [], "4000 on their way, 1500 allowed"
    assert peer.put("A", 1, 2001, window=1000) == []
    assert peer.put("A", 1, 5001, window=1000) != [], "and on it goes where there is room"
    assert connection.state == State.ESTABLISHED


def test_old_data_is_sent_again_within_a_window_that_shrank() -> None:
    """RFC 9293 SHLD-16; MAY-7: what lies beyond the edge may go, too."""
    wire = Wire()
    peer, connection = connected(wire, MSS)
    peer.put("A", 1, 1, window=5000)
    connection.send(b"x" * 5000)
    wire.sent()
    peer.put("A", 1, 1001, window=2000)
    (first, *_) = wire.wait(1.1)
    assert ranges(peer, [first[1]]) == [(1001, 1000)]
    sent = peer.put("A", 1, 2001, window=1000)
    assert ranges(peer, sent)[0] == (2001, 1000) and wire.counter("TcpRetransSegs") >= 2
    assert (3001, 1000) in ranges(peer, sent), "beyond the right edge"


def test_data_past_the_right_edge_never_times_out() -> None:
    """RFC 9293 SHLD-17: the peer answers, with a window that shut over what is on its way."""
    wire = Wire(tcp_retries2=4)
    peer, connection = connected(wire, MSS)
    peer.put("A", 1, 1, window=3000)
    connection.send(b"x" * 3000)
    wire.sent()
    peer.put("A", 1, 1001, window=0)
    answer_probes(wire, peer, 1001, 3600)
    assert connection.state == State.ESTABLISHED
    assert ranges(peer, peer.put("A", 1, 2001, window=3000))[:1] in ([(2001, 1000)], [])
    peer.put("A", 1, 3001, window=3000)
    assert connection.snd_una == connection.snd_nxt
    # A peer that is silent is another matter.
    connection.send(b"x")
    wire.wait(2000)
    assert connection.error == errno.ETIMEDOUT


# ---- a shut window ----


def test_probes_come_twice_as_late_each_time() -> None:
    """RFC 9293 SHLD-29, SHLD-30: the first after the RTO, then twice as late each time, two minutes at most; answered or not."""
    for answered in (False, True):
        wire = Wire()
        peer, connection = connected(wire, MSS)
        peer.put("A", 1, 1, window=0)
        connection.send(b"abc")
        assert wire.sent() == []
        times = []
        while len(times) < 10:
            for _, packet in wire.wait(0.5):
                assert peer.relative(packet) == ("A", 0, 1, b""), "what has been acknowledged, and no data (tcp_xmit_probe_skb())"
                times.append(wire.now)
                if answered:
                    assert peer.put("A", 1, 1, window=0) == [], "an answer to a probe is no sign of loss"
        gaps = [round((b - a) / 1e9) for a, b in itertools.pairwise(times)]
        assert gaps == [2, 4, 8, 16, 32, 64, 120, 120, 120], answered
        assert wire.counter("TCPWinProbe") == 10
        if answered:
            assert connection.sender.recovery.state == 0 and wire.counter("TCPRenoRecovery") == 0
            assert wire.counter("TCPTimeouts") == 0, "a shut window is no timeout (tcp_probe_timer())"


def test_the_window_may_stay_shut_for_ever() -> None:
    """RFC 9293 MUST-37: as long as the probes are answered."""
    wire = Wire(tcp_retries2=3)
    peer, connection = connected(wire, MSS)
    peer.put("A", 1, 1, window=0)
    connection.send(b"abc")
    assert answer_probes(wire, peer, 1, 24 * 3600) > 700
    assert connection.state == State.ESTABLISHED
    assert b"".join(peer.relative(p)[3] for p in peer.put("A", 1, 1, window=100)) == b"abc"


def test_unanswered_probes_end_a_connection() -> None:
    wire = Wire(tcp_retries2=3)
    peer, connection = connected(wire, MSS)
    peer.put("A", 1, 1, window=0)
    connection.send(b"abc")
    wire.wait(60)
    assert connection.state == State.CLOSED and connection.error == errno.ETIMEDOUT


def test_our_window_may_stay_shut_for_ever() -> None:
    """RFC 9293 MAY-8: each probe is answered with what we expect and a window of 0, for hours; then the reader reads."""
    wire = Wire(tcp_rmem=(2048, 2048, 2048))
    peer, connection = connected(wire, MSS)
    peer.put("PA", 1, 1, b"x" * 1000)
    peer.put("PA", 1001, 1, b"y" * 1048)
    for _ in range(100):
        wire.wait(120)
        (answer,) = peer.put("PA", 2049, 1, b"z")
        assert (peer.relative(answer), answer[TCP].window) == (("A", 1, 2049, b""), 0)
    assert wire.counter("TCPToZeroWindowAdv") == 1, "it was shut once (tcp_select_window())"
    assert wire.counter("TCPZeroWindowDrop") == 100
    assert len(connection.receive(5000)) == 2048
    (update,) = wire.sent()
    assert update[TCP].window == 2048 and wire.counter("TCPFromZeroWindowAdv") == 1
    peer.put("PA", 2049, 1, b"z")
    assert connection.receive(9) == b"z"


def test_a_window_that_was_filled_and_never_shut_is_not_opened_again() -> None:
    """TCPFromZeroWindowAdv counts only where the peer had been told 0."""
    wire = Wire(tcp_rmem=(2048, 2048, 2048))
    peer, connection = connected(wire, MSS)
    connection.nodelay = True
    for seq in (1, 1025):
        wire.device.inject(bytes(peer.packet("PA", seq, 1, b"x" * 1024)))
    wire.stack.device.receive(wire.stack.received)
    wire.stack.packets_arrive(wire.now)
    # Read before the batch is over, and with it the ACK.
    connection.receive(2048)
    (answer,) = wire.sent()
    assert answer[TCP].window == 2048
    assert wire.counter("TCPToZeroWindowAdv") == 0 and wire.counter("TCPFromZeroWindowAdv") == 0


# ---- silly windows ----


def test_the_sender_does_not_fill_small_windows() -> None:
    """RFC 9293 MUST-38: not before a segment fits, or half of the largest window; the override after the RTO takes what there is."""
    wire = Wire()
    peer, connection = connected(wire, MSS)
    peer.put("A", 1, 1, window=4000)
    connection.send(b"x" * 10_000)
    assert ranges(peer, wire.sent()) == [(1 + 1000 * i, 1000) for i in range(4)]
    assert peer.put("A", 1, 4001, window=300) == []
    (when, packet), *_ = wire.wait(1)
    assert ranges(peer, [packet]) == [(4001, 300)] and when > 0.1
    assert ranges(peer, peer.put("A", 1, 4301, window=1000)) == [(4301, 1000)]


def test_half_of_the_largest_window_is_enough() -> None:
    """RFC 9293 section 3.8.6.2.1 (3): a peer whose whole buffer is small."""
    wire = Wire()
    peer = Peer(wire)
    listener = wire.stack.listen("0.0.0.0", 80)
    peer.syn(MSS, window=600)
    peer.put("A", 1, 1, window=600)
    connection = listener.accept()
    assert connection is not None
    connection.send(b"x" * 5000)
    assert ranges(peer, wire.sent()) == [(1, 600)]
    assert ranges(peer, peer.put("A", 1, 601, window=299)) == []
    assert ranges(peer, peer.put("A", 1, 601, window=300)) == [(601, 300)]


@pytest.mark.parametrize("limit", [2048, 8192])
def test_the_receiver_does_not_offer_small_windows(limit: int) -> None:
    """RFC 9293 MUST-39: byte by byte read, the edge moves by a segment, or by half of the buffer, or not at all; never back (SHLD-14)."""
    wire = Wire(tcp_rmem=(1024, limit, limit))
    peer, connection = connected(wire, [("MSS", 1460)])
    edges = [1 + limit]
    sent = 0
    for round_ in range(60):
        size = min(700, edges[-1] - 1 - sent)
        answers = peer.put("PA", 1 + sent, 1, b"x" * size) if size > 0 else []
        sent += max(size, 0)
        for _ in range(round_ % 7 * 50):
            connection.receive(1)
            answers += wire.sent()
        edges += [(answer[TCP].ack + answer[TCP].window - peer.iss) & M for answer in answers]
    steps = {b - a for a, b in itertools.pairwise(edges)} - {0}
    assert len(steps) > 0 and all(step >= min(1460, limit // 2) for step in steps), steps


def test_window_updates_that_come_late_do_not_count() -> None:
    """SND.WL1 and SND.WL2 (RFC 9293 section 3.10.7.4): an older segment does not bring back an older window."""
    wire = Wire()
    peer, connection = connected(wire, MSS)
    peer.put("PA", 1, 1, b"abc", window=500)
    assert connection.snd_wnd == 500
    peer.put("PA", 1, 1, b"abc", window=9000)
    assert connection.snd_wnd == 500
    peer.put("A", 4, 1, window=9000)
    assert connection.snd_wnd == 9000


@pytest.mark.parametrize("again", [False, True])
def test_the_round_trip_of_who_only_receives(again: bool) -> None:
    """tcp_rcv_rtt_update(): the handshake's until there is another; none of a SYN-ACK that was sent twice (RFC 6298 section 3)."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn()
    if again:
        assert len(wire.wait(1.5)) == 1
    wire.now += 50_000_000
    peer.put("A", 1, 1)
    connection = listener.accept()
    assert connection is not None
    assert connection.round_trip() == (1_000_000_000 if again else 50_000_000)


def test_without_timestamps_a_window_is_what_a_round_trip_is_measured_by() -> None:
    """tcp_rcv_rtt_measure(): from one right edge to the next. The peer sends a segment each millisecond, of 65 in a window."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn(MSS)
    wire.now += 200_000_000
    peer.put("A", 1, 1)
    connection = listener.accept()
    assert connection is not None
    connection.limit_receiving(65535)
    seen = []
    for i in range(200):
        peer.put("A", 1 + 1000 * i, 1, bytes(1000))
        assert len(connection.receive(1000)) == 1000
        seen.append(connection.round_trip() // 1_000_000)
        wire.now += 1_000_000
    assert seen[:60] == [200] * 60, "as long as the handshake took"
    assert 60 <= seen[70] <= 70 and 60 <= seen[-1] <= 70


# ---- the window scale ----


SCALED = [("MSS", 1460), ("WScale", 7)]


def edge(peer: Peer, packet: Packet, shift: int) -> int:
    """The right edge of the window that a segment offers, counted from the peer's ISS."""
    return peer.relative(packet)[2] + (packet[TCP].window << shift)


@pytest.mark.parametrize("size", [1460, 1000, 131])
def test_the_scale_does_not_move_the_right_edge_left(size: int) -> None:
    """RFC 9293 SHLD-14, RFC 7323 section 2.4: to the last byte, of a reader that does not read."""
    wire = Wire(tcp_rmem=(4096, 131072, 6291456))
    peer, connection = connected(wire, SCALED)
    shift = connection.handshake.rcv_shift
    assert shift == 7
    right, at, window = 1 + 65535, 1, 65535
    while window:
        data = b"x" * min(size, right - at)
        answers = wire.put(peer.packet("PA", at, 1, data)) or [packet for _, packet in wire.wait(0.1)]
        at += len(data)
        for answer in answers:
            assert edge(peer, answer, shift) >= right, "not left"
            right = edge(peer, answer, shift)
            window = answer[TCP].window
        assert at <= 131072 * 9 // 8 + 1
    assert connection.rcv_nxt == connection.rcv_adv, "a window that is shut is shut for the stack, too"
    assert wire.put(peer.packet("A", at, 1, b"p")) != [] and connection.readable() == at - 1, "a probe is refused"
    assert wire.counter("TCPZeroWindowDrop") == 1


@pytest.mark.parametrize("size", [1460, 1000, 131])
def test_what_is_offered_in_addition_is_room_that_there_is(size: int) -> None:
    """In whole units of the scale, rounded down: a reader that has read makes so much room and no more (RFC 7323 section 2.3)."""
    wire = Wire()
    peer, connection = connected(wire, SCALED)
    limit, shift = 131072, connection.handshake.rcv_shift
    assert shift == 7
    connection.limit_receiving(limit)
    right, at, read = 1 + 65535, 1, 0
    for _ in range(5):
        while at < right:
            data = b"x" * min(size, right - at)
            answers = wire.put(peer.packet("PA", at, 1, data))
            at += len(data)
        while connection.readable() > 7001:
            read += len(connection.receive(7001))
            for answer in [*wire.sent(), *answers]:
                new = edge(peer, answer, shift)
                assert new <= right or new <= 1 + read + limit
                right = max(right, new)
        for _, answer in wire.wait(0.1):
            right = max(right, edge(peer, answer, shift))
    assert at > 3 * 65535


def test_probes_of_tiny_segments_do_not_keep_a_window_open_for_ever() -> None:
    """Segments of one byte move the edge by a byte each; an eighth of the limit is the most that they get."""
    wire = Wire(tcp_rmem=(4096, 8192, 6291456))
    peer, connection = connected(wire, SCALED)
    connection.limit_receiving(8192)
    at = 1
    wire.put(*(peer.packet("PA", at + 1000 * i, 1, b"x" * 1000) for i in range(8)))
    at += 8000
    while connection.rcv_adv != connection.rcv_nxt:
        wire.put(peer.packet("PA", at, 1, b"y"))
        at += 1
        assert at < 10_000
    assert connection.readable() == at - 1 <= 8192 * 9 // 8


def test_the_first_scaled_window_is_not_less_than_the_syn_acks() -> None:
    """65535 of the SYN-ACK is not a whole number of units."""
    wire = Wire()
    peer, connection = connected(wire, SCALED)
    (answer,) = wire.put(peer.packet("FA", 1, 1))
    assert edge(peer, answer, connection.handshake.rcv_shift) >= 1 + 65535
