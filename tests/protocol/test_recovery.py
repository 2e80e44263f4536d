"""Loss recovery and congestion control, each algorithm by itself: what is sent and when, to the byte and the millisecond."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scapy.layers.inet import TCP
from scapy.packet import Packet

from fastnet.devices import Impairment
from fastnet.tcp.congestion.base import NO_THRESHOLD, Acknowledgment, CongestionControl
from fastnet.tcp.congestion.cubic import Cubic
from fastnet.tcp.congestion.newreno import NewReno
from fastnet.tcp.connection import Connection
from fastnet.tcp.states import State
from fastnet.twins import Twins
from tests.pair import Pair, Program, check
from tests.peer import MILLISECOND, SECOND, M, Peer, Wire

MSS = 1000
RTT = 100 * MILLISECOND
RTO = 300 * MILLISECOND
"""SRTT + 4 RTTVAR after one measurement of 100 ms."""


class Talk:
    """A connection whose peer is scripted; the handshake took 100 ms. Segments of 1000 bytes are numbered from 0.

    :param sack: the peer has SACK; ``stamps``: and timestamps; ``ecn``: and ECN
    """

    def __init__(
        self, sack: bool = True, stamps: bool = False, mss: int = MSS, mtu: int = 1500, ecn: bool = False, **settings: object
    ) -> None:
        self.wire = Wire(mtu, **settings)
        self.mss = mss
        self.peer = Peer(self.wire)
        self.listener = self.wire.stack.listen("0.0.0.0", 80)
        options: list = [("MSS", mss + 12 * stamps), ("WScale", 4)]
        options += [("SAckOK", b"")] if sack else []
        options += [("Timestamp", (1, 0))] if stamps else []
        (synack,) = self.peer.put("SEC" if ecn else "S", options=options)
        self.peer.irs = synack[TCP].seq
        self.stamps = stamps
        self.echo = dict(synack[TCP].options)["Timestamp"][0] if stamps else 0
        self.wire.now += RTT
        self.peer.put("A", 1, 1, window=4015, options=self.options())
        connection = self.listener.accept()
        assert connection is not None
        self.connection: Connection = connection
        self.connection.nodelay = True

    def options(self, *blocks: tuple[int, int], echo: int | None = None) -> list:
        options: list = []
        if self.stamps:
            options += [("NOP", None), ("NOP", None), ("Timestamp", (1, self.echo if echo is None else echo))]
        if blocks:
            edges = [(self.peer.irs + 1 + edge * self.mss) & M for block in blocks for edge in block]
            options += [("NOP", None), ("NOP", None), ("SAck", tuple(edges))]
        return options

    def numbers(self, packets: list[Packet]) -> list[int]:
        """Which segments these are; what carries no data is left out."""
        segments = [self.peer.relative(packet) for packet in packets]
        for packet in packets:
            if self.stamps:
                self.last_stamp = dict(packet[TCP].options)["Timestamp"][0]
        check(self.connection)
        return [(seq - 1) // self.mss for _, seq, _, data in segments if data]

    def send(self, count: int) -> list[int]:
        self.connection.send(bytes(count * self.mss))
        return self.numbers(self.wire.sent())

    def ack(
        self, number: int, *blocks: tuple[int, int], after: int = 0, echo: int | None = None, flags: str = "A"
    ) -> list[int]:
        """An ACK of everything before a segment, with SACK blocks [first, end); what it lets out."""
        self.wire.now += after
        return self.numbers(self.peer.put(flags, 1, 1 + number * self.mss, window=4015, options=self.options(*blocks, echo=echo)))

    def wait(self, milliseconds: float) -> list[tuple[float, int]]:
        """Let time pass; (ms, segment) of what is sent."""
        sent = self.wire.wait(milliseconds / 1000)
        return [(round(when * 1000, 3), number) for when, packet in sent for number in self.numbers([packet])]

    @property
    def congestion(self) -> CongestionControl:
        return self.connection.need_sender().recovery.congestion

    @property
    def recovery(self):
        return self.connection.need_sender().recovery

    def counter(self, name: str) -> int:
        return self.wire.counter(name)


# ---- what is lost, and when it is sent again ----


def test_fast_retransmit_after_three_sacked_segments() -> None:
    """RFC 8985 section 6.2: with three segments ahead there is no waiting; and RFC 3042: the SACKs before let new data out."""
    talk = Talk()
    assert talk.send(20) == list(range(10))
    assert talk.ack(0, (1, 2), after=RTT) == [10]
    assert talk.ack(0, (1, 3)) == [11]
    assert talk.ack(0, (1, 4)) == [0], "lost; PRR lets out one segment, and it is the lost one"
    assert talk.counter("TCPSackRecovery") == talk.counter("TCPFastRetrans") == talk.counter("TcpRetransSegs") == 1
    assert talk.wait(90) == [], "and no timer has a part in it"
    assert talk.counter("TCPTimeouts") == 0


def test_one_segment_ahead_is_given_a_quarter_of_a_round_trip() -> None:
    """RFC 8985 section 6.2 step 4: min_RTT / 4, and the reordering timer."""
    talk = Talk()
    assert talk.send(3) == [0, 1, 2]
    assert talk.ack(0, (1, 2), after=RTT) == []
    assert talk.wait(30) == [(25.0, 0)]
    assert talk.counter("TCPTimeouts") == 0 and talk.counter("TCPSackRecovery") == 1


def test_reordering_is_tolerated_once_it_was_seen() -> None:
    """RFC 8985: what came late without having been sent again shows that order means little; then three segments ahead have to wait too."""
    talk = Talk()
    talk.send(4)
    talk.ack(0, (1, 2), after=RTT)
    talk.ack(2, after=10 * MILLISECOND)
    assert talk.recovery.board.rack.reordering_seen
    talk.ack(4)
    talk.send(8)
    assert talk.ack(4, (5, 8), after=RTT) == [], "three ahead"
    assert talk.ack(4, (5, 10)) == [], "five ahead"
    talk.ack(12, after=20 * MILLISECOND)
    assert talk.wait(1000) == [] and talk.counter("TcpRetransSegs") == 0
    # But not for ever.
    talk.send(8)
    talk.ack(12, (13, 18), after=RTT)
    assert talk.wait(30) == [(25.0, 12)]


def test_lost_retransmission_is_noticed_without_a_timeout() -> None:
    """RFC 8985 section 3: what was sent after a retransmission has arrived, so the retransmission should have."""
    talk = Talk()
    talk.send(30)
    assert talk.ack(0, (1, 4), after=RTT)[0] == 0
    sent = talk.ack(0, (1, 10))
    assert sent and 0 not in sent
    assert talk.ack(0, (1, max(sent) + 1), after=RTT)[0] == 0, "again"
    assert talk.counter("TCPLostRetransmit") == 1 and talk.counter("TCPTimeouts") == 0


def test_tail_loss_probe() -> None:
    """RFC 8985 section 7: two round trips after the last segment, it goes again; its SACK shows what else is missing. No timeout."""
    talk = Talk()
    assert talk.send(3) == [0, 1, 2]
    assert talk.wait(210) == [(202.0, 2)]
    assert talk.counter("TCPLossProbes") == 1
    assert talk.ack(0, (2, 3), after=90 * MILLISECOND) == [0], "PRR: one has arrived, one goes out"
    assert talk.ack(1, (2, 3), after=RTT) == [1]
    talk.ack(3, after=RTT)
    assert talk.counter("TCPTimeouts") == 0 and talk.counter("TCPSackRecovery") == 1
    assert talk.wait(10_000) == []


def test_tail_loss_probe_sends_new_data_if_there_is_some() -> None:
    """RFC 8985 section 7.3, for one segment beyond CWND."""
    talk = Talk()
    assert talk.send(11) == list(range(10))
    assert talk.wait(210) == [(202.0, 10)]
    assert talk.counter("TcpRetransSegs") == 0


def test_a_probe_that_repairs_the_only_loss_counts_as_one() -> None:
    """RFC 8985 section 7.4: the window comes down although nothing else shows that there was a loss."""
    talk = Talk()
    talk.send(3)
    talk.ack(2, after=RTT)
    assert talk.wait(450) == [(300.0, 2)], "alone on its way, a delayed ACK is waited for; that is longer than the RTO"
    talk = Talk()
    talk.send(3)
    assert talk.wait(210) == [(202.0, 2)]
    before = talk.congestion.cwnd
    talk.send(1)
    talk.ack(4, after=90 * MILLISECOND)
    assert talk.counter("TCPLossProbeRecovery") == 1 and talk.congestion.ssthresh < before


def test_a_probe_for_nothing_is_reported_and_costs_nothing() -> None:
    talk = Talk()
    talk.send(3)
    assert talk.wait(210) == [(202.0, 2)]
    before = talk.congestion.cwnd
    talk.ack(3, after=20 * MILLISECOND)
    talk.ack(3, (2, 3), after=80 * MILLISECOND)
    assert talk.counter("TCPDSACKRecv") == 0, "nothing is on its way, so nobody listens"
    assert talk.counter("TCPLossProbeRecovery") == 0 and talk.congestion.cwnd >= before


@pytest.mark.parametrize(("what", "lost"), [("a bare ACK", False), ("SACK", True), ("data", True), ("nothing", True)])
def test_a_probe_that_came_twice_is_known_by_a_bare_ack(what: str, lost: bool) -> None:
    """RFC 8985 section 7.4.2: from a peer without D-SACK, a duplicate ACK at the end of the probe, with neither SACK nor data."""
    talk = Talk()
    talk.send(3)
    assert talk.wait(210) == [(202.0, 2)]
    assert talk.ack(3, after=20 * MILLISECOND) == []
    before = talk.congestion.cwnd
    assert talk.send(2) == [3, 4]
    if what == "a bare ACK":
        talk.ack(3)
    elif what == "SACK":
        talk.ack(3, (4, 5))
    elif what == "data":
        talk.peer.put("A", 1, 1 + 3 * MSS, b"x", window=4015)
    talk.wire.now += RTT
    talk.peer.put("A", 2 if what == "data" else 1, 1 + 5 * MSS, window=4015)
    assert talk.counter("TCPLossProbeRecovery") == lost and (talk.congestion.cwnd < before) == lost


def test_timeouts_double() -> None:
    """RFC 6298 section 5.5: from the RTO that the round trip gave."""
    talk = Talk(sack=False, tcp_congestion_control="reno")
    assert talk.send(1) == [0]
    assert talk.wait(10_000) == [(300.0, 0), (900.0, 0), (2100.0, 0), (4500.0, 0), (9300.0, 0)]
    assert talk.congestion.cwnd == MSS and talk.congestion.ssthresh == 2 * MSS
    talk.ack(1)
    talk.send(1)
    assert talk.wait(9590) == [], "Karn: the round trip of a retransmission measures nothing, and the timeout stays as it is"
    assert talk.wait(20) == [(10.0, 1)]
    talk.ack(2)
    talk.send(1)
    assert talk.wait(19_190) == []
    talk.ack(3)
    talk.send(1)
    assert talk.connection.sender.rtt.backoff == 0 and talk.wait(60_000), "something that was sent once ends that"


@pytest.mark.parametrize("name", ["cubic", "reno"])
def test_a_timeout_in_recovery_leaves_ssthresh(name: str) -> None:
    """RFC 5681 section 4.3, tcp_enter_loss(): one loss of a window of data, one reduction, though the retransmission is lost too."""
    talk = Talk(tcp_congestion_control=name)
    talk.send(10)
    talk.ack(0, (1, 10), after=RTT)
    ssthresh = talk.congestion.ssthresh
    assert talk.recovery.state == 1 and ssthresh == (7 if name == "cubic" else 5) * MSS
    assert [number for _, number in talk.wait(1500)] == [0, 0]
    assert talk.counter("TCPTimeouts") == 2
    assert talk.congestion.ssthresh == ssthresh and talk.congestion.cwnd == MSS
    # Another window, another loss.
    talk.ack(10, after=RTT)
    talk.send(4)
    talk.wait(5000)
    assert talk.congestion.ssthresh < ssthresh


def test_without_congestion_control_timeouts_change_nothing() -> None:
    talk = Talk(sack=False, tcp_congestion_control="none")
    talk.send(40)
    cwnd = talk.congestion.cwnd
    talk.wait(3000)
    assert talk.counter("TCPTimeouts") >= 3 and talk.congestion.cwnd == cwnd


def test_an_ack_in_the_same_batch_as_a_timeout() -> None:
    """The timer was set before the ACK came: it has to look again, not to retransmit."""
    for sack in (False, True):
        talk = Talk(sack=sack)
        talk.send(2)
        due = (RTO if not sack else 202 * MILLISECOND)
        assert talk.ack(1, after=due) == [], "one of two acknowledged: the timer starts anew"
        assert talk.counter("TCPTimeouts") == talk.counter("TCPLossProbes") == talk.counter("TcpRetransSegs") == 0
        assert talk.ack(2, after=talk.connection.need_sender().deadline - talk.wire.now) == []
        assert talk.counter("TCPTimeouts") == talk.counter("TCPLossProbes") == talk.counter("TcpRetransSegs") == 0
    # With the window shut, the timeout used to look for a segment that was there no more.
    talk = Talk(sack=False)
    talk.send(1)
    talk.wire.now += RTO
    talk.peer.put("A", 1, 1 + MSS, window=0)
    assert talk.wait(10_000) == []


def test_newreno_without_sack() -> None:
    """RFC 6582: the third duplicate ACK, then a retransmission for each partial ACK; RFC 3042 before."""
    talk = Talk(sack=False, tcp_congestion_control="reno")
    assert talk.send(30) == list(range(10))
    assert talk.ack(0, after=RTT) == [10]
    assert talk.ack(0) == [11]
    assert talk.ack(0) == [0]
    assert talk.counter("TCPRenoRecovery") == 1
    assert talk.congestion.ssthresh == 6 * MSS, "half of what was on its way"
    for _ in range(6):
        talk.ack(0)
    # Segment 4 is missing too.
    assert talk.ack(4, after=RTT)[0] == 4, "a partial ACK: the next gap at once"
    assert talk.recovery.state == 1
    talk.ack(12, after=RTT)
    assert talk.recovery.state == 0 and talk.congestion.ssthresh == 6 * MSS
    assert talk.congestion.cwnd <= 7 * MSS, "the ACK that ends it may be the first of congestion avoidance"
    assert talk.counter("TcpRetransSegs") == 2 and talk.counter("TCPTimeouts") == 0


@pytest.mark.parametrize("what", ["a wider window", "a narrower window", "data", "a shut window"])
def test_what_is_no_duplicate_ack(what: str) -> None:
    """RFC 5681 section 2: a duplicate ACK carries no data and changes no window. Four of the others retransmit nothing."""
    talk = Talk(sack=False)
    talk.send(10)
    talk.wire.now += RTT
    for i in range(1, 5):
        window = {"a wider window": 4015 + i, "a narrower window": 4015 - i, "data": 4015, "a shut window": 0}[what]
        data = b"x" if what == "data" else b""
        sent = talk.peer.put("A", 1 + (i - 1) * len(data), 1, data, window=window)
        assert talk.numbers(sent) == [] and talk.recovery.duplicates == 0
    seq = 5 if what == "data" else 1
    talk.peer.put("A", seq, 1, window=2000)
    sent = [number for _ in range(3) for number in talk.numbers(talk.peer.put("A", seq, 1, window=2000))]
    assert 0 in sent and talk.counter("TCPRenoRecovery") == 1, "three that are"


def test_duplicate_acks_after_a_timeout_are_no_loss() -> None:
    """RFC 6582 section 4: they answer what the timeout sent for nothing."""
    talk = Talk(sack=False, tcp_frto=0)
    talk.send(4)
    assert talk.wait(310) == [(300.0, 0)]
    assert talk.ack(1) == [1, 2]
    talk.ack(4)
    talk.send(3)
    for _ in range(4):
        assert talk.ack(4) == []
    assert talk.counter("TCPRenoRecovery") == 0


@pytest.mark.parametrize("name", ["cubic", "reno"])
@pytest.mark.parametrize("lost", [1, 5, 12])
def test_prr_ends_at_ssthresh(name: str, lost: int) -> None:
    """RFC 9937: while segments arrive, what leaves is SSTHRESH / FlightSize of it; never a burst, and at the end CWND is SSTHRESH."""
    talk = Talk(tcp_congestion_control=name)
    talk.connection.need_sender()
    talk.congestion.cwnd = 20 * MSS
    talk.send(100)
    sent = talk.ack(0, (lost, lost + 1), after=RTT) + talk.ack(0, (lost, lost + 2))
    assert sent == [20, 21], "limited transmit"
    delivered, out = 2, 2
    for end in range(lost + 3, 21):
        sent = talk.ack(0, (lost, end))
        delivered, out = delivered + 1, out + len(sent)
        assert len(sent) <= 1, "never a burst"
        assert talk.recovery.state == 1
    assert talk.congestion.ssthresh == (14 if name == "cubic" else 11) * MSS
    assert out <= delivered, "no more leaves than arrives"
    assert out >= delivered * talk.congestion.ssthresh // (21 * MSS) - 1, "and not much less than the proportion"
    for number in range(1, lost):
        talk.ack(number, (lost, 20), after=RTT // 20)
    talk.ack(22, after=RTT)
    assert talk.recovery.state == 0
    # The ACK that ends it may be the first of congestion avoidance.
    assert talk.congestion.ssthresh <= talk.congestion.cwnd < talk.congestion.ssthresh + MSS
    assert talk.counter("TCPTimeouts") == 0


def test_recovery_never_stands_still() -> None:
    """PRR may grant nothing while nothing is on its way; a segment goes out nevertheless (tcp_cwnd_reduction())."""
    talk = Talk()
    talk.send(4)
    talk.ack(0, (3, 4), after=RTT)
    assert talk.wait(30) == [(25.0, 0)]
    assert talk.congestion.cwnd == MSS
    # The retransmission is found lost too, by a timer, while nothing else has arrived.
    board = talk.recovery.board
    board.lose(board.flights[board.head], 1460)
    assert talk.recovery.pipe(talk.connection) == 0
    talk.recovery.reduce_in_proportion(talk.connection, 0, False)
    assert talk.congestion.cwnd == MSS


def test_a_peer_that_takes_back_its_sacks() -> None:
    """RFC 2018 section 8: after a timeout, everything that is not acknowledged goes again."""
    talk = Talk()
    talk.send(6)
    talk.ack(0, (1, 6), after=RTT)
    # Segment 0 has arrived, and the peer has forgotten the rest.
    talk.ack(1, after=RTT)
    sent = talk.wait(5000)
    assert sent[0][1] == 1 and talk.counter("TCPSACKReneging") == 1
    again = [number for _, number in sent[:1]]
    for number in range(2, 7):
        again += talk.ack(number, after=RTT)
    assert again == [1, 2, 3, 4, 5]
    assert talk.wait(5000) == []


def test_what_is_lost_goes_again_however_many_flights_there_are() -> None:
    """The bound of flights holds new data back. Retransmissions are in it already."""
    talk = Talk()
    assert talk.send(30) == list(range(10))
    talk.recovery.board.most = 5
    again = talk.ack(0, (6, 10), after=RTT)
    assert again[:2] == [0, 1] and max(again) < 6, "no new data"
    while max(again) < 5:
        again += talk.ack(max(again) + 1, (6, 10), after=RTT)
    assert sorted(again)[:6] == [0, 1, 2, 3, 4, 5]
    assert talk.counter("TCPTimeouts") == 0


# ---- what turns out not to have been lost ----


def test_frto_finds_a_spurious_timeout() -> None:
    """RFC 5682: an ACK lets two new segments out; the next, for what was sent only once, shows that nothing was lost."""
    talk = Talk(sack=False)
    assert talk.send(20) == list(range(10))
    assert talk.wait(310) == [(300.0, 0)]
    assert talk.congestion.cwnd == MSS
    assert talk.ack(1) == [10, 11], "new data, not 1"
    assert talk.ack(2, after=MILLISECOND)[0] == 12
    assert talk.counter("TCPSpuriousRTOs") == 1
    assert talk.congestion.cwnd >= 10 * MSS and talk.congestion.ssthresh == NO_THRESHOLD
    for number in range(3, 21):
        talk.ack(number)
    assert talk.counter("TcpRetransSegs") == 1 and talk.wait(5000) == []


def test_frto_finds_the_next_one_too() -> None:
    """What an earlier spurious timeout left behind decides nothing."""
    talk = Talk(sack=False)
    talk.send(20)
    assert talk.wait(310) == [(300.0, 0)]
    assert talk.ack(1) == [10, 11]
    talk.ack(2, after=MILLISECOND)
    talk.ack(10, after=RTT)
    talk.ack(20, after=RTT)
    assert talk.counter("TCPSpuriousRTOs") == 1 and talk.recovery.is_calm()
    talk.connection.sender.recovery.congestion.cwnd = 10 * MSS
    assert talk.send(20) == list(range(20, 30))
    ((_, first),) = talk.wait(talk.connection.sender.rtt.rto / MILLISECOND + 1)
    assert first == 20
    assert talk.ack(21) == [30, 31], "new data, not 21"
    talk.ack(22, after=MILLISECOND)
    assert talk.counter("TCPSpuriousRTOs") == 2 and talk.counter("TcpRetransSegs") == 2


def test_frto_takes_nothing_for_a_sign_that_was_sent_after_the_timeout() -> None:
    """RFC 5682 section 2.1, step 3: an ACK of the new data says nothing about the old. Here all of it happens in one instant."""
    talk = Talk()
    talk.send(20)
    while not talk.counter("TCPTimeouts"):
        talk.wait(1)
    talk.wire.now = talk.recovery.board.timed_out_at
    assert talk.ack(1) == [11, 12], "10 was the tail loss probe"
    talk.ack(1, (11, 12))
    assert talk.counter("TCPSpuriousRTOs") == 0


def test_frto_of_a_timeout_that_was_right() -> None:
    """The second ACK says that nothing more of the old has arrived: slow start over what is missing."""
    talk = Talk(sack=False)
    talk.send(20)
    assert talk.wait(310) == [(300.0, 0)]
    assert talk.ack(1, after=RTT) == [10, 11]
    assert talk.ack(1, after=RTT)[0] == 1, "a duplicate ACK: the timeout was right"
    assert talk.counter("TCPSpuriousRTOs") == 0


def test_frto_without_sack_takes_nothing_that_arrived_before_for_a_sign() -> None:
    """0 and 5 are lost. The ACK of 0, sent again, is for 1 to 4 as well, which have waited at the receiver: the timeout was right.

    Taken for spurious, 5 would wait for the next timeout, with a round trip measured that is as long as this one.
    """
    talk = Talk(sack=False)
    assert talk.send(20) == list(range(10))
    assert talk.wait(310) == [(300.0, 0)]
    assert talk.ack(5, after=MILLISECOND) == [10, 11]
    assert talk.counter("TCPSpuriousRTOs") == 0 and talk.recovery.rtt.srtt == RTT
    assert talk.ack(5, after=MILLISECOND)[0] == 5, "a duplicate ACK, for 10: something is missing"
    assert talk.counter("TCPSpuriousRTOs") == 0


def test_without_frto() -> None:
    talk = Talk(sack=False, tcp_frto=0)
    talk.send(20)
    assert talk.wait(310) == [(300.0, 0)]
    assert talk.ack(1) == [1, 2]


def test_frto_after_a_delay_spike() -> None:
    """The whole of it between two stacks: what is on its way takes seven times as long. At this rate, every other segment has its ACK."""
    wire = Impairment(delay=50 * MILLISECOND, rate=20_000_000)
    twins = Twins(wire, settings_a={"tcp_timestamps": 0, "tcp_sack": 0})
    pair = Pair(twins, Program(bytes(1_000_000)), Program(b""))
    pair.run(lambda: len(pair.b.received) > 50_000)
    assert pair.a.connection is not None and pair.a.connection.sender is not None
    before = pair.a.connection.sender.recovery.congestion.cwnd
    twins.link.forth.impairment = replace(wire, delay=350 * MILLISECOND)
    twins.pass_time(0.06)
    pair.run(lambda: twins.a.counters.TCPSpuriousRTOs > 0, 5)
    assert pair.a.connection.sender.recovery.congestion.cwnd >= before
    twins.link.forth.impairment = wire
    pair.finish()
    assert bytes(pair.b.received) == bytes(1_000_000)
    assert twins.a.counters.TCPSpuriousRTOs == 1


def test_dsack_undo() -> None:
    """RFC 2883: what was sent again had arrived, all of it. Back to where CWND was."""
    talk = Talk()
    talk.send(20)
    for i in (2, 3, 4):
        talk.ack(0, (1, i), after=RTT if i == 2 else 0)
    assert talk.counter("TCPFastRetrans") == 1 and talk.congestion.cwnd < 10 * MSS
    talk.ack(4, after=10 * MILLISECOND)
    assert talk.recovery.state == 1
    talk.ack(4, (0, 1), after=RTT)
    assert talk.counter("TCPDSACKRecv") == 1 and talk.counter("TCPDSACKUndo") == 1
    assert talk.recovery.state == 0 and talk.congestion.cwnd >= 10 * MSS and talk.congestion.ssthresh == NO_THRESHOLD
    assert talk.recovery.board.rack.reo_wnd_mult == 2, "and more reordering is allowed for (RFC 8985 section 6.2)"


def test_eifel_undo() -> None:
    """RFC 3522: the ACK echoes the timestamp of the original, not of the retransmission."""
    talk = Talk(stamps=True)
    talk.send(20)
    first = talk.last_stamp
    for i in (2, 3, 4):
        talk.ack(0, (1, i), after=RTT if i == 2 else 0, echo=first)
    assert talk.counter("TCPFastRetrans") == 1 and talk.last_stamp == first + 100
    talk.ack(4, after=10 * MILLISECOND, echo=first)
    assert talk.counter("TCPFullUndo") == 1
    assert talk.recovery.state == 0 and talk.congestion.cwnd >= 10 * MSS and talk.congestion.ssthresh == NO_THRESHOLD


def test_a_loss_is_not_undone() -> None:
    """The same with the retransmission's timestamp: it was needed."""
    talk = Talk(stamps=True)
    talk.send(20)
    first = talk.last_stamp
    for i in (2, 3, 4):
        talk.ack(0, (1, i), after=RTT if i == 2 else 0, echo=first)
    talk.ack(4, after=RTT, echo=talk.last_stamp)
    talk.ack(12, after=RTT, echo=talk.last_stamp)
    assert talk.counter("TCPFullUndo") == talk.counter("TCPDSACKUndo") == 0
    assert talk.recovery.state == 0 and talk.congestion.ssthresh == 7 * MSS and talk.congestion.cwnd < 8 * MSS


# ---- CWND ----


@pytest.mark.parametrize(("mss", "mtu", "expected"), [(1460, 1500, 14600), (536, 1500, 5360), (8960, 9000, 17920), (48, 1500, 480)])
def test_initial_window(mss: int, mtu: int, expected: int) -> None:
    """IW10, RFC 6928: min(10 MSS, max(2 MSS, 14600))."""
    talk = Talk(mss=mss, mtu=mtu)
    assert len(talk.send(100)) * mss == expected == talk.congestion.cwnd


def test_a_handshake_that_met_loss_begins_with_one_segment() -> None:
    """RFC 5681 section 3.1."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn([("MSS", MSS)])
    assert len(wire.wait(3.5)) == 2
    peer.put("A", 1, 1)
    connection = listener.accept()
    assert connection is not None
    connection.send(bytes(10 * MSS))
    assert len(wire.sent()) == 1


@pytest.mark.parametrize("setting", [0, 1])
def test_slow_start_after_idle(setting: int) -> None:
    """RFC 5681 section 4.1."""
    talk = Talk(tcp_slow_start_after_idle=setting)
    talk.send(10)
    talk.ack(10, after=RTT)
    talk.congestion.cwnd = 40 * MSS
    talk.wire.now += RTO + MILLISECOND
    assert len(talk.send(60)) == (10 if setting else 40)


def test_slow_start_doubles_and_an_unused_window_does_not_grow() -> None:
    talk = Talk()
    talk.send(10)
    talk.ack(10, after=RTT)
    assert talk.congestion.cwnd == 20 * MSS, "also when one ACK is for all of them"
    talk.send(2)
    talk.ack(12, after=RTT)
    assert talk.congestion.cwnd == 20 * MSS, "RFC 7661: not what held the sender back"


def test_reno_congestion_avoidance() -> None:
    """One segment for each CWND of bytes acknowledged (RFC 5681, RFC 3465)."""
    reno = NewReno(MSS)
    reno.cwnd = reno.ssthresh = 20 * MSS
    ack = Acknowledgment()
    ack.acked = 2 * MSS
    for _ in range(10):
        reno.acknowledged(ack)
    assert reno.cwnd == 21 * MSS
    reno.timed_out(21 * MSS, 0)
    assert (reno.cwnd, reno.ssthresh) == (MSS, 21 * MSS // 2)


def cubic_at(cubic: Cubic, seconds: float, start: float, rtt: float = 0.1) -> float:
    """Let a whole CWND be acknowledged each round trip, for so long from ``start`` on; CWND in segments."""
    ack = Acknowledgment()
    ack.min_rtt = round(rtt * SECOND)
    now = start
    while now <= start + seconds + 1e-9:
        count = cubic.cwnd // MSS
        for i in range(count):
            ack.acked = MSS
            ack.now = round((now + rtt * i / count) * SECOND)
            cubic.acknowledged(ack)
        now += rtt
    return cubic.cwnd / MSS


@pytest.mark.parametrize("seconds", [1.0, 3.0, 5.0, 8.0, 12.0])
@pytest.mark.parametrize("w_max", [200, 1000])
def test_cubic_grows_by_its_formula(w_max: int, seconds: float) -> None:
    """RFC 9438 section 4.2: W_cubic(t) = C (t - K)^3 + W_max, with K = ((W_max - cwnd_epoch) / C)^(1/3). At a round trip's end CWND is
    where the curve is then."""
    cubic = Cubic(MSS)
    cubic.cwnd = w_max * MSS
    cubic.reduce(w_max * MSS, SECOND)
    cubic.recovered(SECOND)
    assert cubic.cwnd == cubic.ssthresh == 0.7 * w_max * MSS
    k = ((w_max - 0.7 * w_max) / 0.4) ** (1 / 3)
    curve = [0.4 * (t - k) ** 3 + w_max for t in (seconds, seconds + 0.2)]
    assert curve[0] - 1 <= cubic_at(cubic, seconds, 10.0) <= curve[1] + 1


def test_cubic_is_as_fast_as_reno_where_windows_are_small() -> None:
    """RFC 9438 section 4.3: W_est grows by 3 (1 - beta) / (1 + beta) segments a round trip, and by one beyond the old CWND."""
    cubic = Cubic(MSS)
    cubic.cwnd = 20 * MSS
    cubic.reduce(20 * MSS, SECOND)
    cubic.recovered(SECOND)
    assert cubic.cwnd == 14 * MSS
    after = cubic_at(cubic, 1.0, 10.0, rtt=0.01)
    # Six segments to go at 0.529 a round trip; the rest of the hundred rounds at one.
    expected = 20 + 101 - 6 / (0.9 / 1.7)
    assert abs(after - expected) < 0.07 * expected


def test_cubic_fast_convergence() -> None:
    """RFC 9438 section 4.7: a window that did not reach the last maximum makes more room: W_max = cwnd (1 + beta) / 2."""
    cubic = Cubic(MSS)
    cubic.cwnd = 100 * MSS
    cubic.reduce(100 * MSS, SECOND)
    assert cubic.w_max == 100 and cubic.ssthresh == 70 * MSS
    cubic.cwnd = 80 * MSS
    cubic.reduce(80 * MSS, SECOND)
    assert cubic.w_max == pytest.approx(80 * 0.85) and cubic.ssthresh == 56 * MSS


def test_cubic_slow_start_after_a_timeout_goes_to_ssthresh() -> None:
    """RFC 5681 section 3.1, whatever HyStart++ found out before."""
    cubic = Cubic(MSS)
    cubic.cwnd = 100 * MSS
    cubic.timed_out(100 * MSS, SECOND)
    assert (cubic.cwnd, cubic.ssthresh) == (MSS, 70 * MSS)
    ack = Acknowledgment()
    ack.acked = MSS
    ack.now = 2 * SECOND
    for i in range(69):
        cubic.acknowledged(ack)
        assert cubic.cwnd == (2 + i) * MSS
    assert cubic.ssthresh == 70 * MSS


@pytest.mark.parametrize(("name", "overflows"), [("cubic", False), ("reno", True)])
def test_hystart_leaves_slow_start_before_the_queue_overflows(name: str, overflows: bool) -> None:
    """RFC 9406: 20 Mbit/s, 50 ms, and room for a dozen times what fits the wire: the five slow round trips of HyStart++ triple CWND."""
    wmem = (4096, 4 << 20, 4 << 20)
    twins = Twins(
        Impairment(delay=25 * MILLISECOND, rate=20_000_000, queue=1000), Impairment(delay=25 * MILLISECOND), 0,
        {"tcp_wmem": wmem, "tcp_congestion_control": name}, {"tcp_rmem": wmem},
    )  # fmt: skip
    pair = Pair(twins, Program(bytes(6 << 20)), Program(b""), checked=False)

    def left() -> bool:
        sender = pair.a.connection.sender
        return sender is not None and sender.recovery.congestion.ssthresh < NO_THRESHOLD

    pair.run(left)
    assert (twins.link.forth.tally.dropped > 0) is overflows
    pair.finish()
    assert len(pair.b.received) == 6 << 20


class Three(CongestionControl):
    """A congestion control of one's own: three segments, come what may."""

    name = "three"

    def initial_window(self) -> int:
        return 3 * self.mss

    def acknowledged(self, ack: Acknowledgment) -> None:
        assert ack.acked > 0 and ack.now > 0

    def reduce(self, in_flight: int, now: int) -> None:
        self.ssthresh = 3 * self.mss

    def timed_out(self, in_flight: int, now: int) -> None:
        self.reduce(in_flight, now)

    def recovered(self, now: int) -> None:
        self.cwnd = 3 * self.mss


def test_a_congestion_control_of_ones_own() -> None:
    talk = Talk()
    talk.connection.set_congestion_control(Three)
    assert talk.send(20) == [0, 1, 2]
    for number in range(1, 18):
        assert talk.ack(number, after=RTT) == [number + 2]
    with pytest.raises(ValueError, match="no congestion control 'vegas'"):
        talk.connection.set_congestion_control("vegas")


def test_a_congestion_control_is_changed_while_data_is_on_its_way() -> None:
    twins = Twins(Impairment(delay=20 * MILLISECOND, loss=0.05), seed=3)
    pair = Pair(twins, Program(bytes(range(250)) * 800), Program(b""))
    for kind in ("reno", Three, "none", "cubic"):
        size = len(pair.b.received)
        pair.run(lambda size=size: len(pair.b.received) > size + 20_000)
        pair.a.connection.set_congestion_control(kind)
    pair.finish()
    assert bytes(pair.b.received) == bytes(range(250)) * 800


# ---- the receiving side ----


def slow_phase(wire: Wire, peer: Peer) -> int:
    """Sixteen segments that are acknowledged at once; how many bytes they were."""
    for i in range(16):
        (answer,) = peer.put("A", 1 + i * MSS, 1, bytes(MSS))
        assert peer.relative(answer)[2] == 1 + (i + 1) * MSS
    return 16 * MSS


def receiving(**settings: object) -> tuple[Wire, Peer, Connection, int]:
    wire = Wire(**settings)
    peer = Peer(wire)
    connection = peer.open(wire.stack.listen("0.0.0.0", 80), [("MSS", MSS), ("SAckOK", b"")])
    return wire, peer, connection, slow_phase(wire, peer)


def test_delayed_acks() -> None:
    """RFC 9293 MUST-40, SHLD-18, SHLD-19: every second full segment at once, a single one after 40 ms."""
    wire, peer, _, n = receiving()
    for i in range(0, 10, 2):
        assert peer.put("A", 1 + n + i * MSS, 1, bytes(MSS)) == []
        (answer,) = peer.put("A", 1 + n + (i + 1) * MSS, 1, bytes(MSS))
        assert peer.relative(answer)[2] == 1 + n + (i + 2) * MSS
    assert peer.put("A", 1 + n + 10 * MSS, 1, bytes(MSS)) == []
    ((when, answer),) = wire.wait(1)
    assert when == 0.04 and peer.relative(answer) == ("A", 1, 1 + n + 11 * MSS, b"")
    assert wire.counter("DelayedACKs") == 1


def test_small_segments_are_acknowledged_by_bytes_or_time() -> None:
    """SHLD-19: 2 RMSS of data, however many segments they are."""
    wire, peer, _, n = receiving()
    for i in range(9):
        assert peer.put("PA", 1 + n + i * 100, 1, bytes(100)) == []
    ((when, answer),) = wire.wait(1)
    assert when <= 0.04 and peer.relative(answer)[2] == 1 + n + 900


def test_no_delay_out_of_order() -> None:
    """RFC 5681 section 4.2: at once for a gap, for what follows it, and for what fills it."""
    wire, peer, _, n = receiving()
    for i in (1, 2, 4):
        (answer,) = peer.put("A", 1 + n + i * MSS, 1, bytes(MSS))
        assert peer.relative(answer)[2] == 1 + n
    (answer,) = peer.put("A", 1 + n, 1, bytes(MSS))
    assert peer.relative(answer)[2] == 1 + n + 3 * MSS
    (answer,) = peer.put("A", 1 + n + 3 * MSS, 1, bytes(MSS))
    assert peer.relative(answer)[2] == 1 + n + 5 * MSS
    (answer,) = peer.put("A", 1 + n + 3 * MSS, 1, bytes(MSS))
    assert peer.relative(answer)[2] == 1 + n + 5 * MSS, "what came twice is told at once, in a D-SACK"
    assert wire.wait(1) == [] and wire.counter("DelayedACKs") == 0


def test_an_answer_carries_the_ack() -> None:
    wire, peer, connection, n = receiving()
    assert peer.put("PA", 1 + n, 1, b"question") == []
    connection.send(b"answer")
    assert [peer.relative(p) for p in wire.sent()] == [("PA", 1, 1 + n + 8, b"answer")]
    assert [p for _, p in wire.wait(0.1) if not p[TCP].payload] == []


@pytest.mark.parametrize("reads", [True, False])
def test_the_receive_window_grows_for_a_fast_reader(reads: bool) -> None:
    """tcp_rmem: from its second number to its third, as long as the window is what slows the peer."""
    rmem = (4096, 16384, 1 << 20)
    twins = Twins(
        Impairment(delay=50 * MILLISECOND), settings_a={"tcp_congestion_control": "none"}, settings_b={"tcp_rmem": rmem},
    )  # fmt: skip
    pair = Pair(twins, Program(bytes(8 << 20)), Program(b"", step=1 << 30 if reads else 0))
    start = twins.clock()
    if reads:
        pair.finish()
        assert pair.b.connection.receiver.limit == 1 << 20
        assert (twins.clock() - start) / SECOND < 3, "51 s if it had stayed at 16 KiB"
    else:
        pair.run(lambda: twins.clock() > start + 5 * SECOND)
        assert pair.b.connection.receiver.limit == 16384
        # The window scale cannot offer every number of bytes.
        assert 16384 <= pair.b.connection.readable() <= 16384 * 9 // 8


def test_the_edge_moves_by_what_the_peer_sends() -> None:
    """With timestamps a full segment holds twelve bytes less; one that came and was read opens the window by as much again."""
    wire = Wire(tcp_rmem=(4096, 8192, 8192))
    peer = Peer(wire)
    listener = wire.stack.listen("0.0.0.0", 80)
    peer.syn([("MSS", 1460), ("Timestamp", (1, 0))])
    peer.options = [("NOP", None), ("NOP", None), ("Timestamp", (1, 0))]
    peer.put("A", 1, 1)
    connection = listener.accept()
    assert connection is not None
    peer.put("A", 1, 1, bytes(1448))
    connection.receive(9999)
    (answer,) = peer.put("A", 1449, 1, bytes(1448))
    assert answer[TCP].window == 8192 - 1448
    assert connection.state == State.ESTABLISHED


# ---- the whole ----


def test_a_small_window_is_used_whole() -> None:
    """32 KiB at both ends are 22.6 segments. What fits no full segment goes too: the send buffer is full, nothing could join it."""
    buffer = (4096, 32768, 32768)
    twins = Twins(
        Impairment(delay=50 * MILLISECOND), settings_a={"tcp_wmem": buffer, "tcp_congestion_control": "none"},
        settings_b={"tcp_rmem": buffer},
    )  # fmt: skip
    pair = Pair(twins, Program(bytes(1 << 20)), Program(b""))
    pair.run(lambda: len(pair.b.received) > 500_000)
    most = 0

    def done() -> bool:
        nonlocal most
        connection = pair.a.connection
        most = max(most, (connection.snd_nxt - connection.snd_una) & M)
        return len(pair.b.received) > 900_000

    pair.run(done)
    assert most == 32768
    pair.finish()
