"""Counters, each exactly: what is counted twice or not at all misleads whoever looks for a fault by them."""

from __future__ import annotations

import errno

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.packet import Raw

from fastnet._ring import PacketRing
from fastnet.clock import ManualClock
from fastnet.devices import Capabilities, LoopbackDevice, MemoryDevice
from fastnet.stack import Stack
from fastnet.tcp.connection import Connection
from fastnet.tcp.containment import contain_door
from fastnet.tcp.states import State
from fastnet.tcpinfo import TcpInfo, tcp_info
from tests.peer import MILLISECOND, PEER, SECOND, STACK, Peer, Wire, call

SACK = [("MSS", 1000), ("SAckOK", b"")]


def connected(options: list[tuple[str, object]] | None = None, **settings: object) -> tuple[Wire, Peer, Connection]:
    wire = Wire(**settings)  # type: ignore[arg-type]
    peer = Peer(wire)
    return wire, peer, peer.open(wire.stack.listen("0.0.0.0", 80), options or [("MSS", 1000)])


def counts(wire: Wire, *names: str) -> list[int]:
    return [wire.counter(name) for name in names]


def test_codepoints_of_what_comes() -> None:
    """InNoECTPkts and its siblings (RFC 3168's codepoints) share what comes among them; of a bad packet nobody knows."""
    wire = Wire()
    peer = Peer(wire)
    names = ("InNoECTPkts", "InECT1Pkts", "InECT0Pkts", "InCEPkts")
    packets = []
    for tos in (0, 1, 1, 2, 2, 2, 3, 3, 3, 3):
        packet = peer.packet("A", 1, 1)
        packet[IP].tos = tos
        packets.append(packet)
    wire.put(*packets)
    assert counts(wire, *names, "TcpInSegs", "IpInReceives", "TcpInNoListener") == [1, 2, 3, 4, 10, 10, 10]
    assert counts(wire, "TcpOutRsts") == [10]
    ping = IP(src=PEER, dst=STACK, tos=1) / ICMP(type=8, id=1, seq=2) / Raw(b"ping")
    unreachable = IP(src=PEER, dst=STACK) / ICMP(type=3, code=1) / Raw(bytes(28))
    wire.put(ping, ping, unreachable)
    assert counts(wire, "TcpInSegs", "IpInReceives", "IcmpInMsgs", "IcmpInEchos", "IcmpOutEchoReps") == [10, 13, 3, 2, 2]
    assert counts(wire, "IcmpInDestUnreachs", *names) == [1, 2, 4, 3, 4]


def test_cookies_because_the_queue_is_full() -> None:
    """TCPReqQFullDoCookies: what got a cookie as there was no room; SyncookiesSent, Recv and Failed."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80, 1)
    peers = [Peer(wire, sport=1000 + i) for i in range(5)]
    for peer in peers:
        peer.syn()
    assert len(listener.syn_queue) == 2
    names = ("TCPReqQFullDoCookies", "SyncookiesSent", "SyncookiesRecv", "SyncookiesFailed")
    assert counts(wire, *names) == [3, 3, 0, 0] and listener.cookies_sent == 3
    peers[4].put("A", 1, 1)
    assert counts(wire, *names) == [3, 3, 1, 0] and listener.cookies_redeemed == 1
    peers[3].put("A", 1, 77)
    assert counts(wire, *names) == [3, 3, 1, 1] and listener.refused.cookie_failed == 1


def test_retransmissions() -> None:
    """Each segment that goes again is one of TcpRetransSegs and one of TCPFastRetrans or TCPSlowStartRetrans."""
    names = ("TcpRetransSegs", "TCPFastRetrans", "TCPSlowStartRetrans", "TCPLostRetransmit", "TCPTimeouts")
    wire, peer, connection = connected()
    connection.send(bytes(3000))
    assert len(wire.sent()) == 3
    wire.wait(1.1)
    assert counts(wire, *names) == [1, 0, 1, 0, 1]
    wire.wait(2)
    assert counts(wire, *names) == [2, 0, 2, 1, 2]
    assert len(peer.put("A", 1, 1001)) == 2
    assert counts(wire, *names) == [4, 0, 4, 1, 2]
    wire, peer, connection = connected()
    connection.send(bytes(6000))
    assert len(wire.sent()) == 6
    for _ in range(3):
        peer.put("A", 1, 1)
    assert counts(wire, *names) == [1, 1, 0, 0, 0]
    assert len(peer.put("A", 1, 2001)) >= 1
    assert counts(wire, *names) == [2, 2, 0, 0, 0]
    wire, peer, connection = connected(SACK)
    connection.send(bytes(4000))
    wire.sent()
    peer.put("A", 1, 1, options=[("SAck", (peer.irs + 1001, peer.irs + 4001))])
    assert counts(wire, *names) == [1, 1, 0, 0, 0]


class OffloadDevice(MemoryDevice):
    def __init__(self) -> None:
        super().__init__()
        self.capabilities = Capabilities(offload=True)


def test_retransmissions_that_a_device_cuts() -> None:
    """A packet of many segments is as many retransmissions, in the counters and in TCP_INFO (tcp_skb_pcount())."""
    wire = Wire()
    wire.device = OffloadDevice()
    wire.stack = Stack(wire.device, (STACK,), clock=lambda: wire.now, random=lambda n: bytes(n))
    client = wire.stack.connect(PEER, 80)
    wire.stack.flush(wire.now)
    [syn] = map(IP, wire.device.drain())

    def put(flags: str, ack: int, options: list[tuple[str, object]]) -> list[int]:
        """Let it arrive; the lengths of what is answered, whose checksums are left to the device."""
        seq = 1000 if flags == "SA" else 1001
        segment = TCP(sport=80, dport=syn.sport, seq=seq, ack=syn.seq + ack, flags=flags, window=65535, options=options)
        arrived = IP(src=PEER, dst=STACK) / segment
        wire.device.inject(bytes(arrived))
        wire.stack.poll(wire.now)
        wire.stack.flush(wire.now)
        return [len(packet) - 40 for packet in wire.device.drain()]

    put("SA", 1, [("MSS", 1000), ("SAckOK", b"")])
    client.send(bytes(10_000))
    wire.stack.flush(wire.now)
    assert [len(packet) - 40 for packet in wire.device.drain()] == [10_000]
    wire.now += 40 * MILLISECOND
    # The first half is lost as a whole; recovery sends no more of it at once than CWND has room for.
    again = put("A", 1, [("SAck", (syn.seq + 5001, syn.seq + 10_001))])
    for _ in range(5):
        wire.now += 10 * MILLISECOND
        again += put("A", sum(again) + 1, [("SAck", (syn.seq + 5001, syn.seq + 10_001))])
        if sum(again) == 5000:
            break
    assert sum(again) == 5000 and max(again) > 1000, "otherwise nothing was cut"
    assert counts(wire, "TcpRetransSegs", "TCPFastRetrans", "TCPSlowStartRetrans", "TCPOrigDataSent") == [5, 5, 0, 10]
    told = TcpInfo.of(tcp_info(client, None, wire.now))
    assert (told.total_retrans, told.bytes_retrans, told.data_segs_out) == (5, 5000, 15)


def test_probes_of_a_window() -> None:
    """TCPWinProbe: each probe, of a window that was shut from the beginning, or shut over what was on its way."""
    wire, peer, connection = connected()
    peer.put("A", 1, 1, window=0)
    connection.send(bytes(5000))
    assert wire.sent() == []
    probes = wire.wait(7.5)
    assert len(probes) >= 3 and counts(wire, "TCPWinProbe", "TCPTimeouts") == [len(probes), 0]
    wire, peer, connection = connected()
    connection.send(bytes(2000))
    assert len(wire.sent()) == 2
    peer.put("A", 1, 1001, window=0)
    probes = wire.wait(7.5)
    assert len(probes) >= 2 and counts(wire, "TCPWinProbe", "TCPTimeouts", "TcpRetransSegs") == [len(probes), 0, len(probes)]


def test_answers_that_are_held_back() -> None:
    """Each is counted by what it would have answered (tcp_oow_rate_limited())."""
    stamped = [("MSS", 1000), ("Timestamp", (1000, 0))]
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn(stamped)
    for answered in (1, 0, 0):
        assert len(peer.put("A", 70_000, 1, options=[("Timestamp", (1001, 0))])) == answered
    assert counts(wire, "TCPACKSkippedSynRecv") == [2]
    peer.put("A", 1, 1, options=[("Timestamp", (2000, 0))])
    connection = listener.accept()
    assert connection is not None
    peer.put("A", 1, 1, b"x", options=[("Timestamp", (5000, 0))])
    wire.wait(1)
    before = wire.counter("PAWSEstab")
    for answered in (1, 0, 0):
        assert len(peer.put("A", 2, 1, options=[("Timestamp", (4000, 0))])) == answered
    assert counts(wire, "TCPACKSkippedPAWS", "PAWSEstab") == [2, before + 3]
    wire.wait(1)
    for answered in (1, 0, 0):
        assert len(peer.put("A", 70_000, 1, options=[("Timestamp", (6000, 0))])) == answered
    assert counts(wire, "TCPACKSkippedSeq") == [2]
    peer.put("A", 2, 1, b"no timestamp")
    assert counts(wire, "TcpInNoTimestamp") == [1] and connection.readable() == 1
    wire.wait(1)
    for answered in (1, 0, 0):
        assert len(peer.put("A", 2, 70_000, options=[("Timestamp", (6000, 0))])) == answered
    assert counts(wire, "TCPACKSkippedChallenge", "TCPChallengeACK") == [2, 1]


def test_answers_in_time_wait_are_held_back() -> None:
    """Not the same segment again within half a second; another one is, as fast as tcp_invalid_ratelimit lets it."""
    wire, peer, connection = connected(tcp_invalid_ratelimit=0)
    connection.shutdown()
    wire.sent()
    peer.put("FA", 1, 2)
    assert connection.state == State.TIME_WAIT
    for seq, ack, answered in ((9, 2, 1), (9, 2, 0), (9, 3, 1), (9, 3, 0), (10, 3, 1), (10, 3, 0)):
        wire.now += MILLISECOND
        assert len(peer.put("A", seq, ack)) == answered, (seq, ack)
    assert counts(wire, "TCPACKSkippedTimeWait") == [3]
    wire.now += 498 * MILLISECOND
    assert peer.put("A", 10, 3) == [] and counts(wire, "TCPACKSkippedTimeWait") == [4]
    wire.now += MILLISECOND
    assert len(peer.put("A", 10, 3)) == 1
    for _ in range(3):
        assert len(peer.put("A", 9, 2, b"data")) == 1, "data is always answered"
    assert counts(wire, "TCPACKSkippedTimeWait") == [4]


@pytest.mark.parametrize("probe", [False, True])
def test_two_ends_that_answer_each_other_come_to_an_end(probe: bool) -> None:
    """Each time the same segment waits twice as long for an answer; a probe of ours or of another number does not."""
    wire, peer, _ = connected(tcp_invalid_ratelimit=0)
    peer.put("A", 1, 1, b"abc")
    wire.wait(1)
    seq = 3 if probe else 70_000
    answered = [len(peer.put("A", seq, 1)) for _ in range(3)]
    assert answered == ([1, 1, 1] if probe else [1, 0, 0])
    if not probe:
        for wait in (500, 1000, 2000, 4000):
            wire.now += (wait - 1) * MILLISECOND
            assert peer.put("A", seq, 1) == [], wait
            wire.now += MILLISECOND
            assert len(peer.put("A", seq, 1)) == 1, wait
        assert len(peer.put("A", seq + 1, 1)) == 1, "another one"
        assert len(peer.put("A", seq, 1)) == 1, "and then this one is new again"


@pytest.mark.endpoint_fails
def test_nothing_is_sent_to_a_device_that_failed() -> None:
    """Its connections end with ENETDOWN, without RSTs that nobody would get; what had come can be read."""
    wire, peer, connection = connected()
    peer.put("A", 1, 1, b"last")
    _, opening, _ = call(wire, port=99)
    wire.stack.fail(OSError(5, "gone"))
    wire.stack.round_over(wire.now)
    assert connection.state == opening.state == State.CLOSED and connection.error == opening.error == errno.ENETDOWN
    assert counts(wire, "TcpOutRsts", "TcpEstabResets", "TcpAttemptFails", "TcpCurrEstab") == [0, 1, 1, 0]
    assert wire.device.drain() == [] and connection.receive(9) == b"last"


@pytest.mark.endpoint_fails
def test_whose_code_fails_is_reset_where_there_is_a_peer_that_knows_it() -> None:
    """Not in SYN-SENT; and what is over already is not ended again."""
    wire, _, connection = connected()
    _, opening, _ = call(wire, port=99)
    for each, resets in ((opening, 0), (connection, 1)):
        contain_door(wire.stack.context, each, ValueError("of the test"), wire.now)
        assert len(wire.sent()) == wire.counter("TcpOutRsts") == resets
        assert each.state == State.CLOSED and each.error == errno.ECONNABORTED and each.id == -1
    contain_door(wire.stack.context, connection, ValueError("again"), wire.now)
    assert counts(wire, "TcpOutRsts", "TcpEstabResets", "TcpAttemptFails", "EndpointFailures") == [1, 1, 1, 3] and not wire.sent()


def test_memory_that_is_short() -> None:
    """PruneCalled, OfoPruned, RcvPruned and TCPRcvQDrop: one of each for each segment that had no room."""
    wire, peer, connection = connected(SACK, tcp_mem=(0, 0, 1), tcp_rmem=(4096, 65536, 65536))
    names = ("PruneCalled", "OfoPruned", "RcvPruned", "TCPRcvQDrop", "TCPOFOQueue", "TCPOFODrop")
    for i in range(4):
        peer.put("A", 1 + 1000 * i, 1, bytes(1000))
    assert counts(wire, *names) == [0, 0, 0, 0, 0, 0]
    peer.put("A", 5001, 1, bytes(1000))
    assert counts(wire, *names) == [1, 0, 0, 0, 0, 1]
    peer.put("A", 4001, 1, bytes(1000))
    assert counts(wire, *names) == [2, 0, 1, 1, 0, 1]
    assert connection.readable() == 4000


def test_a_stale_echo_of_a_syn() -> None:
    """PAWSActive, and a RST."""
    wire = Wire()
    peer, connection, syn = call(wire)
    value = dict(syn[TCP].options)["Timestamp"][0]
    wire.now += SECOND // 2
    for wrong in (value - 1, value + 501):
        (answer,) = peer.put("SA", 0, 1, options=[("Timestamp", (7, wrong))])
        assert peer.relative(answer)[0] == "R"
    assert counts(wire, "PAWSActive") == [2] and connection.state == State.SYN_SENT
    peer.put("SA", 0, 1, options=[("Timestamp", (7, value + 500))])
    assert connection.state == State.ESTABLISHED and counts(wire, "PAWSActive") == [2]


def test_deferred_handshakes() -> None:
    wire = Wire(tcp_defer_accept=5)
    listener = wire.stack.listen("0.0.0.0", 80)
    for sport in (1, 2, 3):
        peer = Peer(wire, sport=sport)
        peer.syn()
        assert peer.put("A", 1, 1) == []
    assert counts(wire, "TCPDeferAcceptDrop") == [3] and listener.accept() is None
    peer.put("A", 1, 1, b"x")
    assert counts(wire, "TCPDeferAcceptDrop") == [3] and listener.accept() is not None


def test_congestion_marks_and_spurious_retransmissions() -> None:
    """TCPDSACKRecv and TCPDSACKOfoRecv: reports of old and of new data that came twice."""
    wire, peer, connection = connected(SACK)
    connection.send(bytes(4000))
    wire.sent()
    at = peer.irs
    peer.put("A", 1, 2001, options=[("SAck", (at + 1, at + 1001))])
    assert counts(wire, "TCPDSACKRecv", "TCPDSACKOfoRecv") == [1, 0]
    peer.put("A", 1, 2001, options=[("SAck", (at + 3001, at + 3501, at + 3001, at + 4001))])
    assert counts(wire, "TCPDSACKRecv", "TCPDSACKOfoRecv") == [1, 1]


@pytest.mark.parametrize(("limit", "already"), [(4, 0), (4, 3), (1, 0)])
def test_a_loopback_that_is_full(limit: int, already: int) -> None:
    """How many it took is what the stack counts the rest by: DeviceTxErrors."""
    device = LoopbackDevice(limit=limit)
    ring = PacketRing(8, 100)
    for round_ in (already, 6):
        for i in range(round_):
            ring.append(bytes([0x45, round_, i]))
        took = device.transmit(ring)
    assert took == limit - already and device.dropped == 6 - took and ring.count == 0
    arrived = PacketRing(16, 100)
    assert device.receive(arrived) == limit
    for i in range(3):
        ring.append(bytes([0x45, 9, i]))
    assert device.transmit(ring) == min(3, limit) and device.dropped == 6 - took + 3 - min(3, limit)
    stack = Stack(LoopbackDevice(limit=1), ("198.18.0.1",), clock=ManualClock(SECOND))
    for port in (80, 81, 82):
        stack.connect("198.18.0.1", port)
    stack.flush(SECOND)
    assert stack.counters.DeviceTxErrors == 2 and stack.counters.IpOutRequests == 3


def test_the_way_to_itself_is_made_when_it_is_taken() -> None:
    """Not for connections to others, nor where the device loops back."""
    wire = Wire()
    wire.stack.connect(PEER, 80)
    assert wire.stack.hairpin is None
    wire.stack.connect(STACK, 80)
    assert wire.stack.hairpin is not None
    looping = Stack(LoopbackDevice(), ("198.18.0.1",), clock=ManualClock(SECOND))
    looping.connect("198.18.0.1", 80)
    assert looping.hairpin is None


def test_4096_packets_may_wait_for_the_stack_itself() -> None:
    """The next is dropped and counted, as by a link; nothing else is lost."""
    stack = Stack(MemoryDevice(), (STACK,), clock=ManualClock(SECOND), slots=5000)
    stack.connect(STACK, 80)
    stack.flush(SECOND)
    ring = stack.sending
    address = bytes(map(int, STACK.split(".")))
    for i in range(4098):
        ring.append(bytes(12) + address + address + i.to_bytes(2, "big"))
    assert stack.hairpin is not None
    before = stack.counters.DeviceTxErrors
    stack.hairpin.divert(ring)
    assert len(stack.hairpin.waiting) == 4096 and stack.counters.DeviceTxErrors == before + 2
    assert int.from_bytes(stack.hairpin.waiting[-1][0][20:22], "big") == 4095
