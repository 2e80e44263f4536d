"""Packets to be sent, byte for byte as a plain reference puts them together; and what the writer refuses."""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Sequence
from typing import Any

import dpkt
import pytest

from fastnet._buffer import ByteRing
from fastnet._flow import FourTuple
from fastnet._headers import Segment
from fastnet._ring import PacketRing
from fastnet._writer import SegmentWriter

LOCAL, REMOTE = "198.18.0.2", "198.18.255.254"
FLOW = FourTuple(LOCAL, 8080, REMOTE, 40_000)
EXTREMES = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def packet_of(
    seq: int, ack: int, flags: int, window: int, options: bytes = b"", data: bytes = b"", urgent: int = 0, ttl: int = 64, tos: int = 0,
    identification: int | None = None, summed: bool = True,
) -> bytes:  # fmt: skip
    """RFC 791 and RFC 9293 section 3.1, the long way. ``summed``: TCP's checksum is whole, not left to a device."""
    size = 40 + len(options) + len(data)
    ip = struct.pack(
        ">BBHHHBBH4s4s", 0x45, tos, size, identification or 0, 0 if identification is not None else 0x4000, ttl, 6, 0,
        socket.inet_aton(LOCAL), socket.inet_aton(REMOTE),
    )  # fmt: skip
    ip = ip[:10] + struct.pack(">H", dpkt.in_cksum(ip)) + ip[12:]
    tcp = struct.pack(">HHIIBBHHH", 8080, 40_000, seq, ack, (20 + len(options)) // 4 << 4, flags, window, 0, urgent) + options + data
    pseudo = ip[12:20] + struct.pack(">HH", 6, len(tcp))
    total = dpkt.in_cksum(pseudo + tcp)
    return ip + tcp[:16] + struct.pack(">H", total) + tcp[18:]


def blocks_of(*edges: int) -> bytes:
    return bytes([1, 1, 5, 2 + 4 * len(edges)]) + struct.pack(f">{len(edges)}I", *edges)


def stamps_of(value: int, echo: int, first: bytes = b"\x01\x01") -> bytes:
    return first + b"\x08\x0a" + struct.pack(">II", value, echo)


def refuse() -> None:
    raise AssertionError("the ring is not full")


def writer_of(slots: int = 64, capacity: int = 1500, **given: Any) -> tuple[SegmentWriter, PacketRing]:
    ring = PacketRing(slots, capacity)
    return SegmentWriter(ring, refuse, **given), ring


def packets(ring: PacketRing) -> list[bytes]:
    found = [ring.packet(slot).tobytes() for slot in range(ring.count)]
    ring.clear()
    return found


def queue_of(data: bytes) -> ByteRing:
    queue = ByteRing()
    queue.append(data)
    return queue


@pytest.mark.parametrize("seq", EXTREMES)
def test_segments_without_data(seq: int) -> None:
    """Every number at its extremes; blocks up to the four that fit, three beside timestamps."""
    writer, ring = writer_of()
    edges = [(seq, 5), (7, 0xFFFFFFFF), (9, 10), (11, 12), (13, 14)]
    for ack, flags, window in itertools.product((1, 0xFFFFFFFF), (0x10, 0x14, 0xFF), (0, 0xFFFF)):
        writer.control(FLOW, seq, ack, flags, window)
        writer.control(FLOW, seq, ack, flags, window, True, 0xFFFFFFFE, ack)
        writer.control(FLOW, seq, ack, flags, window, urgent=0xFFFF)
        stamps = stamps_of(0xFFFFFFFE, ack)
        expected = [packet_of(seq, ack, flags, window), packet_of(seq, ack, flags, window, stamps)]
        assert packets(ring) == [*expected, packet_of(seq, ack, flags, window, urgent=0xFFFF)]
    for count in range(6):
        writer.control(FLOW, seq, 1, 0x10, 5, blocks=edges[:count])
        writer.control(FLOW, seq, 1, 0x10, 5, True, 3, 4, edges[:count])
        flat: Sequence[int] = [edge for pair in edges[:count] for edge in pair]
        plain = blocks_of(*flat[:8]) if count else b""
        beside = blocks_of(*flat[:6]) if count else b""
        assert packets(ring) == [packet_of(seq, 1, 0x10, 5, plain), packet_of(seq, 1, 0x10, 5, stamps_of(3, 4) + beside)]


@pytest.mark.parametrize(("wscale", "sack", "stamps"), [*itertools.product((-1, 0, 14), (False, True), (False, True))])
def test_syns(wscale: int, sack: bool, stamps: bool) -> None:
    """Options as Linux lays them out (tcp_options_write())."""
    writer, ring = writer_of()
    for mss in (48, 1460, 0xFFFF):
        writer.synack(FLOW, 5, 6, 0x12, 0xFFFF, mss, wscale, sack, stamps, 0xFFFFFFFF, 8)
        options = b"\x02\x04" + struct.pack(">H", mss)
        if stamps:
            options += stamps_of(0xFFFFFFFF, 8, b"\x04\x02" if sack else b"\x01\x01")
        elif sack:
            options += b"\x01\x01\x04\x02"
        if wscale >= 0:
            options += bytes([1, 3, 3, wscale])
        assert packets(ring) == [packet_of(5, 6, 0x12, 0xFFFF, options)]


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 39, 40])
def test_options_byte_by_byte(size: int) -> None:
    """Filled up with zeros to a whole word; with the beginning of a queue too."""
    writer, ring = writer_of()
    options = bytes(range(200, 200 + size))
    filled = options + bytes(-size % 4)
    writer.verbatim(FLOW, 1, 2, 0x12, 3, options)
    writer.syn_data(FLOW, 1, 2, 2, 3, options, queue_of(b"early data"), 5)
    writer.syn_data(FLOW, 1, 2, 2, 3, options, queue_of(b"early"), 0)
    assert packets(ring) == [
        packet_of(1, 2, 0x12, 3, filled), packet_of(1, 2, 2, 3, filled, b"early"), packet_of(1, 2, 2, 3, filled),
    ]  # fmt: skip


@pytest.mark.parametrize("size", [0, 1, 2, 3, 100, 1400, 1459, 1460])
def test_data(size: int) -> None:
    """From any place of a queue, odd sizes too; with timestamps and blocks as long as they fit."""
    writer, ring = writer_of()
    data = bytes(i * 7 & 255 for i in range(2000))
    queue = queue_of(data)
    for offset in (0, 1, 540):
        writer.data(FLOW, 9, 8, 0x18, 7, False, 0, 0, queue, offset, size)
        assert packets(ring) == [packet_of(9, 8, 0x18, 7, b"", data[offset : offset + size])]
    if size <= 1400:
        writer.data(FLOW, 9, 8, 0x38, 7, True, 5, 6, queue, 3, size, [(1, 2), (3, 4)], 77)
        options = stamps_of(5, 6) + blocks_of(1, 2, 3, 4)
        assert packets(ring) == [packet_of(9, 8, 0x38, 7, options, data[3 : 3 + size], 77)]


def test_what_does_not_fit() -> None:
    """Nothing half done is left in the ring."""
    writer, ring = writer_of()
    room = ring.capacity - 40
    queue = queue_of(bytes(room + 9))
    for offset, size in ((0, room + 10), (1, room + 9), (-1, 5), (0, -1), (room + 10, 0)):
        with pytest.raises(ValueError, match=rf"bytes at .* of a queue of {room + 9}"):
            writer.data(FLOW, 1, 1, 0x10, 1, False, 0, 0, queue, offset, size)
    for stamps, most in ((False, room), (True, room - 12)):
        with pytest.raises(ValueError, match="do not fit a packet"):
            writer.data(FLOW, 1, 1, 0x10, 1, stamps, 0, 0, queue, 0, most + 1)
        writer.data(FLOW, 1, 1, 0x10, 1, stamps, 0, 0, queue, 0, most)
    with pytest.raises(ValueError, match="do not fit a packet"):
        writer.syn_data(FLOW, 1, 1, 2, 1, b"", queue, room + 1)
    writer.syn_data(FLOW, 1, 1, 2, 1, b"", queue, room)
    for size in (-1, room + 10):
        with pytest.raises(ValueError, match="of a queue of"):
            writer.syn_data(FLOW, 1, 1, 2, 1, b"", queue, size)
    for call in (lambda: writer.verbatim(FLOW, 1, 1, 2, 1, bytes(41)), lambda: writer.syn_data(FLOW, 1, 1, 2, 1, bytes(41), queue, 0)):
        with pytest.raises(ValueError, match="41 bytes of options; a header has room for 40"):
            call()
    assert [len(packet) for packet in packets(ring)] == [ring.capacity] * 3
    large, ring = writer_of(slots=2, capacity=70_000)
    queue = queue_of(bytes(70_000))
    large.data(FLOW, 1, 1, 0x10, 1, False, 0, 0, queue, 0, 65_495)
    with pytest.raises(ValueError, match="do not fit a packet"):
        large.data(FLOW, 1, 1, 0x10, 1, False, 0, 0, queue, 0, 65_496)


def test_none_is_refused() -> None:
    """And crashes nothing."""
    writer, ring = writer_of()
    queue, nothing = queue_of(b"x"), None
    calls: list[Any] = [
        lambda: writer.control(nothing, 1, 1, 1, 1), lambda: writer.synack(nothing, 1, 1, 1, 1, 1, 1, True, True, 1, 1),
        lambda: writer.verbatim(nothing, 1, 1, 1, 1, b""), lambda: writer.verbatim(FLOW, 1, 1, 1, 1, nothing),
        lambda: writer.data(nothing, 1, 1, 1, 1, False, 0, 0, queue, 0, 1),
        lambda: writer.data(FLOW, 1, 1, 1, 1, False, 0, 0, nothing, 0, 1),
        lambda: writer.syn_data(nothing, 1, 1, 1, 1, b"", queue, 1), lambda: writer.syn_data(FLOW, 1, 1, 1, 1, nothing, queue, 1),
        lambda: writer.syn_data(FLOW, 1, 1, 1, 1, b"", nothing, 1), lambda: writer.icmp(nothing, Segment(), 0, 0),
        lambda: writer.icmp(FLOW, nothing, 0, 0), lambda: writer.repeat(nothing, 1), lambda: SegmentWriter(nothing, refuse),
        lambda: SegmentWriter(ring, nothing),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(TypeError):
            call()
    assert ring.count == 0
    with pytest.raises(ValueError, match="at least, not 0"):
        writer.icmp(FLOW, Segment(), 0, 0)


def test_a_path_of_its_own() -> None:
    """Only the packets that are given it differ. Without DF each has an identification of its own (RFC 6864)."""
    writer, ring = writer_of(ttl=200)
    usual = writer.path_of(FLOW)
    assert (usual.ttl, usual.tos, usual.fragment, usual.mtu, usual.mss) == (200, 0, False, 1500, 1460)
    for ttl, tos, fragment in ((200, 0, False), (1, 0, False), (200, 0xFF, False), (255, 8, True), (200, 0, True)):
        path = usual.copy(ttl=ttl, tos=tos, fragment=fragment)
        writer.control(FLOW, 1, 2, 0x10, 3, path=path)
        writer.control(FLOW, 1, 2, 0x10, 3, path=path)
        writer.control(FLOW, 1, 2, 0x10, 3)
        *found, other = packets(ring)
        numbers = [int.from_bytes(packet[4:6], "big") if fragment else None for packet in found]
        assert found == [packet_of(1, 2, 0x10, 3, ttl=ttl, tos=tos, identification=number) for number in numbers]
        assert not fragment or numbers[0] != numbers[1]
        assert other == packet_of(1, 2, 0x10, 3, ttl=200)


def test_a_full_ring_is_flushed() -> None:
    """First, so that what was written is all that is lost where the device takes nothing."""
    flushed: list[int] = []
    ring = PacketRing(2, 200)

    def flush() -> None:
        flushed.append(ring.count)
        ring.clear()

    writer = SegmentWriter(ring, flush)
    for _ in range(5):
        writer.control(FLOW, 1, 2, 0x10, 3)
    assert flushed == [2, 2] and ring.count == 1
    stuck = SegmentWriter(ring, lambda: None)
    stuck.control(FLOW, 1, 2, 0x10, 3)
    with pytest.raises(RuntimeError, match="flush"):
        stuck.control(FLOW, 1, 2, 0x10, 3)
    assert ring.count == 2


def test_much_data_is_flushed_while_it_is_in_the_cache() -> None:
    """More than 128 KiB wait for no more; control segments alone do not count."""
    flushed: list[int] = []
    ring = PacketRing(300, 1500)

    def flush() -> None:
        flushed.append(ring.count)
        ring.clear()

    writer = SegmentWriter(ring, flush)
    queue = queue_of(bytes(1024))
    for _ in range(129):
        writer.data(FLOW, 1, 1, 0x10, 1, False, 0, 0, queue, 0, 1024)
    assert flushed == [] and ring.count == 129
    writer.data(FLOW, 1, 1, 0x10, 1, False, 0, 0, queue, 0, 1024)
    assert flushed == [129] and ring.count == 1
    for _ in range(100):
        writer.control(FLOW, 1, 1, 0x10, 1)
    assert flushed == [129]


@pytest.mark.parametrize(("size", "segment", "told"), [(100, 1000, 0), (1000, 1000, 0), (1001, 1000, 1000), (3000, 1000, 1000), (5, 0, 0)])
def test_segments_that_a_device_cuts(size: int, segment: int, told: int) -> None:
    """It is told of the size only where there is something to cut; each that it cuts takes a number where they may be fragmented."""
    writer, ring = writer_of(capacity=5000, offload=True)
    queue = queue_of(bytes(4000))
    path = writer.ipv4.copy(fragment=True)
    for _ in range(2):
        writer.data(FLOW, 1, 1, 0x10, 1, False, 0, 0, queue, 0, size, segment_size=segment, path=path)
    assert ring.segment_sizes[:2].tolist() == [told, told] or (segment == 0 and ring.segment_sizes[0] == 0)
    first, second = (int.from_bytes(ring.packet(slot)[4:6], "big") for slot in (0, 1))
    if segment:
        assert second - first >= max(1, -(-size // segment)), "no number twice"
    assert ring.checked[:2].tolist() == [1, 1], "the checksum of data is the device's to finish"
