"""IPv4 packets as IPv6 and back, so that what tests say of TCP in IPv4 is tried on IPv6 too.

198.18.0.1 is 2001:2::c612:1, and so on. What is no plain IPv4 packet with TCP or a known ICMP message in it passes as it is.
Checksums that are wrong stay wrong by as much. IPv6 headers have 20 bytes more: with an MTU of 20 more, segments have the same sizes.
"""

import ipaddress

LONGER = 20
"""Bytes by which IPv6's header is longer than IPv4's (RFC 8200 section 3, RFC 791 section 3.1)."""
PREFIX = bytes.fromhex("20010002" + "00" * 8)
PSEUDO = 2 * (0x2001 + 0x0002)
"""What the prefixes of both addresses add to the sum of a pseudo-header."""
ICMP, TCP, ICMPV6, DONT_FRAGMENT = 1, 6, 58, b"\x40\x00"
ECHO, ECHO_REPLY, ECHO_V6, ECHO_REPLY_V6 = 8, 0, 128, 129
UNREACHABLE, TIME_EXCEEDED, PARAMETER_PROBLEM = 3, 11, 12
CODES = {0: 0, 1: 3, 3: 4, 13: 1}
"""Code of "destination unreachable" -> the same of ICMPv6 (RFC 792, RFC 4443 section 3.1)."""


def six(text: str) -> str:
    """An address of IPv4, a wildcard, or a network, as IPv6."""
    if text == "0.0.0.0":
        return "::"
    if ":" in text:
        return text
    address, _, bits = text.partition("/")
    longer = str(ipaddress.IPv6Address(PREFIX + ipaddress.IPv4Address(address).packed))
    return f"{longer}/{96 + int(bits)}" if bits else longer


def to_six(packet: bytes) -> bytes:
    """An IPv4 packet with TCP or ICMP in it as IPv6."""
    plain = len(packet) >= 28 and packet[0] == 0x45 and packet[6:8] in (b"\0\0", DONT_FRAGMENT)
    total = int.from_bytes(packet[2:4], "big")
    if not plain or not 20 <= total <= len(packet) or folded(packet[:20]) != 0xFFFF:
        return packet
    if packet[9] == TCP and total >= 40:
        segment = bytearray(packet[20:total])
        shift(segment, PSEUDO)
        return head_of(packet, TCP, len(segment)) + bytes(segment)
    if packet[9] == ICMP and folded(packet[20:total]) == 0xFFFF:
        message = message_to_six(packet[20:total])
        if message:
            head = head_of(packet, ICMPV6, len(message))
            pseudo = head[8:40] + len(message).to_bytes(4, "big") + bytes((0, 0, 0, ICMPV6))
            return head + message[:2] + (0xFFFF - folded(pseudo + message)).to_bytes(2, "big") + message[4:]
    return packet


def head_of(packet: bytes, protocol: int, size: int) -> bytes:
    """The IPv6 header for what an IPv4 header says."""
    head = (0x60000000 | packet[1] << 20).to_bytes(4, "big") + size.to_bytes(2, "big") + bytes((protocol, packet[8]))
    return head + PREFIX + packet[12:16] + PREFIX + packet[16:20]


def message_to_six(message: bytes) -> bytes:
    """An ICMP message as ICMPv6, its checksum still zero; b"" for one that ICMPv6 does not have."""
    kind, code = message[0], message[1]
    if kind in (ECHO, ECHO_REPLY) and code == 0:
        return bytes((ECHO_V6 if kind == ECHO else ECHO_REPLY_V6, 0, 0, 0)) + message[4:]
    quoted = message[8:]
    if len(quoted) < 28 or quoted[0] != 0x45 or quoted[9] != TCP:
        return b""
    longer = head_of(quoted, TCP, max(int.from_bytes(quoted[2:4], "big") - 20, 0)) + quoted[20:]
    if kind == UNREACHABLE and code == 4:
        return bytes((2, 0, 0, 0)) + (int.from_bytes(message[6:8], "big") + LONGER).to_bytes(4, "big") + longer
    if kind == UNREACHABLE and code in CODES:
        return bytes((1, CODES[code], 0, 0)) + message[4:8] + longer
    if kind in (TIME_EXCEEDED, PARAMETER_PROBLEM):
        return bytes((3 if kind == TIME_EXCEEDED else 4, 0, 0, 0)) + message[4:8] + longer
    return b""


def to_four(packet: bytes, partial: bool = False) -> bytes:
    """An IPv6 packet with TCP in it, between addresses that stand for IPv4's, as IPv4.

    :param partial: its checksum is only the sum of the pseudo-header: the device does the rest
    """
    if packet[0] >> 4 != 6 or packet[6] not in (TCP, ICMPV6) or packet[8:20] != PREFIX or packet[24:36] != PREFIX:
        return packet
    segment = bytearray(packet[40:])
    if packet[6] == TCP:
        shift(segment, PSEUDO if partial else -PSEUDO)
    elif segment[0] == ECHO_REPLY_V6:
        segment[0] = ECHO_REPLY
        segment[2:4] = b"\0\0"
        segment[2:4] = (0xFFFF - folded(bytes(segment))).to_bytes(2, "big")
    else:
        return packet
    protocol = TCP if packet[6] == TCP else ICMP
    tos = int.from_bytes(packet[:2], "big") >> 4 & 255
    head = bytes((0x45, tos)) + (20 + len(segment)).to_bytes(2, "big") + b"\0\0" + DONT_FRAGMENT + bytes((packet[7], protocol))
    addresses = packet[20:24] + packet[36:40]
    check = (0xFFFF - folded(head + b"\0\0" + addresses)).to_bytes(2, "big")
    return head + check + addresses + bytes(segment)


def four(text: str) -> str:
    """An address that stands for one of IPv4; any other as it is."""
    if ":" in text and ipaddress.IPv6Address(text).packed[:12] == PREFIX:
        return str(ipaddress.IPv4Address(ipaddress.IPv6Address(text).packed[12:]))
    return text


def shift(segment: bytearray, delta: int) -> None:
    """Let a checksum be for a sum that is larger by ``delta``."""
    total = 0xFFFF - int.from_bytes(segment[16:18], "big") + delta % 0xFFFF
    total = (total & 0xFFFF) + (total >> 16)
    segment[16:18] = (0xFFFF - total).to_bytes(2, "big")


def folded(data: bytes) -> int:
    """The one's complement sum of 16-bit words."""
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
