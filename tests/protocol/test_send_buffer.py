"""How much a program may queue, and when it hears that it may queue more (tcp_wmem, tcp_notsent_lowat, SO_SNDBUF, TCP_NOTSENT_LOWAT)."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from fastnet.config import Settings
from fastnet.sockopt import TCP_NOTSENT_LOWAT, Options
from fastnet.sweep import Cell, measure
from fastnet.tcp.connection import Connection
from tests.peer import STACK, Peer, Wire

MSS = 1460
FIRST = 1 << 17
UNBOUNDED = (1 << 32) - 1


def make(cwnd: int, **settings: Any) -> tuple[Wire, Peer, Connection]:
    """An accepted connection with a CWND of so many bytes and a peer with a large window."""
    wire = Wire(tcp_congestion_control="reno", **settings)
    listener = wire.stack.listen(STACK, 80)
    peer = Peer(wire)
    peer.syn([("MSS", MSS), ("WScale", 10)])
    peer.put("A", 1, 1, window=0xFFFF)
    connection = listener.accept()
    assert connection is not None
    connection.owner = object()
    wire.stack.take_ready()
    congestion = connection.need_sender().recovery.congestion
    congestion.cwnd = cwnd
    congestion.ssthresh = cwnd
    return wire, peer, connection


def test_a_third_free_is_room() -> None:
    """sk_stream_is_writeable(): a program that was told to wait hears when a third of the buffer is free, not half."""
    wire, peer, connection = make(100 * MSS, tcp_notsent_lowat=UNBOUNDED, tcp_wmem=(4096, 30 * MSS, 30 * MSS))
    assert connection.send(bytes(100 * MSS)) == 30 * MSS
    wire.sent()
    peer.put("A", 1, 1 + 9 * MSS, window=0xFFFF)
    assert wire.stack.take_ready() == []
    peer.put("A", 1, 1 + 10 * MSS, window=0xFFFF)
    assert wire.stack.take_ready() == [connection]
    assert connection.writable() == 10 * MSS


def test_unsent_bytes_keep_a_program_waiting_for_half_of_their_bound() -> None:
    """tcp_stream_memory_free() with wake = 1: room for half of tcp_notsent_lowat."""
    wire, peer, connection = make(10 * MSS, tcp_notsent_lowat=20 * MSS, tcp_wmem=(4096, 1 << 20, 1 << 20))
    assert connection.send(bytes(100 * MSS)) == 20 * MSS
    wire.sent()
    assert wire.stack.take_ready() == [connection], "ten went out, so there is room for ten"
    assert connection.send(bytes(100 * MSS)) == 10 * MSS
    peer.put("A", 1, 1 + 4 * MSS, window=0xFFFF)
    assert wire.stack.take_ready() == []


def test_the_buffer_grows_to_two_windows() -> None:
    """tcp_sndbuf_expand(): where a program fills it; within tcp_wmem, and never back."""
    wire, peer, connection = make(100 * MSS, tcp_notsent_lowat=UNBOUNDED, tcp_wmem=(4096, 16384, 250 * MSS))
    assert connection.send(bytes(1 << 20)) == FIRST
    wire.sent()
    sender = connection.need_sender()
    assert sender.limit == 200 * MSS
    assert wire.stack.take_ready() == [connection]
    sender.recovery.congestion.cwnd = 300 * MSS
    assert connection.send(bytes(1 << 20)) == 200 * MSS - FIRST
    wire.sent()
    assert sender.limit == 250 * MSS
    sender.recovery.congestion.cwnd = 10 * MSS
    assert connection.send(bytes(1 << 20)) == 50 * MSS
    wire.sent()
    assert sender.limit == 250 * MSS
    assert sender.buffer.length == 250 * MSS and peer is not None


def test_a_buffer_that_is_not_filled_does_not_grow() -> None:
    wire, peer, connection = make(1000 * MSS)
    assert connection.send(bytes(1000)) == 1000
    wire.sent()
    peer.put("A", 1, 1001, window=0xFFFF)
    assert connection.need_sender().limit == FIRST


def test_a_buffer_that_the_program_has_set_does_not_grow() -> None:
    """SOCK_SNDBUF_LOCK."""
    wire, _, connection = make(1000 * MSS, tcp_notsent_lowat=UNBOUNDED)
    connection.limit_sending(20_000)
    assert connection.send(bytes(1 << 20)) == 20_000
    wire.sent()
    assert connection.need_sender().limit == 20_000
    other = Wire()
    listener = other.stack.listen(STACK, 80)
    accepted = Peer(other).open(listener)
    accepted.limit_sending(30_000)
    assert accepted.need_sender().locked


def test_a_buffer_does_not_grow_while_memory_is_short() -> None:
    """tcp_should_expand_sndbuf()."""
    wire, _, connection = make(1000 * MSS, tcp_notsent_lowat=UNBOUNDED, tcp_mem=(1, 1, 1000))
    assert connection.send(bytes(1 << 20)) == FIRST
    assert wire.stack.context.memory.is_pressed()
    wire.sent()
    assert connection.need_sender().limit <= FIRST


@pytest.mark.parametrize("value", [4 * MSS, 0, -1])
def test_not_sent_lowat_of_one_connection(value: int) -> None:
    """TCP_NOTSENT_LOWAT (tcp(7)): 0 goes back to the setting, -1 is no bound."""
    wire, _, connection = make(2 * MSS, tcp_notsent_lowat=50_000, tcp_wmem=(4096, 200_000, 200_000))
    options = Options(Settings())
    assert options.get(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, connection) == (0).to_bytes(4, "little")
    options.set(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, value.to_bytes(4, "little", signed=True), connection, None)
    assert options.get(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, connection) == value.to_bytes(4, "little", signed=True)
    taken = {4 * MSS: 4 * MSS, 0: 50_000, -1: 200_000}[value]
    assert connection.send(bytes(300_000)) == taken
    wire.sent()


def test_more_room_is_told_when_the_bound_is_raised() -> None:
    wire, _, connection = make(2 * MSS, tcp_notsent_lowat=10_000)
    connection.send(bytes(50_000))
    wire.sent()
    connection.send(bytes(50_000))
    wire.sent()
    wire.stack.take_ready()
    connection.limit_unsent(UNBOUNDED)
    wire.sent()
    assert wire.stack.take_ready() == [connection]


def test_what_was_set_before_the_handshake_lasts() -> None:
    wire = Wire()
    connection = wire.stack.connect("198.18.0.1", 80)
    connection.limit_unsent(3000)
    (syn,) = wire.sent()
    peer = Peer(wire, port=syn.sport, sport=80)
    peer.irs = syn.seq
    peer.put("SA", options=[("MSS", MSS)])
    connection.need_sender().recovery.congestion.cwnd = 1
    assert connection.send(bytes(10_000)) == 3000


def test_a_program_that_waits_for_room_fills_the_path() -> None:
    """A send buffer of one and a half bandwidth-delay products is enough; woken at half it would be three quarters of one."""
    largest = round(1.5 * 20e6 * 0.05 / 8)
    settings = {"tcp_wmem": (4096, 16384, largest), "tcp_notsent_lowat": UNBOUNDED}
    result = measure(Cell(rate=20e6, rtt=0.05, duration=4.0, warmup=1.0, settings=settings))
    assert result.utilisation > 0.99, result
    assert result.needless == 0 and result.timeouts == 0


def test_the_sweep_gives_a_path_the_buffers_that_it_needs() -> None:
    """Linux's where they are enough; else twice what path and queue hold."""
    assert Cell(rate=10e6, rtt=0.05).stack_settings()["tcp_wmem"] == (4096, 16384, 4 << 20)
    long = Cell(rate=1e9, rtt=0.05).stack_settings()
    assert long["tcp_wmem"][2] == long["tcp_rmem"][2] == 25_000_000
    assert Cell(rate=1e9, rtt=0.05, settings={"tcp_wmem": (4096, 8192, 9000)}).stack_settings()["tcp_wmem"][2] == 9000
