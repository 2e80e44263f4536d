"""SYN cookies (RFC 4987): what they carry, how long they are good, and that a flood keeps nobody out."""

from __future__ import annotations

import random
import tracemalloc
from itertools import pairwise
from typing import Any

import pytest
from scapy.layers.inet import TCP
from scapy.packet import Packet

from fastnet.tcp.connection import Connection
from fastnet.tcp.cookies import MSS_TABLE, VALID
from fastnet.tcp.states import State
from tests.peer import MILLISECOND, SECOND, M, Peer, Wire

STEP = VALID // 2
TS_MASK = 63
LINUX_SYN = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (77, 0)), ("NOP", None), ("WScale", 7)]


def stamp(value: int, echo: int) -> list[Any]:
    return [("NOP", None), ("NOP", None), ("Timestamp", (value, echo))]


def echo(synack: Packet, value: int = 78) -> list[Any]:
    """The timestamps option that answers a SYN-ACK's."""
    return stamp(value, dict(synack[TCP].options)["Timestamp"][0])


def cookie_wire(**settings: Any) -> Wire:
    wire = Wire(tcp_syncookies=2, **settings)
    # Keys differ from count to count, as they do outside of tests.
    chance = random.Random(1)
    wire.stack.context.cookies.random = lambda n: chance.randbytes(n)
    wire.now = 1000 * STEP
    return wire


def open_with_cookie(wire: Wire, peer: Peer, options: list[Any] | None = None) -> Connection:
    synack = peer.syn(options)
    (listener,) = (endpoint for endpoint in wire.stack.context.endpoints if hasattr(endpoint, "accept_queue"))
    peer.options = echo(synack) if options and "Timestamp" in dict(options) else []
    assert peer.put("A", 1, 1) == []
    connection = listener.accept()
    assert connection is not None
    return connection


def test_a_handshake_with_nothing_in_the_syn_queue() -> None:
    wire = cookie_wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn()
    assert not listener.syn_queue and len(wire.stack.context.timers) == 0
    assert peer.put("A", 1, 1) == []
    connection = listener.accept()
    assert connection is not None and connection.state == State.ESTABLISHED
    assert [peer.relative(a) for a in peer.put("PA", 1, 1, b"hello")] == [("A", 1, 6, b"")]
    assert connection.receive(10) == b"hello"
    connection.send(b"you too")
    assert [peer.relative(a) for a in wire.sent()] == [("PA", 1, 6, b"you too")]
    names = ("SyncookiesSent", "SyncookiesRecv", "SyncookiesFailed", "TCPReqQFullDoCookies", "TcpPassiveOpens", "TCPReqQFullDrop")
    assert [wire.counter(name) for name in names] == [1, 1, 0, 1, 1, 0]


@pytest.mark.parametrize(("offered", "kept"), [(None, 536), (100, 536), (536, 536), (1299, 536), (1300, 1300), (1439, 1300), (1440, 1440),
                                               (1459, 1440), (1460, 1460), (9000, 1460)])
def test_mss_is_the_next_of_linuxs_table(offered: int | None, kept: int) -> None:
    assert MSS_TABLE == (536, 1300, 1440, 1460)
    wire = cookie_wire()
    wire.stack.listen("0.0.0.0", 80)
    connection = open_with_cookie(wire, Peer(wire), [("MSS", offered)] if offered else [])
    assert connection.handshake.mss == kept


@pytest.mark.parametrize("shift", [None, 0, 7, 14])
@pytest.mark.parametrize("sack", [False, True])
def test_options_travel_in_the_timestamp(shift: int | None, sack: bool) -> None:
    """cookie_init_timestamp(): four bits of window scale, SACK, ECN; never ahead of the clock."""
    wire = cookie_wire()
    wire.stack.listen("0.0.0.0", 80)
    wire.now += 12_345 * MILLISECOND
    options: list[Any] = [("MSS", 1460), ("Timestamp", (77, 0))]
    options += [("WScale", shift)] if shift is not None else []
    options += [("SAckOK", b"")] if sack else []
    peer = Peer(wire)
    synack = peer.syn(options)
    answered = dict(synack[TCP].options)
    assert ("WScale" in answered) == (shift is not None) and ("SAckOK" in answered) == sack and answered["Timestamp"][1] == 77
    peer.options = echo(synack)
    peer.put("A", 1, 1)
    handshake = next(e for e in wire.stack.context.endpoints if isinstance(e, Connection)).handshake
    assert handshake.timestamps and handshake.sack == sack and handshake.wscale == (shift is not None)
    assert handshake.snd_shift == (shift or 0) and handshake.rcv_shift == (7 if shift is not None else 0)
    assert handshake.ts_recent == 78
    value = answered["Timestamp"][0] - handshake.ts_offset & M
    clock = wire.now // MILLISECOND
    assert value & TS_MASK == (15 if shift is None else shift) | (16 if sack else 0) and 0 <= clock - value <= 2 * TS_MASK


def test_without_timestamps_there_are_no_options() -> None:
    wire = cookie_wire()
    wire.stack.listen("0.0.0.0", 80)
    assert dict(Peer(wire).syn([("MSS", 1460), ("SAckOK", b""), ("WScale", 7)])[TCP].options) == {"MSS": 1460}


@pytest.mark.parametrize("setting", ["tcp_sack", "tcp_window_scaling", "tcp_timestamps"])
def test_options_that_the_settings_do_not_allow_are_not_believed(setting: str) -> None:
    """cookie_timestamp_decode(): what is off now was not agreed."""
    wire = cookie_wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    synack = peer.syn(LINUX_SYN)
    bit = {"tcp_sack": 4, "tcp_window_scaling": 2, "tcp_timestamps": 8}[setting]
    listener.allowed &= ~bit
    assert [str(a[TCP].flags) for a in peer.put("A", 1, 1, options=echo(synack))] == ["R"]
    assert wire.counter("SyncookiesFailed") == 1


def test_data_with_the_final_ack_is_delivered() -> None:
    wire = cookie_wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn()
    assert [peer.relative(a) for a in peer.put("PA", 1, 1, b"GET /")] == [("A", 1, 6, b"")]
    connection = listener.accept()
    assert connection is not None and connection.receive(10) == b"GET /"


def test_syn_final_ack_and_data_in_one_batch() -> None:
    """The ACK finds the connection that a packet before it in the batch made, not the listener again."""
    wire = cookie_wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn()
    answers = wire.put(peer.packet("A", 1, 1), peer.packet("A", 1, 1), peer.packet("PA", 1, 1, b"a"), peer.packet("FA", 2, 1))
    assert [peer.relative(answer) for answer in answers] == [("A", 1, 3, b"")]
    assert len(listener.accept_queue) == 1 and wire.counter("SyncookiesRecv") == 1


@pytest.mark.parametrize("wrong", [-1 << 24, -4, -1, 1, 4, 1 << 20, 1 << 24, 1 << 31])
def test_a_wrong_cookie_is_reset(wrong: int) -> None:
    """The peer offers 536, the lowest of the table: one to three more would only be another MSS."""
    wire = cookie_wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn([("MSS", 1460)] if wrong > 0 else [])
    answers = peer.put("A", 1, 1 + wrong)
    assert [(str(a[TCP].flags), a[TCP].seq) for a in answers] == [("R", (peer.irs + 1 + wrong) & M)]
    assert wire.counter("SyncookiesFailed") == 1 and not listener.accept_queue and wire.counter("SyncookiesRecv") == 0
    assert peer.put("A", 1, 1) == [], "the right one is good all the same"


def test_a_cookie_is_another_4_tuples_or_sequence_numbers_too() -> None:
    """The MAC covers the peer's ISN: a sum that stays the same when both numbers move is not enough."""
    wire = cookie_wire()
    wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn()
    for stranger in (Peer(wire, sport=40001), Peer(wire, source="198.18.0.9")):
        stranger.irs = peer.irs
        assert [str(a[TCP].flags) for a in stranger.put("A", 1, 1)] == ["R"]
    for shift in (1, 5, 1000):
        assert [str(a[TCP].flags) for a in peer.put("A", 1 + shift, 1 + shift)] == ["R"]
    assert wire.counter("SyncookiesFailed") == 5


@pytest.mark.parametrize(
    ("into", "wait", "good"),
    [
        *((0, 63.9, True), (0, 127.9, True), (0, 128.1, False), (60, 67.9, True), (60, 68.1, False)),
        *((0, 64 * 255.5, False), (0, 64 * 256, False), (0, 64 * 257, False)),
    ],
)
def test_a_cookie_is_good_for_two_counts(into: float, wait: float, good: bool) -> None:
    """MAX_SYNCOOKIE_AGE: that of its making and the next; the eight bits of the count come round, and that does not help."""
    wire = cookie_wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    wire.now += round(into * SECOND)
    peer = Peer(wire)
    peer.syn()
    wire.now += round(wait * SECOND)
    # Others keep the listener sending cookies, so that it looks at them at all.
    Peer(wire, sport=5).syn()
    answers = peer.put("A", 1, 1)
    assert [str(a[TCP].flags) for a in answers] == ([] if good else ["R"])
    assert (len(listener.accept_queue), wire.counter("SyncookiesFailed")) == ((1, 0) if good else (0, 1))


@pytest.mark.parametrize(("into", "wait", "failed"), [(60, 67.9, 0), (60, 68.1, 1), (60, 127.9, 1), (60, 128.1, 0), (0, 127.9, 0)])
def test_a_cookie_grows_old_though_no_other_is_sent(into: float, wait: float, failed: int) -> None:
    """The count is the clock's. A listener that has sent no cookie for 128 s does not look for one at all (TCP_SYNCOOKIE_VALID)."""
    wire = cookie_wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    wire.now += round(into * SECOND)
    peer = Peer(wire)
    peer.syn()
    wire.now += round(wait * SECOND)
    good = into + wait < 128
    assert [str(a[TCP].flags) for a in peer.put("A", 1, 1)] == ([] if good else ["R"])
    assert (len(listener.accept_queue), wire.counter("SyncookiesFailed")) == (good, failed)


def test_a_replayed_cookie_is_reset() -> None:
    wire = cookie_wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    connection = open_with_cookie(wire, peer)
    assert peer.put("A", 1, 1) == [] and not listener.accept_queue, "while the connection lives, it is the connection's"
    peer.put("R", 1)
    assert connection.state == State.CLOSED
    assert [str(a[TCP].flags) for a in peer.put("A", 1, 1)] == ["R"]
    assert not listener.accept_queue and wire.counter("SyncookiesFailed") == 1
    again = Peer(wire, iss=7)
    open_with_cookie(wire, again)


def test_cookies_are_believed_only_after_an_overflow() -> None:
    """tcp_synq_no_recent_overflow(): otherwise an ACK from nowhere is reset without a look, and counted as nothing."""
    wire = Wire(tcp_synack_retries=0)
    listener = wire.stack.listen("0.0.0.0", 80, 1)
    peer = Peer(wire)
    assert [str(a[TCP].flags) for a in peer.put("A", 1, 1)] == ["R"]
    assert wire.counter("SyncookiesFailed") == 0
    for i in range(2):
        Peer(wire, sport=1000 + i).syn()
    peer.syn()
    assert wire.counter("SyncookiesSent") == 1 and len(listener.syn_queue) == 2
    wire.now += VALID
    assert [str(a[TCP].flags) for a in Peer(wire, sport=9).put("A", 1, 1)] == ["R"]
    assert wire.counter("SyncookiesFailed") == 1
    wire.now += 1
    assert [str(a[TCP].flags) for a in Peer(wire, sport=9).put("A", 1, 1)] == ["R"]
    assert wire.counter("SyncookiesFailed") == 1


def test_the_accept_queues_bound_applies() -> None:
    """get_cookie_sock(): dropped, and good when there is room."""
    wire = cookie_wire()
    listener = wire.stack.listen("0.0.0.0", 80, 1)
    peers = [Peer(wire, sport=1000 + i) for i in range(3)]
    for peer in peers:
        peer.syn()
    for peer in peers[:2]:
        assert peer.put("A", 1, 1) == []
    assert peers[2].put("A", 1, 1) == []
    assert len(listener.accept_queue) == 2 and wire.counter("ListenOverflows") == 1 and wire.counter("ListenDrops") == 1
    assert Peer(wire, sport=5).put("S") == [], "no cookie is worth sending"
    assert wire.counter("ListenOverflows") == 2
    listener.accept()
    assert [peers[2].relative(a) for a in peers[2].put("PA", 1, 1, b"x")] == [("A", 1, 2, b"")]
    assert len(listener.accept_queue) == 2


def test_the_accept_queues_bound_with_abort() -> None:
    wire = cookie_wire(tcp_abort_on_overflow=1)
    wire.stack.listen("0.0.0.0", 80, 0)
    peers = [Peer(wire, sport=1000 + i) for i in range(2)]
    for peer in peers:
        peer.syn()
    assert peers[0].put("A", 1, 1) == []
    assert [str(a[TCP].flags) for a in peers[1].put("A", 1, 1)] == ["R"]


def test_syncookies_0_drops() -> None:
    wire = Wire(tcp_syncookies=0)
    wire.stack.listen("0.0.0.0", 80, 0)
    Peer(wire).syn()
    assert Peer(wire, sport=5).put("S") == []
    assert wire.counter("TCPReqQFullDrop") == 1 and wire.counter("SyncookiesSent") == 0


def test_a_rst_or_a_syn_ack_is_no_cookie() -> None:
    wire = cookie_wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn()
    assert peer.put("RA", 1, 1) == []
    assert [str(a[TCP].flags) for a in peer.put("SA", 1, 1)] == ["R"]
    assert not listener.accept_queue and wire.counter("SyncookiesFailed") == 0


def test_isns_of_cookies_are_unpredictable() -> None:
    """Of neighbouring ports, of neighbouring ISNs of the peer, and from one count to the next (whose upper byte rises)."""
    wire = cookie_wire()
    wire.stack.listen("0.0.0.0", 80)
    by_port = [Peer(wire, sport=2000 + i).syn()[TCP].seq for i in range(100)]
    by_isn = [Peer(wire, iss=i).syn()[TCP].seq for i in range(100)]
    for isns in (by_port, by_isn):
        steps = {(b - a) & M for a, b in pairwise(isns)}
        assert len(steps) == 99 and len({step & 0xFFFF for step in steps}) > 90
    before = Peer(wire, sport=3).syn()[TCP].seq
    wire.now += STEP
    after = Peer(wire, sport=3).syn()[TCP].seq
    assert 0 < (after - before) & M < 2 << 24 and (after - before) & 0xFFFFFF != 0


def test_a_flood_keeps_nobody_out() -> None:
    """Thirty SYNs a second from addresses that never answer, for three minutes; one more in each second is honest."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80, 16)
    chance = random.Random(1)
    honest = 0
    for second in range(180):
        sources = [f"198.19.{chance.randrange(256)}.{chance.randrange(1, 255)}" for _ in range(30)]
        answers = wire.put(*(Peer(wire, source=source, sport=1024 + i).packet("S") for i, source in enumerate(sources)))
        assert len(answers) >= 30
        peer = Peer(wire, source="198.18.0.77", sport=1024 + second)
        synack = peer.syn(LINUX_SYN)
        wire.wait(0.2)
        assert [peer.relative(a)[:3] for a in peer.put("PA", 1, 1, b"hello", options=echo(synack))] == [("A", 1, 6)]
        connection = listener.accept()
        assert connection is not None and connection.receive(10) == b"hello"
        honest += 1
        assert len(listener.syn_queue) <= 17
        wire.wait(0.8)
    assert honest == 180 and wire.counter("ListenDrops") == 0 and wire.counter("TCPReqQFullDrop") == 0
    assert wire.counter("SyncookiesSent") > 4_000 and wire.counter("SyncookiesFailed") == 0


def test_nothing_stays_of_a_cookie() -> None:
    wire = cookie_wire()
    wire.stack.listen("0.0.0.0", 80)
    packets = [bytes(Peer(wire, sport=1024 + i).packet("S", options=LINUX_SYN)) for i in range(200)]
    for packet in packets:
        wire.put(packet)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for packet in packets * 5:
        wire.device.inject(packet)
        wire.stack.poll(wire.now)
        wire.device.drain()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 10_000
    context = wire.stack.context
    assert len(context.timers) == 0 and len(context.demux) == 0 and context.cookies.spent is None
