"""Pacing: SO_MAX_PACING_RATE, Linux's ratios for congestion controls without a rate of their own, and bursts of a wheel of 1 ms."""

from __future__ import annotations

import socket
import struct
from itertools import pairwise
from typing import Any

import pytest

from fastnet.config import Settings
from fastnet.devices import Impairment
from fastnet.sockopt import SO_MAX_PACING_RATE, Options
from fastnet.sweep import Cell, measure
from fastnet.tcp.congestion.base import CongestionControl
from fastnet.tcp.connection import Connection
from fastnet.tcp.rates import Rates
from fastnet.twins import Twins
from tests.peer import MILLISECOND, PEER, SECOND, STACK, Peer, Wire

MSS = 1460
QUANTUM = MILLISECOND
LATE = 2 * MILLISECOND
NO_BOUND = 1 << 62
"""As fastnet/tcp/rates.py has them."""


def accepted(**settings: Any) -> tuple[Wire, Peer, Connection]:
    wire = Wire(**settings)
    listener = wire.stack.listen(STACK, 80)
    peer = Peer(wire)
    peer.syn([("MSS", MSS), ("WScale", 10)])
    wire.now += 10 * MILLISECOND
    peer.put("A", 1, 1, window=0xFFFF)
    connection = listener.accept()
    assert connection is not None
    return wire, peer, connection


def send(wire: Wire, connection: Connection, size: int, seconds: float) -> list[tuple[float, int]]:
    """Queue so much; when how many bytes leave."""
    connection.send(bytes(size))
    return [(round(at * 1000, 3), len(packet.load)) for at, packet in wire.wait(seconds) if hasattr(packet, "load")]


# ---- bursts ----


def test_a_burst_is_a_millisecond_or_two_segments() -> None:
    """draft-ietf-ccwg-bbr-04 section 5.6.3."""
    rates = Rates()
    assert rates.allowance(100_000_000, MSS, 5 * SECOND) == 100_000
    assert rates.allowance(1_000_000, MSS, 5 * SECOND) == 2 * MSS
    assert rates.allowance(0, MSS, 5 * SECOND) == NO_BOUND


def test_the_next_burst_waits_for_the_last_one() -> None:
    rates = Rates()
    rates.allowance(1_000_000, MSS, 5 * SECOND)
    rates.charge(2000, 5 * SECOND)
    assert rates.next_at == 5 * SECOND + 2 * MILLISECOND
    assert rates.allowance(1_000_000, MSS, rates.next_at - 1) == 0
    assert rates.allowance(1_000_000, MSS, rates.next_at) == 2 * MSS


def test_a_late_turn_is_made_up_for_and_idle_time_is_not() -> None:
    rates = Rates()
    rate = 100_000_000
    rates.allowance(rate, MSS, SECOND)
    rates.charge(100_000, SECOND)
    rates.wake_at = rates.next_at
    assert rates.allowance(rate, MSS, rates.next_at + MILLISECOND) == 200_000
    rates.wake_at = rates.next_at
    assert rates.allowance(rate, MSS, SECOND * 9) == rate * (LATE + QUANTUM) // SECOND
    rates.wake_at = 0
    assert rates.allowance(rate, MSS, SECOND * 10) == 100_000


def test_the_bound_of_the_program_is_a_bound() -> None:
    rates = Rates()
    rates.max_pacing_rate = 5_000_000
    rates.allowance(100_000_000, MSS, SECOND)
    assert rates.pacing_rate == 5_000_000
    rates.allowance(1_000_000, MSS, SECOND)
    assert rates.pacing_rate == 1_000_000
    rates.allowance(0, MSS, SECOND)
    assert rates.pacing_rate == 5_000_000


def test_a_rate_that_rises_shortens_the_wait() -> None:
    rates = Rates()
    rates.allowance(1000, MSS, SECOND)
    rates.charge(2000, SECOND)
    assert rates.next_at == 3 * SECOND
    assert rates.allowance(100_000, MSS, SECOND) == 0
    assert rates.next_at == SECOND + 20 * MILLISECOND


# ---- a connection ----


def test_segments_leave_two_at_a_time_and_no_faster_than_asked() -> None:
    """SO_MAX_PACING_RATE: ten segments at 1 MB/s take 13 ms, not none, in bursts of two."""
    wire, _, connection = accepted()
    connection.limit_pacing(1_000_000)
    sent = send(wire, connection, 10 * MSS, 0.1)
    times = sorted({at for at, _ in sent})
    assert [sum(size for at, size in sent if at == time) for time in times] == [2 * MSS] * 5
    assert times[0] == 0 and 11 <= times[-1] <= 13
    for earlier, later in pairwise(times):
        assert 2 <= later - earlier <= 4


def test_without_it_a_connection_has_no_rates_and_sends_at_once() -> None:
    wire, _, connection = accepted()
    connection.limit_pacing(0)
    assert connection.sender is None
    assert {at for at, _ in send(wire, connection, 10 * MSS, 0.05)} == {0.0}
    assert connection.need_sender().recovery.rates is None


@pytest.mark.parametrize(("ssthresh", "ratio"), [(1 << 20, 200), (200_002, 200), (200_000, 120), (150_000, 120)])
def test_the_rate_is_a_window_for_each_round_trip_and_a_little_more(ssthresh: int, ratio: int) -> None:
    """tcp_update_pacing_rate(): tcp_pacing_ss_ratio while CWND is less than half of SSTHRESH, tcp_pacing_ca_ratio after that."""
    wire, _, connection = accepted(fastnet_pacing=1)
    recovery = connection.need_sender().recovery
    congestion = recovery.congestion
    congestion.cwnd = 100_000
    congestion.ssthresh = ssthresh
    assert recovery.rtt.srtt == 10 * MILLISECOND
    assert recovery.rate(connection) == 10_000_000 * ratio // 100
    assert wire.stack.settings.tcp_pacing_ss_ratio == 200


def test_a_window_that_pacing_leaves_unused_is_not_what_limits() -> None:
    """tcp_is_cwnd_limited(): the pace held the sender back, so CWND does not grow."""
    wire, peer, connection = accepted(tcp_congestion_control="reno")
    connection.limit_pacing(100_000)
    recovery = connection.need_sender().recovery
    recovery.congestion.ssthresh = recovery.congestion.cwnd
    before = recovery.congestion.cwnd
    connection.send(bytes(50 * MSS))
    acked = 1
    for _ in range(20):
        for _, packet in wire.wait(0.02):
            acked += len(packet.load)
        peer.put("A", 1, acked, window=0xFFFF)
    assert acked > 20 * MSS
    assert not recovery.limited and recovery.congestion.cwnd <= before


def test_retransmissions_are_paced_too() -> None:
    """All that was lost does not come back in a burst."""
    wire, _, connection = accepted(tcp_sack=0, tcp_mtu_probing=0)
    connection.limit_pacing(1_000_000)
    connection.send(bytes(10 * MSS))
    wire.wait(0.05)
    recovery = connection.need_sender().recovery
    wire.wait(2.0)
    recovery.congestion.cwnd = 10 * MSS
    for flight in recovery.board.flights[1:]:
        if not flight.lost:
            recovery.board.lose(flight, 1460)
    connection.send_soon()
    sent = [0.0 for _ in wire.sent()] + [when for when, _ in wire.wait(0.02)]
    assert len(sent) == 9 and sent.count(0.0) == 2
    assert 7 * MSS / 1_000_000 - 0.001 <= sent[-1] <= 9 * MSS / 1_000_000 + 0.001


def test_what_was_asked_before_the_handshake_lasts() -> None:
    wire = Wire()
    connection = wire.stack.connect(PEER, 80)
    connection.limit_pacing(123_456)
    (syn,) = wire.sent()
    peer = Peer(wire, port=syn.sport, sport=80)
    peer.irs = syn.seq
    peer.put("SA", options=[("MSS", MSS)])
    rates = connection.need_sender().recovery.rates
    assert rates is not None and rates.max_pacing_rate == 123_456 and rates.paces


def test_the_bound_goes_when_it_is_taken_back() -> None:
    wire, _, connection = accepted()
    connection.limit_pacing(1000)
    connection.send(bytes(10 * MSS))
    assert len(wire.sent()) == 2
    connection.limit_pacing(0)
    assert len(wire.sent()) == 8
    rates = connection.need_sender().recovery.rates
    assert rates is not None and not rates.paces


@pytest.mark.parametrize(
    ("raw", "told", "bound"),
    [
        (struct.pack("i", 1_000_000), 1_000_000, 1_000_000),
        (struct.pack("Q", 1 << 33), 0xFFFFFFFF, 1 << 33),
        (struct.pack("i", -1), 0xFFFFFFFF, 0),
        (struct.pack("Q", (1 << 64) - 1), 0xFFFFFFFF, 0),
    ],
)
def test_the_socket_option(raw: bytes, told: int, bound: int) -> None:
    """socket(7), sock_setsockopt(): 32 or 64 bits; all set: no bound."""
    _, _, connection = accepted()
    connection.limit_pacing(1)
    options = Options(Settings())
    assert options.get(socket.SOL_SOCKET, SO_MAX_PACING_RATE, connection) == struct.pack("I", 0xFFFFFFFF)
    options.set(socket.SOL_SOCKET, SO_MAX_PACING_RATE, raw, connection, None)
    assert options.get(socket.SOL_SOCKET, SO_MAX_PACING_RATE, connection) == struct.pack("I", told)
    rates = connection.need_sender().recovery.rates
    assert rates is not None and rates.max_pacing_rate == bound


class Steady(CongestionControl):
    """A program's own: so many bytes a second and nothing else."""

    name = "steady"

    __slots__ = ()

    def paces(self) -> bool:
        return True

    def pacing_rate(self) -> int:
        return 500_000


def test_a_congestion_control_of_a_programs_own_has_a_rate() -> None:
    wire, _, connection = accepted()
    connection.set_congestion_control(Steady)
    sent = send(wire, connection, 10 * MSS, 0.2)
    assert 20 <= sent[-1][0] <= 30
    connection.set_congestion_control("reno")
    rates = connection.need_sender().recovery.rates
    assert rates is not None and not rates.paces


# ---- over a path ----


def test_a_bulk_transfer_keeps_to_its_rate() -> None:
    """Over a link of a hundred times the rate; within a hundredth, whatever the wheel's turns."""
    twins = Twins(Impairment(delay=5 * MILLISECOND, rate=1_000_000_000))
    listener = twins.b.listen("0.0.0.0", 80)
    client = twins.a.connect("198.18.0.2", 80)
    client.limit_pacing(1_250_000)
    server: Connection | None = None
    received = 0
    end = twins.clock() + 2 * SECOND
    while twins.clock() < end:
        client.send(bytes(65536))
        server = server or listener.accept()
        if server is not None:
            received += len(server.receive(1 << 20))
        assert twins.step()
    assert 0.97 * 2_500_000 < received <= 2_500_000


def test_a_policer_passes_most_of_what_is_paced() -> None:
    """A bucket of 16 kB drops bursts: a third of the rate without pacing."""
    path = {"rate": 100e6, "rtt": 0.05, "policer": 10e6, "bucket": 16000, "duration": 6.0}
    bursts = measure(Cell(**path)).goodput
    paced = measure(Cell(**path, settings={"fastnet_pacing": 1})).goodput
    assert paced > 0.75 * 10e6 and paced > 2 * bursts


def test_pacing_does_not_end_slow_start() -> None:
    """hystart_update(): a paced CWND takes half a round trip anyway, which says nothing about the path."""
    result = measure(Cell(rate=100e6, rtt=0.05, duration=2.0, settings={"fastnet_pacing": 1}))
    assert result.utilisation > 0.75, result
