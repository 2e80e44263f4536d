"""Timeouts and CWND as a peer sees them: Karn's rule, slow start, congestion avoidance, and what each counter counts."""

import itertools

import pytest
from scapy.layers.inet import TCP

from fastnet.tcp.congestion.base import NO_THRESHOLD, Acknowledgment, CongestionControl
from fastnet.tcp.connection import Connection
from fastnet.tcp.rtt import RttEstimator
from fastnet.tcpinfo import LAYOUT, NAMES, tcp_info
from tests.peer import Peer, Wire

MSS = 1000
SACK = [("MSS", MSS), ("SAckOK", b"")]


def connected(wire: Wire, options: list | None = None, delay: float = 0.0) -> tuple[Peer, Connection]:
    """A connection over a path of some delay, with a window that never limits it."""
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn([("MSS", MSS), ("WScale", 7)] if options is None else [*options, ("WScale", 7)])
    wire.wait(delay)
    peer.put("A", 1, 1, window=60_000)
    connection = listener.accept()
    assert connection is not None
    connection.nodelay = True
    return peer, connection


def ack(peer: Peer, number: int, *blocks: int, **fields: int) -> list:
    """An ACK, with SACK blocks: pairs of sequence numbers."""
    options = [("NOP", None), ("NOP", None), ("SAck", tuple((peer.irs + edge) & 0xFFFFFFFF for edge in blocks))] if blocks else []
    return peer.put("A", 1, number, window=60_000, options=options, **fields)


def seqs(peer: Peer, packets: list) -> list[int]:
    return [peer.relative(p)[1] for p in packets]


@pytest.mark.parametrize(
    ("samples", "srtt", "rttvar", "rto"),
    [
        ([100], 100, 50, 300),
        ([100, 180], 110, 57.5, 340),
        ([100, 20], 90, 57.5, 320),
        ([100, 100], 100, 37.5, 300),
        ([100, 100, 500], 150, 128.125, 662.5),
        ([1000], 1000, 500, 3000),
        ([80_000], 80_000, 40_000, 120_000),
    ],
)
def test_the_timeout_is_computed_as_rfc_6298_says(samples: list[int], srtt: float, rttvar: float, rto: float) -> None:
    """Section 2: RTTVAR is half of the first sample, then a quarter of each difference from SRTT as it was before (MUST-19)."""
    estimator = RttEstimator()
    assert estimator.rto == 1_000_000_000
    for sample in samples:
        estimator.measure(sample * 1_000_000)
    assert [number / 1_000_000 for number in (estimator.srtt, estimator.rttvar, estimator.rto)] == [srtt, rttvar, rto]
    assert estimator.backed_off(2) == min(4 * estimator.rto, 120_000_000_000)


def test_karns_rule() -> None:
    """RFC 9293 MUST-18, RFC 6298 section 5: what was sent twice measures nothing, and the timeout stays backed off until something that
    was sent once does."""
    wire = Wire()
    peer, connection = connected(wire, delay=0.1)
    connection.send(b"x" * 100)
    wire.sent()
    rtt = connection.sender.rtt
    assert rtt.srtt == 100_000_000
    before = (rtt.srtt, rtt.rttvar, 2 * rtt.rto)
    assert len(wire.wait(0.5)) == 1
    wire.wait(0.05)
    ack(peer, 101)
    assert (rtt.srtt, rtt.rttvar, rtt.rto) == before and rtt.backoff == 1
    connection.send(b"y" * 100)
    wire.sent()
    assert wire.wait(0.59) == [], "the timeout is 600 ms now"
    ack(peer, 201)
    assert rtt.srtt == 100_000_000 + 490_000_000 // 8 and rtt.backoff == 0
    assert rtt.rto == rtt.srtt + 4 * rtt.rttvar


def test_the_timeout_follows_the_measurements() -> None:
    """RFC 6298 section 2: SRTT = R, RTTVAR = R / 2 after the first, 7/8 and 3/4 of what was from then on; RTO = SRTT + 4 * RTTVAR.

    Linux's bounds: at least SRTT + 200 ms, at most two minutes.
    """
    ms = 1_000_000
    rtt = RttEstimator()
    assert (rtt.srtt, rtt.rto) == (0, 1000 * ms)
    rtt.measure(400 * ms)
    assert (rtt.srtt, rtt.rttvar, rtt.rto) == (400 * ms, 200 * ms, 1200 * ms)
    rtt.measure(400 * ms)
    assert (rtt.srtt, rtt.rttvar, rtt.rto) == (400 * ms, 150 * ms, 1000 * ms)
    rtt.measure(800 * ms)
    assert (rtt.srtt, rtt.rttvar, rtt.rto) == (450 * ms, 212.5 * ms, 1300 * ms)
    rtt.measure(50 * ms)
    assert (rtt.srtt, rtt.rttvar, rtt.rto) == (400 * ms, 259.375 * ms, 1437.5 * ms)
    for _ in range(100):
        rtt.measure(10 * ms)
        rtt.round_over()
    assert abs(rtt.srtt - 10 * ms) < ms and rtt.rto == rtt.srtt + 200 * ms
    assert [rtt.backed_off(n) for n in (0, 1, 5)] == [rtt.rto, 2 * rtt.rto, 32 * rtt.rto]
    rtt.measure(200_000 * ms)
    assert rtt.rto == rtt.backed_off(3) == 120_000 * ms


def test_the_first_round_trip_sets_the_first_timeout() -> None:
    """Seen on the wire: 400 ms and four times 200 ms after the handshake."""
    wire = Wire()
    peer, connection = connected(wire, delay=0.4)
    connection.send(b"x")
    wire.sent()
    ((when, packet),) = wire.wait(1.3)
    assert round(when, 3) == 1.2 and peer.relative(packet)[1] == 1


@pytest.mark.parametrize(
    ("why", "lost"),
    [("the same", True), ("another window", False), ("data", False)],
)
def test_what_a_duplicate_ack_is(why: str, lost: bool) -> None:
    """RFC 5681 section 2: the same number and the same window, no data, while something is on its way. Three of them are a loss."""
    wire = Wire()
    peer, connection = connected(wire)
    peer.put("A", 1, 1, window=300)
    connection.send(b"x" * 5000)
    assert len(wire.sent()) == 5
    at = 1
    for i in range(6):
        if why == "data":
            peer.put("PA", at, 1, b"y", window=300)
            at += 1
        else:
            peer.put("A", 1, 1, window=300 if why == "the same" else 301 + i)
    assert (wire.counter("TcpRetransSegs") > 0) == lost
    assert (connection.sender.recovery.state != 0) == lost


def test_a_handshake_with_retransmissions_measures_nothing() -> None:
    """RFC 6298 section 5.7: an RTO of 3 s for data after it."""
    wire = Wire()
    _peer, connection = connected(wire, delay=1.5)
    connection.send(b"x")
    wire.sent()
    assert connection.sender.rtt.srtt == 0 and connection.sender.rtt.rto == 3_000_000_000


def test_the_timeout_stays_bounded_however_often_it_doubles() -> None:
    """RFC 6298 section 5.5: at most RTO_MAX, in TCP_INFO too; 2**40 s would not fit 64 bits of nanoseconds."""
    wire = Wire(tcp_retries2=60)
    _peer, connection = connected(wire)
    connection.send(b"x")
    wire.sent()
    for _ in range(50):
        wire.wait(121)
        info = dict(zip(NAMES, LAYOUT.unpack(tcp_info(connection, None, wire.now)), strict=True))
        assert 0 < info["rto"] <= 120_000_000
    assert info["backoff"] >= 50 and info["rto"] == 120_000_000


@pytest.mark.parametrize(("first", "then"), [("reno", "cubic"), ("cubic", "reno"), ("none", "reno")])
@pytest.mark.parametrize("timeout", [False, True])
def test_another_congestion_control_in_the_middle_of_a_recovery(first: str, then: str, timeout: bool) -> None:
    """When the episode ends CWND goes to SSTHRESH, which the new one has not set: it was 2 GiB, and everything left at once."""
    wire = Wire(tcp_congestion_control=first, tcp_notsent_lowat=1 << 30, tcp_wmem=(4096, 1 << 22, 1 << 22), tcp_frto=0)
    peer, connection = connected(wire)
    connection.limit_sending(10 * MSS)
    connection.send(b"x" * 10 * MSS)
    wire.sent()
    if timeout:
        wire.wait(1.5)
    else:
        for _ in range(3):
            ack(peer, 1)
    recovery = connection.sender.recovery
    assert recovery.state != 0
    connection.set_congestion_control(then)
    ack(peer, 1 + 10 * MSS)
    assert recovery.state == 0 and recovery.congestion.cwnd <= 20 * MSS


@pytest.mark.parametrize("first", ["reno", "cubic"])
def test_another_congestion_control_takes_half_of_what_is_on_its_way(first: str) -> None:
    """In a recovery its SSTHRESH is that of the one before it, or half of FlightSize (RFC 5681 equation 4) if that is less."""
    wire = Wire(tcp_congestion_control=first)
    peer, connection = connected(wire)
    connection.send(b"x" * 10 * MSS)
    wire.sent()
    for _ in range(3):
        ack(peer, 1)
    recovery = connection.sender.recovery
    before = recovery.congestion.ssthresh
    assert recovery.state != 0 and before >= 5 * MSS
    connection.set_congestion_control("cubic" if first == "reno" else "reno")
    assert recovery.congestion.ssthresh == 5 * MSS


def test_without_congestion_control_a_timeout_sends_everything_again() -> None:
    """Recovery by duplicate ACKs sends what arrived and no more; once it has timed out, CWND bounds nothing again."""
    wire = Wire(tcp_congestion_control="none", tcp_notsent_lowat=1 << 30, tcp_wmem=(4096, 1 << 22, 1 << 22), tcp_frto=0)
    peer, connection = connected(wire)
    connection.limit_sending(20 * MSS)
    connection.send(b"x" * 20 * MSS)
    assert len(wire.sent()) == 20
    for _ in range(3):
        ack(peer, 1)
    congestion = connection.sender.recovery.congestion
    assert connection.sender.recovery.state != 0 and congestion.cwnd < NO_THRESHOLD
    sent = wire.wait(1.1)
    assert congestion.cwnd == NO_THRESHOLD
    first = sent[0][0]
    assert sorted(seqs(peer, [packet for at, packet in sent if at == first])) == [1 + i * MSS for i in range(20)], "at once"


def test_without_congestion_control_a_handshake_that_met_loss_counts_until_a_timeout() -> None:
    """One segment to begin with, as RFC 5681 section 3.1 has it; when it is lost, nothing holds the others back."""
    wire = Wire(tcp_congestion_control="none", tcp_notsent_lowat=1 << 30, tcp_wmem=(4096, 1 << 22, 1 << 22))
    _peer, connection = connected(wire, delay=4.0)
    connection.limit_sending(20 * MSS)
    connection.send(b"x" * 20 * MSS)
    assert len(wire.sent()) == 1 and connection.sender.recovery.state == 0
    wire.wait(8)
    assert connection.sender.recovery.congestion.cwnd == NO_THRESHOLD
    assert connection.snd_nxt - connection.snd_una & 0xFFFFFFFF == 20 * MSS


def test_slow_start_then_congestion_avoidance() -> None:
    """RFC 9293 MUST-19, RFC 5681: ten segments, doubled each round trip; after a timeout one, doubled to half; then one more a round."""
    wire = Wire(tcp_congestion_control="reno", tcp_frto=0, tcp_notsent_lowat=1 << 30, tcp_wmem=(4096, 1 << 22, 1 << 22))
    peer, connection = connected(wire)
    connection.send(b"x" * 2_000_000)
    sent = wire.sent()
    rounds = []
    acked = 1
    for _ in range(3):
        rounds.append(len(sent))
        wire.wait(0.05)
        following = []
        for _ in sent:
            acked += MSS
            following += ack(peer, acked)
        sent = following
    assert rounds == [10, 20, 40] and len(sent) == 80
    sent_again = [p for _, p in wire.wait(0.3)]
    assert wire.counter("TCPTimeouts") == 1 and connection.sender.recovery.congestion.cwnd == MSS
    assert connection.sender.recovery.congestion.ssthresh == 40 * MSS
    # Everything was lost, and comes again from the first byte on.
    sent = [p for p in sent_again if peer.relative(p)[1] == acked]
    rounds = []
    while len(rounds) < 12:
        rounds.append(len(sent))
        wire.wait(0.05)
        following = []
        for packet in sent:
            assert peer.relative(packet)[1] == acked
            acked += len(packet[TCP].payload)
            following += ack(peer, acked)
        sent = following
    assert rounds[:6] == [1, 2, 4, 8, 16, 32]
    later = [b - a for a, b in itertools.pairwise(rounds) if a >= 40]
    assert later and all(step in (0, 1) for step in later), rounds


def test_backoff_doubles_up_to_two_minutes() -> None:
    """RFC 9293 MUST-19, RFC 6298 section 5.5."""
    wire = Wire()
    _peer, connection = connected(wire, delay=1.5)
    connection.send(b"x")
    wire.sent()
    times = [when for when, _ in wire.wait(800)]
    assert [round(b - a) for a, b in zip([0.0, *times], times, strict=False)] == [3, 6, 12, 24, 48, 96, 120, 120, 120, 120, 120]


def test_another_algorithm() -> None:
    """RFC 9293 MAY-18: CUBIC by default, or the program's choice; CUBIC gives up less (RFC 9438 section 4.6)."""
    kept = {}
    for name in ("cubic", "reno"):
        wire = Wire()
        peer, connection = connected(wire)
        if name == "reno":
            connection.set_congestion_control("reno")
        connection.send(b"x" * 10_000)
        wire.sent()
        for _ in range(3):
            ack(peer, 1)
        kept[name] = connection.sender.recovery.congestion.ssthresh
    assert kept == {"cubic": 7000, "reno": 5000}
    with pytest.raises(ValueError, match="vegas"):
        connection.set_congestion_control("vegas")


# ---- counters ----


def test_fast_recovery_without_sack() -> None:
    wire = Wire()
    peer, connection = connected(wire)
    connection.send(b"x" * 10_000)
    assert len(wire.sent()) == 10
    assert [seqs(peer, ack(peer, 1)) for _ in range(3)][-1][:1] == [1]
    counters = wire.stack.counters
    assert (counters.TCPRenoRecovery, counters.TCPSackRecovery, counters.TCPFastRetrans, counters.TcpRetransSegs) == (1, 0, 1, 1)
    assert counters.TCPOrigDataSent == 10 and counters.TCPTimeouts == 0


def test_fast_recovery_with_sack_and_a_retransmission_that_is_lost_too() -> None:
    wire = Wire()
    peer, connection = connected(wire, SACK, delay=0.1)
    connection.send(b"x" * 60_000)
    assert len(wire.sent()) == 10
    wire.wait(0.1)
    assert seqs(peer, ack(peer, 1, 1001, 4001))[:1] == [1]
    counters = wire.stack.counters
    assert (counters.TCPSackRecovery, counters.TCPRenoRecovery, counters.TCPFastRetrans) == (1, 0, 1)
    wire.wait(0.1)
    # What was sent after the retransmission has arrived, and the retransmission has not.
    sent = ack(peer, 1, 1001, 10_001)
    wire.wait(0.11)
    top = (connection.snd_nxt - peer.irs) & 0xFFFFFFFF
    sent = ack(peer, 1, 1001, top) + [p for _, p in wire.wait(0.15)]
    assert 1 in seqs(peer, sent) and counters.TCPLostRetransmit >= 1


def test_after_a_timeout() -> None:
    wire = Wire(tcp_frto=0)
    peer, connection = connected(wire)
    connection.send(b"x" * 5000)
    wire.sent()
    wire.wait(1.1)
    assert wire.counter("TCPTimeouts") == 1 and wire.counter("TcpRetransSegs") == 1
    assert len(ack(peer, 1001)) == 2
    assert wire.counter("TCPSlowStartRetrans") >= 2 and wire.counter("TCPFastRetrans") == 0


def test_a_tail_loss_probe_that_repairs() -> None:
    wire = Wire()
    peer, connection = connected(wire, SACK, delay=0.1)
    connection.send(b"x" * 2500)
    assert seqs(peer, wire.sent()) == [1, 1001, 2001]
    ((when, probe),) = wire.wait(0.25)
    assert peer.relative(probe)[1] == 2001 and when < 0.25 and wire.counter("TCPLossProbes") == 1
    wire.wait(0.02)
    connection.send(b"y" * 500)
    wire.sent()
    ack(peer, 3001)
    assert wire.counter("TCPLossProbeRecovery") == 1 and wire.counter("TCPTimeouts") == 0


def test_a_timeout_that_was_spurious() -> None:
    """RFC 5682: an ACK of what was sent only once, before the timeout; TCPLossUndo goes along (tcp_try_undo_loss())."""
    wire = Wire()
    peer, connection = connected(wire, SACK, delay=0.1)
    connection.send(b"x" * 60_000)
    wire.sent()
    cwnd = connection.sender.recovery.congestion.cwnd
    wire.wait(0.6)
    assert wire.counter("TCPTimeouts") >= 1
    ack(peer, 1001)
    ack(peer, 9001)
    assert wire.counter("TCPSpuriousRTOs") == 1 and wire.counter("TCPLossUndo") == 1
    assert connection.sender.recovery.congestion.cwnd >= cwnd


def test_a_recovery_that_was_for_nothing() -> None:
    """RFC 3522: the ACK echoes a timestamp from before the retransmission."""
    wire = Wire()
    stamps = [*SACK, ("Timestamp", (7, 0))]
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn(stamps)
    wire.wait(0.1)
    peer.put("A", 1, 1, options=[("Timestamp", (8, 0))])
    connection = listener.accept()
    assert connection is not None
    connection.nodelay = True
    connection.send(b"x" * 9880)
    first = wire.sent()
    ours = dict(first[0][TCP].options)["Timestamp"][0]
    wire.wait(0.1)
    block = [("NOP", None), ("NOP", None), ("SAck", (peer.irs + 989, peer.irs + 4941)), ("Timestamp", (9, ours))]
    peer.put("A", 1, 1, options=block)
    assert wire.counter("TCPSackRecovery") == 1
    wire.wait(0.02)
    peer.put("A", 1, 9881, options=[("Timestamp", (10, ours))])
    assert wire.counter("TCPFullUndo") == 1 and wire.counter("TCPLossUndo") == 0


def test_duplicates_that_the_peer_reports() -> None:
    """RFC 2883: behind the ACK, and within a block; when all that was sent again came twice, the reduction is undone."""
    wire = Wire()
    peer, connection = connected(wire, SACK, delay=0.1)
    connection.send(b"x" * 20_000)
    wire.sent()
    wire.wait(0.1)
    ack(peer, 1, 1001, 4001)
    assert wire.counter("TcpRetransSegs") == 1
    wire.wait(0.02)
    ack(peer, 4001)
    ack(peer, 4001, 1, 1001)
    assert wire.counter("TCPDSACKRecv") == 1 and wire.counter("TCPDSACKUndo") == 1
    ack(peer, 4001, 6001, 7001, 6001, 8001)
    assert wire.counter("TCPDSACKOfoRecv") == 1


def test_duplicates_that_we_report() -> None:
    wire = Wire()
    peer, _connection = connected(wire, SACK)
    peer.put("PA", 1, 1, b"abc")
    (answer,) = peer.put("PA", 1, 1, b"abc")
    assert dict(answer[TCP].options)["SAck"] == (peer.iss + 1, peer.iss + 4) and wire.counter("TCPDSACKOldSent") == 1
    peer.put("PA", 10, 1, b"xyz")
    (answer,) = peer.put("PA", 10, 1, b"xyz")
    assert dict(answer[TCP].options)["SAck"][:2] == (peer.iss + 10, peer.iss + 13)
    assert wire.counter("TCPDSACKOfoSent") == 1 and wire.counter("TCPDSACKOldSent") == 1


@pytest.mark.parametrize(
    ("came", "again", "twice", "acked"),
    [
        ([(1, 4)], (1, 4), (1, 4), 4),
        ([(1, 4)], (1, 7), (1, 4), 7),
        ([(1, 7)], (3, 5), (3, 5), 7),
        ([(5, 9)], (1, 7), (5, 7), 9),
        ([(5, 9)], (1, 12), (5, 9), 12),
        ([(5, 9)], (1, 9), (5, 9), 9),
        ([(5, 9), (11, 15)], (1, 6), (5, 6), 9),
        ([(5, 9), (11, 15)], (1, 20), (5, 9), 20),
        ([(5, 9)], (5, 9), (5, 9), 1),
        ([(5, 9)], (7, 12), (7, 9), 1),
        ([(5, 9)], (3, 6), (5, 6), 1),
        ([(5, 9)], (3, 12), (5, 9), 1),
    ],
)
def test_what_came_twice_is_said_exactly(came: list, again: tuple[int, int], twice: tuple[int, int], acked: int) -> None:
    """RFC 2883 section 4: the first block says which bytes of this segment were there already; of several stretches the first."""
    wire = Wire()
    peer, _connection = connected(wire, SACK)
    # Past the first segments, which are acknowledged at once anyway.
    for begin, end in came:
        peer.put("PA", begin, 1, b"x" * (end - begin))
    (answer,) = peer.put("PA", again[0], 1, b"x" * (again[1] - again[0]))
    assert peer.relative(answer)[2] == acked
    blocks = dict(answer[TCP].options)["SAck"]
    assert (blocks[0] - peer.iss, blocks[1] - peer.iss) == twice
    (answer,) = peer.put("PA", 30, 1, b"y")
    blocks = dict(answer[TCP].options)["SAck"]
    assert (blocks[0] - peer.iss, blocks[1] - peer.iss) == (30, 31)


@pytest.mark.parametrize("block", [(2001, -500), (1, 1), (-10, -10), (3001, 2001), (2001, 2001), (1, 2001), (4001, 9000)])
def test_an_invalid_block_is_counted_and_not_used(block: tuple[int, int]) -> None:
    """The wrong way round, empty, from the missing byte on, or beyond what was sent: neither a SACK nor a D-SACK. The next block counts."""
    wire = Wire()
    peer, connection = connected(wire, SACK)
    connection.send(b"x" * 5000)
    wire.sent()
    board = connection.need_sender().recovery.board
    ack(peer, 1, *block)
    assert wire.counter("TCPSACKDiscard") == 1 and wire.counter("TCPDSACKRecv") == wire.counter("TCPDSACKOfoRecv") == 0
    assert board.sacked == 0 and board.rack.reo_wnd_mult == 1 and not board.rack.any
    ack(peer, 1, *block, 1001, 2001)
    assert wire.counter("TCPSACKDiscard") == 2 and board.sacked == 1000


def test_blocks_that_cannot_be() -> None:
    wire = Wire()
    peer, connection = connected(wire, SACK)
    connection.send(b"x" * 5000)
    wire.sent()
    ack(peer, 1, 50_001, 60_001)
    assert wire.counter("TCPSACKDiscard") == 1 and connection.sender.recovery.board.sacked == 0


def test_a_peer_that_takes_back_what_it_said() -> None:
    """RFC 2018 section 8: after the timeout its SACKs count no more, and everything is sent again."""
    wire = Wire()
    peer, connection = connected(wire, SACK, delay=0.1)
    connection.send(b"x" * 5000)
    wire.sent()
    ack(peer, 1, 1001, 3001)
    wire.wait(0.01)
    ack(peer, 1001)
    sent = [p for _, p in wire.wait(3)]
    assert wire.counter("TCPSACKReneging") == 1 and 1001 in seqs(peer, sent)


def test_the_round_trip_of_an_ack_is_that_of_what_it_acknowledges() -> None:
    """RFC 9438 and RFC 9406 are told of the last segment that this ACK covers (SampleRTT), whatever ACKs before it covered."""
    told: list[int] = []

    class Told(CongestionControl):
        def acknowledged(self, ack: Acknowledgment) -> None:
            told.append(ack.rtt)

    wire = Wire()
    peer, connection = connected(wire, SACK)
    connection.set_congestion_control(Told)
    for count in (9, 1):
        connection.send(b"x" * MSS * count)
        assert len(wire.sent()) == count
        wire.now += 10_000_000
    wire.now += 80_000_000
    ack(peer, 1, 1 + 9 * MSS, 1 + 10 * MSS)
    wire.now += 10_000_000
    ack(peer, 1 + 9 * MSS)
    assert told[-1] == 110_000_000, "though the ACK before it was for what was sent 10 ms later"
