"""What a capture costs for each packet that passes: the copy, the block around it, and a checksum where offload has left it out."""

import io

import pytest
from scapy.layers.inet import IP, TCP

from fastnet._ring import PacketRing
from fastnet.devices import Capture, CapturedDevice
from fastnet.devices.base import BaseDevice

PACKETS = 256


class Sink(BaseDevice):
    """A device that takes everything and does nothing."""

    def receive(self, ring: PacketRing) -> int:
        return 0

    def transmit(self, ring: PacketRing) -> int:
        return ring.count


@pytest.mark.parametrize(("size", "partial"), [(0, 0), (1448, 0), (1448, 1), (60_000, 1)])
def test_captured(benchmark, per_item, size: int, partial: int) -> None:
    ring = PacketRing(PACKETS, 65535)
    packet = bytes(IP(src="198.18.0.2", dst="198.18.0.1") / TCP() / bytes(size))
    for _ in range(PACKETS):
        ring.append(packet)
    ring.checked[:] = partial

    def batch() -> None:
        device = CapturedDevice(Sink(65535), Capture(io.BytesIO()))
        assert device.transmit(ring) == PACKETS and not device.capture.left_out

    per_item.append((PACKETS, "packet"))
    benchmark(batch)
