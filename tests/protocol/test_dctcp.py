"""DCTCP (RFC 8257), clause by clause: what the receiver echoes, what the sender makes of it, and what a queue that marks becomes."""

from __future__ import annotations

from typing import Any

import pytest

from fastnet.devices import Impairment
from fastnet.sweep import Cell, measure
from fastnet.tcp.congestion.base import Acknowledgment, CongestionControl
from fastnet.tcp.congestion.dctcp import Dctcp
from fastnet.tcp.connection import Connection
from fastnet.twins import Twins
from tests.pair import Pair, Program
from tests.peer import IP, TCP, Peer, Wire, call
from tests.protocol.test_ecn import CE, ECT_0, MSS, Agreed, codepoints, flags, marked
from tests.protocol.test_tcpinfo import info


def agreed(**settings: Any) -> Agreed:
    return Agreed(tcp_congestion_control="dctcp", **settings)


def delaying(it: Agreed) -> Agreed:
    """Past the first ACKs, which are not delayed."""
    for _ in range(16):
        it.data(size=1000)
    assert it.data(size=10) == []
    it.wire.wait(0.05)
    return it


def of(it: Agreed) -> Dctcp:
    assert it.connection.sender is not None
    congestion = it.connection.sender.recovery.congestion
    assert isinstance(congestion, Dctcp)
    return congestion


# ---- section 3.2: the receiver ----


def test_the_echo_follows_each_segment() -> None:
    """Not until CWR, as RFC 3168 has it: DCTCP.CE is what the last segment was."""
    it = agreed()
    assert flags(it.data()) == ["A"]
    assert flags(it.data(codepoint=CE)) == ["AE"] == flags(it.data(codepoint=CE))
    assert flags(it.data()) == ["A"]
    assert flags(it.data("PAC", CE)) == ["AE"], "CWR first, then CE"
    assert flags(it.data("PAC")) == ["A"] and flags(it.data(codepoint=CE)) == ["AE"]
    assert flags(it.data(codepoint=0)) == ["A"], "what may not be marked is not"


def test_tcp_info_says_whether_a_codepoint_came() -> None:
    """TCPI_OPT_ECN, TCPI_OPT_ECN_SEEN: the second only once the path has let one through."""
    it = agreed()
    for codepoint, seen in ((0, False), (ECT_0, True), (0, True)):
        it.data(codepoint=codepoint)
        options = info(it.wire, it.connection)["options"]
        assert (options & 8 != 0, options & 16 != 0) == (True, seen)


def test_a_change_sends_the_delayed_ack_with_the_state_before() -> None:
    """Section 3.2: two ACKs, one for what came before and one for what came just now, so that the sender's count is exact."""
    it = delaying(agreed())
    assert it.data(size=10) == [], "delayed"
    before = it.read
    answers = it.data(codepoint=CE, size=10)
    assert flags(answers) == ["A", "AE"] and [it.peer.relative(packet)[2] for packet in answers] == [before, it.read]
    assert it.data(codepoint=CE, size=10) == [], "no change: delayed again"
    before = it.read
    answers = it.data(size=10)
    assert flags(answers) == ["AE", "A"] and [it.peer.relative(packet)[2] for packet in answers] == [before, it.read]


def test_a_change_with_nothing_to_acknowledge_sends_one_ack() -> None:
    it = delaying(agreed())
    assert flags(it.data(codepoint=CE, size=10)) == ["AE"]
    assert flags(it.data(size=10)) == ["A"]


def test_changes_within_a_batch() -> None:
    """Segments that arrive together are acknowledged together, but not across a change."""
    it = delaying(agreed())
    batch = []
    for codepoint in (ECT_0, ECT_0, CE, CE, ECT_0):
        batch.append(marked(it.peer.packet("PA", it.read, 1, bytes(100)), codepoint))
        it.read += 100
    answers = it.wire.put(*batch)
    assert [(str(packet[TCP].flags), it.peer.relative(packet)[2]) for packet in answers] == [
        ("A", it.read - 300), ("AE", it.read - 100), ("A", it.read)
    ]  # fmt: skip


def test_a_class_of_a_programs_own_gets_the_same() -> None:
    """``needs_ecn`` alone makes the receiver exact, on a connection that is there already as well."""

    class Mine(CongestionControl):
        needs_ecn = True

    it = delaying(Agreed())
    it.connection.set_congestion_control(Mine)
    assert flags(it.data(codepoint=CE, size=10)) == ["AE"] and flags(it.data(size=10)) == ["A"]
    it.connection.set_congestion_control("cubic")
    assert flags(it.data(codepoint=CE, size=10)) == ["AE"]
    assert it.data(size=1000) == [] and flags(it.data(size=1000)) == ["AE"], "RFC 3168 again"


# ---- section 3.3: the sender ----


def test_the_estimate_by_hand() -> None:
    """Equation 1: alpha moves a sixteenth of the way to the share of marked bytes, once for each window of data; it begins with 1."""
    congestion = Dctcp(1000)
    ack = Acknowledgment()
    assert congestion.alpha == 1.0
    ack.acked = 1000
    for round_trip, share in ((1, 0.0), (2, 0.5), (3, 1.0)):
        before = congestion.alpha
        for i in range(10):
            ack.round = round_trip - (i < 9)
            congestion.echoed(ack, i < 10 * share)
        assert congestion.alpha == pytest.approx(before + (share - before) / 16)
    for _ in range(1000):
        ack.round += 1
        congestion.echoed(ack, False)
    assert congestion.alpha < 1e-20, "it can become nothing (section 4)"


def test_a_mark_takes_half_of_alpha() -> None:
    """Equation 2, once a window of data; the next new data says CWR."""
    it = agreed()
    it.send(10)
    it.ack(1)
    of(it).alpha = 0.25
    before = it.cwnd
    it.ack(2, "AE")
    alpha = of(it).alpha
    assert it.cwnd == of(it).ssthresh == int(before * (1 - alpha / 2)) > 0.85 * before
    reduced = it.cwnd
    for n in range(3, 9):
        it.ack(n, "AE")
    assert it.cwnd == reduced, "of the same window"
    it.connection.send(bytes(20 * MSS))
    assert "C" in "".join(flags(it.wire.sent() + it.ack(10)))


def test_the_first_mark_halves() -> None:
    it = agreed()
    it.send(10)
    before = it.cwnd
    it.ack(1, "AE")
    assert it.cwnd == pytest.approx(before / 2, abs=MSS)


def test_cwnd_stays_two_segments_at_least() -> None:
    it = agreed()
    sent = 10
    it.send(10)
    it.ack(10, "AE")
    for _ in range(12):
        count = it.cwnd // MSS
        it.send(count)
        sent += count
        it.ack(sent, "AE")
    assert it.cwnd == 2 * MSS and of(it).alpha == pytest.approx(1.0)


# ---- section 3.5: loss ----


def test_a_loss_halves_whatever_alpha_is() -> None:
    it = agreed()
    it.send(10)
    it.ack(1)
    of(it).alpha = 0.0
    for _ in range(3):
        it.ack(1)
    assert it.wire.counter("TCPRenoRecovery") == 1 and of(it).ssthresh == 9 * MSS // 2


def test_a_loss_counts_behind_a_mark_of_the_same_window() -> None:
    """The mark may have taken next to nothing (dctcp_react_to_loss())."""
    it = agreed()
    it.send(10)
    it.ack(1)
    of(it).alpha = 0.0
    it.ack(2, "AE")
    assert of(it).ssthresh > 9 * MSS
    for _ in range(3):
        it.ack(2)
    assert it.wire.counter("TCPRenoRecovery") == 1 and of(it).ssthresh == 8 * MSS // 2


def test_a_timeout_is_one_of_newreno() -> None:
    it = agreed()
    it.send(10)
    of(it).alpha = 0.0
    it.wire.wait(1.5)
    assert it.cwnd == MSS and of(it).ssthresh == 5 * MSS


# ---- section 3.6, and who asks ----


def test_every_packet_may_be_marked() -> None:
    """SYN, SYN-ACK, bare ACKs, what is sent again, RST: else they would be dropped where data is marked."""
    it = agreed()
    assert codepoints(it.data()) == [ECT_0]
    assert codepoints(it.send(3)) == [ECT_0] * 3
    assert codepoints([packet for _, packet in it.wire.wait(3)]) == [ECT_0, ECT_0], "sent again"
    it.connection.abort(it.wire.now)
    (reset,) = it.wire.sent()
    assert str(reset[TCP].flags) == "RA" and reset[IP].tos == ECT_0


@pytest.mark.parametrize("setting", [0, 1, 2])
def test_the_congestion_control_asks_whatever_tcp_ecn_says(setting: int) -> None:
    wire = Wire(tcp_ecn=setting, tcp_congestion_control="dctcp")
    peer, connection, syn = call(wire)
    assert flags([syn]) == ["SEC"] and codepoints([syn]) == [ECT_0]
    peer.put("SAE", 0, 1)
    assert connection.ecn is not None
    connection.send(b"x")
    assert codepoints(wire.sent()) == [ECT_0]


def test_a_syn_that_is_sent_again_asks_for_nothing_and_is_not_marked() -> None:
    wire = Wire(tcp_congestion_control="dctcp")
    call(wire)
    again = [packet for _, packet in wire.wait(1.5)]
    assert flags(again) == ["S"] and codepoints(again) == [0]


@pytest.mark.parametrize("codepoint", [0, ECT_0, CE])
@pytest.mark.parametrize("cookies", [1, 2])
def test_a_listener_agrees_to_a_syn_that_may_be_marked(codepoint: int, cookies: int) -> None:
    """Only where it is DCTCP's (tcp_ecn_create_request()), and whatever tcp_ecn says."""
    for control in ("dctcp", "cubic"):
        wire = Wire(tcp_congestion_control=control, tcp_ecn=0 if control == "dctcp" else 2, tcp_syncookies=cookies)
        listener = wire.stack.listen("0.0.0.0", 80)
        peer = Peer(wire)
        (synack,) = wire.put(marked(peer.packet("SEC", options=[("MSS", MSS), ("Timestamp", (7, 0))]), codepoint))
        yes = control == "dctcp" or codepoint == 0
        assert flags([synack]) == ["SAE" if yes else "SA"]
        if cookies == 1:
            assert codepoints([synack]) == [ECT_0 if control == "dctcp" else 0]
        peer.irs = synack[TCP].seq
        peer.options = [("Timestamp", (8, dict(synack[TCP].options)["Timestamp"][0]))]
        peer.put("A", 1, 1)
        connection = listener.accept()
        assert connection is not None and (connection.ecn is not None) == yes
        assert connection.handshake.ecn == (0 if not yes else ECT_0 if control == "dctcp" else 1)


@pytest.mark.parametrize("asks", [False, True])
def test_a_peer_without_ecn_gets_newreno(asks: bool) -> None:
    """Linux's dctcp_reno: nothing may be marked, marks mean nothing, losses halve."""
    it = Agreed(asks=False, tcp_congestion_control="dctcp")
    if asks:
        wire = Wire(tcp_congestion_control="dctcp")
        peer, connection, _ = call(wire)
        peer.put("SA", 0, 1)
        assert connection.ecn is None
        connection.send(b"x")
        assert codepoints(wire.sent()) == [0]
        return
    assert codepoints(it.send(10)) == [0] * 10
    before = it.cwnd
    it.ack(1, "AE")
    assert it.cwnd == before + MSS and of(it).alpha == 1.0
    for _ in range(3):
        it.ack(1)
    assert of(it).ssthresh == 9 * MSS // 2


def test_it_grows_as_newreno_does() -> None:
    windows = []
    for control in ("dctcp", "reno"):
        it = Agreed(tcp_congestion_control=control)
        it.send(10)
        for n in range(1, 11):
            it.ack(n)
            windows.append(it.cwnd)
    assert windows[:10] == windows[10:]


# ---- over a link ----


def exact(connection: Connection | None) -> bool:
    return connection is not None and connection.ecn is not None and connection.handshake.ecn == ECT_0


@pytest.mark.parametrize("seed", range(3))
def test_the_sender_counts_what_was_marked(seed: int) -> None:
    """Marks at random, no loss: bytes that the sender holds for marked are those that were, to the last byte, whatever ACKs are delayed."""
    settings = {"tcp_congestion_control": "dctcp"}
    twins = Twins(Impairment(mark=0.1, delay=5_000_000), Impairment(delay=5_000_000), seed=seed, settings_a=settings, settings_b=settings)
    mark = twins.link.forth.mark
    met, told = [0], [0]

    def marking(packet: bytes) -> bytes:
        met[0] += len(IP(packet)[TCP].payload)
        return mark(packet)

    class Counting(Dctcp):
        def echoed(self, ack: Acknowledgment, marked: bool) -> None:
            told[0] += ack.acked if marked else 0
            super().echoed(ack, marked)

    twins.link.forth.mark = marking  # type: ignore[method-assign]
    pair = Pair(twins, Program(b"a" * 600_000), Program(b""), checked=False)
    assert pair.a.connection is not None
    pair.a.connection.set_congestion_control(Counting)
    pair.run(lambda: exact(pair.a.connection) and exact(pair.b.connection))
    pair.finish()
    assert pair.b.received == pair.a.data and twins.a.counters.TcpRetransSegs == 0
    # The FIN counts as a byte, and is none.
    assert met[0] > 30_000 and met[0] <= told[0] <= met[0] + 1


def test_a_queue_that_marks_stays_near_its_threshold_and_the_link_busy() -> None:
    """What DCTCP is for: a queue of one bandwidth-delay product with a threshold of a sixth; CUBIC fills it, and halves."""
    path = {"rate": 100e6, "rtt": 0.004, "duration": 4, "warmup": 1, "queue": "1bdp", "flows": 2}
    dctcp = measure(Cell(control="dctcp", discipline="step", **path))  # type: ignore[arg-type]
    cubic = measure(Cell(control="cubic", **path))  # type: ignore[arg-type]
    threshold = 100e6 * 0.004 / 6 / 100e6
    assert dctcp.utilisation > 0.97
    assert dctcp.retransmitted == dctcp.dropped == 0 < dctcp.marked
    assert 0.5 * threshold < dctcp.queue_p50 < 1.5 * threshold and dctcp.queue_p99 < 2.5 * threshold
    assert dctcp.queue_p50 < cubic.queue_p50 / 2
    assert dctcp.jain > 0.9
