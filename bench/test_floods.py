"""Floods in memory: what a packet of each kind costs the stack, on one core, and whether its memory stays where it was."""

import gc
import os
from pathlib import Path

import pytest

import fastnet.tcp.connection
from fastnet.load._flood import KINDS
from fastnet.load.memory import MemoryFlood

COMPILED = not str(fastnet.tcp.connection.__file__).endswith(".py")
PACKETS = 1_000_000 if COMPILED else 40_000
SOURCES = 10_000_000 if COMPILED else 400_000
MEBIBYTE = 1 << 20


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


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


@pytest.mark.parametrize("limit", [0, 10], ids=["", "with-limits-for-each-source"])
def test_memory_under_a_flood_of_syns(benchmark, limit: int) -> None:
    """Ten million SYNs, each from a source of its own, at a quarter of a million a second."""
    flood = MemoryFlood(256, settings={"fastnet_source_requests": limit})
    # All that a listener ever holds: a full syn queue.
    flood.bear("syn", 20_000)
    gc.collect()
    before = resident()
    benchmark.pedantic(lambda: flood.bear("syn", SOURCES), rounds=1)
    gc.collect()
    growth = (resident() - before) / MEBIBYTE
    benchmark.extra_info["per_item"] = f"{growth:+.2f} MiB after {SOURCES:,}"
    assert growth < 4
    assert flood.stack.counters.SyncookiesSent > SOURCES * 0.99


def test_bytes_of_a_request(benchmark) -> None:
    """What the syn queue takes for each of its entries, its timer included."""
    held = 1 << 16
    flood = MemoryFlood(1 << 16, settings={"somaxconn": held})
    gc.collect()
    before = resident()
    benchmark.pedantic(lambda: flood.bear("syn", held, step=1000), rounds=1)
    assert len(flood.listener.syn_queue) == held
    benchmark.extra_info["per_item"] = f"{(resident() - before) / held:,.0f} bytes/request"
