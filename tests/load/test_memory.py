"""The client in memory sends packets that any stack would take, and counts what it did."""

from __future__ import annotations

import dpkt
import numpy as np
import pytest
from scapy.layers.inet import TCP
from scapy.layers.inet6 import IPv6

from fastnet.load.memory import ACK, ACK_OPTIONS, RST, SYN, SYN_OPTIONS, MemoryClient, MemoryFlood


@pytest.mark.parametrize(("flags", "options"), [(SYN, SYN_OPTIONS), (ACK, ACK_OPTIONS), (RST, b"")])
def test_packets_are_whole(flags: int, options: bytes) -> None:
    """By dpkt: lengths, checksums, numbers, and nothing in the bits that are reserved; flows differ in address or port."""
    client = MemoryClient(4, "198.18.0.2", 81)
    flows = np.array([0, 1, 0x7FFF, 0x8000, 0x12345], np.uint32)
    seq = flows * np.uint32(0x10001) + np.uint32(0xFFFF0000)
    ack = flows + np.uint32(0x89ABCDEF) if flags != SYN else 0
    names = set()
    for raw, flow, number in zip(client.batch(flows, seq, ack, flags, options), flows, seq, strict=True):
        packet = raw.tobytes()
        ip = dpkt.ip.IP(packet)
        tcp = ip.data
        assert packet[0] == 0x45 and ip.len == len(packet) == 40 + len(options) and (ip.ttl, ip.p) == (64, 6)
        assert ip.dst == bytes([198, 18, 0, 2]) and tcp.dport == 81 and tcp.flags == flags and tcp.win == 64240
        assert tcp.seq == int(number) and tcp.ack == (int(flow) + 0x89ABCDEF if flags != SYN else 0)
        assert packet[32] == (20 + len(options)) // 4 << 4 and packet[40:] == options, "the data offset, and zeros"
        assert dpkt.in_cksum(packet[:20]) == 0
        assert dpkt.in_cksum(packet[12:20] + b"\0\x06" + (len(packet) - 20).to_bytes(2, "big") + packet[20:]) == 0
        assert ip.src == (0xC6128000 + (int(flow) >> 15)).to_bytes(4, "big") and tcp.sport == 1024 + (int(flow) & 0x7FFF)
        names.add((ip.src, tcp.sport))
    assert len(names) == len(flows)


@pytest.mark.parametrize(("flags", "options"), [(SYN, SYN_OPTIONS), (ACK, ACK_OPTIONS), (RST, b"")])
def test_packets_of_ipv6_are_whole(flags: int, options: bytes) -> None:
    """By scapy, which fills in lengths and checksums itself."""
    client = MemoryClient(4, "2001:2::2", 81)
    flows = np.array([0, 0x7FFF, 0x8000], np.uint32)
    names = set()
    for raw in client.batch(flows, flows + np.uint32(0xFFFFFFF0), 7, flags, options):
        packet = IPv6(raw.tobytes())
        again = packet.copy()
        del again.plen, again[TCP].chksum, again[TCP].dataofs
        assert bytes(again) == raw.tobytes() and (packet.dst, packet[TCP].dport, packet[TCP].flags) == ("2001:2::2", 81, flags)
        names.add((packet.src, packet[TCP].sport))
    assert len(names) == len(flows)


def test_cycles_over_ipv6() -> None:
    client = MemoryClient(8, "2001:2::2")
    assert client.run(5).cycles == 40 and client.stack.counters.Ip6InReceives == 120 and client.stack.counters.TcpCurrEstab == 0


def test_many_sums_that_carry() -> None:
    """A checksum is right whatever carries: over numbers that no test has chosen."""
    client = MemoryClient(4)
    draw = np.random.default_rng(1)
    flows = draw.integers(0, 1 << 24, 2000, np.uint32)
    packets = client.batch(flows, draw.integers(0, 1 << 32, 2000, np.uint32), draw.integers(0, 1 << 32, 2000, np.uint32), ACK, ACK_OPTIONS)
    for raw in packets:
        packet = raw.tobytes()
        assert dpkt.in_cksum(packet[:20]) == 0
        assert dpkt.in_cksum(packet[12:20] + b"\0\x06" + (len(packet) - 20).to_bytes(2, "big") + packet[20:]) == 0


def test_cycles_are_counted_and_leave_nothing() -> None:
    client = MemoryClient(64)
    done = client.run(3)
    assert done.cycles == 192 and done.seconds > 0
    counters = client.stack.counters
    assert counters.TcpPassiveOpens == 192 and counters.TcpEstabResets == 192 and counters.TcpCurrEstab == 0
    assert client.next_flow == 192 and len(client.stack.context.demux) == 0
    client.hold(100)
    assert counters.TcpCurrEstab == 100 and client.next_flow == 292


def test_a_stack_that_does_not_answer() -> None:
    """It is an error, and says how many did."""
    client = MemoryClient(8)
    client.listener.close(0)
    with pytest.raises(RuntimeError, match=r"^0 of 8 handshakes were accepted"):
        client.open(8)
    client = MemoryClient(8)
    client.play = lambda packets: (np.zeros((0, 60), np.uint8), 0)  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match=r"^0 SYN-ACKs to 8 SYNs"):
        client.open(8)


def test_a_flood_beside_the_client() -> None:
    """What is answered to it is counted, and thrown away; the client's own connections go on."""
    flood = MemoryFlood(32, settings={"tcp_syncookies": 1}, sources=256)
    flows, _ = flood.open(10)
    seconds = flood.bear("syn", 100)
    assert seconds > 0 and not flood.flooding and flood.waiting == 0
    slots = flood.stack.received.slots
    assert flood.sent_packets == -(-100 // slots) * slots
    flood.reset(flows)
    assert flood.stack.counters.TcpCurrEstab == 0


@pytest.mark.parametrize(("flows", "slots"), [(1, 1), (4, 4), (255, 255), (256, 256), (1000, 256)])
def test_a_batch_is_all_flows_or_a_ring(flows: int, slots: int) -> None:
    client = MemoryClient(flows)
    assert client.stack.received.slots == slots and client.listener.backlog == flows
    assert client.run(1).cycles == flows
