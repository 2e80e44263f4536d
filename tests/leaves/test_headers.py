"""Parsing and building, against packets that scapy and dpkt build and read."""

from ipaddress import IPv4Address, IPv4Network

import dpkt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from fastnet import _headers
from fastnet._buffer import ByteRing
from fastnet._flow import FourTuple
from fastnet._headers import CAUSES, Segment, SegmentBatch
from fastnet._ring import PacketRing
from fastnet._writer import SegmentWriter

BASE = {"src": "198.18.0.1", "dst": "198.18.0.2"}
WORDS = st.integers(0, 0xFFFFFFFF)


def read(packet: object) -> Segment:
    segment = Segment()
    segment.read(bytes(packet))  # type: ignore[call-overload]
    return segment


def cause(packet: object) -> str:
    return CAUSES[read(packet).cause]


def tcp_with_options(raw: bytes, data: bytes = b"", **fields: object) -> bytes:
    """A segment whose options field is exactly these bytes (a multiple of four), with good checksums."""
    assert len(raw) % 4 == 0
    header = bytearray(bytes(TCP(sport=4000, dport=80, **fields)))
    header[12] = (5 + len(raw) // 4) << 4
    segment = bytes(header) + raw + data
    ip = dpkt.ip.IP(src=bytes((198, 18, 0, 1)), dst=bytes((198, 18, 0, 2)), p=6, len=20 + len(segment), data=segment)
    total = bytearray(bytes(ip))
    total[36:38] = b"\0\0"
    pseudo = bytes((198, 18, 0, 1, 198, 18, 0, 2, 0, 6)) + len(segment).to_bytes(2, "big")
    total[36:38] = dpkt.in_cksum(pseudo + bytes(total[20:])).to_bytes(2, "big")
    return bytes(total)


options = st.lists(
    st.tuples(st.just("MSS"), st.integers(0, 65535))
    | st.tuples(st.just("WScale"), st.integers(0, 14))
    | st.tuples(st.just("SAckOK"), st.just(b""))
    | st.tuples(st.just("Timestamp"), st.tuples(WORDS, WORDS))
    | st.tuples(st.just("SAck"), st.tuples(WORDS, WORDS) | st.tuples(WORDS, WORDS, WORDS, WORDS))
    | st.tuples(st.just("NOP"), st.none())
    | st.tuples(st.integers(30, 252), st.binary(max_size=4)),
    max_size=5,
    unique_by=lambda option: option[0] if option[0] != "NOP" else object(),
).filter(lambda chosen: len(bytes(TCP(options=chosen))) <= 60)


SIXTEEN = st.integers(0, 65535)


@given(SIXTEEN, SIXTEEN, WORDS, WORDS, st.integers(0, 255), SIXTEEN, st.binary(max_size=200), options)
def test_every_field(sport: int, dport: int, seq: int, ack: int, flags: int, window: int, data: bytes, chosen: list) -> None:
    raw = bytes(
        IP(**BASE, ttl=9, tos=0x2E)
        / TCP(sport=sport, dport=dport, seq=seq, ack=ack, flags=flags, window=window, urgptr=7, options=chosen)
        / Raw(data)
    )
    segment = read(raw)
    assert segment.is_parsed and segment.cause == 0 and segment.protocol == 6
    assert segment.flow == FourTuple("198.18.0.2", dport, "198.18.0.1", sport)
    assert (segment.seq, segment.ack, segment.flags, segment.window, segment.urgent) == (seq, ack, flags, window, 7)
    assert segment.payload() == data and segment.payload_length == len(data)
    assert segment.length == len(data) + bool(flags & 1) + bool(flags & 2)
    assert segment.end == (seq + segment.length) & 0xFFFFFFFF
    assert (segment.ttl, segment.tos) == (9, 0x2E)
    # What dpkt finds in the same bytes, until the end-of-list.
    found: dict[int, bytes] = {}
    for kind, value in dpkt.tcp.parse_opts(dpkt.ip.IP(raw).data.opts):
        if kind == dpkt.tcp.TCP_OPT_EOL:
            break
        found.setdefault(kind, value)
    expected = {2: 1, 3: 2, 4: 4, 8: 8, 5: 16}
    assert segment.options == sum(bit for kind, bit in expected.items() if kind in found)
    if 2 in found:
        assert segment.mss == int.from_bytes(found[2], "big")
    if 3 in found:
        assert segment.wscale == found[3][0]
    if 8 in found:
        assert (segment.ts_val, segment.ts_ecr) == (int.from_bytes(found[8][:4], "big"), int.from_bytes(found[8][4:], "big"))
    if 5 in found:
        numbers = [int.from_bytes(found[5][i : i + 4], "big") for i in range(0, len(found[5]), 4)]
        assert segment.sack_blocks() == list(zip(numbers[::2], numbers[1::2], strict=True))


@given(data=st.binary(max_size=100), cut=st.floats(0, 1))
def test_truncated_anywhere(data: bytes, cut: float) -> None:
    """However much of a packet arrives, it is refused under a name."""
    raw = bytes(IP(**BASE) / TCP(sport=1, dport=2, options=[("MSS", 1460), ("Timestamp", (1, 2))]) / Raw(data))
    part = raw[: int(cut * (len(raw) - 1))]
    assert cause(part) == ("IpInHdrErrors" if len(part) < 20 else "InTruncatedPkts")
    # The same with an IP header that says so honestly.
    if len(part) >= 20:
        honest = bytearray(part)
        honest[2:4] = len(part).to_bytes(2, "big")
        honest[10:12] = b"\0\0"
        honest[10:12] = dpkt.in_cksum(bytes(honest[:20])).to_bytes(2, "big")
        assert cause(honest) in ("TcpInErrs", "TcpInCsumErrors")


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("IpInHdrErrors", {"version": 5}),
        ("IpInHdrErrors", {"version": 0}),
        ("IpInHdrErrors", {"ihl": 4}),
        ("IpInHdrErrors", {"ihl": 0}),
        ("IpInHdrErrors", {"len": 19}),
        ("IpInHdrErrors", {"len": 0}),
        ("InTruncatedPkts", {"len": 41}),
        ("InTruncatedPkts", {"len": 65535}),
        ("InCsumErrors", {"chksum": 1}),
        ("FragmentDrops", {"flags": "MF"}),
        ("FragmentDrops", {"frag": 1}),
        ("IpInUnknownProtos", {"proto": 47}),
        ("TcpInErrs", {"len": 39}),
        ("TcpInErrs", {"len": 20}),
        ("IpInAddrErrors", {"src": "224.0.0.1"}),
        ("IpInAddrErrors", {"src": "255.255.255.255"}),
        ("IpInAddrErrors", {"src": "127.0.0.1"}),
        ("IpInAddrErrors", {"src": "0.0.0.0"}),
        ("IpInAddrErrors", {"src": "240.0.0.1"}),
        ("IpInAddrErrors", {"src": "198.18.0.2"}),
        ("IpInAddrErrors", {"dst": "224.0.0.1"}),
        ("IpInAddrErrors", {"dst": "255.255.255.255"}),
        ("IpInAddrErrors", {"dst": "127.0.0.1"}),
        ("IpInAddrErrors", {"dst": "0.0.0.0"}),
    ],
)
def test_bad_ip_headers(name: str, fields: dict) -> None:
    assert cause(IP(**{**BASE, **fields}) / TCP(sport=1, dport=2)) == name


@pytest.mark.parametrize(
    ("name", "fields"),
    [("TcpInErrs", {"dataofs": 4}), ("TcpInErrs", {"dataofs": 0}), ("TcpInErrs", {"dataofs": 6}), ("TcpInErrs", {"dataofs": 15}),
     ("TcpInCsumErrors", {"chksum": 1}), ("TcpInCsumErrors", {"chksum": 0})],
)  # fmt: skip
def test_bad_tcp_headers(name: str, fields: dict) -> None:
    assert cause(IP(**BASE) / TCP(sport=1, dport=2, **fields)) == name


def test_other_protocols() -> None:
    assert cause(IP(**BASE) / UDP()) == "IpInUnknownProtos"
    assert cause(IPv6(src="2001:2::1", dst="2001:2::2") / TCP()) == ""
    assert cause(b"\x60") == "Ip6InHdrErrors" and cause(b"\x50") == "IpInHdrErrors"
    assert cause(b"") == "IpInHdrErrors"
    echo = read(IP(**BASE) / ICMP(id=5, seq=6) / b"data")
    assert echo.protocol == 1 and echo.icmp_type == 8 and echo.cause == 0
    assert cause(IP(**BASE) / ICMP(chksum=1) / b"data") == "IcmpInCsumErrors"
    assert cause(IP(**BASE, proto=1) / b"short") == "IcmpInErrors"


def test_ip_options_are_skipped() -> None:
    """RFC 9293 MUST-50."""
    segment = read(IP(**BASE, options=[b"\x94\x04\x00\x00", b"\x01", b"\x01", b"\x00"]) / TCP(sport=1, dport=2, seq=77) / b"data")
    assert segment.cause == 0 and segment.seq == 77 and segment.payload() == b"data"


def test_bytes_after_the_packet_are_not_its() -> None:
    segment = read(bytes(IP(**BASE) / TCP(sport=1, dport=2) / b"data") + b"padding of the link")
    assert segment.payload() == b"data" and segment.packet_length == 44


@pytest.mark.parametrize(
    ("raw", "bits"),
    [
        (b"\x02\x00\x05\xb4", 0),  # length 0
        (b"\x02\x01\x05\xb4", 0),  # length 1
        (b"\x02\x08\x05\xb4", 0),  # beyond the header
        (b"\x02\xff\x05\xb4", 0),
        (b"\x01\x01\x01\x02", 0),  # kind without a length
        (b"\x02\x03\x05\x01", 0),  # MSS of the wrong length: skipped
        (b"\x02\x03\x05\x03\x03\x07\x01\x01", 2),  # and what comes after it counts
        (b"\x03\x04\x07\x01\x02\x04\x05\xb4", 1),
        (b"\x05\x02\x02\x04\x05\xb4\x01\x01", 1),  # SACK without blocks
        (b"\x05\x0b" + bytes(9) + b"\x01", 0),  # SACK of nine bytes
        (b"\x08\x09" + bytes(7) + b"\x01\x01\x01", 0),  # timestamps one byte short
        (b"\x00\x02\x04\x05\xb4\x00\x00\x00", 0),  # nothing after end-of-list
        (b"\xfe\x04\x12\x34\x02\x04\x05\xb4", 1),  # unknown kind
        (b"\x02\x04\x05\xb4\x02\x00\x00\x00", 1),  # what came before the bad one counts
    ],
)
def test_odd_options(raw: bytes, bits: int) -> None:
    """RFC 9293 MUST-5, MUST-6, MUST-7: survived, with what is before and after them."""
    segment = read(tcp_with_options(raw, b"data"))
    assert segment.cause == 0 and segment.options == bits and segment.payload() == b"data"


def test_duplicate_timestamps_and_large_window_scale() -> None:
    one = b"\x08\x0a\x00\x00\x00\x01\x00\x00\x00\x02"
    two = b"\x08\x0a\x00\x00\x00\x03\x00\x00\x00\x04"
    segment = read(tcp_with_options(one + two))
    assert (segment.ts_val, segment.ts_ecr) == (1, 2), "the first one counts"
    assert read(tcp_with_options(b"\x03\x03\xff\x01")).wscale == 14, "RFC 7323 section 2.3"


good = [
    bytes(IP(**BASE) / TCP(sport=1, dport=2, flags="S", options=[("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 2)), ("WScale", 7)])),
    bytes(IP(**BASE) / TCP(sport=1, dport=2, flags="A", options=[("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]) / b"data"),
    bytes(IP(**BASE) / TCP(sport=1, dport=2, flags="A", options=[("SAck", (1, 2, 3, 4))]) / (b"x" * 100)),
    bytes(IP(**BASE) / ICMP() / b"ping"),
]


@settings(max_examples=500)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(good),
            st.lists(st.tuples(st.integers(0, 150), st.integers(0, 255)), max_size=6),
            st.integers(0, 200),
            st.booleans(),
        ),
        min_size=1,
        max_size=16,
    )
)
@example([(good[0], [(32, 0xF0)], 200, True)])
def test_mutated_packets_in_a_batch(packets: list) -> None:
    """No crash, no hang, a known cause; and the batch says of each what a single look says."""
    ring = PacketRing(16, 2048)
    raws = []
    for raw, changes, length, mend in packets:
        mutated = bytearray(raw)
        for place, value in changes:
            mutated[place % len(mutated)] = value
        mutated = mutated[:length]
        if mend and len(mutated) >= 40:
            mend_checksums(mutated)
        raws.append(bytes(mutated))
        assert ring.append(raws[-1])
    batch = SegmentBatch(ring)
    assert batch.parse() == len(raws)
    for raw, segment in zip(raws, batch.segments, strict=False):
        single = read(raw)
        assert 0 <= segment.cause < len(CAUSES)
        assert (segment.cause, segment.payload()) == (single.cause, single.payload())
        if segment.cause == 0:
            assert segment.header_length + segment.payload_length == segment.packet_length <= len(raw)
            assert len(segment.sack_blocks()) <= 4


def mend_checksums(packet: bytearray) -> None:
    """Good checksums, where the lengths allow it, so that mutations get past them."""
    ihl = (packet[0] & 15) * 4
    total = int.from_bytes(packet[2:4], "big")
    if ihl < 20 or total > len(packet) or total < ihl + 20:
        return
    packet[10:12] = b"\0\0"
    packet[10:12] = dpkt.in_cksum(bytes(packet[:ihl])).to_bytes(2, "big")
    if packet[9] == 6:
        pseudo = bytes(packet[12:20]) + b"\0\x06" + (total - ihl).to_bytes(2, "big")
        packet[ihl + 16 : ihl + 18] = b"\0\0"
        packet[ihl + 16 : ihl + 18] = dpkt.in_cksum(pseudo + bytes(packet[ihl:total])).to_bytes(2, "big")


def test_nothing_is_allocated_for_a_packet() -> None:
    """The receive path: a batch parsed again and again takes no memory that it does not have."""
    import tracemalloc

    ring = PacketRing(256, 2048)
    for i in range(256):
        ring.append(good[i % 4])
    batch = SegmentBatch(ring)
    batch.parse()
    tracemalloc.start()
    before = tracemalloc.take_snapshot()
    for _ in range(100):
        batch.parse()
    after = tracemalloc.take_snapshot()
    tracemalloc.stop()
    grown = sum(stat.count_diff for stat in after.compare_to(before, "filename") if "tracemalloc" not in stat.traceback[0].filename)
    assert grown < 50, "25,600 packets were parsed"


def test_a_batch_refuses_other_addresses() -> None:
    ring = PacketRing(8, 2048)
    for target in ("198.18.0.2", "198.18.0.3", "198.18.1.77", "198.18.2.1"):
        ring.append(bytes(IP(src="198.18.0.1", dst=target) / TCP()))
    batch = SegmentBatch(ring, ["198.18.0.2", "198.18.1.0/24"])
    batch.parse()
    assert [CAUSES[segment.cause] for segment in batch.segments[:4]] == ["", "IpInAddrErrors", "", "IpInAddrErrors"]
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 network"):
        SegmentBatch(ring, ["nowhere"])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 0xFFFFFFFF), st.integers(8, 32)), min_size=1, max_size=40), st.data())
def test_addresses_and_networks_at_their_edges(chosen: list[tuple[int, int]], data: st.DataObject) -> None:
    """Every one of them is ours, also where they overlap or touch, and what lies between is not."""
    networks = [IPv4Network((number, prefix), strict=False) for number, prefix in chosen]
    edges = {int(edge) + step for network in networks for edge in (network[0], network[-1]) for step in (-1, 0, 1)}
    unicast = sorted(edge for edge in edges if 0x01000000 <= edge < 0x7F000000) or [0x0A000001]
    targets = data.draw(st.lists(st.sampled_from(unicast), min_size=1, max_size=8))
    ring = PacketRing(8, 2048)
    for target in targets:
        ring.append(bytes(IP(src="198.18.0.1", dst=str(IPv4Address(target))) / TCP()))
    batch = SegmentBatch(ring, [str(network) for network in networks])
    batch.parse()
    refused = [CAUSES[segment.cause] == "IpInAddrErrors" for segment in batch.segments[: len(targets)]]
    assert refused == [not any(IPv4Address(target) in network for network in networks) for target in targets]


# ---- building ----


def writer_of(capacity: int = 2048) -> tuple[PacketRing, SegmentWriter]:
    ring = PacketRing(4, capacity)
    return ring, SegmentWriter(ring, ring.clear)


def built(ring: PacketRing) -> tuple[dpkt.tcp.TCP, IP]:
    """The one packet in a ring, as dpkt and as scapy read it, its checksums as both compute them."""
    assert ring.count == 1
    raw = ring.packet(0).tobytes()
    ip = dpkt.ip.IP(raw)
    assert ip.len == len(raw) and dpkt.in_cksum(raw[:20]) == 0
    if ip.p == 6:
        assert dpkt.in_cksum(raw[12:20] + b"\0\x06" + (len(raw) - 20).to_bytes(2, "big") + raw[20:]) == 0
    packet = IP(raw)
    again = packet.copy()
    del again[IP].chksum
    if TCP in again:
        del again[TCP].chksum
    assert bytes(again) == raw
    return ip.data, packet


FLOW = FourTuple("198.18.0.2", 80, "198.18.0.1", 40000)
ring_flags = st.integers(0, 255)


@given(WORDS, WORDS, ring_flags, st.integers(0, 65535), st.booleans(), WORDS, WORDS)
def test_control(seq: int, ack: int, flags: int, window: int, timestamps: bool, ts_val: int, ts_ecr: int) -> None:
    ring, writer = writer_of()
    path = writer.ipv4.copy(ttl=33, tos=0xB8)
    writer.control(FLOW, seq, ack, flags, window, timestamps, ts_val, ts_ecr, path=path)
    tcp, packet = built(ring)
    assert (packet.src, packet.dst, packet.ttl, packet.tos, packet.flags) == ("198.18.0.2", "198.18.0.1", 33, 0xB8, "DF")
    assert (tcp.sport, tcp.dport, tcp.seq, tcp.ack, tcp.win) == (80, 40000, seq, ack, window)
    assert int(packet[TCP].flags) == flags
    options = dict(packet[TCP].options)
    assert options.get("Timestamp") == ((ts_val, ts_ecr) if timestamps else None)
    assert set(options) <= {"NOP", "Timestamp"}, "RFC 9293 MUST-65: no MSS outside a SYN"


@given(st.integers(0, 65535), st.integers(-1, 14), st.booleans(), st.booleans(), WORDS, WORDS)
def test_synack(mss: int, wscale: int, sack: bool, timestamps: bool, ts_val: int, ts_ecr: int) -> None:
    ring, writer = writer_of()
    writer.synack(FLOW, 1, 2, _headers.SYN | _headers.ACK, 64240, mss, wscale, sack, timestamps, ts_val, ts_ecr)
    _, packet = built(ring)
    expected = {"MSS": mss}
    if wscale >= 0:
        expected["WScale"] = wscale
    if sack:
        expected["SAckOK"] = b""
    if timestamps:
        expected["Timestamp"] = (ts_val, ts_ecr)
    found = dict(packet[TCP].options)
    found.pop("NOP", None)
    assert found == expected and str(packet[TCP].flags) == "SA"
    # RFC 9293 MUST-64: but aligned where it costs nothing.
    assert packet[TCP].dataofs * 4 == 20 + len(dpkt.ip.IP(bytes(packet)).data.opts)


@given(st.binary(max_size=1448), st.binary(max_size=5000), st.booleans())
def test_data(data: bytes, before: bytes, timestamps: bool) -> None:
    ring, writer = writer_of()
    source = ByteRing()
    source.append(before + data + b"after")
    writer.data(FLOW, 1, 2, _headers.ACK, 500, timestamps, 7, 8, source, len(before), len(data))
    tcp, _ = built(ring)
    assert tcp.data == data


def test_data_that_is_not_there_or_does_not_fit() -> None:
    _, writer = writer_of(256)
    source = ByteRing()
    source.append(bytes(5000))
    for offset, size in ((-1, 5), (0, -1), (4999, 2), (5001, 0), (0, 300), (0, 2**31), (1, 2**63 - 1)):
        with pytest.raises(ValueError, match="bytes"):
            writer.data(FLOW, 1, 2, 0, 0, False, 0, 0, source, offset, size)
    assert writer.ring.count == 0
    assert PacketRing(1, 1).capacity >= 120, "headers with all options fit every ring"


@given(st.binary(max_size=40))
def test_options_byte_by_byte(raw: bytes) -> None:
    """As they stand, filled up with zeros; the checksums are those that a parse wants."""
    ring = PacketRing(1)
    writer = SegmentWriter(ring, lambda: None)
    writer.verbatim(FourTuple("198.18.0.2", 80, "198.18.0.1", 4000), 0xFFFFFFFE, 7, _headers.SYN | _headers.ACK, 1234, raw)
    packet = bytes(ring.packet(0))
    segment = read(packet)
    assert segment.is_parsed and packet[40:] == raw + bytes(-len(raw) % 4)
    assert (segment.seq, segment.ack, segment.flags, segment.window, segment.payload_length) == (0xFFFFFFFE, 7, 0x12, 1234, 0)


def test_too_many_option_bytes() -> None:
    writer = SegmentWriter(PacketRing(1), lambda: None)
    with pytest.raises(ValueError, match="room for 40"):
        writer.verbatim(FourTuple("198.18.0.2", 80, "198.18.0.1", 4000), 0, 0, 0, 0, bytes(41))


def test_echo_reply() -> None:
    ring, writer = writer_of()
    request = read(IP(**BASE) / ICMP(id=5, seq=6) / b"some data")
    writer.icmp(request.flow, request, 0, 0)
    _, packet = built(ring)
    assert packet[ICMP].type == 0 and (packet[ICMP].id, packet[ICMP].seq) == (5, 6)
    assert bytes(packet[ICMP].payload) == b"some data" and dpkt.in_cksum(bytes(packet)[20:]) == 0


def test_a_full_ring_is_flushed() -> None:
    sent = []
    ring = PacketRing(2, 2048)

    def flush() -> None:
        sent.append(ring.count)
        ring.clear()

    writer = SegmentWriter(ring, flush)
    for _ in range(5):
        writer.control(FLOW, 1, 2, 0, 0)
    assert sent == [2, 2] and ring.count == 1
    stuck = SegmentWriter(PacketRing(1, 2048), lambda: None)
    stuck.control(FLOW, 1, 2, 0, 0)
    with pytest.raises(RuntimeError, match="did not empty"):
        stuck.control(FLOW, 1, 2, 0, 0)


def test_deliver() -> None:
    segment = read(IP(**BASE) / TCP(sport=1, dport=2) / b"0123456789")
    queue = ByteRing()
    segment.deliver(queue, 2, 3)
    assert queue.take(99) == b"234"
    with pytest.raises(ValueError, match="payload of 10"):
        segment.deliver(queue, 8, 3)
    with pytest.raises(ValueError, match="payload of 10"):
        segment.deliver(queue, 0xFFFFFFFF, 2)
    for offset, size in ((0, 11), (-1, 1), (2**63 - 1, 1), (2**30 + 1, 1)):
        with pytest.raises(ValueError, match="of a queue of 0"):
            segment.place(queue, offset, size)
