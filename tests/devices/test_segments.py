"""Packets that offload has put together, cut as the kernel would: scapy computes what each field should be."""

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Raw

from fastnet._ring import PacketRing
from fastnet.devices import Capabilities, ImpairedDevice, MemoryDevice
from fastnet.devices.segments import cut, with_checksum

OPTIONS = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]


def large(size: int, flags: str = "PA") -> bytes:
    """A packet of ``size`` bytes of data whose sequence numbers and IP ID pass 0."""
    head = IP(src="198.18.0.1", dst="198.18.0.2", id=65535) / TCP(flags=flags, seq=2**32 - 1000, options=OPTIONS)
    return bytes(head / Raw((bytes(range(251)) * (size // 251 + 1))[:size]))


def checked(raw: bytes) -> IP:
    """A packet whose length and checksums are what scapy computes."""
    packet = IP(raw)
    again = IP(raw)
    for layer, names in ((again, ("len", "chksum")), (again[TCP], ("chksum",))):
        for name in names:
            delattr(layer, name)
    assert bytes(again) == raw
    return packet


@pytest.mark.parametrize(("size", "expected"), [(1448, [1448]), (1449, [1448, 1]), (2896, [1448] * 2), (5000, [1448] * 3 + [656])])
def test_each_segment_is_a_packet_of_its_own(size: int, expected: list[int]) -> None:
    whole = large(size, "FPACE")
    segments = [checked(raw) for raw in cut(whole, 1448)]
    assert [len(segment[TCP].payload) for segment in segments] == expected
    assert b"".join(bytes(segment[TCP].payload) for segment in segments) == bytes(IP(whole)[TCP].payload)
    assert [segment.id for segment in segments] == [65535, 0, 1, 2][: len(segments)]
    assert [segment[TCP].seq for segment in segments] == [(2**32 - 1000 + 1448 * n) % 2**32 for n in range(len(segments))]
    last = len(segments) - 1
    for n, segment in enumerate(segments):
        expected_flags = "A" + "FP" * (n == last) + "C" * (n == 0) + "E"
        assert set(str(segment[TCP].flags)) == set(expected_flags)
        assert segment[TCP].options == OPTIONS


def test_what_is_no_large_segment_stays_as_it_is() -> None:
    datagram = bytes(IP(src="198.18.0.1", dst="198.18.0.2") / UDP() / Raw(bytes(3000)))
    cases = (large(5000)[:39], large(5000)[:2000], b"", b"\x45" * 60, b"\x65" + large(3000)[1:], datagram, large(10))
    for packet in cases:
        assert cut(packet, 1448) == [packet]
    assert cut(large(5000), 0) == [large(5000)]


def test_an_impaired_device_with_offload_gives_segments() -> None:
    """Its stack has no offload, so each segment is lost for itself and has a checksum."""

    class Offloading(MemoryDevice):
        def __init__(self) -> None:
            super().__init__()
            self.capabilities = Capabilities(offload=True)

        def receive(self, ring: PacketRing) -> int:
            before = ring.count
            received = super().receive(ring)
            ring.checked[before : ring.count] = 1
            ring.segment_sizes[before : ring.count] = 1448
            return received

    below = Offloading()
    device = ImpairedDevice(below)
    whole = large(5000)
    below.inject(whole[:36] + b"\x12\x34" + whole[38:])
    ring = PacketRing(8, device.capabilities.mtu)
    assert not device.capabilities.offload and device.receive(ring) == 4
    assert [ring.packet(slot).tobytes() for slot in range(4)] == cut(with_checksum(whole), 1448)
    assert not ring.checked[:4].any() and not ring.segment_sizes[:4].any()
    assert device.incoming.tally.packets == 4
