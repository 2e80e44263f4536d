"""Explicit Congestion Notification (RFC 3168), to the bit: who asks, who agrees, what is marked, and what comes of a mark."""

from __future__ import annotations

from typing import Any

import pytest

from fastnet.devices import Impairment
from fastnet.tcp.congestion import algorithm
from fastnet.tcp.connection import Connection
from fastnet.tcp.policy import Accept
from fastnet.tcpinfo import NAMES, tcp_info
from fastnet.twins import Twins
from tests.pair import Pair, Program, Tap, check
from tests.peer import IP, SECOND, TCP, M, Packet, Peer, Wire, call

CE, ECT_0, ECT_1 = 3, 2, 1
TS_ECN = 0x20
"""Linux's TS_OPT_ECN."""
MSS = 1460


def flags(packets: list[Packet]) -> list[str]:
    return [str(packet[TCP].flags) for packet in packets]


def codepoints(packets: list[Packet]) -> list[int]:
    return [packet[IP].tos & 3 for packet in packets]


def marked(packet: Packet, codepoint: int) -> Packet:
    packet[IP].tos = codepoint
    return packet


class Agreed:
    """A connection that has agreed on ECN, with a scripted peer that has neither SACK nor timestamps."""

    def __init__(self, asks: bool = True, **settings: Any) -> None:
        self.wire = Wire(**settings)
        self.peer = Peer(self.wire)
        listener = self.wire.stack.listen("0.0.0.0", 80)
        (synack,) = self.peer.put("SEC" if asks else "S", options=[("MSS", MSS)])
        self.peer.irs = synack[TCP].seq
        self.peer.put("A", 1, 1)
        connection = listener.accept()
        assert connection is not None
        self.connection: Connection = connection
        self.read = 1

    def data(self, flags: str = "PA", codepoint: int = ECT_0, size: int = 100) -> list[Packet]:
        """New data from the peer; what the stack answers."""
        answers = self.wire.put(marked(self.peer.packet(flags, self.read, 1, bytes(size)), codepoint))
        self.read += size
        return answers

    def send(self, count: int) -> list[Packet]:
        self.connection.send(bytes(count * MSS))
        return self.wire.sent()

    def ack(self, segments: int, flags: str = "A") -> list[Packet]:
        answers = self.peer.put(flags, self.read, 1 + segments * MSS)
        check(self.connection)
        return answers

    @property
    def cwnd(self) -> int:
        assert self.connection.sender is not None
        return self.connection.sender.recovery.congestion.cwnd


# ---- the handshake ----


@pytest.mark.parametrize(("setting", "syn", "codepoint", "synack"), [
    (2, "SEC", 0, "SAE"), (1, "SEC", 0, "SAE"), (0, "SEC", 0, "SA"),
    (2, "S", 0, "SA"), (2, "SE", 0, "SA"), (2, "SC", 0, "SA"),
    (2, "SEC", ECT_0, "SA"), (2, "SEC", CE, "SA"),
])  # fmt: skip
def test_a_listener_agrees_to_an_ecn_setup_syn(setting: int, syn: str, codepoint: int, synack: str) -> None:
    """Both bits, and a SYN that is not marked itself (tcp_ecn_create_request())."""
    wire = Wire(tcp_ecn=setting)
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    answers = wire.put(marked(peer.packet(syn), codepoint))
    assert flags(answers) == [synack] and codepoints(answers) == [0]
    again = [packet for _, packet in wire.wait(1.1)]
    assert flags(again) == [synack], "and so does the repeated one"
    peer.irs = answers[0][TCP].seq
    peer.put("A", 1, 1)
    connection = listener.accept()
    assert connection is not None and (connection.ecn is not None) == (synack == "SAE")


@pytest.mark.parametrize("choice", [Accept(ttl=3), Accept(options=b"\x02\x04\x05\xb4")])
def test_a_policys_synack_agrees_as_well(choice: Accept) -> None:
    wire = Wire()
    wire.stack.listen("0.0.0.0", 80).set_policy(lambda arrival: choice)
    assert flags(Peer(wire).put("SEC")) == ["SAE"] and flags(Peer(wire, sport=2).put("S")) == ["SA"]


def test_a_default_stack_accepts_and_does_not_ask() -> None:
    assert flags([call(Wire())[2]]) == ["S"] and flags([call(Wire(tcp_ecn=0))[2]]) == ["S"]


@pytest.mark.parametrize(("synack", "agreed"), [("SAE", True), ("SA", False), ("SAEC", False), ("SAC", False)])
def test_an_active_open_asks_and_takes_ece_alone_for_yes(synack: str, agreed: bool) -> None:
    """A SYN-ACK with both bits is one of a stack that reflects what it does not know (RFC 3168 section 6.1.1)."""
    wire = Wire(tcp_ecn=1)
    peer, connection, syn = call(wire)
    assert flags([syn]) == ["SEC"] and codepoints([syn]) == [0]
    peer.put(synack, 0, 1)
    assert (connection.ecn is not None) == agreed
    connection.send(b"x")
    assert codepoints(wire.sent()) == [ECT_0 if agreed else 0]


@pytest.mark.parametrize("fallback", [0, 1])
def test_a_syn_that_is_sent_again_does_not_ask(fallback: int) -> None:
    """Section 6.1.1.1, tcp_ecn_fallback; the first one may have arrived all the same, so that its answer still counts."""
    wire = Wire(tcp_ecn=1, tcp_ecn_fallback=fallback)
    peer, connection, _ = call(wire)
    assert flags([packet for _, packet in wire.wait(3.1)]) == ["S" if fallback else "SEC"] * 2
    peer.put("SAE", 0, 1)
    assert connection.ecn is not None


@pytest.mark.parametrize("other", [0, 1])
def test_a_simultaneous_open(other: int) -> None:
    twins = Twins(Impairment(delay=1_000_000), settings_a={"tcp_ecn": 1}, settings_b={"tcp_ecn": other})
    pair = Pair(twins, Program(b"x" * 5000), Program(b"y" * 5000), simultaneous=True)
    pair.finish()
    for program in (pair.a, pair.b):
        assert program.connection is not None and (program.connection.ecn is not None) == (other == 1)
    assert twins.b.counters.InECT0Pkts == twins.a.counters.InECT0Pkts == (4 if other else 0)


def test_a_cookie_remembers() -> None:
    """In the sixth bit of the timestamp, where Linux has it too; without timestamps there is no place."""
    wire = Wire(tcp_syncookies=2)
    listener = wire.stack.listen("0.0.0.0", 80)
    for port, syn, stamped, agreed in ((1, "SEC", True, True), (2, "SEC", False, False), (3, "S", True, False)):
        peer = Peer(wire, sport=port)
        (synack,) = peer.put(syn, options=[("MSS", 1460), *([("Timestamp", (7, 0))] if stamped else [])])
        assert flags([synack]) == ["SAE" if agreed else "SA"]
        peer.irs = synack[TCP].seq
        if stamped:
            value = dict(synack[TCP].options)["Timestamp"][0]
            peer.options = [("Timestamp", (8, value))]
        peer.put("A", 1, 1)
        connection = listener.accept()
        assert connection is not None and (connection.ecn is not None) == agreed
        if stamped:
            assert bool(value - connection.handshake.ts_offset & M & TS_ECN) == agreed
    assert wire.counter("SyncookiesRecv") == 3


def test_a_cookie_that_claims_what_is_off_is_not_believed() -> None:
    wire = Wire(tcp_syncookies=2)
    wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    (synack,) = peer.put("SEC", options=[("MSS", 1460), ("Timestamp", (7, 0))])
    peer.irs = synack[TCP].seq
    wire.stack.settings.tcp_ecn = 0
    assert flags(peer.put("A", 1, 1, options=[("Timestamp", (8, dict(synack[TCP].options)["Timestamp"][0]))])) == ["R"]


# ---- what may be marked ----


def test_only_new_data_may_be_marked() -> None:
    """Not what is sent again (section 6.1.5), not a bare ACK (6.1.4), not a FIN without data."""
    it = Agreed()
    assert codepoints(it.send(3)) == [ECT_0] * 3
    again = [packet for _, packet in it.wire.wait(3)]
    assert [it.peer.relative(packet)[1] for packet in again] == [1, 1] and codepoints(again) == [0, 0]
    it.ack(3)
    assert codepoints(it.data(codepoint=0)) == [0]
    it.connection.shutdown()
    fin = it.wire.sent()
    assert flags(fin) == ["FA"] and codepoints(fin) == [0]


def test_a_probe_of_a_shut_window_may_not_be_marked() -> None:
    """Section 6.1.6, with data and without."""
    it = Agreed()
    it.peer.put("A", 1, 1, window=0)
    it.connection.send(b"abc")
    probes = [packet for _, packet in it.wire.wait(2)]
    assert probes and codepoints(probes) == [0] * len(probes)
    it = Agreed()
    it.connection.send(b"abc")
    it.wire.sent()
    it.peer.put("A", 1, 1, window=0)
    probes = [packet for _, packet in it.wire.wait(2)]
    assert probes and codepoints(probes) == [0] * len(probes) and bytes(probes[0][TCP].payload) == b"abc"


def test_the_ds_field_stays_the_programs() -> None:
    """RFC 9293 SHLD-22; of the two lowest bits the stack knows more."""
    it = Agreed()
    it.connection.change_path(tos=0xB9)
    assert [packet[IP].tos for packet in it.data()] == [0xB8]
    assert [packet[IP].tos for packet in it.send(1)] == [0xBA]


def test_without_ecn_nothing_is_marked_and_marks_mean_nothing() -> None:
    it = Agreed(asks=False)
    assert flags(it.data("PAE", CE)) == ["A"]
    assert codepoints(it.send(2)) == [0, 0]
    before = it.cwnd
    it.ack(2, "AE")
    assert it.cwnd >= before and it.connection.ecn is None and set(flags(it.send(2))) <= {"A", "PA"}


# ---- who receives ----


def test_congestion_is_echoed_until_the_sender_has_slowed_down() -> None:
    """Section 6.1.3: ECE on every ACK from the mark on, until CWR."""
    it = Agreed()
    assert flags(it.data()) == ["A"]
    assert flags(it.data(codepoint=CE)) == ["AE"]
    assert flags(it.data()) == ["AE"] and flags(it.data(codepoint=CE)) == ["AE"]
    assert flags(it.data("PAC")) == ["A"]
    assert flags(it.data("PAC", CE)) == ["AE"], "a mark on the segment with CWR is another one"
    assert flags(it.data("PAC")) == ["A"]
    it.data(codepoint=CE)
    assert flags(it.send(1)) == ["PAE"], "data carries an ACK as well"
    it.connection.abort(it.wire.now)
    assert flags(it.wire.sent()) == ["RA"]


def test_the_first_mark_is_acknowledged_at_once() -> None:
    """As Linux's __tcp_ecn_check_ce(): a sender that is to slow down should not hear of it 40 ms later. So is CWR."""
    it = Agreed()
    for _ in range(16):
        it.data(size=1000)
    assert it.data(size=1000) == [], "delayed by now"
    assert it.data(size=1000) != []
    assert flags(it.data(codepoint=CE, size=1)) == ["AE"]
    assert it.data(codepoint=CE, size=1) == [], "no news"
    assert flags(it.data("PAC", size=1)) == ["A"] and flags(it.data("PAC", size=1)) == ["A"]


def test_marks_outside_the_window_and_on_bare_acks_mean_nothing() -> None:
    it = Agreed()
    it.wire.put(marked(it.peer.packet("PA", 1 - 500, 1, b"old"), CE), marked(it.peer.packet("A", 1, 1), CE))
    assert flags(it.data()) == ["A"]


# ---- who sends ----


def test_an_echo_slows_down_once_in_a_round_trip() -> None:
    """Section 6.1.2: as for a loss, but nothing is sent again; the next new data says CWR, once."""
    it = Agreed(tcp_congestion_control="reno")
    assert len(it.send(10)) == 10 and it.cwnd == 10 * MSS
    assert it.ack(1, "AE") == [] and it.cwnd == 9 * MSS // 2
    for n in range(2, 6):
        assert it.ack(n, "AE") == [] and it.cwnd == 9 * MSS // 2, "of the same window"
    it.connection.send(bytes(20 * MSS))
    it.wire.sent()
    first = it.ack(7, "AE")
    assert flags(first)[0] == "AC" and set(flags(first)[1:]) <= {"A"} and codepoints(first) == [ECT_0] * len(first)
    more = it.ack(10)
    assert set(flags(more)) == {"A"} and it.wire.counter("TcpRetransSegs") == 0
    before = it.cwnd
    it.ack(11, "AE")
    assert it.cwnd < before, "a mark of the next window"
    assert it.wire.counter("TCPRenoRecovery") == it.wire.counter("TCPSackRecovery") == 0


def test_a_loss_in_the_same_window_brings_no_second_reduction() -> None:
    it = Agreed()
    it.send(10)
    it.ack(1, "AE")
    assert it.connection.sender is not None
    threshold = it.connection.sender.recovery.congestion.ssthresh
    sent = [packet for _ in range(3) for packet in it.ack(1, "AE")]
    assert [it.peer.relative(packet)[1] for packet in sent] == [1 + MSS] and codepoints(sent) == [0]
    assert it.wire.counter("TCPRenoRecovery") == 1 and it.connection.sender.recovery.congestion.ssthresh == threshold
    it.connection.send(bytes(10 * MSS))
    assert flags(it.ack(10))[0] == "AC"


def test_after_a_loss_the_peer_is_told_as_well() -> None:
    """CWR goes with the first new data after any reduction, and not with what is sent again."""
    it = Agreed()
    it.send(10)
    again = [packet for _ in range(4) for packet in it.ack(1)]
    assert [(it.peer.relative(packet)[0], packet[IP].tos) for packet in again] == [("PA", 0)]
    it.connection.send(bytes(10 * MSS))
    new = it.wire.sent() + it.ack(10)
    assert flags(new)[0] == "AC" and codepoints(new)[0] == ECT_0 and "AC" not in flags(new)[1:]


def test_a_timeout_grows_again_as_without_ecn() -> None:
    """What is still on its way is none of slow start's business."""
    windows = []
    for asks in (True, False):
        it = Agreed(asks)
        it.send(10)
        it.wire.wait(3)
        windows.append(it.cwnd)
        for n in range(1, 6):
            it.ack(n)
            windows.append(it.cwnd)
    assert windows[:6] == windows[6:] and windows[0] < windows[5]


def test_congestion_controls_are_told() -> None:
    """CUBIC comes down by three tenths (RFC 9438 section 4.6), Reno by half."""
    for name, factor in (("cubic", 0.7), ("reno", 0.5)):
        it = Agreed(tcp_congestion_control=name)
        it.send(10)
        it.ack(1, "AE")
        assert it.cwnd == pytest.approx(10 * MSS * factor, abs=MSS)


@pytest.mark.parametrize(("name", "mark", "loss"), [("cubic", 0.85, 0.7), ("reno", 0.8, 0.5), ("none", 0, 0)])
def test_alternative_backoff(name: str, mark: float, loss: float) -> None:
    """RFC 8511 section 3.1: with fastnet_abe a mark takes less than a loss, and a loss as much as before."""
    for abe, factor in ((0, loss), (1, mark)):
        it = Agreed(tcp_congestion_control=name, fastnet_abe=abe)
        it.send(10)
        it.ack(1, "AE")
        if factor:
            assert it.cwnd == pytest.approx(9 * MSS * factor if name == "reno" else 10 * MSS * factor, abs=2)
        else:
            assert it.cwnd > 1 << 30
    if loss:
        it = Agreed(tcp_congestion_control=name, fastnet_abe=1)
        it.send(10)
        for _ in range(4):
            it.ack(1)
        assert it.connection.sender is not None
        congestion = it.connection.sender.recovery.congestion
        # The first ACK was of new data, so CWND is eleven segments by the third duplicate.
        assert congestion.ssthresh == pytest.approx(9 * MSS * loss if name == "reno" else 11 * MSS * loss, abs=2)


@pytest.mark.parametrize("name", ["cubic", "reno", "dctcp"])
def test_a_mark_leaves_two_segments(name: str) -> None:
    """RFC 5681 equation 4, RFC 8511 section 3.1: SSTHRESH is two segments at least, however little is on its way; for a loss too."""
    for kind in ("marked", "reduce", "timed_out"):
        congestion = algorithm(name)(MSS)
        congestion.cwnd = 2 * MSS
        getattr(congestion, kind)(MSS, SECOND)
        assert congestion.ssthresh == 2 * MSS, kind


# ---- what is known of it ----


def test_counters() -> None:
    it = Agreed()
    before = it.wire.counter("InNoECTPkts")
    it.wire.put(*(marked(it.peer.packet("A", 1, 1), codepoint) for codepoint in (0, ECT_1, ECT_0, ECT_0, CE, CE, CE)), b"\x45\x03")
    names = ("InECT1Pkts", "InECT0Pkts", "InCEPkts")
    assert [it.wire.counter(name) for name in names] == [1, 2, 3]
    assert it.wire.counter("InNoECTPkts") - before == 2


def test_tcp_info() -> None:
    def options(connection: Connection) -> int:
        return tcp_info(connection, None, 10 * SECOND)[NAMES.index("options")]

    assert options(Agreed(asks=False).connection) == 0
    it = Agreed()
    assert options(it.connection) == 8
    it.data()
    assert options(it.connection) == 24


# ---- over a link ----

QUEUE = Impairment(rate=20_000_000, delay=10_000_000, queue=60, mark_at=20)
SIZE = 3_000_000


def transfer(ecn: int) -> tuple[Pair, float]:
    """Both ends send; how long it took, virtual seconds."""
    twins = Twins(QUEUE, seed=1, settings_a={"tcp_ecn": ecn}, settings_b={"tcp_ecn": ecn})
    pair = Pair(twins, Program(b"a" * SIZE), Program(b"b" * SIZE), checked=False)
    pair.finish()
    for program, other in ((pair.a, pair.b), (pair.b, pair.a)):
        assert program.received == other.data
    return pair, twins.clock() / SECOND - 1


def test_a_queue_that_marks_loses_nothing_and_both_ends_slow_down() -> None:
    pair, seconds = transfer(1)
    without, seconds_without = transfer(0)
    for way, way_without in ((pair.twins.link.forth, without.twins.link.forth), (pair.twins.link.back, without.twins.link.back)):
        assert way.tally.marked > 0 and way.tally.dropped == 0
        assert way_without.tally.marked == 0 and way_without.tally.dropped > 0
    for stack in (pair.twins.a, pair.twins.b):
        assert stack.counters.TcpRetransSegs == 0 and stack.counters.InCEPkts > 0
    assert seconds < 1.3 * seconds_without and seconds < 2 * SIZE * 8 / QUEUE.rate, "and the link is busy all the same"


@pytest.mark.parametrize("seed", range(4))
def test_marks_and_losses_together(seed: int) -> None:
    """Nothing but time is lost; invariants are looked at after each step."""
    twins = Twins(Impairment(loss=0.02, mark=0.05, delay=5_000_000), seed=seed, settings_a={"tcp_ecn": 1})
    pair = Pair(twins, Program(b"a" * 200_000), Program(b"b" * 200_000))
    pair.finish()
    assert pair.a.received == pair.b.data and pair.b.received == pair.a.data
    assert twins.link.forth.tally.marked > 0 and twins.a.counters.InCEPkts > 0
    pair.assert_nothing_left()


def test_every_mark_is_answered_in_the_end() -> None:
    """Each ECE of the receiver's ends with a CWR of the sender's, as long as there is new data; nobody cries congestion for ever."""
    twins = Twins(Impairment(mark=0.02, delay=5_000_000), Impairment(delay=5_000_000), settings_a={"tcp_ecn": 1})
    forth, back = Tap(twins, twins.link.a), Tap(twins, twins.link.b)
    twins.a.device, twins.b.device = forth, back
    pair = Pair(twins, Program(b"a" * 1_000_000), Program(b""), checked=False)
    pair.finish()
    tcp = [IP(packet)[TCP] for _, packet in forth.sent if IP(packet)[TCP].payload]
    assert sum("C" in str(segment.flags) for segment in tcp) > 3
    ends = [str(IP(packet)[TCP].flags) for _, packet in back.sent]
    assert any("E" in flag for flag in ends[1:]) and any("E" not in flag for flag in ends[2:])
    assert all(IP(packet).tos & 3 == 0 for _, packet in back.sent)
