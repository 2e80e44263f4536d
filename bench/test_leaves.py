"""What the leaves cost: the work alone, in loops that do not leave C, so that no Python call is in the figure."""

import random

import pytest
from scapy.layers.inet import IP, TCP

from fastnet import _checksum
from fastnet._buffer import ByteRing
from fastnet._demux import Demux
from fastnet._flow import FourTuple
from fastnet._headers import SegmentBatch
from fastnet._ring import PacketRing
from fastnet._timer import TimerWheel
from fastnet._writer import SegmentWriter

FLOW = FourTuple("198.18.0.2", 80, "198.18.0.1", 40000)


@pytest.mark.parametrize("length", [40, 1460])
def test_checksum(benchmark, per_item, length: int) -> None:
    per_item.append((100_000, "checksum"))
    benchmark(_checksum.repeat, bytes(range(256)) * 8, length, 100_000)


@pytest.mark.parametrize("payload", [0, 1448])
def test_parse_and_verify(benchmark, per_item, payload: int) -> None:
    """A batch of 256 segments with timestamps: lengths, both checksums, options, 4-tuple and its hash."""
    ring = PacketRing(256, 2048)
    packet = bytes(
        IP(src="198.18.0.1", dst="198.18.0.2")
        / TCP(sport=40000, dport=80, flags="A", options=[("NOP", None), ("NOP", None), ("Timestamp", (1, 2))])
        / bytes(payload)
    )
    for _ in range(256):
        ring.append(packet)
    batch = SegmentBatch(ring)
    per_item.append((256, "packet"))
    benchmark(batch.parse)
    assert all(segment.cause == 0 for segment in batch.segments)


@pytest.mark.parametrize("payload", [0, 1448])
def test_build(benchmark, per_item, payload: int) -> None:
    """Segments with timestamps into a ring: headers and checksums, and the payload copied from a queue."""
    writer = SegmentWriter(PacketRing(256, 2048), lambda: None)
    source = ByteRing()
    source.append(bytes(4096))
    per_item.append((10_000, "packet"))
    benchmark(writer.repeat, FLOW, 10_000, source if payload else None, payload)


def flows(count: int) -> list[FourTuple]:
    return [FourTuple("198.18.0.2", 80, f"198.19.{n >> 8 & 255}.{n & 255}", 1024 + (n >> 16)) for n in range(count)]


@pytest.mark.parametrize("count", [1000, 100_000, 1_000_000])
@pytest.mark.parametrize("prefetch", [True, False], ids=["batch", "single"])
def test_demux_find(benchmark, per_item, count: int, prefetch: bool) -> None:
    """Look-ups in random order, every one a hit."""
    demux = Demux()
    names = flows(count)
    for name in names:
        demux.insert(name)
    # The keys in the order of the look-ups in memory, as those of a batch of packets are: what misses the cache is the table.
    order = [name.copy() for name in random.Random(1).sample(names, min(count, 200_000))]
    per_item.append((len(order), "look-up"))
    assert benchmark(demux.find_all, order, prefetch) == len(order)


PATTERNS = {
    "ports-of-one-address": lambda n: ("198.18.0.1", n),
    "one-port-of-many": lambda n: (f"198.18.{n >> 8}.{n & 255}", 40000),
    "high-byte": lambda n: (f"{1 + n % 200}.{n // 200 % 250}.{n // 50_000}.0", 40000),
    "both": lambda n: (f"198.18.{n & 255}.{n >> 8}", n ^ 0x5555),
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_demux_find_patterns(benchmark, per_item, pattern: str) -> None:
    """4-tuples that somebody has chosen: a look-up costs the same whatever they have in common."""
    demux = Demux()
    names = [FourTuple("198.18.0.2", 80, *PATTERNS[pattern](n)) for n in range(1, 60_001)]
    for name in names:
        demux.insert(name)
    order = [name.copy() for name in random.Random(1).sample(names, len(names))]
    per_item.append((len(order), "look-up"))
    assert benchmark(demux.find_all, order, True) == len(order)


def test_demux_insert_and_remove(benchmark, per_item) -> None:
    """From Python, at 100,000 flows: two calls an item are in the figure."""
    demux = Demux()
    names = flows(110_000)
    for name in names[:100_000]:
        demux.insert(name)

    def turn() -> None:
        for name in names[100_000:]:
            demux.insert(name)
        for name in names[100_000:]:
            demux.remove(name)

    per_item.append((10_000, "pair"))
    benchmark(turn)


def test_timer_add_and_remove(benchmark, per_item) -> None:
    """From Python, at 100,000 timers: two calls an item are in the figure."""
    wheel = TimerWheel(0)
    for n in range(100_000):
        wheel.add(None, n * 1_000_000)

    def turn() -> None:
        for n in range(10_000):
            wheel.remove(wheel.add(None, 1_000_000_000 + n))

    per_item.append((10_000, "pair"))
    benchmark(turn)
