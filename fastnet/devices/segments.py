"""What offload leaves out of a packet, put in again: the transport checksum, and the cut into segments."""

import struct

from fastnet._checksum import checksum, update16
from fastnet._ring import PacketRing

TCP = 6
CHECKSUM_AT = {TCP: 16, 17: 6}
"""Protocol -> where in its header the checksum is: TCP, UDP."""
FIN, PSH, CWR = 0x01, 0x08, 0x80


def packet_in(ring: PacketRing, slot: int) -> bytes:
    """A copy of the packet in a slot, with a transport checksum where offload has left it out."""
    packet = ring.packet(slot).tobytes()
    return with_checksum(packet) if ring.checked[slot] else packet


def packets_in(ring: PacketRing, slot: int) -> list[bytes]:
    """The packets that the one in a slot would be on a wire: with checksums, and cut where it holds several segments."""
    return cut(packet_in(ring, slot), int(ring.segment_sizes[slot]))


def with_checksum(packet: bytes) -> bytes:
    """An IPv4 packet with its TCP or UDP checksum filled in; anything else, and what is too short, as it is."""
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return packet
    protocol, header, total = packet[9], (packet[0] & 15) * 4, int.from_bytes(packet[2:4])
    at = header + CHECKSUM_AT.get(protocol, 0)
    is_fragment = int.from_bytes(packet[6:8]) & 0x3FFF
    if protocol not in CHECKSUM_AT or header < 20 or not at + 2 <= total <= len(packet) or is_fragment:
        return packet
    whole = bytearray(packet)
    whole[at : at + 2] = bytes(2)
    # The addresses, the protocol and the length are summed as well (RFC 9293 section 3.1).
    pseudo = packet[12:20] + struct.pack(">HH", protocol, total - header)
    # 0 would say that there is none, in UDP; in TCP both are the same sum.
    whole[at : at + 2] = (checksum(pseudo + whole[header:total]) or 0xFFFF).to_bytes(2)
    return bytes(whole)


def cut(packet: bytes, size: int) -> list[bytes]:
    """A TCP packet over IPv4 as segments of ``size`` bytes of data each, as Linux cuts it (tcp_gso_segment(), inet_gso_segment()).

    Each has the next IP ID and sequence number, and its own length and checksums. FIN and PSH are in the last alone, CWR in the first.

    :param size: bytes of data in a segment; 0: the packet is one segment
    :returns: the packet itself where there is nothing to cut
    """
    if not size or len(packet) < 40 or packet[0] >> 4 != 4 or packet[9] != TCP:
        return [packet]
    ip = (packet[0] & 15) * 4
    total = int.from_bytes(packet[2:4])
    if ip < 20 or not ip + 20 <= total <= len(packet):
        return [packet]
    data = ip + (packet[ip + 12] >> 4) * 4
    if data < ip + 20 or total - data <= size:
        return [packet]
    identification, seq = int.from_bytes(packet[4:6]), int.from_bytes(packet[ip + 4 : ip + 8])
    segments = []
    for number, start in enumerate(range(data, total, size)):
        segment = bytearray(packet[:data] + packet[start : min(start + size, total)])
        segment[2:4] = len(segment).to_bytes(2)
        segment[4:6] = (identification + number & 0xFFFF).to_bytes(2)
        check = int.from_bytes(packet[10:12])
        for at in (2, 4):
            check = update16(check, int.from_bytes(packet[at : at + 2]), int.from_bytes(segment[at : at + 2]))
        segment[10:12] = check.to_bytes(2)
        segment[ip + 4 : ip + 8] = (seq + start - data & 0xFFFFFFFF).to_bytes(4)
        if start + size < total:
            segment[ip + 13] &= ~(FIN | PSH) & 0xFF
        if number:
            segment[ip + 13] &= ~CWR & 0xFF
        segments.append(with_checksum(bytes(segment)))
    return segments
