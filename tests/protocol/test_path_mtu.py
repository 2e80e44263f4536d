"""Path MTU discovery: what routers say (RFC 1191, RFC 8201), how long it counts, and packets that vanish (RFC 4821, RFC 8899)."""

from itertools import pairwise
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.packet import Packet

from fastnet._flow import FourTuple
from fastnet.devices import Impairment
from fastnet.ip.mtus import LARGEST, MtuCache
from fastnet.tcp.connection import Connection
from fastnet.tcp.discovery import Discovery
from fastnet.tcp.scoreboard import Scoreboard
from fastnet.twins import Twins
from tests.pair import Pair, Program, Tap
from tests.peer import MILLISECOND, SECOND, Peer, Wire, icmp

OPTIONS: list[Any] = [("MSS", 1460)]


def sending(wire: Wire, data: bytes = b"x" * 1460, sport: int = 40000) -> tuple[Peer, Connection, list[Packet]]:
    """An established connection with data on its way."""
    listener = wire.stack.listen("0.0.0.0", sport)
    peer = Peer(wire, port=sport, sport=sport)
    connection = peer.open(listener, OPTIONS)
    connection.nodelay = True
    connection.send(data)
    return peer, connection, wire.sent()


def sizes(packets: list[Packet]) -> list[int]:
    return [len(packet[TCP].payload) for packet in packets]


# ---- what routers say ----


@pytest.mark.parametrize("mtu", [68, 296, 551])
def test_no_router_is_believed_below_min_pmtu(mtu: int) -> None:
    """As Linux has it (__ip_rt_update_pmtu()): packets of min_pmtu without DF, so that the router can fragment them."""
    wire = Wire()
    _, connection, (packet,) = sending(wire)
    assert packet[IP].flags == "DF" and packet[IP].id == 0
    sent = wire.put(icmp(packet, 3, 4, nexthopmtu=mtu))
    assert sizes(sent) == [512, 512, 436]
    assert [str(p[IP].flags) for p in sent] == ["", "", ""]
    assert len({p[IP].id for p in sent}) == 3, "RFC 6864 section 4.2: what may be fragmented is told apart by its identification"
    assert connection.send_mss() == 512


def test_from_min_pmtu_on_packets_keep_df() -> None:
    wire = Wire()
    _, _, (packet,) = sending(wire)
    sent = wire.put(icmp(packet, 3, 4, nexthopmtu=552))
    assert sizes(sent) == [512, 512, 436] and {str(p[IP].flags) for p in sent} == {"DF"}


def test_a_narrow_path_is_forgotten_and_larger_segments_are_tried_again() -> None:
    """RFC 1191 section 6.3: ten minutes; Linux: mtu_expires. The router that is still narrow says so again."""
    wire = Wire()
    peer, connection, (packet,) = sending(wire)
    assert sizes(wire.put(icmp(packet, 3, 4, nexthopmtu=1000))) == [960, 500]
    peer.put("A", 1, 1461)
    wire.now += 599 * SECOND
    connection.send(b"y" * 1460)
    assert sizes(wire.sent())[0] == 960
    peer.put("A", 1, 2921)
    wire.now += 2 * SECOND
    connection.send(b"z" * 1460)
    (packet,) = wire.sent()
    assert sizes([packet]) == [1460]
    assert sizes(wire.put(icmp(packet, 3, 4, nexthopmtu=1200))) == [1160, 300]


def test_mtu_expires_is_a_setting() -> None:
    wire = Wire(mtu_expires=5)
    peer, connection, (packet,) = sending(wire)
    wire.put(icmp(packet, 3, 4, nexthopmtu=1000))
    peer.put("A", 1, 1461)
    wire.now += 5 * SECOND
    connection.send(b"z" * 1460)
    assert sizes(wire.sent()) == [1460]


def test_the_next_connection_knows_the_path() -> None:
    wire = Wire()
    _, _, (packet,) = sending(wire)
    wire.put(icmp(packet, 3, 4, nexthopmtu=1000))
    _, _, sent = sending(wire, sport=40001)
    assert sizes(sent)[0] == 960
    stranger = Peer(wire, source="198.18.0.9", port=40002)
    connection = stranger.open(wire.stack.listen("0.0.0.0", 40002), OPTIONS)
    connection.send(b"x" * 1460)
    assert sizes(wire.sent()) == [1460], "the path to somebody else is another"
    wire.wait(600)
    _, _, sent = sending(wire, sport=40003)
    assert sizes(sent) == [1460], "it is forgotten"


def test_other_connections_to_the_same_host_hear_of_it() -> None:
    wire = Wire()
    _, other, _ = sending(wire, b"y" * 2920)
    _, _, (packet,) = sending(wire, sport=40001)
    wire.put(icmp(packet, 3, 4, nexthopmtu=1000))
    other.nodelay = True
    other.send(b"!")
    assert sizes(wire.sent()) == [960, 500, 960, 500, 1], "what cannot have arrived goes again as well"


def test_the_memory_for_paths_is_bounded() -> None:
    wire = Wire()
    paths = MtuCache(wire.stack.settings, 1500)
    flows = [FourTuple("198.18.0.2", 80, f"198.19.{target >> 8}.{target & 255}", 1) for target in range(LARGEST + 10)]
    for flow in flows:
        assert paths.narrowed(flow, 1000, 0)
    assert len(paths.known) == LARGEST and paths.find(flows[9], 0) is None and paths.find(flows[10], 0) is not None
    assert paths.find(flows[10], 600 * SECOND) is None and len(paths.known) == LARGEST - 1


def test_a_router_that_takes_more_than_the_last_changes_nothing() -> None:
    """Until it is forgotten: a path goes up by time alone (RFC 1191 section 6.3)."""
    wire = Wire()
    peer, connection, (packet,) = sending(wire)
    wire.put(icmp(packet, 3, 4, nexthopmtu=1000))
    peer.put("A", 1, 1461)
    connection.send(b"y" * 1460)
    (packet, _) = wire.sent()
    wire.put(icmp(packet, 3, 4, nexthopmtu=1300))
    assert connection.send_mss() == 960


# ---- IP_MTU_DISCOVER ----


@pytest.mark.parametrize(("rule", "flags", "follows"), [(-1, "", True), (0, "DF", True), (1, "DF", True), (2, "DF", False), (3, "", False)])
def test_what_a_program_says_of_path_mtu_discovery(rule: int, flags: str, follows: bool) -> None:
    """ip(7): IP_PMTUDISC_DONT, WANT, DO, PROBE (DF, and the path's MTU is ignored), INTERFACE."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    connection = Peer(wire).open(listener, OPTIONS)
    connection.set_path_discovery(rule)
    connection.send(b"x" * 1460)
    (packet,) = wire.sent()
    assert str(packet[IP].flags) == flags
    wire.put(icmp(packet, 3, 4, nexthopmtu=1000))
    assert connection.send_mss() == (960 if follows else 1460)
    assert connection.path_mtu() == 1000


# ---- packets that vanish ----


class Hole:
    """Twins over a link that lets no packet larger than so many bytes through, in the direction from a, and says nothing."""

    def __init__(self, size: int, data: bytes, settings: dict[str, Any] | None = None) -> None:
        self.size = size
        self.twins = Twins(Impairment(delay=10 * MILLISECOND), Impairment(delay=10 * MILLISECOND), 1, settings, None)
        self.tap = Tap(self.twins, self.twins.link.a, lambda packet: len(packet) > self.size)
        self.twins.a.device = self.tap
        self.pair = Pair(self.twins, Program(data), Program(b""))

    def received(self) -> int:
        return len(self.pair.b.received)

    def counter(self, name: str) -> int:
        return int(getattr(self.twins.a.counters, name))

    def largest(self) -> int:
        """Bytes of the largest packet that got there."""
        return max(len(packet) for _, packet in self.tap.sent if len(packet) <= self.size)


@pytest.mark.parametrize("size", [1400, 1064, 700, 600, 300])
def test_a_black_hole_is_found_and_the_transfer_ends(size: int) -> None:
    """RFC 8899 section 4.3, Linux's tcp_mtu_probing at 1: after tcp_retries1 timeouts, smaller packets; from there up again by probes."""
    hole = Hole(size, b"x" * 3_000_000)
    hole.pair.finish(60)
    assert hole.received() == 3_000_000
    assert hole.largest() > size - 24, "probes find the path's MTU"
    assert hole.counter("TCPMTUPFail") > 0 and (hole.counter("TCPMTUPSuccess") > 0 or size in (1064, 300))


def test_without_probing_nothing_arrives() -> None:
    """tcp_mtu_probing at 0, which is Linux's default."""
    hole = Hole(1400, b"x" * 100_000, {"tcp_mtu_probing": 0})
    with pytest.raises(AssertionError, match="not in"):
        hole.pair.finish(60)
    assert hole.received() == 0


def test_a_lost_probe_does_not_reduce_cwnd() -> None:
    """RFC 8899 section 5.1.3, RFC 4821 section 7.6: a probe that is lost alone says nothing of congestion."""
    hole = Hole(1400, b"x" * 3_000_000)
    hole.pair.run(lambda: hole.counter("TCPMTUPFail") > 0, 60)
    assert hole.counter("TCPMTUPFail") == 1
    assert hole.counter("TCPSackRecovery") == 0
    hole.pair.finish(60)
    assert hole.counter("TCPSackRecovery") == 0, "nor any other"


def test_probing_from_the_start() -> None:
    """tcp_mtu_probing at 2: tcp_base_mss first, and larger ones at once where the path takes them. No timeout is needed."""
    hole = Hole(1400, b"x" * 3_000_000, {"tcp_mtu_probing": 2})
    hole.pair.finish(60)
    assert len(hole.tap.sent[2][1]) == 1064
    assert hole.counter("TCPTimeouts") == 0 and hole.largest() > 1376
    open_way = Hole(1500, b"x" * 3_000_000, {"tcp_mtu_probing": 2})
    open_way.pair.finish(60)
    assert open_way.largest() == 1500 and open_way.counter("TCPMTUPFail") == 0


@pytest.mark.parametrize(("segments", "probed"), [(10, False), (11, True)])
def test_a_small_cwnd_is_not_risked_for_a_probe(segments: int, probed: bool) -> None:
    """tcp_mtu_probe(): one that is lost has to be noticed by what is sent behind it."""
    wire = Wire(tcp_mtu_probing=2)
    peer = Peer(wire)
    connection = peer.open(wire.stack.listen("0.0.0.0", 80), [("MSS", 1460), ("SAckOK", b"")])
    connection.need_sender().recovery.follow_path(connection, wire.now)
    assert connection.send_mss() == 1024
    connection.need_sender().recovery.congestion.cwnd = segments * 1024
    connection.send(bytes(30_000))
    assert (max(sizes(wire.sent())) > 1024) == probed


@pytest.mark.parametrize(
    ("lost", "alone"), [((1,), True), ((), False), ((1, 4), False), ((0, 1), False), ((4,), False), ((2, 3), False)]
)
def test_only_a_probe_that_is_lost_alone_was_too_large(lost: tuple[int, ...], alone: bool) -> None:
    """RFC 8899 section 5.1.3. Another loss is congestion, though it be of as many bytes as the probe: 2 and 3 are half of it each."""
    board, discovery = Scoreboard(), Discovery()
    board.most = 100
    edges = [0, 700, 2100, 2800, 3500, 4900]
    for left, right in pairwise(edges):
        board.sent(left, right, 1)
    discovery.high = 1500
    discovery.probe, discovery.probe_seq, discovery.probe_end = 1440, 700, 2100
    for i in lost:
        board.lose(board.flights[i], 700)
    assert discovery.failed(board) == alone
    assert discovery.high == (1439 if alone else 1500) and discovery.probe == 0


def test_the_next_connection_does_not_fall_into_the_hole() -> None:
    """RFC 4821 section 5.2: what was found is kept for the destination, in the IP layer."""
    hole = Hole(1400, b"x" * 1_000_000)
    hole.pair.finish(60)
    timeouts = hole.counter("TCPTimeouts")
    listener = hole.pair.listener
    assert listener is not None
    again = hole.twins.a.connect("198.18.0.2", 80)
    hole.twins.run(lambda: len(listener.accept_queue) > 0, 1)
    peer = listener.accept()
    assert peer is not None
    again.send(b"y" * 20_000)
    hole.twins.run(lambda: peer.readable() == 20_000, 1)
    assert hole.counter("TCPTimeouts") == timeouts
    assert again.send_mss() > 1300


def test_a_host_that_was_away_is_no_black_hole_for_good() -> None:
    """Small packets vanish too: the search goes up to the full size when it is back."""
    hole = Hole(1500, b"x" * 6_000_000)
    hole.pair.run(lambda: hole.received() > 200_000, 10)
    hole.size = 0
    hole.twins.pass_time(10)
    hole.size = 1500
    hole.pair.run(lambda: hole.received() > 5_900_000, 60)
    assert hole.pair.a.connection is not None and hole.pair.a.connection.send_mss() == 1448


def test_a_path_that_became_wider_is_found_after_tcp_probe_interval() -> None:
    hole = Hole(1400, b"x" * 6_000_000, {"tcp_probe_interval": 1, "mtu_expires": 1})
    hole.pair.run(lambda: hole.counter("TCPMTUPSuccess") > 1, 60)
    hole.size = 1500
    connection = hole.pair.a.connection
    assert connection is not None and connection.send_mss() < 1360
    hole.pair.run(lambda: hole.received() > 5_900_000, 60)
    assert connection.send_mss() == 1448


@pytest.mark.parametrize("size", [1400, 700, 300])
def test_a_path_that_becomes_a_black_hole(size: int) -> None:
    """A size that got through is doubted later than one that never did, but in the end it is."""
    hole = Hole(1500, b"x" * 3_000_000)
    hole.pair.run(lambda: hole.received() > 200_000, 10)
    hole.size = size
    hole.pair.finish(120)
    assert hole.received() == 3_000_000 and hole.largest() > size - 24


def test_losses_are_no_black_hole() -> None:
    """Where every third packet is lost, every tenth segment is lost as often as tcp_retries1 says. Segments keep their size."""
    hole = Hole(1500, b"x" * 300_000, {"tcp_retries2": 255})
    hole.twins.link.forth.impairment = Impairment(delay=10 * MILLISECOND, loss=0.3)
    hole.twins.link.back.impairment = Impairment(delay=10 * MILLISECOND, loss=0.3)
    hole.pair.run(lambda: hole.received() == 300_000)
    connection = hole.pair.a.connection
    assert connection is not None and connection.send_mss() == 1448
    assert hole.counter("TCPTimeouts") > 30
