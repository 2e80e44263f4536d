"""Timers of the sender, and what they are computed from: round-trip times, the back-off, probes (RFC 6298, RFC 8985, RFC 9293)."""

from __future__ import annotations

import itertools

import pytest
from scapy.layers.inet import TCP

from fastnet.devices import Impairment
from fastnet.tcp.connection import Connection
from fastnet.tcp.rtt import RttEstimator
from fastnet.tcp.states import State
from fastnet.twins import Twins
from tests.pair import MILLISECOND, SECOND, B, Tap
from tests.peer import Peer, Wire, call
from tests.protocol.test_recovery import MSS, Talk


def connected(twins: Twins) -> tuple[Connection, Connection]:
    listener = twins.b.listen("0.0.0.0", 80)
    client = twins.a.connect(B, 80)
    server = None
    while server is None:
        assert twins.step()
        server = listener.accept()
    return client, server


def delay(twins: Twins, milliseconds: float) -> None:
    """Each way, from now on."""
    twins.link.forth.impairment = twins.link.back.impairment = Impairment(delay=round(milliseconds * MILLISECOND))


def ask(twins: Twins, client: Connection, server: Connection) -> float:
    """A request and its answer; seconds."""
    start = twins.clock()
    client.send(b"request")
    answered = False
    while True:
        assert twins.step()
        if not answered and server.receive(99):
            server.send(b"answer")
            answered = True
        if client.receive(99):
            return (twins.clock() - start) / SECOND


# ---- the back-off and round-trip times (RFC 6298 sections 3 and 5, RFC 7323 section 4) ----


@pytest.mark.parametrize("options", [{}, {"tcp_timestamps": 0}, {"tcp_sack": 0}, {"tcp_sack": 0, "tcp_timestamps": 0}], ids=str)
def test_a_round_trip_that_has_grown(options: dict[str, int]) -> None:
    """Karn's algorithm, both halves: from 50 ms to 1 s, a few requests are sent twice, and then none is."""
    twins = Twins(Impairment(delay=25 * MILLISECOND), settings_a=options, settings_b=options)
    client, server = connected(twins)
    for _ in range(10):
        ask(twins, client, server)
    delay(twins, 500)
    again = []
    for _ in range(20):
        ask(twins, client, server)
        again.append(twins.a.counters.TcpRetransSegs)
        twins.pass_time(3)
    assert again[9] == again[-1] <= 8, again


def test_the_echo_of_the_original_is_a_round_trip() -> None:
    """RFC 7323 section 4: it says which copy has arrived. With SACK and no D-SACK, only one has."""
    talk = Talk(stamps=True)
    talk.send(1)
    first = talk.last_stamp
    assert talk.wait(600) == [(300.0, 0), (600.0, 0)]
    rtt = talk.connection.sender.rtt
    assert rtt.backoff == 1
    talk.ack(1, after=100 * MILLISECOND, echo=first)
    assert rtt.srtt == (100 + (700 - 100) / 8) * MILLISECOND and rtt.backoff == 0


def test_without_sack_the_echo_of_the_original_may_be_of_an_ack_that_was_lost() -> None:
    talk = Talk(stamps=True, sack=False)
    talk.send(1)
    first = talk.last_stamp
    assert talk.wait(310) == [(300.0, 0)]
    rtt = talk.connection.sender.rtt
    talk.ack(1, after=100 * MILLISECOND, echo=first)
    assert rtt.srtt == 100 * MILLISECOND and rtt.backoff == 1


@pytest.mark.parametrize("after", [20, 260, 1000])
def test_a_dsack_says_that_the_last_copy_arrived_too(after: int) -> None:
    """The ACK of the first was lost. From the echo on is how long the timeout took; from the copy on is the round trip.

    :param after: ms; there is no other copy, so it is measured also where it is like no round trip before
    """
    talk = Talk(stamps=True)
    talk.send(1)
    first = talk.last_stamp
    assert talk.wait(300) == [(300.0, 0)]
    rtt = talk.connection.sender.rtt
    talk.ack(1, (0, 1), after=after * MILLISECOND, echo=first)
    assert rtt.srtt == (100 + (after - 100) / 8) * MILLISECOND and rtt.backoff == 0


@pytest.mark.parametrize(("after", "known"), [(110, True), (1000, False), (20, False)])
def test_a_dsack_of_one_of_several_copies(after: int, known: bool) -> None:
    """Nobody says which. It was the last if that fits the round trips before; if not, nothing is measured, and the timeout stays."""
    talk = Talk(stamps=True)
    talk.send(1)
    first = talk.last_stamp
    assert talk.wait(1200) == [(300.0, 0), (600.0, 0), (1200.0, 0)]
    rtt = talk.connection.sender.rtt
    talk.ack(1, (0, 1), after=after * MILLISECOND, echo=first)
    assert rtt.backoff == (0 if known else 2)
    assert rtt.srtt == (101.25 if known else 100) * MILLISECOND


def test_many_samples_in_a_round_trip_weigh_as_one() -> None:
    """RFC 7323 appendix G: RTTVAR remembers a spike for as many round trips as with one sample in each."""
    results = []
    for samples in (1, 50):
        rtt = RttEstimator()
        rtt.measure(100 * MILLISECOND)
        for _ in range(3):
            for _ in range(samples):
                rtt.measure(100 * MILLISECOND)
            rtt.round_over()
        for sample in (300, 100, 100, 100):
            for _ in range(samples):
                rtt.measure(sample * MILLISECOND)
            rtt.round_over()
        results.append((rtt.srtt, rtt.rttvar))
    one, many = results
    assert many[0] == pytest.approx(one[0], rel=0.05) and many[1] == pytest.approx(one[1], rel=0.3)


def test_samples_are_counted_by_round_trips() -> None:
    """A window of 10 segments, each of them acknowledged."""
    talk = Talk()
    talk.send(10)
    for i in range(10):
        talk.ack(i + 1, after=(100 if i == 0 else 1) * MILLISECOND)
    talk.send(10)
    for i in range(10):
        talk.ack(11 + i, after=(100 if i == 0 else 1) * MILLISECOND)
    talk.send(1)
    assert talk.connection.sender.rtt.expected >= 9


# ---- handshakes (RFC 6298 section 5.7) ----

STAMP = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (7, 0))]


@pytest.mark.parametrize("stamps", [False, True])
def test_a_second_syn_is_measured_by_its_echo(stamps: bool) -> None:
    wire = Wire()
    peer, connection, _ = call(wire)
    ((_, syn),) = wire.wait(1.01)
    echo = dict(syn[TCP].options)["Timestamp"][0]
    wire.wait(0.07)
    peer.put("SA", 0, 1, options=[("MSS", 1460), ("SAckOK", b""), *([("Timestamp", (7, echo))] if stamps else [])])
    connection.send(b"x")
    wire.sent()
    rtt = connection.sender.rtt
    assert (rtt.srtt, rtt.rto) == ((80 * MILLISECOND, 280 * MILLISECOND) if stamps else (0, 3 * SECOND))


def test_a_second_syn_and_the_echo_of_the_first() -> None:
    """The answer to the first may have been late, or lost and sent again: nothing is measured."""
    wire = Wire()
    peer, connection, syn = call(wire)
    echo = dict(syn[TCP].options)["Timestamp"][0]
    wire.wait(1.08)
    peer.put("SA", 0, 1, options=[("MSS", 1460), ("SAckOK", b""), ("Timestamp", (7, echo))])
    connection.send(b"x")
    assert connection.sender.rtt.rto == 3 * SECOND


@pytest.mark.parametrize("stamps", [False, True])
def test_a_second_synack_is_measured_by_its_echo(stamps: bool) -> None:
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn(STAMP if stamps else STAMP[:2])
    ((_, synack),) = wire.wait(1.01)
    wire.wait(0.07)
    peer.put("A", 1, 1, options=[("Timestamp", (8, dict(synack[TCP].options)["Timestamp"][0]))] if stamps else [])
    connection = listener.accept()
    assert connection is not None
    connection.send(b"x")
    rtt = connection.need_sender().rtt
    assert (rtt.srtt, rtt.rto) == ((80 * MILLISECOND, 280 * MILLISECOND) if stamps else (0, 3 * SECOND))


def test_a_synack_that_a_second_syn_asked_for_measures_nothing() -> None:
    """Without timestamps: which of the two is acknowledged?"""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn(STAMP[:2])
    wire.wait(0.9)
    peer.syn(STAMP[:2])
    wire.wait(0.05)
    peer.put("A", 1, 1)
    connection = listener.accept()
    assert connection is not None and connection.handshake.rtt == 0


def test_data_that_tcp_defer_accept_waited_for_is_no_round_trip() -> None:
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    listener.set("tcp_defer_accept", 10)
    peer = Peer(wire)
    peer.syn(STAMP[:2])
    peer.put("A", 1, 1)
    wire.wait(0.7)
    peer.put("PA", 1, 1, b"late")
    connection = listener.accept()
    assert connection is not None and connection.handshake.rtt == 0


# ---- the timeout ----


def test_a_timeout_always_sends_something() -> None:
    """RFC 6298 section 5.4: the first segment, though what was sent lately fills a CWND of one segment."""
    talk = Talk(stamps=True)
    talk.connection.nodelay = True
    sent = []
    for i in range(60):
        talk.connection.send(bytes(100))
        sent += [(i * 10, talk.peer.relative(p)[1]) for p in talk.wire.sent()]
        sent += [(i * 10 + round(when * 1000), talk.peer.relative(p)[1]) for when, p in talk.wire.wait(0.01)]
    again = [when for when, seq in sent if seq == 1][1:]
    assert len(again) == 1 and 290 <= again[0] <= 610, sent
    assert talk.counter("TCPTimeouts") == 1
    # What the timer is set to again comes twice as late.
    assert talk.connection.sender.rtt.backoff == 1


# ---- tail loss probes (RFC 8985 section 7.2) ----


def test_a_single_segment_is_probed_in_place_of_its_timeout() -> None:
    """PTO = min(PTO, RTO): CWND does not collapse, and the timeout after the probe is not doubled."""
    talk = Talk()
    before = talk.congestion.cwnd
    assert talk.send(1) == [0]
    assert talk.wait(300) == [(300.0, 0)]
    assert talk.counter("TCPLossProbes") == 1 and talk.counter("TCPTimeouts") == 0 and talk.congestion.cwnd == before
    assert talk.wait(310) == [(300.0, 0)]
    assert talk.counter("TCPTimeouts") == 1
    talk.ack(1, after=90 * MILLISECOND)


def test_a_request_that_is_lost_twice() -> None:
    twins = Twins(Impairment(delay=25 * MILLISECOND))
    client, server = connected(twins)
    ask(twins, client, server)
    losses = iter([True, True])
    twins.a.device = Tap(twins, twins.link.a, lambda packet: len(packet) > 52 and next(losses, False))
    # RTO is 250 ms and a little less: the probe, then the timeout.
    assert 0.45 < ask(twins, client, server) < 0.56
    assert twins.a.counters.TCPLossProbes == 1 and twins.a.counters.TCPTimeouts == 1


# ---- probes of a shut window (RFC 9293 section 3.8.6.1) ----


def test_a_window_that_opens_over_what_was_dropped_is_used_at_once() -> None:
    """It went out before the window shut, and the peer had no room. Probing has become slow when there is some."""
    for timestamps in (False, True):
        talk = Talk(stamps=timestamps)
        talk.send(2)
        talk.peer.put("A", 1, 1, window=0, options=talk.options())
        probes = talk.wait(30_000)
        assert [number for _, number in probes] == [0] * len(probes)
        gaps = [b - a for (a, _), (b, _) in itertools.pairwise([(0.0, 0), *probes])]
        assert gaps[0] <= 300 and all(b == 2 * a for a, b in itertools.pairwise(gaps[1:])), "from the first on (SHLD-30)"
        assert talk.counter("TCPLossProbes") == talk.counter("TCPTimeouts") == 0
        assert talk.connection.sender.rtt.backoff == 0
        assert talk.ack(0)[:1] == [0]
        assert 1 in [*talk.ack(1, after=100 * MILLISECOND), *(number for _, number in talk.wait(310))]


@pytest.mark.parametrize("size", [200, 20 * MSS])
def test_a_window_that_opens_after_a_long_stall_is_used_at_once(size: int) -> None:
    """However slow probing has become; nothing counts as lost, and CWND stays."""
    talk = Talk()
    talk.peer.put("A", 1, 1, window=0)
    talk.connection.send(bytes(size))
    before = talk.congestion.cwnd
    for _ in range(300):
        for _, packet in talk.wire.wait(0.1):
            assert talk.peer.relative(packet) == ("A", 0, 1, b"")
            talk.peer.put("A", 1, 1, window=0)
    sent = talk.ack(0)
    assert len(sent) == min(10, -(-size // MSS))
    assert talk.congestion.cwnd == before and talk.recovery.state == 0 and talk.counter("TcpRetransSegs") == 0
    assert talk.connection.sender.probes == 0


def test_probing_begins_anew_with_each_stall() -> None:
    talk = Talk()
    talk.peer.put("A", 1, 1, window=0)
    talk.connection.send(bytes(100))
    assert len(talk.wire.wait(5)) == 4, "300 ms, and then twice as late each time"
    assert talk.ack(0) == [0]
    talk.peer.put("A", 1, 101, window=0)
    talk.connection.send(bytes(100))
    ((when, _),) = talk.wire.wait(0.4)
    assert when == pytest.approx(talk.connection.sender.rtt.rto / SECOND, abs=0.001)


def test_the_user_timeout_ends_probes_that_are_not_answered() -> None:
    """RFC 5482: not later than it says, although the next probe would be."""
    talk = Talk()
    talk.connection.need_patience().set_user_timeout(10_000)
    talk.peer.put("A", 1, 1, window=0)
    talk.connection.send(b"x")
    talk.wait(10_200)
    assert talk.connection.state == State.ESTABLISHED
    talk.wait(200)
    assert talk.connection.state == State.CLOSED


# ---- delayed ACKs ----


def test_a_program_that_answers_no_more_is_waited_for_once() -> None:
    """tcp_delack_timer_handler(): a delayed ACK that was not taken along ends that."""
    wire = Wire()
    peer = Peer(wire)
    connection = peer.open(wire.stack.listen("0.0.0.0", 80))
    peer.put("PA", 1, 1, b"ask")
    connection.receive(9)
    connection.send(b"answer")
    wire.sent()
    peer.put("A", 4, 7)
    assert peer.put("PA", 4, 7, b"ask") == [], "it waits for the program"
    assert len(wire.wait(0.1)) == 1
    assert len(peer.put("PA", 7, 7, b"ask")) == 1


def test_a_peer_that_sends_again_what_has_come_is_acknowledged_at_once() -> None:
    """tcp_enter_quickack_mode(): an ACK was lost, or late, and for the next 16 neither is to happen."""
    wire = Wire()
    peer = Peer(wire)
    connection = peer.open(wire.stack.listen("0.0.0.0", 80))
    at = 1
    for _ in range(20):
        peer.put("PA", at, 1, b"data")
        at += 4
        wire.wait(0.1)
    assert peer.put("PA", at, 1, b"data") == [], "the start is long over"
    assert len(peer.put("PA", at, 1, b"data")) == 1
    at += 4
    for _ in range(15):
        assert len(peer.put("PA", at, 1, b"data")) == 1
        at += 4
    connection.receive(999)
