"""IPv6 above the leaves, in memory: connections, listeners of both families, ICMPv6, path MTU, counters."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from scapy.layers.inet import TCP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6PacketTooBig, ICMPv6ParamProblem, ICMPv6TimeExceeded, IPv6
from scapy.packet import Packet

from fastnet.clock import ManualClock
from fastnet.devices import MemoryDevice
from fastnet.stack import Stack
from fastnet.tcp.connection import Connection
from fastnet.tcp.listener import Listener
from fastnet.tcp.states import State

SECOND = 1_000_000_000
HERE, THERE = "2001:2::2", "2001:2::1"


class Pair:
    """Two stacks with an address of each family, and a wire between them."""

    def __init__(self, mtu: int = 1500, **settings: Any) -> None:
        self.clock = ManualClock(SECOND)
        ends = MemoryDevice.pair(mtu)
        self.client = Stack(ends[0], (THERE, "198.18.0.1"), settings, self.clock)
        self.server = Stack(ends[1], (HERE, "198.18.0.2"), settings, self.clock)

    def run(self, turns: int = 30) -> None:
        for _ in range(turns):
            self.clock.advance(1_000_000)
            self.client.poll(self.clock())
            self.server.poll(self.clock())

    def open(self, listener: Listener, remote: str = HERE) -> tuple[Connection, Connection]:
        connection = self.client.connect(remote, listener.port)
        self.run()
        accepted = listener.accept()
        assert accepted is not None
        return connection, accepted


@pytest.mark.parametrize("remote", [HERE, "198.18.0.2"])
@pytest.mark.parametrize("cookies", [1, 2])
def test_data_both_ways_and_the_end(remote: str, cookies: int) -> None:
    """A listener on :: hears both families, with cookies too."""
    pair = Pair(tcp_syncookies=cookies)
    listener = pair.server.listen("::", 80)
    connection, accepted = pair.open(listener, remote)
    assert connection.handshake.mss == accepted.handshake.mss == (1440 if ":" in remote else 1460)
    assert pair.server.counters.SyncookiesRecv == (cookies == 2)
    for one, other in ((connection, accepted), (accepted, connection)):
        assert one.send(b"x" * 100_000) == 100_000
        got = b""
        for _ in range(20):
            pair.run(10)
            got += other.receive(1 << 20)
        assert got == b"x" * 100_000
    connection.close(pair.clock())
    pair.run()
    accepted.close(pair.clock())
    pair.run()
    assert State(accepted.state) is State.CLOSED and pair.client.counters.TW == 1
    listener.close(pair.clock())
    refused = pair.client.connect(remote, 80)
    pair.run()
    assert refused.error == errno.ECONNREFUSED, "the port is free, for both"


def test_v6only() -> None:
    """IPV6_V6ONLY: :: and 0.0.0.0 are two listeners then; without, one takes both places."""
    pair = Pair()
    six = pair.server.listen("::", 80, v6only=True)
    four = pair.server.listen("0.0.0.0", 80)
    assert pair.open(six)[1].handshake.flow.version == 6 and pair.open(four, "198.18.0.2")[1].handshake.flow.version == 4
    for listener in (six, four):
        listener.close(pair.clock())
    both = pair.server.listen("::", 80)
    for address in ("0.0.0.0", "::"):
        with pytest.raises(OSError, match="listens on") as caught:
            pair.server.listen(address, 80)
        assert caught.value.errno == errno.EADDRINUSE
    both.close(pair.clock())
    pair.server.listen("0.0.0.0", 80)
    with pytest.raises(OSError, match="listens on"):
        pair.server.listen("::", 80)
    pair.server.listen("::", 80, v6only=True)


def test_to_itself() -> None:
    """From an own address to an own address no packet goes over the device, whatever the family."""
    clock = ManualClock(SECOND)
    device = MemoryDevice()
    stack = Stack(device, (HERE, "2001:2::3", "198.18.0.2"), clock=clock)
    listener = stack.listen("::", 80)
    for remote in (HERE, "2001:2::3", "198.18.0.2"):
        connection = stack.connect(remote, 80)
        for _ in range(10):
            clock.advance(1_000_000)
            stack.poll(clock())
        assert State(connection.state) is State.ESTABLISHED and listener.accept() is not None
    assert device.drain() == []


@pytest.mark.parametrize(("addresses", "remote", "local", "number"), [
    (("198.18.0.2",), HERE, None, errno.ENETUNREACH),
    ((HERE,), "198.18.0.1", None, errno.ENETUNREACH),
    ((HERE,), "ff02::1", None, errno.ENETUNREACH),
    ((HERE,), "::", None, errno.ENETUNREACH),
    ((HERE,), "::1", None, errno.ENETUNREACH),
    ((HERE, "198.18.0.2"), THERE, "198.18.0.2", errno.EINVAL),
    ((HERE,), THERE, "2001:2::9", errno.EADDRNOTAVAIL),
])  # fmt: skip
def test_where_no_connection_leads(addresses: tuple[str, ...], remote: str, local: str | None, number: int) -> None:
    stack = Stack(MemoryDevice(), addresses)
    with pytest.raises(OSError, match=r".") as caught:
        stack.connect(remote, 80, local)
    assert caught.value.errno == number


def test_an_ipv4_mapped_address_is_ipv4() -> None:
    pair = Pair()
    listener = pair.server.listen("::", 80)
    assert pair.open(listener, "::ffff:198.18.0.2")[1].handshake.flow.version == 4


def test_the_smallest_mtu() -> None:
    """RFC 8200 section 5. Where no address says otherwise, IPv6 is left out, and counted."""
    with pytest.raises(ValueError, match="1280"):
        Stack(MemoryDevice(1279), (HERE,))
    device = MemoryDevice(1279)
    stack = Stack(device)
    device.inject(bytes(IPv6(src=THERE, dst=HERE) / TCP()))
    stack.poll(SECOND)
    assert stack.counters.Ip6InDiscards == 1 and stack.counters.Ip6InReceives == 1
    pair = Pair(1280)
    connection, accepted = pair.open(pair.server.listen("::", 80))
    assert accepted.handshake.mss == connection.send_mss() + 12 == 1220


# ---- one stack, and packets by hand ----


class Wire6:
    """A stack with one address of IPv6."""

    def __init__(self) -> None:
        self.now = SECOND
        self.device = MemoryDevice()
        self.stack = Stack(self.device, (HERE,), clock=lambda: self.now)

    def put(self, *packets: Packet) -> list[IPv6]:
        for packet in packets:
            self.device.inject(bytes(packet))
        self.stack.poll(self.now)
        self.stack.flush(self.now)
        return [IPv6(raw) for raw in self.device.drain()]

    def counter(self, name: str) -> int:
        return int(getattr(self.stack.counters, name))


def syn(**fields: Any) -> Packet:
    return IPv6(src=THERE, dst=HERE) / TCP(sport=4000, dport=80, seq=1000, flags="S", **fields)


def connected(wire: Wire6) -> tuple[Connection, int]:
    """A connection of a peer that says no MSS, and the SYN-ACK's sequence number."""
    listener = wire.stack.listen("::", 80)
    (synack,) = wire.put(syn())
    assert synack[TCP].flags == "SA" and (synack.src, synack.dst) == (HERE, THERE)
    wire.put(IPv6(src=THERE, dst=HERE) / TCP(sport=4000, dport=80, seq=1001, ack=synack[TCP].seq + 1, flags="A", window=60000))
    connection = listener.accept()
    assert connection is not None
    return connection, synack[TCP].seq


def test_a_peer_that_says_no_mss_takes_1220() -> None:
    """RFC 9293 MUST-15."""
    wire = Wire6()
    connection, _ = connected(wire)
    connection.send(bytes(5000))
    wire.stack.flush(wire.now)
    assert {len(packet[TCP].payload) for packet in map(IPv6, wire.device.drain())} == {1220}


def test_ping() -> None:
    wire = Wire6()
    (reply,) = wire.put(IPv6(src=THERE, dst=HERE) / ICMPv6EchoRequest(id=7, seq=8, data=b"abc"))
    assert (reply.payload.type, reply.payload.id, reply.payload.data) == (129, 7, b"abc")
    again = reply.copy()
    del again.payload.cksum
    assert bytes(again) == bytes(reply)
    counted = ("Icmp6InMsgs", "Icmp6InEchos", "Icmp6OutEchoReplies", "Ip6OutRequests", "Ip6InReceives")
    assert [wire.counter(name) for name in counted] == [1] * 5
    assert wire.counter("IpOutRequests") == wire.counter("IpInReceives") == 0
    wire.stack.settings.icmp_echo_ignore_all = 1
    assert wire.put(IPv6(src=THERE, dst=HERE) / ICMPv6EchoRequest()) == [] and wire.counter("Icmp6InEchos") == 2


def in_flight(wire: Wire6) -> tuple[Connection, Packet]:
    """A connection with a full segment on its way, and that segment."""
    connection, _ = connected(wire)
    connection.handshake.mss = 1440
    connection.send(bytes(1440))
    wire.stack.flush(wire.now)
    return connection, IPv6(wire.device.drain()[0])


def test_a_packet_that_is_too_big() -> None:
    """RFC 8201: smaller segments, and what was too large again; below 1,280 nobody is believed."""
    wire = Wire6()
    connection, packet = in_flight(wire)
    again = wire.put(IPv6(src="2001:2::ff", dst=HERE) / ICMPv6PacketTooBig(mtu=1300) / bytes(packet)[:1232])
    assert connection.send_mss() == 1240 and connection.path.mtu == 1300 and connection.path_mtu() == 1300
    assert len(bytes(again[0])) <= 1300 and again[0][TCP].seq == packet[TCP].seq
    assert wire.counter("Icmp6InPktTooBigs") == 1
    wire.put(IPv6(src="2001:2::ff", dst=HERE) / ICMPv6PacketTooBig(mtu=68) / bytes(again[0])[:1232])
    assert connection.path.mtu == 1280 and not connection.path.fragment


@pytest.mark.parametrize(("message", "number"), [
    (ICMPv6DestUnreach(code=0), errno.ENETUNREACH),
    (ICMPv6DestUnreach(code=1), errno.EACCES),
    (ICMPv6DestUnreach(code=4), errno.ECONNREFUSED),
    (ICMPv6TimeExceeded(), errno.EHOSTUNREACH),
    (ICMPv6ParamProblem(), errno.EPROTO),
])  # fmt: skip
def test_errors_are_soft_for_a_connection(message: Packet, number: int) -> None:
    """RFC 5927 section 4; and the number is Linux's (tab_unreach)."""
    wire = Wire6()
    connection, packet = in_flight(wire)
    wire.put(IPv6(src="2001:2::ff", dst=HERE) / message / bytes(packet)[:1232])
    assert connection.soft_error == number and State(connection.state) is State.ESTABLISHED
    assert wire.counter("Icmp6InDestUnreachs") == isinstance(message, ICMPv6DestUnreach)


def test_errors_that_nobody_believes() -> None:
    wire = Wire6()
    connection, packet = in_flight(wire)
    packet[TCP].seq += 100_000
    wire.put(IPv6(src="2001:2::ff", dst=HERE) / ICMPv6PacketTooBig(mtu=1300) / bytes(packet)[:1232])
    assert wire.counter("OutOfWindowIcmps") == 1 and connection.path.mtu == 1500
    packet[TCP].dport = 4001
    wire.put(IPv6(src="2001:2::ff", dst=HERE) / ICMPv6PacketTooBig(mtu=1300) / bytes(packet)[:1232])
    assert wire.counter("Icmp6InErrors") == 1


def test_a_hard_error_ends_an_active_open() -> None:
    wire = Wire6()
    connection = wire.stack.connect(THERE, 80)
    wire.stack.flush(wire.now)
    (sent,) = map(IPv6, wire.device.drain())
    wire.put(IPv6(src="2001:2::ff", dst=HERE) / ICMPv6DestUnreach(code=4) / sent)
    assert connection.error == errno.ECONNREFUSED


def test_limits_of_a_source_are_for_a_64() -> None:
    """A peer has a whole /64 at least (RFC 6177): its addresses are one source."""
    wire = Wire6()
    listener = wire.stack.listen("::", 80)
    listener.set("fastnet_source_requests", 2)
    for host in range(5):
        wire.put(IPv6(src=f"2001:2:0:1::{host:x}", dst=HERE) / TCP(sport=4000, dport=80, flags="S"))
    assert len(listener.syn_queue) == 2 and listener.statistics().refused["source_requests"] == 3
    assert len(wire.put(IPv6(src="2001:2:0:2::1", dst=HERE) / TCP(sport=4000, dport=80, flags="S"))) == 1
