"""Clauses of RFC 9293 that need more than one situation to be proved; docs/rfc9293.tsv names them."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable

import pytest
from scapy.layers.inet import IP, TCP

from fastnet.tcp.connection import Connection
from fastnet.tcp.states import State
from tests.peer import MILLISECOND, PEER, STACK, Peer, Wire, call

ODD = [
    [("NOP", None), ("NOP", None), ("EOL", None)],
    [("MSS", 100)],
    [("WScale", 14), ("SAckOK", b"")],
    [("Timestamp", (0xFFFFFFFF, 7))],
    [("Timestamp", (1, 0))],
    [(253, b"\x12\x34"), ("NOP", None)],
    [(19, bytes(16))],
    [("SAck", (5, 9))],
]
"""Options that nobody agreed on, that belong to a SYN, or that nobody knows."""


def connected(wire: Wire, options: list | None = None) -> tuple[Peer, Connection]:
    peer = Peer(wire)
    return peer, peer.open(wire.stack.listen("0.0.0.0", 80), options)


# ---- MUST-5: an option in any segment ----


@pytest.mark.parametrize("options", ODD, ids=str)
def test_options_in_any_segment_change_nothing(options: list) -> None:
    """From the SYN to the last ACK, a connection goes as it does without them. RFC 7323 section 3.2: timestamps that were not agreed
    on are ignored, so PAWS does not drop anything either."""
    said = []
    for extra in ([], options):
        wire = Wire()
        listener = wire.stack.listen("0.0.0.0", 80)
        peer = Peer(wire)
        peer.syn([("MSS", 1000)])
        assert peer.put("A", 1, 1, options=extra) == []
        connection = listener.accept()
        assert connection is not None
        script: list[Callable[[], list]] = [
            lambda peer=peer, extra=extra: peer.put("PA", 1, 1, b"one", options=extra),
            lambda peer=peer, extra=extra: peer.put("PA", 7, 1, b"three", options=extra),
            lambda peer=peer, extra=extra: peer.put("UPA", 4, 1, b"two", options=extra, urgptr=3),
            lambda connection=connection, wire=wire: [connection.send(b"x" * 2500), *wire.sent()][1:],
            lambda peer=peer, extra=extra: peer.put("A", 12, 2501, options=extra),
            lambda connection=connection, wire=wire: [connection.shutdown(), *wire.sent()][1:],
            lambda peer=peer, extra=extra: peer.put("FA", 12, 2502, options=extra),
            lambda peer=peer, extra=extra: peer.put("FA", 12, 2502, options=extra),
        ]
        steps = [[peer.relative(p) for p in step()] for step in script]
        said.append((steps, connection.receive(99), connection.state, wire.counter("PAWSEstab")))
    assert said[0] == said[1]
    assert said[1][1:] == (b"onetwothree", State.TIME_WAIT, 0)


# A SYN-ACK that echoes a timestamp which was never sent is another's (tcp_rcv_synsent_state_process()).
@pytest.mark.parametrize("options", [options for options in ODD if options[0] != ("Timestamp", (0xFFFFFFFF, 7))], ids=str)
def test_options_in_a_rst_and_in_the_answer_to_a_syn(options: list) -> None:
    wire = Wire()
    peer, connection = connected(wire)
    assert peer.put("R", 1, options=options) == []
    assert connection.error == errno.ECONNRESET
    peer, calling, _ = call(wire, port=81)
    assert peer.put("RA", 0, 1, options=options) == []
    assert calling.error == errno.ECONNREFUSED
    peer, calling, _ = call(wire, port=82)
    assert [peer.relative(p)[:3] for p in peer.put("SA", 0, 1, options=options)] == [("A", 1, 1)]
    assert calling.state == State.ESTABLISHED


# ---- checksums, addresses ----


def test_a_segment_with_a_bad_checksum_did_not_come() -> None:
    """RFC 9293 MUST-3."""
    wire = Wire()
    peer, connection = connected(wire)
    bad = peer.packet("PA", 1, 1, b"data")
    bad[TCP].chksum = 1
    assert wire.put(bad) == [] and connection.readable() == 0 and wire.counter("TcpInCsumErrors") == 1
    bad = peer.packet("R", 1)
    bad[TCP].chksum = 1
    assert wire.put(bad) == [] and connection.state == State.ESTABLISHED
    assert [peer.relative(p)[2] for p in peer.put("PA", 1, 1, b"data")] == [5]


@pytest.mark.parametrize("flags", ["S", "A", "SA", "FA", "PA", "R"])
@pytest.mark.parametrize(
    ("source", "target"),
    [(PEER, "255.255.255.255"), (PEER, "224.0.0.1")]
    + [(source, STACK) for source in ("255.255.255.255", "224.0.0.1", "0.0.0.0", "127.0.0.1")],
)
def test_nothing_to_or_from_addresses_of_many_is_answered(flags: str, source: str, target: str) -> None:
    """RFC 9293 MUST-57, MUST-63: silently discarded, a SYN to a listener and what would otherwise be reset."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    for port in (80, 81):
        assert wire.put(IP(src=source, dst=target) / TCP(sport=5, dport=port, flags=flags, seq=9)) == []
    assert not listener.syn_queue and wire.counter("IpInAddrErrors") == 2
    assert wire.wait(10) == []


# ---- MSS ----


@pytest.mark.parametrize("active", [False, True])
@pytest.mark.parametrize(
    ("said", "mtu", "timestamps", "size"),
    [
        (None, 1500, False, 536),
        (None, 400, False, 360),
        (1460, 1500, False, 1460),
        (1460, 1500, True, 1448),
        (9000, 1500, False, 1460),
        (9000, 1500, True, 1448),
        (9000, 576, False, 536),
        (1000, 9000, True, 988),
        (65535, 1500, False, 1460),
        (88, 1500, False, 88),
    ],
)
def test_effective_send_mss(said: int | None, mtu: int, timestamps: bool, size: int, active: bool) -> None:
    """RFC 9293 section 3.7.1: what the peer says (MUST-14), or 536 (MUST-15), and no more than fits the device, less options (MUST-16)."""
    wire = Wire(mtu=mtu)
    options: list = [("MSS", said)] if said is not None else []
    stamp: list = []
    if timestamps:
        stamp = [("NOP", None), ("NOP", None), ("Timestamp", (1, 0))]
    if active:
        peer, connection, _ = call(wire)
        peer.put("SA", 0, 1, options=options + stamp)
    else:
        peer, connection = Peer(wire), None
        listener = wire.stack.listen("0.0.0.0", 80)
        peer.syn(options + stamp)
        peer.put("A", 1, 1, options=stamp)
        connection = listener.accept()
    assert connection is not None
    connection.send(b"x" * size * 3)
    sent = wire.sent()
    assert [len(peer.relative(p)[3]) for p in sent] == [size] * 3 and max(map(len, sent)) <= mtu


@pytest.mark.parametrize("active", [False, True])
@pytest.mark.parametrize("said", [0, 1, 8, 47])
def test_an_mss_that_leaves_no_room_for_data_is_not_believed(said: int, active: bool) -> None:
    """Linux: TCP_MIN_SND_MSS, 48 with options; headers must not outweigh data many times over."""
    wire = Wire()
    if active:
        peer, connection, _ = call(wire)
        peer.put("SA", 0, 1, options=[("MSS", said)])
    else:
        peer, connection = connected(wire, [("MSS", said)])
    connection.send(b"x" * 480)
    sizes = [len(peer.relative(p)[3]) for p in wire.sent()]
    assert sizes and set(sizes) == {48}


# ---- RST, URG, the end ----


def test_the_program_hears_whether_the_end_was_orderly() -> None:
    """RFC 9293 MUST-12."""
    wire = Wire()
    peer, connection = connected(wire)
    peer.put("FA", 1, 1)
    assert (connection.state, connection.error, connection.fin_received) == (State.CLOSE_WAIT, 0, True)
    peer = Peer(wire, port=81)
    connection = peer.open(wire.stack.listen("0.0.0.0", 81))
    peer.put("R", 1)
    assert (connection.state, connection.error, connection.fin_received) == (State.CLOSED, errno.ECONNRESET, False)


@pytest.mark.parametrize("data", [b"", b"z"])
def test_urg_in_a_zero_window_is_heard(data: bytes) -> None:
    """RFC 9293 MUST-66: though none of its text is taken."""
    wire = Wire(tcp_rmem=(2048, 2048, 2048))
    peer, connection = connected(wire, [("MSS", 1460)])
    peer.put("PA", 1, 1, b"x" * 1024)
    assert peer.put("PA", 1025, 1, b"x" * 1024)[0][TCP].window == 0
    peer.put("UA", 2049, 1, data, urgptr=5)
    assert connection.readable() == 2048 and connection.urgent_left() == 2053


# ---- congestion ----


@pytest.mark.parametrize("control", ["cubic", "reno"])
def test_slow_start_backoff_and_slower_growth_afterwards(control: str) -> None:
    """RFC 9293 MUST-19, of each congestion control that answers to congestion, the default among them.

    A flight doubles in each round trip; a segment that is lost again and again waits twice as long each time; then slow start begins
    anew with one segment, and at half of the flight that was lost growth is slower than doubling.
    """
    wire = Wire(tcp_congestion_control=control, tcp_frto=0, tcp_notsent_lowat=1 << 30, tcp_wmem=(4096, 1 << 22, 1 << 22))
    peer, connection = connected(wire, [("MSS", 1000)])
    wire.now += 50 * MILLISECOND
    peer.put("A", 1, 1, window=65535)
    connection.limit_sending(1 << 20)
    connection.send(b"x" * 500_000)
    sent = wire.sent()
    acked = 1

    def round_trip() -> list:
        nonlocal acked
        wire.wait(0.05)
        following = []
        for packet in sent:
            begins, size = peer.relative(packet)[1], len(packet[TCP].payload)
            if begins + size > acked:
                acked = begins + size
                following += peer.put("A", 1, acked, window=65535)
        return following

    flights = [len(sent)]
    for _ in range(2):
        sent = round_trip()
        flights.append(len(sent))
    assert flights == [10, 20, 40]
    lost = wire.wait(6)
    times = [when for when, p in lost if peer.relative(p)[1] == acked]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(gaps) >= 3 and all(1.9 < later / earlier < 2.1 for earlier, later in itertools.pairwise(gaps)), gaps
    flights = []
    sent = [lost[-1][1]]
    for _ in range(10):
        flights.append(len(sent))
        sent = round_trip()
    assert flights[:3] == [1, 2, 4], flights
    assert max(flights) < 64 and all(b <= 2 * a for a, b in itertools.pairwise(flights)), flights
    slower = [b / a for a, b in itertools.pairwise(flights) if a >= 20]
    assert slower and max(slower) < 1.5, flights


# ---- an open without options ----


@pytest.mark.parametrize("setting", ["tcp_window_scaling", "tcp_timestamps", "tcp_sack"])
def test_an_open_does_not_use_what_it_did_not_offer(setting: str) -> None:
    """RFC 7323 sections 2.2 and 3.2, RFC 2018 section 2: an option counts when both SYNs have it, whatever the SYN-ACK says."""
    wire = Wire(**{setting: 0})
    peer, connection, syn = call(wire)
    names = {"tcp_window_scaling": "WScale", "tcp_timestamps": "Timestamp", "tcp_sack": "SAckOK"}
    offered = {name for name, _ in syn[TCP].options}
    assert offered & set(names.values()) == set(names.values()) - {names[setting]}
    assert connection.handshake.rcv_shift == (0 if setting == "tcp_window_scaling" else 7)
    (ack,) = peer.put("SA", 0, 1, window=1000, options=[("MSS", 1460), ("SAckOK", b""), ("WScale", 5), ("Timestamp", (3, 0))])
    assert connection.snd_wnd == 1000, "of a SYN never scaled"
    assert ("Timestamp" in dict(ack[TCP].options)) == (setting != "tcp_timestamps")
    stamp = [("NOP", None), ("NOP", None), ("Timestamp", (4, 0))]
    (ack,) = peer.put("PA", 5, 1, b"ahead", window=1000, options=stamp)
    assert ("SAck" in dict(ack[TCP].options)) == (setting != "tcp_sack")
    assert connection.snd_wnd == (1000 if setting == "tcp_window_scaling" else 32_000)
    assert (ack[TCP].window == 0xFFFF) == (setting == "tcp_window_scaling")


# ---- what else a rule asks for ----


def test_a_small_buffer_offers_its_half() -> None:
    """RFC 9293 section 3.8.6.2.2: the window opens by a full segment or by half of the buffer, whichever is less."""
    wire = Wire(tcp_rmem=(2048, 2048, 2048))
    peer, connection = connected(wire, [("MSS", 1460)])
    peer.put("PA", 1, 1, b"x" * 1024)
    peer.put("PA", 1025, 1, b"x" * 1024)
    connection.receive(1000)
    assert wire.sent() == [], "less than half of 2048"
    connection.receive(100)
    (update,) = wire.sent()
    assert update[TCP].window == 1100


def test_a_close_before_the_handshake_is_over_ends_in_order_after_it() -> None:
    """RFC 9293 section 3.10.4, SYN-RECEIVED: the FIN waits for the handshake. Nobody reads what the peer sends then: a RST (SHLD-3)."""
    wire = Wire()
    peer, connection, _ = call(wire)
    peer.put("S", 0)
    connection.close(wire.now)
    assert wire.stack.context.orphans == 1 and wire.sent() == []
    assert [peer.relative(p)[:3] for p in peer.put("A", 1, 1)] == [("FA", 1, 1)]
    assert connection.state == State.FIN_WAIT_1
    assert [str(p[TCP].flags) for p in peer.put("PA", 1, 1, b"anybody?")] == ["RA"]
    assert wire.counter("TCPAbortOnData") == 1 and wire.stack.context.orphans == 0
