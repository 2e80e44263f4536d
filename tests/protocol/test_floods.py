"""Floods in memory: what is held, what is answered, and that connections and clients do not notice."""

from __future__ import annotations

import random
from ipaddress import IPv4Address

import dpkt
import pytest

import fastnet.tcp.connection
from fastnet._ring import PacketRing
from fastnet.devices import Impairment
from fastnet.load._flood import KINDS, Flood
from fastnet.load.memory import MemoryFlood
from fastnet.twins import Twins
from tests.pair import A, B, Program

COMPILED = not str(fastnet.tcp.connection.__file__).endswith(".py")
PACKETS = 100_096 if COMPILED else 10_240
TARGET = int(IPv4Address(B))


def packets_of(kind: str, count: int, seed: int = 0, flows: tuple[tuple[int, int], ...] = ((0xC6120001, 4000),)) -> list[bytes]:
    flood = Flood(None, TARGET, 80, int(IPv4Address("198.19.0.0")), 4096, seed)
    ring = PacketRing(count, 128)
    assert flood.fill(ring, kind, flows) == count
    return [ring.packet(i).tobytes() for i in range(count)]


# ---- the flood itself ----


@pytest.mark.parametrize("kind", KINDS)
def test_packets_are_good_as_packets(kind: str) -> None:
    """Checksums and lengths, by dpkt; the same seed gives the same packets."""
    packets = packets_of(kind, 512)
    assert packets == packets_of(kind, 512) and packets != packets_of(kind, 512, seed=1)
    flags = set()
    for raw in packets:
        ip = dpkt.ip.IP(raw)
        assert dpkt.in_cksum(raw[:20]) == 0 and ip.len == len(raw) and ip.dst == IPv4Address(B).packed
        assert dpkt.in_cksum(raw[12:20] + b"\0\x06" + (len(raw) - 20).to_bytes(2, "big") + raw[20:]) == 0
        assert int.from_bytes(raw[22:24], "big") == 80
        assert bool(ip.mf) == (kind == "fragment")
        flags.add(raw[33])
    assert flags == {
        "syn": {0x02}, "ack": {0x10}, "rst": {0x04, 0x14}, "fin": {0x01, 0x11}, "fragment": {0x10}, "data": {0x18, 0x11, 0x04, 0x02},
    }[kind]  # fmt: skip


def test_each_source_comes_once_before_any_comes_again() -> None:
    sources = [raw[12:16] for raw in packets_of("syn", 8192)]
    assert len(set(sources[:4096])) == len(set(sources[4096:])) == 4096
    assert {raw[:2] for raw in sources} == {bytes([198, 19])}
    assert sources[:4096] != sorted(sources[:4096])


def test_what_a_flood_does_not_take() -> None:
    ring = PacketRing(4, 128)
    with pytest.raises(ValueError, match="power of two"):
        Flood(None, TARGET, 80, 0, 1000)
    with pytest.raises(ValueError, match="kind is one of syn"):
        Flood(None, TARGET, 80, 0).fill(ring, "rain")
    with pytest.raises(ValueError, match="connections to aim at"):
        Flood(None, TARGET, 80, 0).fill(ring, "data")
    with pytest.raises(ValueError, match="nowhere to write"):
        Flood(None, TARGET, 80, 0).run("syn", 1)


# ---- what a stack holds and answers ----


def test_a_flood_of_syns_is_held_to_the_syn_queue() -> None:
    """Every source is new; there are as many requests, with as many timers, as the queue has places, and nothing else."""
    flood = MemoryFlood(128)
    flows, _ = flood.open(4)
    flood.bear("syn", PACKETS)
    stack, listener = flood.stack, flood.listener
    assert len(listener.syn_queue) == len(stack.context.timers) == listener.backlog + 1 == 129
    assert len(stack.context.demux) == 4 and not stack.context.outbox
    counters = stack.counters
    assert counters.SyncookiesSent == PACKETS - 129 and counters.SyncookiesFailed == counters.ListenDrops == 0
    assert flood.sent_packets == PACKETS + counters.TCPSynRetrans
    assert flood.reset(flows) >= 0 and counters.TcpCurrEstab == 0


def test_sources_are_counted_in_a_table_that_does_not_grow() -> None:
    """With limits for each source, a source is known only as long as it holds a request."""
    flood = MemoryFlood(128, settings={"fastnet_source_requests": 1, "fastnet_source_table": 64})
    flood.bear("syn", PACKETS)
    assert flood.listener.statistics().sources <= 64
    assert len(flood.listener.syn_queue) == 129


def test_acks_of_nothing() -> None:
    """Each gets a RST, whether cookies are out or not, and none is taken for a cookie."""
    flood = MemoryFlood(128)
    flood.bear("ack", 1024)
    assert flood.sent_packets == flood.stack.counters.TcpOutRsts == 1024
    assert flood.stack.counters.SyncookiesFailed == 0
    flood.bear("syn", 1024)
    flood.bear("ack", PACKETS)
    assert flood.stack.counters.SyncookiesFailed == PACKETS and not flood.listener.accept_queue
    assert flood.stack.counters.TcpOutRsts == 1024 + PACKETS


def test_rsts_fins_and_fragments_get_no_connection_and_few_answers() -> None:
    flood = MemoryFlood(128)
    flood.open(4)
    flood.bear("rst", PACKETS)
    assert flood.sent_packets == 0
    flood.bear("fragment", PACKETS)
    assert flood.sent_packets == 0
    flood.bear("fin", PACKETS)
    # A FIN with an ACK of nothing gets a RST; one without is nobody's (RFC 9293 section 3.10.7.2).
    assert flood.sent_packets == flood.stack.counters.TcpOutRsts
    assert flood.stack.counters.TcpInNoFlags + flood.sent_packets == PACKETS
    assert len(flood.stack.context.demux) == 4 and not flood.listener.syn_queue and flood.stack.counters.TcpCurrEstab == 4


def test_bad_segments_get_an_ack_a_batch_and_a_challenge_each_half_second() -> None:
    flood = MemoryFlood(128)
    flows, _ = flood.open(4)
    flood.bear("data", PACKETS, flows)
    batches = -(-PACKETS // flood.stack.received.slots)
    counters = flood.stack.counters
    assert counters.TcpCurrEstab == 4
    assert flood.sent_packets <= 4 * batches
    assert counters.TCPChallengeACK <= 4 * (1 + batches // 500) and counters.TCPACKSkippedChallenge > PACKETS // 8


# ---- connections that are attacked ----


class Attacked:
    """Four connections between two stacks, data both ways, while one of the two is flooded.

    :param kind: of the flood; ``share``: packets of it at each step
    """

    def __init__(self, kind: str, packets: int, size: int) -> None:
        # Buffers of 16 KiB and 2 ms each way: a transfer lasts some hundred round trips.
        small = {"tcp_rmem": (4096, 16384, 16384), "tcp_wmem": (4096, 16384, 16384)}
        self.twins = Twins(Impairment(delay=2_000_000), settings_a=small, settings_b=small)
        self.kind = kind
        self.left = packets
        listener = self.twins.b.listen("0.0.0.0", 80, 4)
        chance = random.Random(kind)
        self.clients = [Program(chance.randbytes(size)) for _ in range(4)]
        self.servers = [Program(chance.randbytes(size)) for _ in range(4)]
        for i, program in enumerate(self.clients):
            program.connection = self.twins.a.connect(B, 80, local_port=4000 + i)
        self.waiting = list(self.servers)
        self.listener = listener
        self.flows = tuple((int(IPv4Address(A)), 4000 + i) for i in range(4))
        self.flood = Flood(None, TARGET, 80, int(IPv4Address("198.19.0.0")), 65536)
        self.ring = PacketRing(64, 128)

    def run(self) -> None:
        twins = self.twins
        while not all(program.is_over() for program in self.clients + self.servers):
            if self.left > 0 and not self.waiting:
                self.ring.clear()
                self.left -= self.flood.fill(self.ring, self.kind, self.flows)
                twins.link.a.outgoing.send([self.ring.packet(i).tobytes() for i in range(self.ring.count)], twins.clock())
            now = twins.clock()
            busy = False
            while self.waiting and (connection := self.listener.accept()) is not None:
                port = connection.handshake.flow.remote_port
                assert port in range(4000, 4004), "nobody else gets a connection"
                self.servers[port - 4000].connection = connection
                self.waiting.pop()
            for program in self.clients + self.servers:
                busy |= program.work(now)
            moved = twins.step()
            assert moved or busy, "stuck"
            twins.pass_time(0.001)
            assert twins.clock() < 1000 * 10**9


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_a_connection_is_lost_or_changed(kind: str) -> None:
    """Fifty thousand packets at a stack with four live connections (aimed at them, where they are bad segments): every byte arrives."""
    packets = 50_048 if COMPILED else 10_048
    attacked = Attacked(kind, packets, 2_000_000 if COMPILED else 400_000)
    attacked.run()
    assert attacked.left <= packets // 2, "most of the flood came while there was something to attack"
    for client, server in zip(attacked.clients, attacked.servers, strict=True):
        assert bytes(client.received) == server.data and bytes(server.received) == client.data
        assert client.connection is not None and server.connection is not None
        assert client.connection.error == server.connection.error == 0
    if kind == "data":
        assert attacked.twins.b.counters.TCPChallengeACK > 0
