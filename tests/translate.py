"""IPv4 packets as IPv6 and back, so that what tests say of TCP in IPv4 is tried on IPv6 too.

198.18.0.1 is 2001:2::c612:1, and so on. A packet that is no plain IPv4 packet with TCP in it passes as it is. Checksums that are wrong
stay wrong by as much. An IPv6 header has 20 bytes more: with an MTU that has 20 more, segments have the same sizes.
"""

import ipaddress

LONGER = 20
"""Bytes by which IPv6's header is longer than IPv4's (RFC 8200 section 3, RFC 791 section 3.1)."""
PREFIX = bytes.fromhex("20010002" + "00" * 8)
PSEUDO = 2 * (0x2001 + 0x0002)
"""What the prefixes of both addresses add to the sum of a pseudo-header."""
TCP, DONT_FRAGMENT = 6, b"\x40\x00"


def six(text: str) -> str:
    """An address of IPv4, a wildcard, or a network, as IPv6."""
    if text == "0.0.0.0":
        return "::"
    address, _, bits = text.partition("/")
    longer = str(ipaddress.IPv6Address(PREFIX + ipaddress.IPv4Address(address).packed))
    return f"{longer}/{96 + int(bits)}" if bits else longer


def to_six(packet: bytes) -> bytes:
    """An IPv4 packet with TCP in it as IPv6."""
    plain = len(packet) >= 40 and packet[0] == 0x45 and packet[9] == TCP and packet[6:8] in (b"\0\0", DONT_FRAGMENT)
    if not plain or int.from_bytes(packet[2:4], "big") > len(packet) or folded(packet[:20]) != 0xFFFF:
        return packet
    segment = bytearray(packet[20 : int.from_bytes(packet[2:4], "big")])
    shift(segment, PSEUDO)
    head = (0x60000000 | packet[1] << 20).to_bytes(4, "big") + len(segment).to_bytes(2, "big") + bytes((TCP, packet[8]))
    return head + PREFIX + packet[12:16] + PREFIX + packet[16:20] + bytes(segment)


def to_four(packet: bytes, partial: bool = False) -> bytes:
    """An IPv6 packet with TCP in it, between addresses that stand for IPv4's, as IPv4.

    :param partial: its checksum is only the sum of the pseudo-header: the device does the rest
    """
    if packet[0] >> 4 != 6 or packet[6] != TCP or packet[8:20] != PREFIX or packet[24:36] != PREFIX:
        return packet
    segment = bytearray(packet[40:])
    shift(segment, PSEUDO if partial else -PSEUDO)
    tos = int.from_bytes(packet[:2], "big") >> 4 & 255
    head = bytes((0x45, tos)) + (20 + len(segment)).to_bytes(2, "big") + b"\0\0" + DONT_FRAGMENT + bytes((packet[7], TCP))
    addresses = packet[20:24] + packet[36:40]
    check = (0xFFFF - folded(head + b"\0\0" + addresses)).to_bytes(2, "big")
    return head + check + addresses + bytes(segment)


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
