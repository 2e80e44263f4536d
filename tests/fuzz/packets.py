"""Packets of the fuzzers: made byte by byte, so that they can be wrong in any way, and read again with dpkt."""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

Case = dict[str, Any]
Step = list[Any]
"""A case is plain JSON: a mode, settings and steps."""

HOME = "198.18.0.2"
PEERS = ("198.18.0.1", "198.18.7.7")
PORTS = (80, 81, 8080)
SECOND = 1_000_000_000
MILLISECOND = 1_000_000
HOUR = 3600 * SECOND
M = 0xFFFFFFFF
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128


def in_sum(data: bytes) -> int:
    """The Internet checksum (RFC 1071): a sum modulo 2**16 - 1 is the remainder of the number that all bytes are together."""
    return 0xFFFF - int.from_bytes(data + b"\0" * (len(data) & 1)) % 0xFFFF


def good_sum(data: bytes) -> bool:
    """Is the checksum in it right?"""
    return int.from_bytes(data + b"\0" * (len(data) & 1)) % 0xFFFF == 0


@cache
def address(text: str) -> bytes:
    return bytes(int(word) for word in text.split("."))


def ip_packet(source: str, target: str, protocol: int, payload: bytes, fragment: int = 0) -> bytes:
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 7, fragment, 64, protocol, 0, address(source), address(target))
    return header[:10] + struct.pack(">H", in_sum(header)) + header[12:] + payload


def mend(packet: bytearray) -> None:
    """Good checksums, where the lengths allow it."""
    size = (packet[0] & 15) * 4
    if len(packet) < 20 or size < 20 or size > len(packet):
        return
    packet[10:12] = b"\0\0"
    packet[10:12] = struct.pack(">H", in_sum(bytes(packet[:size])))
    end = min(len(packet), struct.unpack(">H", packet[2:4])[0])
    where = {6: 16, 1: 2}.get(packet[9])
    if where is None or end < size + where + 2:
        return
    packet[size + where : size + where + 2] = b"\0\0"
    body = bytes(packet[size:end])
    pseudo = bytes(packet[12:20]) + struct.pack(">HH", 6, len(body)) if packet[9] == 6 else b""
    packet[size + where : size + where + 2] = struct.pack(">H", in_sum(pseudo + body))


def tcp_packet(
    ends: tuple[str, int, str, int], seq: int, ack: int, flags: int, window: int, options: bytes, data: bytes, urg: int
) -> bytes:
    """A segment from ends[:2] to ends[2:]."""
    options = options[:40]
    options += bytes(-len(options) % 4)
    offset = 5 + len(options) // 4
    segment = struct.pack(">HHIIBBHHH", ends[1], ends[3], seq & M, ack & M, offset << 4, flags, window & 0xFFFF, 0, urg) + options + data
    packet = bytearray(ip_packet(ends[0], ends[2], 6, segment))
    mend(packet)
    return bytes(packet)


def flow_and_flags(packet: bytes) -> tuple[tuple[str, int, str, int], int] | None:
    """Whom a packet is for (remote first), and its flags; None where that cannot be told."""
    size = (packet[0] & 15) * 4 if packet else 0
    if len(packet) < size + 20 or size < 20 or packet[9] != 6:
        return None
    sport, dport = struct.unpack(">HH", packet[size : size + 4])
    return (".".join(map(str, packet[12:16])), sport, ".".join(map(str, packet[16:20])), dport), packet[size + 13]
