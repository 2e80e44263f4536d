"""IPv6: parsing and building, against packets that scapy builds and reads."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import (
    HBHOptUnknown,
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
    RouterAlert,
)
from scapy.packet import Packet, Raw

from fastnet._buffer import ByteRing
from fastnet._flow import FourTuple
from fastnet._headers import CAUSES, Segment, SegmentBatch
from fastnet._ring import PacketRing
from fastnet._writer import SegmentWriter
from tests.leaves.test_headers import cause, options, read

BASE: dict[str, Any] = {"src": "2001:2::1", "dst": "2001:2::2"}
FLOW = FourTuple("2001:2::2", 80, "2001:2::1", 4000)
WORDS = st.integers(0, 0xFFFFFFFF)
BYTES = st.integers(0, 255)


@given(WORDS, WORDS, BYTES, st.integers(0, 0xFFFF), options, st.binary(max_size=50), BYTES, BYTES)
@settings(deadline=None)
def test_segments_as_scapy_builds_them(
    seq: int, ack: int, flags: int, window: int, chosen: list[Any], data: bytes, tos: int, hops: int
) -> None:
    packet = IPv6(**BASE, tc=tos, fl=0xFFFFF, hlim=hops) / TCP(
        sport=4000, dport=80, seq=seq, ack=ack, flags=flags, window=window, options=chosen
    ) / Raw(data)
    segment = read(packet)
    assert (CAUSES[segment.cause], segment.version, segment.protocol) == ("", 6, 6)
    assert segment.flow == FLOW and segment.flow.version == 6
    assert (segment.seq, segment.ack, segment.flags, segment.window) == (seq, ack, flags, window)
    assert (segment.tos, segment.ttl, segment.payload()) == (tos, hops, data)
    raw = bytearray(bytes(packet))
    raw[-1] ^= 1
    assert cause(raw) == "TcpInCsumErrors"


@given(st.binary(max_size=120), st.integers(0, 119))
@settings(deadline=None, max_examples=300)
def test_any_bytes(data: bytes, at: int) -> None:
    """Nothing is read outside of a packet, whatever it says."""
    read(b"\x60" + data)
    raw = bytearray(bytes(IPv6(**BASE) / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment() / TCP()))
    raw[at % len(raw) :] = data[: len(raw) - at % len(raw)]
    segment = read(raw)
    assert segment.cause or segment.header_length + segment.payload_length <= len(raw)


@pytest.mark.parametrize("headers", [
    IPv6ExtHdrHopByHop(),
    IPv6ExtHdrHopByHop(options=[RouterAlert(), PadN(optdata=bytes(5))]),
    IPv6ExtHdrHopByHop(options=[HBHOptUnknown(otype=0x1E, optdata=b"skip")]) / IPv6ExtHdrDestOpt(),
    IPv6ExtHdrRouting(type=4, segleft=0, addresses=["2001:2::7"]),
    IPv6ExtHdrFragment(id=7),
    IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting(segleft=0) / IPv6ExtHdrFragment() / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(200))]),
    IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt(),
])  # fmt: skip
def test_extension_headers_are_passed_over(headers: Packet) -> None:
    """RFC 8200 section 4; a fragment that is the whole packet is as none (RFC 6946)."""
    segment = read(IPv6(**BASE) / headers / TCP(sport=4000, dport=80, flags="S", seq=9) / b"text")
    assert (CAUSES[segment.cause], segment.seq, segment.payload(), segment.flow) == ("", 9, b"text", FLOW)


@pytest.mark.parametrize(("name", "headers"), [
    ("Ip6InHdrErrors", IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop()),
    ("Ip6InHdrErrors", IPv6ExtHdrRouting(segleft=1, addresses=["2001:2::7"])),
    ("Ip6InHdrErrors", IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=0x5E, optdata=b"drop")])),
    ("Ip6InHdrErrors", IPv6ExtHdrHopByHop(options=[HBHOptUnknown(otype=0xDE, optdata=b"tell")])),
    ("Ip6InHdrErrors", IPv6ExtHdrHopByHop(options=[HBHOptUnknown(otype=0x1E)] * 9)),
    ("Ip6InHdrErrors", IPv6ExtHdrHopByHop(len=200)),
    ("Ip6FragmentDrops", IPv6ExtHdrFragment(m=1)),
    ("Ip6FragmentDrops", IPv6ExtHdrFragment(offset=1)),
])  # fmt: skip
def test_extension_headers_that_are_refused(name: str, headers: Packet) -> None:
    assert cause(IPv6(**BASE) / headers / TCP(sport=4000, dport=80)) == name


def test_endless_extension_headers() -> None:
    chain: Packet = IPv6ExtHdrDestOpt()
    for _ in range(8):
        chain = IPv6ExtHdrDestOpt() / chain
    assert cause(IPv6(**BASE) / chain / TCP()) == "Ip6InHdrErrors"


@pytest.mark.parametrize(("source", "target", "name"), [
    ("::ffff:198.18.0.1", "2001:2::2", "Ip6InAddrErrors"),
    ("2001:2::1", "::ffff:198.18.0.2", "Ip6InAddrErrors"),
    ("::", "2001:2::2", "Ip6InAddrErrors"),
    ("2001:2::1", "::", "Ip6InAddrErrors"),
    ("::1", "2001:2::2", "Ip6InAddrErrors"),
    ("2001:2::1", "::1", "Ip6InAddrErrors"),
    ("ff02::1", "2001:2::2", "Ip6InAddrErrors"),
    ("2001:2::2", "2001:2::2", "Ip6InAddrErrors"),
    ("2001:2::1", "ff02::1", "Ip6InDiscards"),
    ("fe80::1", "2001:2::2", ""),
    ("::2", "2001:2::2", ""),
])  # fmt: skip
def test_addresses_that_nobody_may_have(source: str, target: str, name: str) -> None:
    """RFC 4291. An IPv4-mapped address on the wire would otherwise be taken for a flow of IPv4 (RFC 4942 section 2.2)."""
    assert cause(IPv6(src=source, dst=target) / TCP()) == name


def test_lengths_and_other_protocols() -> None:
    whole = bytes(IPv6(**BASE) / TCP() / b"text")
    assert cause(whole[:39]) == "Ip6InHdrErrors" and cause(whole[:-1]) == "Ip6InTruncatedPkts" and cause(whole + b"padding") == ""
    assert cause(IPv6(**BASE) / UDP()) == "Ip6InUnknownProtos" and cause(IPv6(**BASE, nh=59)) == "Ip6InUnknownProtos"
    assert cause(IPv6(**BASE, nh=6) / bytes(19)) == "TcpInErrs"
    assert cause(IPv6(**BASE, nh=58) / bytes(7)) == "Icmp6InErrors" and cause(IPv6(**BASE, nh=58) / bytes(8)) == "Icmp6InCsumErrors"


def test_messages() -> None:
    echo = read(IPv6(**BASE) / ICMPv6EchoRequest(id=5, seq=6, data=b"data"))
    assert (echo.protocol, echo.icmp_type, echo.icmp_code, echo.quotes) == (58, 128, 0, False)
    quoted = IPv6(src="2001:2::2", dst="2001:2::1") / TCP(sport=80, dport=4000, seq=77)
    big = read(IPv6(src="2001:2::9", dst="2001:2::2") / ICMPv6PacketTooBig(mtu=70000) / quoted)
    assert (big.quotes, big.icmp_type, big.icmp_mtu, big.seq) == (True, 2, 70000, 77) and big.flow == FLOW
    refused = read(IPv6(src="2001:2::9", dst="2001:2::2") / ICMPv6DestUnreach(code=4) / quoted)
    assert (refused.quotes, refused.icmp_type, refused.icmp_code) == (True, 1, 4)
    short = read(IPv6(src="2001:2::9", dst="2001:2::2") / ICMPv6DestUnreach(code=4) / bytes(quoted)[:47])
    assert not short.cause and not short.quotes


@given(st.lists(st.tuples(st.integers(0, 2**128 - 1), st.integers(16, 128)), min_size=1, max_size=20), st.data())
@settings(deadline=None)
def test_own_addresses_and_networks_at_their_edges(chosen: list[tuple[int, int]], data: st.DataObject) -> None:
    networks = [IPv6Network((number, prefix), strict=False) for number, prefix in chosen]
    edges = {int(edge) + step for network in networks for edge in (network[0], network[-1]) for step in (-1, 0, 1)}
    unicast = sorted(edge for edge in edges if 2**125 <= edge < 2**126) or [2**125]
    targets = data.draw(st.lists(st.sampled_from(unicast), min_size=1, max_size=8))
    ring = PacketRing(8, 2048)
    for target in targets:
        ring.append(bytes(IPv6(src="2001:2::1", dst=str(IPv6Address(target))) / TCP()))
    batch = SegmentBatch(ring, ["198.18.0.2", *map(str, networks)])
    batch.parse()
    ours = [any(IPv6Address(target) in network for network in networks) for target in targets]
    found = [CAUSES[segment.cause] for segment in batch.segments[: len(targets)]]
    assert found == ["" if mine else "Ip6InAddrErrors" for mine in ours]
    assert batch.ipv6 == len(targets) and batch.others == ours.count(False)


def test_a_device_that_is_too_small_for_it() -> None:
    ring = PacketRing(2, 2048)
    ring.append(bytes(IPv6(**BASE) / TCP()))
    batch = SegmentBatch(ring, (), False, False)
    batch.parse()
    assert CAUSES[batch.segments[0].cause] == "Ip6InDiscards" and batch.ipv6 == 1


# ---- building ----


def built(ring: PacketRing) -> list[IPv6]:
    """What was written, each as scapy would have written it: lengths and checksums are scapy's."""
    packets = [IPv6(ring.packet(slot).tobytes()) for slot in range(ring.count)]
    ring.clear()
    for packet in packets:
        again = packet.copy()
        del again.plen
        for layer in again.iterpayloads():
            for name in ("chksum", "cksum"):
                if name in layer.fields:
                    delattr(layer, name)
        assert bytes(again) == bytes(packet)
    return packets


def writer_of(**given: Any) -> tuple[SegmentWriter, PacketRing]:
    ring = PacketRing(8, 2048)
    return SegmentWriter(ring, ring.clear, **given), ring


@given(WORDS, WORDS, BYTES, st.integers(0, 0xFFFF), WORDS, WORDS, st.integers(1, 255), BYTES, st.binary(max_size=99))
@settings(deadline=None)
def test_segments_as_scapy_reads_them(
    seq: int, ack: int, flags: int, window: int, val: int, ecr: int, hops: int, tos: int, data: bytes
) -> None:
    writer, ring = writer_of()
    path = writer.path_of(FLOW).copy(ttl=hops, tos=tos)
    queue = ByteRing()
    queue.append(b"before" + data)
    writer.control(FLOW, seq, ack, flags, window, True, val, ecr, [(1, 2), (3, 0xFFFFFFFF)], path=path)
    writer.synack(FLOW, seq, ack, 0x12, window, 1440, 7, True, True, val, ecr, path)
    writer.data(FLOW, seq, ack, flags, window, True, val, ecr, queue, 6, len(data), path=path)
    writer.verbatim(FLOW, seq, ack, 2, window, b"\x02\x04\x05\xa0", path)
    bare, synack, full, plain = built(ring)
    for packet in (bare, synack, full, plain):
        assert (packet.src, packet.dst, packet.hlim, packet.tc, packet.nh) == ("2001:2::2", "2001:2::1", hops, tos, 6)
        assert (packet[TCP].sport, packet[TCP].dport, packet[TCP].seq, packet[TCP].ack) == (80, 4000, seq, ack)
    assert dict(bare[TCP].options)["SAck"] == (1, 2, 3, 0xFFFFFFFF) and dict(synack[TCP].options)["MSS"] == 1440
    assert bytes(full[TCP].payload) == data and writer.ipv6_packets == 4


def test_flow_labels() -> None:
    """RFC 6437: the same for all packets of a flow, another for another flow."""
    writer, ring = writer_of()
    flows = [FourTuple("2001:2::2", 80, "2001:2::1", port) for port in range(8)]
    labels = []
    for flow in flows:
        writer.control(flow, 1, 2, 0x10, 3)
        writer.control(flow, 5, 6, 0x10, 7)
        first, second = built(ring)
        assert first.fl == second.fl
        labels.append(first.fl)
    assert len(set(labels)) >= 7


def test_an_echo_reply() -> None:
    writer, ring = writer_of()
    request = Segment()
    request.read(bytes(IPv6(**BASE) / ICMPv6EchoRequest(id=5, seq=6, data=b"odd")))
    writer.icmp(request.flow, request, 129, 0)
    (reply,) = built(ring)
    assert (reply.src, reply.dst, reply.nh) == ("2001:2::2", "2001:2::1", 58)
    assert (reply.payload.type, reply.payload.id, reply.payload.seq, reply.payload.data) == (129, 5, 6, b"odd")


def test_each_family_has_its_path() -> None:
    writer, _ = writer_of(mtu=9000, ttl=9)
    assert writer.path_of(FLOW) is writer.ipv6 and writer.path_of(FourTuple("198.18.0.2", 1, "198.18.0.1", 2)) is writer.ipv4
    assert (writer.ipv6.version, writer.ipv6.mss, writer.ipv6.ttl, writer.ipv6.default_mss) == (6, 8940, 9, 1220)
    assert (writer_of(mtu=70000)[0].ipv4.mtu, writer_of(mtu=70000)[0].ipv6.mtu) == (65535, 65535), "no length field says more"
    assert writer_of(mtu=576)[0].ipv6.mtu == 1280, "no link of IPv6 takes less"
