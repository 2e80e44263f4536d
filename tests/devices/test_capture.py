"""A capture is what passed, in a form that others read: scapy and dpkt say what is in it."""

from __future__ import annotations

import errno
import io
import struct
import threading
from pathlib import Path

import dpkt
import pytest

from fastnet._ring import PacketRing
from fastnet.clock import ManualClock
from fastnet.devices import Capabilities, Capture, CapturedDevice, Device, MemoryDevice
from fastnet.devices.segments import with_checksum
from fastnet.twins import Twins
from tests.pair import Pair, Program
from tests.peer import IP, TCP, Raw, checked

INBOUND, OUTBOUND = 1, 2
"""draft-ietf-opsawg-pcapng section 4.3.1, epb_flags."""
NOON = 1_700_000_000_123_456_789
"""Some time since 1970 whose nanoseconds do not fit a float."""


def packet(size: int = 0, **fields: int) -> bytes:
    """A TCP segment as scapy builds it, with good checksums."""
    return bytes(IP(src="198.18.0.1", dst="198.18.0.2") / TCP(sport=1, dport=2, **fields) / Raw(bytes(i & 255 for i in range(size))))


def scapy_reads(data: bytes, tmp_path: Path) -> list[tuple[bytes, int, int]]:
    """Bytes, time in ns, direction: scapy's reader."""
    from scapy.utils import RawPcapNgReader

    path = tmp_path / "file.pcapng"
    path.write_bytes(data)
    with RawPcapNgReader(str(path)) as reader:
        found = list(reader)
    assert all(meta.linktype == 101 and meta.tsresol == 1_000_000_000 and meta.wirelen == len(raw) for raw, meta in found)
    return [(raw, (meta.tshigh << 32) + meta.tslow, meta.direction) for raw, meta in found]


def dpkt_reads(data: bytes) -> list[bytes]:
    reader = dpkt.pcapng.Reader(io.BytesIO(data))
    assert reader.datalink() == 101
    return [raw for _, raw in reader]


def blocks(data: bytes) -> list[tuple[int, bytes]]:
    """Types and bodies, each length checked at both ends."""
    found = []
    while data:
        kind, size = struct.unpack("<II", data[:8])
        assert size % 4 == 0 and struct.unpack("<I", data[size - 4 : size]) == (size,)
        found.append((kind, data[8 : size - 4]))
        data = data[size:]
    return found


def pass_through(device: Device, arrived: list[bytes], sent: list[bytes], below: MemoryDevice) -> tuple[int, int]:
    for raw in arrived:
        below.inject(raw)
    ring = PacketRing(8)
    ring.append(b"E here already")
    received = device.receive(ring)
    assert [bytes(ring.packet(slot)) for slot in range(1, ring.count)] == arrived
    ring.clear()
    for raw in sent:
        ring.append(raw)
    return received, device.transmit(ring)


def test_packets_with_time_and_direction_as_others_read_them(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    below = MemoryDevice()
    file = io.BytesIO()
    device = CapturedDevice(below, file, "wire", clock)
    arrived, sent = [packet(seq=1), packet(5, seq=2)], [packet(1460, seq=3), packet(2, seq=4), packet(3, seq=5)]
    assert pass_through(device, arrived, sent, below) == (2, 3)
    assert below.drain() == sent
    clock.advance(1)
    assert pass_through(device, [], [packet(seq=6)], below) == (0, 1)
    device.capture.close()
    found = scapy_reads(file.getvalue(), tmp_path)
    assert found == [
        *((raw, NOON, INBOUND) for raw in arrived), *((raw, NOON, OUTBOUND) for raw in sent), (packet(seq=6), NOON + 1, OUTBOUND),
    ]  # fmt: skip
    assert dpkt_reads(file.getvalue()) == [raw for raw, _, _ in found]
    assert device.capabilities == below.capabilities == Capabilities()
    assert [kind for kind, _ in blocks(file.getvalue())] == [0x0A0D0D0A, 1, 6, 6, 6, 6, 6, 6, 5]
    assert b"wire" in blocks(file.getvalue())[1][1]


def test_a_wait_and_a_wake_are_the_devices() -> None:
    below = MemoryDevice()
    device = CapturedDevice(below, io.BytesIO())
    assert not device.wait(0)
    below.inject(packet())
    assert device.wait(-1)
    threading.Timer(0.05, device.wake).start()
    below.receive(PacketRing(1))
    assert not device.wait(-1)


def test_it_is_bounded_and_says_what_is_missing(tmp_path: Path) -> None:
    """The first packets are kept, without a gap: a short one does not slip in behind one that had no room."""
    file = io.BytesIO()
    with Capture(file, ManualClock(NOON), limit=2000) as capture:
        interface = capture.add_interface("a")
        other = capture.add_interface("b")
        for n in (100, 1000, 1000):
            capture.write(interface, INBOUND, [packet(n)])
        capture.write(other, OUTBOUND, [packet(1), packet(2)])
        assert (capture.packets, capture.left_out) == (2, 3)
    capture.write(other, OUTBOUND, [packet(3)])
    capture.close()
    assert len(file.getvalue()) <= 2000
    assert [raw for raw, _, _ in scapy_reads(file.getvalue(), tmp_path)] == [packet(100), packet(1000)]
    statistics = [body for kind, body in blocks(file.getvalue()) if kind == 5]
    assert [struct.unpack_from("<I", body)[0] for body in statistics] == [0, 1]
    assert [struct.unpack_from("<HHQ", body, 12) for body in statistics] == [(5, 8, 1), (5, 8, 2)]


@pytest.mark.parametrize("limit", range(500, 640, 4))
def test_what_closes_it_has_room(limit: int) -> None:
    file = io.BytesIO()
    with Capture(file, ManualClock(NOON), limit) as capture:
        interfaces = [capture.add_interface(name) for name in "abc"]
        for interface in interfaces:
            capture.write(interface, INBOUND, [packet(10)] * 3)
    assert limit - 200 < len(file.getvalue()) <= limit and [kind for kind, _ in blocks(file.getvalue())][-3:] == [5, 5, 5]


class Full(io.BytesIO):
    """A disk with room for so many bytes."""

    room = 400

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if self.tell() + len(data) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def test_a_full_disk_ends_the_capture_and_not_the_traffic() -> None:
    below = MemoryDevice()
    device = CapturedDevice(below, Full(), clock=ManualClock(NOON))
    for n in range(10):
        assert pass_through(device, [packet(n)], [packet(n)], below) == (1, 1)
    assert device.capture.failure is not None and device.capture.failure.errno == errno.ENOSPC
    device.capture.close()
    assert device.capture.packets + device.capture.left_out >= 19
    assert below.drain() == [packet(n) for n in range(10)]


def test_a_checksum_that_offload_has_left_out_is_filled_in(tmp_path: Path) -> None:
    class Offloading(MemoryDevice):
        def __init__(self) -> None:
            super().__init__()
            self.capabilities = Capabilities(offload=True)

        def receive(self, ring: PacketRing) -> int:
            before = ring.count
            received = super().receive(ring)
            ring.checked[before : ring.count] = 1
            return received

    below = Offloading()
    file = io.BytesIO()
    device = CapturedDevice(below, file, clock=ManualClock(NOON))
    good = packet(20_000)
    partial = good[:36] + b"\x12\x34" + good[38:]
    below.inject(partial)
    ring = PacketRing(4, 65535)
    assert device.capabilities.offload and device.receive(ring) == 1
    assert bytes(ring.packet(0)) == partial, "the stack gets it as it came"
    ring.segment_sizes[0] = 1448
    assert device.transmit(ring) == 1
    assert below.drain() == [partial], "and so does the device"
    device.capture.close()
    assert [raw for raw, _, _ in scapy_reads(file.getvalue(), tmp_path)] == [good, good]
    checked(good)


BAD = packet()[:36] + b"\x12\x34" + packet()[38:]
"""A packet without a good checksum."""


@pytest.mark.parametrize("raw", [
    b"", b"E", bytes(20), BAD[:30], b"\x60" + BAD[1:], b"\x41" + BAD[1:], BAD[:9] + b"\x01" + BAD[10:],
    BAD[:6] + b"\x20\x00" + BAD[8:], BAD[:6] + b"\x00\x01" + BAD[8:], BAD[:2] + b"\x00\x20" + BAD[4:], BAD[:2] + b"\xff\xff" + BAD[4:],
])  # fmt: skip
def test_what_has_no_checksum_to_fill_in_stays_as_it_is(raw: bytes) -> None:
    assert with_checksum(raw) == raw


def test_udp_too() -> None:
    from scapy.layers.inet import UDP

    good = bytes(IP(src="198.18.0.1", dst="198.18.0.2") / UDP(sport=1, dport=2) / Raw(b"abc"))
    assert with_checksum(good[:26] + bytes(2) + good[28:]) == good


def test_twins_in_one_file(tmp_path: Path) -> None:
    """Both ends are interfaces of one file, in virtual time: what one sends, the other receives."""
    file = io.BytesIO()
    twins = Twins(capture=file)
    pair = Pair(twins, Program(b"x" * 3000), Program(b""))
    pair.finish()
    assert twins.capture is not None
    twins.capture.close()
    found = blocks(file.getvalue())
    assert [kind for kind, _ in found[:3]] == [0x0A0D0D0A, 1, 1]
    seen: dict[tuple[int, int], list[bytes]] = {}
    for raw, (_, body) in zip(scapy_reads(file.getvalue(), tmp_path), [item for item in found if item[0] == 6], strict=True):
        seen.setdefault((struct.unpack_from("<I", body)[0], raw[2]), []).append(raw[0])
    assert seen[0, OUTBOUND] == seen[1, INBOUND] and seen[1, OUTBOUND] == seen[0, INBOUND]
    flags = [checked(raw)[TCP].flags for raw in seen[0, OUTBOUND]]
    assert flags[0] == "S" and sum(len(checked(raw)[TCP].payload) for raw in seen[0, OUTBOUND]) == 3000
