"""What a loss leaves behind: marks that are owed, round trips that may be measured, and the clock that a cookie lends."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import TCP

from tests.peer import MILLISECOND, SECOND, M, Peer, Wire
from tests.protocol.test_ecn import MSS, Agreed, flags


def test_after_a_timeout_the_peer_is_told_too() -> None:
    """RFC 3168 section 6.1.2: CWND was reduced, so the next new data has CWR, once; marks of that window reduce it no more."""
    it = Agreed()
    it.send(10)
    it.wire.wait(3)
    ssthresh = it.connection.sender.recovery.congestion.ssthresh  # type: ignore[union-attr]
    new = it.ack(10)
    it.connection.send(bytes(3 * MSS))
    new += it.wire.sent()
    told = ["C" in each for each in flags(new)]
    assert told[0] and not any(told[1:])
    assert it.connection.sender.recovery.congestion.ssthresh == ssthresh  # type: ignore[union-attr]


STAMPED: list[Any] = [("MSS", 1000), ("Timestamp", (1, 0))]


def test_only_an_ack_of_new_data_measures() -> None:
    """RFC 7323 section 4.1: a duplicate ACK that echoes the retransmission says nothing about the path."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn(STAMPED)
    wire.now += 50 * MILLISECOND
    peer.put("A", 1, 1, options=[("Timestamp", (2, 0))])
    connection = listener.accept()
    assert connection is not None
    connection.send(bytes(2000))
    wire.sent()
    ((_, again),) = wire.wait(0.3)
    stamp = dict(again[TCP].options)["Timestamp"][0]
    sender = connection.sender
    assert sender is not None
    before = sender.rtt.srtt
    wire.now += 400 * MILLISECOND
    peer.put("A", 1, 1, options=[("Timestamp", (3, stamp))])
    assert sender.rtt.srtt == before
    peer.put("A", 1, 1001, options=[("Timestamp", (4, stamp))])
    assert sender.rtt.srtt > before + 40 * MILLISECOND


def test_an_echo_of_the_first_sending_measures_nothing() -> None:
    """Nor is a number taken from an ACK that has no timestamp (Karn's rule)."""
    for stamps in (True, False):
        wire = Wire()
        listener = wire.stack.listen("0.0.0.0", 80)
        peer = Peer(wire)
        peer.syn(STAMPED if stamps else [("MSS", 1000)])
        wire.now += 50 * MILLISECOND
        peer.put("A", 1, 1, options=[("Timestamp", (2, 0))] if stamps else [])
        connection = listener.accept()
        assert connection is not None
        connection.send(bytes(900))
        (first,) = wire.sent()
        assert len(wire.wait(0.3)) == 1
        sender = connection.sender
        assert sender is not None
        before = sender.rtt.srtt
        peer.put("A", 1, 901, options=[("Timestamp", (4, dict(first[TCP].options)["Timestamp"][0]))] if stamps else [])
        assert sender.rtt.srtt == before and connection.snd_una == connection.snd_nxt


def test_a_probe_that_is_no_longer_needed_does_not_go() -> None:
    """The window opens in the batch in which the probe is due: what waits goes, as data."""
    for window, probes in ((0, 1), (5000, 0)):
        wire = Wire()
        peer = Peer(wire)
        connection = peer.open(wire.stack.listen("0.0.0.0", 80), [("MSS", 1000)])
        peer.put("A", 1, 1, window=0)
        connection.send(bytes(3000))
        assert wire.sent() == []
        sender = connection.sender
        assert sender is not None
        wire.now = sender.deadline + 20 * MILLISECOND
        sent = peer.put("A", 1, 1, window=window)
        assert wire.counter("TCPWinProbe") == probes
        assert [len(packet[TCP].payload) for packet in sent] == ([0] if probes else [1000, 1000, 1000])


@pytest.mark.parametrize("late", [0, 1, 31, 63, 64, 65, 100, 127, 1000])
def test_a_cookies_timestamp_is_nearly_the_clock(late: int) -> None:
    """What it remembers is in the last 6 bits (cookie_init_timestamp()): never ahead of the clock, and 63 ms behind at most."""
    stamps = []
    for cookies in (2, 0):
        wire = Wire(tcp_syncookies=cookies)
        wire.now = 50 * SECOND + late * MILLISECOND
        wire.stack.listen("0.0.0.0", 80)
        answer = Peer(wire).syn([("MSS", 1000), ("SAckOK", b""), ("WScale", 5), ("Timestamp", (7, 0))])
        stamps.append(dict(answer[TCP].options)["Timestamp"][0])
    assert 0 <= (stamps[1] - stamps[0] & M) < 64


@pytest.mark.parametrize("options", [
    [("MSS", 1000), ("Timestamp", (7, 0))], [("MSS", 1000), ("SAckOK", b""), ("Timestamp", (7, 0))],
    [("MSS", 1000), ("WScale", 0), ("Timestamp", (7, 0))], [("MSS", 1400), ("WScale", 14), ("SAckOK", b""), ("Timestamp", (7, 0))],
])  # fmt: skip
def test_a_cookie_remembers_what_was_agreed(options: list[Any]) -> None:
    """All of it with timestamps; the MSS as the largest of its table that is not larger."""
    agreed = []
    for cookies in (2, 0):
        wire = Wire(tcp_syncookies=cookies)
        listener = wire.stack.listen("0.0.0.0", 80)
        peer = Peer(wire)
        answer = peer.syn(options)
        stamp = dict(answer[TCP].options)["Timestamp"][0]
        peer.put("A", 1, 1, window=1000, options=[("Timestamp", (8, stamp))])
        connection = listener.accept()
        assert connection is not None
        request = connection.handshake
        agreed.append((request.sack, request.wscale, request.snd_shift, request.rcv_shift, request.timestamps, connection.snd_wnd))
        mss = dict(options)["MSS"]
        assert request.mss == (mss if not cookies else 536 if mss < 1300 else 1300)
    assert agreed[0] == agreed[1]
