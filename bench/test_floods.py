"""Floods in memory: what a packet of each kind costs the stack, on one core, and whether its memory stays where it was."""

import gc

import pytest
from memory import alone, resident

import fastnet.tcp.connection
from fastnet.load._flood import KINDS
from fastnet.load.memory import MemoryFlood

COMPILED = not str(fastnet.tcp.connection.__file__).endswith(".py")
PACKETS = 1_000_000 if COMPILED else 40_000
SOURCES = 10_000_000 if COMPILED else 400_000
MEBIBYTE = 1 << 20


@pytest.mark.parametrize("kind", KINDS)
def test_a_packet_of_a_flood(benchmark, kind: str) -> None:
    """Beside four open connections, at which the flood of data is aimed. SYNs get cookies, and ACKs are looked at for some."""
    flood = MemoryFlood(256)
    flows, _ = flood.open(4)
    flood.listener.set("tcp_syncookies", 2)
    flood.bear("syn", 256)
    best = benchmark.pedantic(lambda: min(flood.bear(kind, PACKETS // 5, flows) for _ in range(5)), rounds=1)
    benchmark.extra_info["per_item"] = f"{best / (PACKETS // 5) * 1e9:,.0f} ns/packet"
    assert flood.stack.counters.TcpCurrEstab == 4


def growth(limit: int) -> float:
    """MiB that ten million SYNs leave behind, each from a source of its own, at a quarter of a million a second."""
    flood = MemoryFlood(256, settings={"fastnet_source_requests": limit})
    # All that a listener ever holds: a full syn queue.
    flood.bear("syn", 20_000)
    gc.collect()
    before = resident()
    flood.bear("syn", SOURCES)
    gc.collect()
    assert flood.stack.counters.SyncookiesSent > SOURCES * 0.99
    return (resident() - before) / MEBIBYTE


@pytest.mark.parametrize("limit", [0, 10], ids=["", "with-limits-for-each-source"])
def test_memory_under_a_flood_of_syns(benchmark, limit: int) -> None:
    size = benchmark.pedantic(alone, (growth, limit), rounds=1)
    benchmark.extra_info["per_item"] = f"{size:+.2f} MiB after {SOURCES:,}"
    assert size < 4


def request_size(held: int) -> float:
    """Bytes of an entry of the syn queue, its timer included."""
    flood = MemoryFlood(held, settings={"somaxconn": held})
    gc.collect()
    before = resident()
    flood.bear("syn", held, step=1000)
    assert len(flood.listener.syn_queue) == held
    return (resident() - before) / held


def test_bytes_of_a_request(benchmark) -> None:
    size = benchmark.pedantic(alone, (request_size, 1 << 16), rounds=1)
    benchmark.extra_info["per_item"] = f"{size:,.0f} bytes/request"
