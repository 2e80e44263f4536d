"""What a flood is made of, by dpkt: every packet is whole, of the shape that its kind says, and from somewhere else than the last."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address

import dpkt
import pytest

from fastnet._ring import PacketRing
from fastnet.load._flood import KINDS, Flood

TARGET = "198.18.1.2"
FIRST = int(IPv4Address("198.19.0.0"))
FLOWS = [(int(IPv4Address("198.18.2.2")), 20000), (int(IPv4Address("198.18.2.3")), 20001), (int(IPv4Address("198.18.2.4")), 65535)]
COUNT = 4096
FIN, SYN, RST, PSH, ACK = dpkt.tcp.TH_FIN, dpkt.tcp.TH_SYN, dpkt.tcp.TH_RST, dpkt.tcp.TH_PUSH, dpkt.tcp.TH_ACK
LINUX_OPTIONS = [2, 4, 8, 1, 3]


def packets(kind: str, count: int = COUNT, sources: int = 1024, seed: int = 7, port: int = 8080) -> list[bytes]:
    flood = Flood(None, int(IPv4Address(TARGET)), port, FIRST, sources, seed)
    ring = PacketRing(count, 256)
    assert flood.fill(ring, kind, FLOWS) == count == ring.count and flood.fill(ring, kind, FLOWS) == 0, "full is full"
    return [ring.packet(slot).tobytes() for slot in range(count)]


def tcp_of(raw: bytes) -> tuple[dpkt.ip.IP, dpkt.tcp.TCP]:
    """Headers whose checksums and lengths dpkt has been asked about."""
    ip = dpkt.ip.IP(raw)
    assert (ip.v, ip.hl, ip.len, ip.ttl, ip.p) == (4, 5, len(raw), 64, 6) and ip.dst == IPv4Address(TARGET).packed
    assert dpkt.in_cksum(raw[:20]) == 0
    assert dpkt.in_cksum(raw[12:20] + b"\0\x06" + (len(raw) - 20).to_bytes(2, "big") + raw[20:]) == 0
    return ip, dpkt.tcp.TCP(raw[20:])


@pytest.mark.parametrize("kind", KINDS)
def test_every_packet_is_whole(kind: str) -> None:
    ports, sizes, flags, acknowledged = set(), set(), Counter[int](), set()
    for raw in packets(kind):
        ip, tcp = tcp_of(raw)
        assert tcp.dport == 8080 and tcp.win == 64240 and tcp.urp == 0
        ports.add(tcp.sport)
        sizes.add(len(raw))
        flags[tcp.flags] += 1
        acknowledged.add(bool(tcp.flags & ACK) == (tcp.ack != 0))
        assert raw[20 + 4 * tcp.off :] == b"\x5a" * (len(raw) - 20 - 4 * tcp.off), "data, if there is any"
        if tcp.flags & SYN and kind == "syn":
            options = dpkt.tcp.parse_opts(tcp.opts)
            assert [number for number, _ in options] == LINUX_OPTIONS
            assert dict(options)[2] == (1460).to_bytes(2, "big") and dict(options)[3] == b"\7" and dict(options)[8][4:] == bytes(4)
        else:
            assert tcp.opts == b""
        if kind != "fragment":
            assert (ip.id, ip.df, ip.mf, ip.offset) == (0, 1, 0, 0)
    assert acknowledged == {True}, "an acknowledgment number is there where the flag says so"
    expected = {
        "syn": ({60}, {SYN}), "ack": ({40}, {ACK}), "rst": ({40}, {RST, RST | ACK}), "fin": ({40}, {FIN, FIN | ACK}),
        "fragment": ({72}, {ACK}), "data": ({40, 72}, {RST, SYN, FIN | ACK, PSH | ACK}),
    }[kind]  # fmt: skip
    assert (sizes, set(flags)) == expected
    for number in flags.values():
        assert number == pytest.approx(COUNT / len(flags), rel=0.2), "each as often as the others"
    if kind == "data":
        assert ports == {port for _, port in FLOWS}
    else:
        assert min(ports) >= 1024 and min(ports) < 1200 and max(ports) > 65300 and len(ports) > COUNT * 0.9


def test_data_aims_at_connections() -> None:
    """Each of them, by its own address and port; and only segments with PSH carry bytes."""
    seen = Counter[tuple[int, int]]()
    for raw in packets("data"):
        ip, tcp = tcp_of(raw)
        seen[int.from_bytes(ip.src, "big"), tcp.sport] += 1
        assert (len(raw) == 72) == bool(tcp.flags & PSH)
    assert set(seen) == set(FLOWS) and min(seen.values()) > COUNT / len(FLOWS) * 0.8


def test_fragments_never_become_whole() -> None:
    """More always follow; half are first ones, the others lie anywhere in what one Ethernet packet could hold."""
    offsets, names = Counter[int](), set()
    for raw in packets("fragment"):
        ip = dpkt.ip.IP(raw)
        assert (ip.df, ip.mf) == (0, 1)
        offsets[ip.offset] += 1
        names.add(ip.id)
    assert offsets[0] == pytest.approx(COUNT / 2, rel=0.1) and max(offsets) == 179 and len(offsets) == 180
    assert len(names) > COUNT * 0.9 and max(names) > 0xFF00


@pytest.mark.parametrize("sources", [1, 2, 1024])
def test_each_source_comes_once_before_any_comes_again(sources: int) -> None:
    found = [int.from_bytes(raw[12:16], "big") for raw in packets("ack", 2048, sources)]
    everyone = set(range(FIRST, FIRST + sources))
    assert all(set(found[first : first + sources]) == everyone for first in range(0, 2048, sources))
    if sources > 2:
        assert found[:sources] != sorted(everyone)


def test_numbers_are_of_all_sizes() -> None:
    sequence, acknowledged = zip(*((tcp.seq, tcp.ack) for _, tcp in map(tcp_of, packets("ack"))), strict=True)
    for numbers in (sequence, acknowledged):
        assert len(set(numbers)) > COUNT - 10 and min(numbers) < 1 << 24 and max(numbers) > (1 << 32) - (1 << 24)
    assert not set(sequence) & set(acknowledged)


def test_a_seed_is_a_flood() -> None:
    assert packets("rst", 100) == packets("rst", 100) != packets("rst", 100, seed=8)
    assert packets("syn", 10, port=65535)[0][22:24] == b"\xff\xff"


@pytest.mark.parametrize("sources", [0, 3, 1000, (1 << 24) + 1, 1 << 25])
def test_sources_are_a_power_of_two(sources: int) -> None:
    with pytest.raises(ValueError, match="sources is a power of two up to 16777216"):
        Flood(None, 1, 1, 1, sources)


def test_what_there_is_not() -> None:
    flood = Flood(None, 1, 1, 1, 1 << 24)
    with pytest.raises(ValueError, match="kind is one of syn, ack, rst, fin, fragment, data, not 'rain'"):
        flood.fill(PacketRing(4, 256), "rain")
    with pytest.raises(ValueError, match="data needs connections to aim at"):
        flood.fill(PacketRing(4, 256), "data")
    with pytest.raises(ValueError, match="a flood without a device"):
        flood.run("syn", 1)
    assert (flood.sent, flood.unsent) == (0, 0)
