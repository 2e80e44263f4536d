"""A peer in memory: one stack, one wire, a clock that stands still, and packets built and read by scapy."""

from __future__ import annotations

import logging
import os
from typing import Any

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.packet import Packet, Raw

from fastnet.devices import MemoryDevice
from fastnet.stack import Stack
from fastnet.tcp.connection import Connection
from fastnet.tcp.listener import Listener
from fastnet.tcp.opening import ActiveConnection
from tests.translate import LONGER, six, to_four, to_six

FAMILY = int(os.environ.get("FASTNET_FAMILY", "4"))
"""6: the stack of a ``Wire`` speaks IPv6, and packets are translated on their way."""
STACK = "198.18.0.2"
PEER = "198.18.0.1"
SECOND = 1_000_000_000
MILLISECOND = 1_000_000
M = 0xFFFFFFFF


class SixDevice(MemoryDevice):
    """A device of a stack that speaks IPv6, for tests that speak IPv4."""

    def inject(self, packet: bytes) -> None:
        super().inject(to_six(packet))

    def drain(self) -> list[bytes]:
        return [to_four(packet) for packet in super().drain()]


class SixStack(Stack):
    """A stack that speaks IPv6, for tests that name addresses of IPv4."""

    def listen(self, address: str, port: int, backlog: int = 4096, v6only: bool = False) -> Listener:
        return super().listen(six(address), port, backlog, v6only)

    def connect(self, remote: str, remote_port: int, local: str | None = None, *rest: Any, **named: Any) -> ActiveConnection:
        return super().connect(six(remote), remote_port, None if local is None else six(local), *rest, **named)


class Wire:
    """A stack and everything that its peers do to it, in virtual time."""

    def __init__(self, mtu: int = 1500, addresses: tuple[str, ...] = (STACK,), device: MemoryDevice | None = None, **settings: Any) -> None:
        self.now = SECOND
        kind = Stack
        if FAMILY == 6 and device is None:
            if mtu + LONGER < 1280:
                pytest.skip("no link of IPv6 has such an MTU")
            kind = SixStack
            addresses = tuple(map(six, addresses))
            device = SixDevice(mtu + LONGER)
        self.device = MemoryDevice(mtu) if device is None else device
        self.stack = kind(self.device, addresses, settings, clock=lambda: self.now, random=lambda n: bytes(i & 255 for i in range(n)))

    def counter(self, name: str) -> int:
        return int(getattr(self.stack.counters, name))

    def poll(self) -> list[Packet]:
        """One round; the packets that the stack sent, checked for their checksums."""
        self.stack.poll(self.now)
        return self.sent()

    def sent(self) -> list[Packet]:
        self.stack.flush(self.now)
        return [checked(packet) for packet in self.device.drain()]

    def put(self, *packets: Packet | bytes) -> list[Packet]:
        """Let packets arrive in one batch; what the stack answers."""
        for packet in packets:
            self.device.inject(bytes(packet))
        return self.poll()

    def wait(self, seconds: float) -> list[tuple[float, Packet]]:
        """Let time pass from one timer to the next; what is sent, each with its time in seconds from now."""
        start, end = self.now, self.now + round(seconds * SECOND)
        sent = []
        while True:
            deadline = self.stack.poll(self.now)
            sent += [((self.now - start) / SECOND, packet) for packet in self.sent()]
            if deadline > end:
                self.now = end
                return sent
            self.now = max(deadline, self.now)


def checked(raw: bytes) -> Packet:
    """A packet of the stack's as scapy reads it; its checksums must be those that scapy computes."""
    packet = IP(raw)
    again = packet.copy()
    del again[IP].chksum
    for layer in (TCP, ICMP):
        if layer in again:
            del again[layer].chksum
    assert bytes(again) == raw, f"checksum or length wrong in {packet!r}"
    return packet


class Peer:
    """One client of a listener, as scripted as a test wants it. Sequence numbers are relative to its own ISS and the stack's."""

    def __init__(self, wire: Wire, port: int = 80, source: str = PEER, sport: int = 40000, iss: int = 1000, target: str = STACK) -> None:
        self.wire = wire
        self.ip = {"src": source, "dst": target}
        self.ports = {"sport": sport, "dport": port}
        self.iss = iss
        self.irs = 0
        self.options: list[Any] = []

    def packet(self, flags: str, seq: int = 0, ack: int | None = None, data: bytes = b"", **fields: Any) -> Packet:
        """A segment. ``seq`` counts from our ISS, ``ack`` from the stack's ISS; none without an ACK flag."""
        if ack is None:
            ack = 1 if "A" in flags else -self.irs
        fields.setdefault("window", 64240)
        options = fields.pop("options", self.options)
        segment = TCP(**self.ports, flags=flags, seq=(self.iss + seq) & M, ack=(self.irs + ack) & M, options=options, **fields)
        packet = IP(**self.ip) / segment
        return packet / Raw(data) if data else packet

    def put(self, flags: str, *args: Any, **fields: Any) -> list[Packet]:
        return self.wire.put(self.packet(flags, *args, **fields))

    def syn(self, options: list[Any] | None = None, **fields: Any) -> Packet:
        """SYN; the SYN-ACK, whose ISN we take."""
        answers = self.put("S", options=options or [], **fields)
        assert [answer[TCP].flags for answer in answers] == ["SA"], answers
        self.irs = answers[0][TCP].seq
        assert answers[0][TCP].ack == (self.iss + 1) & M
        return answers[0]

    def open_without_accept(self, options: list[Any] | None = None) -> None:
        """The whole handshake; the connection waits in the accept queue."""
        self.syn(options)
        assert self.put("A", 1, 1) == []

    def open(self, listener: Listener, options: list[Any] | None = None) -> Connection:
        """The whole handshake; the accepted connection."""
        self.open_without_accept(options)
        connection = listener.accept()
        assert connection is not None
        return connection

    def relative(self, packet: Packet) -> tuple[str, int, int, bytes]:
        """Flags, sequence and acknowledgment numbers counted from the ISNs, data."""
        tcp = packet[TCP]
        ack = (tcp.ack - self.iss) & M if "A" in str(tcp.flags) else 0
        return str(tcp.flags), (tcp.seq - self.irs) & M, ack, bytes(tcp.payload)


def call(wire: Wire, port: int = 80, iss: int = 1000, **fields: Any) -> tuple[Peer, ActiveConnection, Packet]:
    """An active open of the stack's to a peer: that peer, the connection, and the SYN."""
    connection = wire.stack.connect(PEER, port, **fields)
    (syn,) = wire.sent()
    peer = Peer(wire, port=syn[TCP].sport, sport=port, iss=iss)
    peer.irs = syn[TCP].seq
    return peer, connection, syn


def icmp(packet: Packet, kind: int, code: int = 0, source: str = "198.18.0.254", quoted: int = 28, **fields: Any) -> Packet:
    """An ICMP error of some router's about a packet of the stack's, of which it quotes so many bytes."""
    return IP(src=source, dst=packet[IP].src) / ICMP(type=kind, code=code, **fields) / Raw(bytes(packet)[:quoted])
