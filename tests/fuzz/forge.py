"""Packets as a peer would make them that knows every number of a stack, and uses them as it likes."""

from __future__ import annotations

import struct
from random import Random
from typing import Any

from fastnet._flow import FourTuple
from fastnet.stack import Stack
from fastnet.tcp.connection import Connection
from tests.fuzz.outgoing import Ends, ends_of
from tests.fuzz.packets import ACK, PEERS, PORTS, SYN, M, Step, ip_packet, mend, tcp_packet
from tests.fuzz.user import User
from tests.peer import SixStack
from tests.translate import four, six

PERIOD = 1 << 16
TEXT = Random("text").randbytes(PERIOD) * 2
"""What peers send: which bytes, their sequence numbers say."""


def place(known: dict[str, int], where: Step) -> int:
    """A sequence number from a base, bytes beyond it and, where there is a third, so many full segments beyond that."""
    base, offset, *segments = where
    return known[base] + offset + (segments[0] * known["segment"] if segments else 0) & M


def expected_text(connection: Connection, start: int, size: int) -> bytes:
    """What a peer sends from a place of its stream on."""
    begin = connection.handshake.irs + 1 + start & PERIOD - 1
    return (TEXT * (size // PERIOD + 1))[begin : begin + size]


class Forger:
    """Makes packets for one stack.

    :ivar last: of each pair of ends, SND.NXT, RCV.NXT and the timestamp that the stack last sent
    :ivar announced: of each pair of ends, the largest MSS that a SYN named
    """

    def __init__(self, stack: Stack, user: User) -> None:
        self.stack, self.user = stack, user
        self.home = four(stack.addresses[0])
        self.default_mss = 1220 if isinstance(stack, SixStack) else 536
        self.last: dict[Ends, tuple[int, int, int]] = {}
        self.announced: dict[Ends, int] = {}

    def ends(self, target: int) -> Ends:
        """Remote and local address and port: of a connection of the program's (below 0), or any."""
        if target < 0 and self.user.connections:
            return ends_of(self.user.connections[target % len(self.user.connections)].handshake.flow)
        target = abs(target)
        return PEERS[target % 2], 40000 + target // 2 % 64, self.home, PORTS[target // 128 % 3]

    def numbers(self, ends: Ends) -> dict[str, int]:
        """What the stack expects of a peer."""
        seq, ack, stamp = self.last.get(ends, (0, 0, 0))
        known = {"z": 0, "n": ack, "a": ack, "i": ack - 1, "N": seq, "U": seq, "I": seq - 1, "t": 1000, "e": stamp, "segment": 1000}
        flow = FourTuple(ends[2], ends[3], ends[0], ends[1])
        if isinstance(self.stack, SixStack):
            flow = FourTuple(six(ends[2]), ends[3], six(ends[0]), ends[1])
        number = self.stack.context.demux.find(flow)
        endpoint: Any = self.stack.context.endpoints[number] if number >= 0 else None
        if endpoint is not None:
            known |= {"n": endpoint.rcv_nxt, "N": endpoint.snd_nxt, "t": endpoint.ts_recent}
            known |= {"i": endpoint.handshake.irs, "I": endpoint.handshake.iss}
            if isinstance(endpoint, Connection):
                known |= {"a": endpoint.rcv_adv, "U": endpoint.snd_una, "segment": endpoint.send_mss()}
            return known
        for listener in self.user.listeners:
            request = listener.syn_queue.get(flow)
            if request is not None:
                return known | {"n": request.irs + 1, "i": request.irs, "N": request.iss + 1, "I": request.iss, "U": request.iss + 1}
        return known

    def segment(
        self, target: int, flags: int, seq: Step, ack: Step, window: int, options: list[Step], size: int, urgent: int, copies: int,
        codepoint: int = 0,
    ) -> list[bytes]:
        """A segment from a connection's other end, as often as asked for."""
        ends = self.ends(target)
        known = self.numbers(ends)
        raw = b""
        if flags & SYN:
            # What a SYN may have brought, whatever becomes of it.
            named = [65535 if kind == "raw" else value for kind, value in options if kind in ("mss", "raw")]
            self.announced[ends] = max([self.announced.get(ends, 0), *(named or [self.default_mss])])
        for kind, value in options:
            if kind == "mss":
                raw += struct.pack(">BBH", 2, 4, value)
            elif kind == "wscale":
                raw += bytes((1, 3, 3, value))
            elif kind == "sackok":
                raw += bytes((1, 1, 4, 2))
            elif kind == "ts":
                raw += struct.pack(">BBBBII", 1, 1, 8, 10, known["t"] + value[0] & M, known["e"] + value[1] & M)
            elif kind == "sack":
                edges = [place(known, edge) for edge in value]
                raw += struct.pack(f">BBBB{len(edges)}I", 1, 1, 5, 2 + 4 * len(edges), *edges)
            else:
                raw += bytes.fromhex(value)
        first = place(known, seq)
        begin = first + bool(flags & SYN) & PERIOD - 1
        data = TEXT[begin : begin + size]
        packet = tcp_packet(ends, first, place(known, ack) if ack else 0, flags, window, raw, data, urgent)
        if codepoint:
            changed = bytearray(packet)
            changed[1] = codepoint
            mend(changed)
            packet = bytes(changed)
        return [packet] * copies

    def icmp(self, target: int, kind: int, code: int, rest: int, seq: Step, quoted: int, source: int) -> bytes:
        """An ICMP error about a segment of a connection's."""
        ends = self.ends(target)
        known = self.numbers(ends)
        about = tcp_packet((*ends[2:], *ends[:2]), place(known, seq), 0, ACK, 100, b"", b"quoted data", 0)[:quoted]
        body = struct.pack(">BBHI", kind, code, 0, rest) + about
        packet = bytearray(ip_packet(("198.18.0.254", ends[0])[source], self.home, 1, body))
        mend(packet)
        return bytes(packet)
