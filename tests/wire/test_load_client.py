"""The raw client against a server that a test plays: what it sends, by dpkt, and what it counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

import dpkt
import pytest

from fastnet._ring import PacketRing
from fastnet.load import compare
from fastnet.load._client import HandshakeClient
from fastnet.netns import Namespace
from tests.peer import IP, TCP, Raw

FIN, SYN, RST, ACK = dpkt.tcp.TH_FIN, dpkt.tcp.TH_SYN, dpkt.tcp.TH_RST, dpkt.tcp.TH_ACK
SERVER, PORT = "198.18.1.2", 8080
SOURCES = int(IPv4Address("198.19.0.0"))
IRS = 0xFFFF_FFF0
STAMP = 0xDEADBEEF
MASK = 0xFFFFFFFF
OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (STAMP, 0)), ("NOP", None)]
"""Where Linux has the timestamps: behind MSS and SACK-permitted."""
Answer = Callable[[dpkt.tcp.TCP, int], list[Any]]


class Wire:
    """A client on one device and a server's answers on another.

    :ivar seen: the client's segments: flags, sequence and acknowledgment number, options, window
    """

    def __init__(self, namespace: Namespace) -> None:
        self.tun0 = namespace.add_tun("198.18.0.1/30", "tun0")
        namespace.route("198.19.0.0/16", self.tun0)
        compare.prepare_kernel()
        self.tun1 = namespace.add_tun("198.18.1.1/24", "tun1")
        self.seen: list[tuple[int, int, int, bytes, int]] = []

    def play(self, answer: Answer, ending: str = "server", count: int = 1, **options: Any) -> HandshakeClient:
        """Run the client against answers: what each of its segments, the n-th of its kind, is answered with."""
        client = HandshakeClient(
            self.tun0, int(IPv4Address(SERVER)), PORT, SOURCES, **{"sources": 4, "in_flight": 1, "ending": ending, "seed": 6, **options}
        )
        self.seen.clear()
        over = threading.Event()

        def serve() -> None:
            ring, out = PacketRing(64, 2048), PacketRing(64, 2048)
            numbers: dict[int, int] = {}
            while not over.is_set():
                self.tun1.wait(5_000_000)
                self.tun1.receive(ring)
                for slot in range(ring.count):
                    raw = ring.packet(slot).tobytes()
                    if raw[0] != 0x45 or raw[9] != 6:
                        continue
                    assert dpkt.in_cksum(raw[:20]) == 0
                    assert dpkt.in_cksum(raw[12:20] + b"\0\x06" + (len(raw) - 20).to_bytes(2, "big") + raw[20:]) == 0
                    ip = dpkt.ip.IP(raw)
                    tcp = ip.data
                    self.seen.append((tcp.flags, tcp.seq, tcp.ack, bytes(tcp.opts), tcp.win))
                    numbers[tcp.flags] = numbers.get(tcp.flags, 0) + 1
                    for fields in answer(tcp, numbers[tcp.flags]):
                        out.append(packet(ip, tcp, **fields))
                ring.clear()
                self.tun1.transmit(out)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            client.run(5, count)
            time.sleep(0.05)
        finally:
            over.set()
            thread.join()
        return client

    def flags(self) -> list[int]:
        return [flags for flags, *_ in self.seen]


def packet(ip: dpkt.ip.IP, tcp: dpkt.tcp.TCP, data: bytes = b"", **fields: Any) -> bytes:
    """A segment for the client, with good checksums unless it says otherwise."""
    header = TCP(**{"sport": PORT, "dport": tcp.sport, "seq": IRS, **fields})
    return bytes(IP(src=SERVER, dst=str(IPv4Address(ip.src))) / header / Raw(data))


@pytest.fixture
def wire(namespace: Namespace) -> Wire:
    return Wire(namespace)


def synack(tcp: dpkt.tcp.TCP, **fields: Any) -> dict[str, Any]:
    return {"flags": "SA", "ack": tcp.seq + 1 & MASK, "options": OPTIONS, **fields}


def counts(client: HandshakeClient) -> dict[str, int]:
    names = ("completed", "refused", "timed_out", "retransmitted", "strays", "invalid", "unsent")
    return {name: getattr(client, name) for name in names if getattr(client, name)}


def reset(tcp: dpkt.tcp.TCP) -> dict[str, Any]:
    return {"flags": "R", "seq": IRS + 1 & MASK}


def test_the_server_resets(wire: Wire) -> None:
    """The ACK acknowledges the SYN-ACK and echoes its timestamp."""
    client = wire.play(lambda tcp, n: [synack(tcp)] if tcp.flags == SYN else [reset(tcp)])
    assert counts(client) == {"completed": 1} and client.started == 1
    (syn_flags, iss, zero, _, window), (ack_flags, seq, ack, options, later) = wire.seen
    assert (syn_flags, zero, window) == (SYN, 0, 64240)
    assert (ack_flags, seq, ack, later) == (ACK, iss + 1 & MASK, IRS + 1 & MASK, 502)
    assert dict(dpkt.tcp.parse_opts(options))[8][4:] == STAMP.to_bytes(4, "big") and len(options) == 12


def test_without_timestamps_there_are_none(wire: Wire) -> None:
    client = wire.play(lambda tcp, n: [synack(tcp, options=[("MSS", 1460)])] if tcp.flags == SYN else [reset(tcp)])
    assert counts(client) == {"completed": 1} and wire.seen[1][3] == b""


def test_the_server_closes_first(wire: Wire) -> None:
    """With some data, which is acknowledged too: a RST leaves nothing behind."""
    fin = {"flags": "FA", "seq": IRS + 1, "data": b"hello"}
    client = wire.play(lambda tcp, n: [synack(tcp)] if tcp.flags == SYN else [fin] if tcp.flags == ACK else [])
    assert counts(client) == {"completed": 1} and wire.flags() == [SYN, ACK, RST | ACK]
    assert wire.seen[2][1:4] == (wire.seen[0][1] + 1 & MASK, IRS + 7 & MASK, b"")


def test_the_client_resets(wire: Wire) -> None:
    client = wire.play(lambda tcp, n: [synack(tcp)] if tcp.flags == SYN else [], ending="reset")
    assert counts(client) == {"completed": 1} and wire.flags() == [SYN, ACK, RST]
    assert wire.seen[2][1] == wire.seen[0][1] + 1 & MASK


def test_the_client_closes(wire: Wire) -> None:
    """FIN right behind the ACK; the server's FIN, with data before it, is acknowledged."""
    fin = {"flags": "FA", "seq": IRS + 1, "data": b"hey"}
    client = wire.play(lambda tcp, n: [synack(tcp)] if tcp.flags == SYN else [fin] if tcp.flags & FIN else [], ending="close")
    assert counts(client) == {"completed": 1} and wire.flags() == [SYN, ACK, FIN | ACK, ACK]
    iss = wire.seen[0][1]
    assert wire.seen[2][1:3] == (iss + 1 & MASK, IRS + 1 & MASK)
    assert wire.seen[3][1:3] == (iss + 2 & MASK, IRS + 5 & MASK)


def test_a_refusal(wire: Wire) -> None:
    client = wire.play(lambda tcp, n: [{"flags": "RA", "seq": 0, "ack": tcp.seq + 1 & MASK}])
    assert counts(client) == {"refused": 1} and client.percentile(0.5) == 0


@pytest.mark.parametrize(("fields", "counted"), [
    ({"flags": "RA", "ack": 5}, "invalid"), ({"flags": "R"}, "invalid"), ({"flags": "A"}, "invalid"), ({"flags": "S"}, "invalid"),
    ({"flags": "SA", "ack": 5}, "invalid"), ({"flags": "SA", "chksum": 0x1234}, "invalid"), ({"flags": "SA", "dataofs": 4}, "invalid"),
    ({"flags": "SA", "dataofs": 15}, "invalid"), ({"flags": "SA", "sport": 8081}, "strays"), ({"flags": "SA", "dport": 2000}, "strays"),
], ids=["RST acks wrong", "RST acks nothing", "no SYN", "no ACK", "acks wrong", "checksum", "short header", "long header", "their port",
        "our port"])  # fmt: skip
def test_what_is_no_answer(fields: dict[str, Any], counted: str, wire: Wire) -> None:
    """It is counted and changes nothing; the good answer behind it does."""
    client = wire.play(lambda tcp, n: [{"ack": tcp.seq + 1 & MASK, **fields}, synack(tcp)] if tcp.flags == SYN else [reset(tcp)])
    assert counts(client) == {"completed": 1, counted: 1}


def test_what_is_lost_is_sent_again(wire: Wire) -> None:
    """A SYN, and an ACK; a handshake whose SYN was repeated says nothing of the round trip."""
    client = wire.play(lambda tcp, n: [] if n == 1 else [synack(tcp)] if tcp.flags == SYN else [reset(tcp)])
    assert counts(client) == {"completed": 1, "retransmitted": 2} and wire.flags() == [SYN, SYN, ACK, ACK]
    assert wire.seen[0][:3] == wire.seen[1][:3] and wire.seen[2][:3] == wire.seen[3][:3] and client.percentile(0.5) == 0


def test_numbers_follow_the_seed(wire: Wire) -> None:
    """Each handshake has another 4-tuple and ISN; sources count first."""
    client = wire.play(lambda tcp, n: [synack(tcp)] if tcp.flags == SYN else [reset(tcp)], count=9, in_flight=3)
    assert counts(client) == {"completed": 9} and client.started == 9
    assert len({seq for flags, seq, *_ in wire.seen if flags == SYN}) == 9
    assert 0 < client.percentile(0) <= client.percentile(0.5) <= client.percentile(1) < 5
