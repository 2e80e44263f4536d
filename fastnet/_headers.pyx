"""Headers of received packets: from bytes to numbers, a batch at a time and GIL-free. ``_writer`` goes the other way.

One ``Segment`` per ring slot is made when the batch is, and filled in place by each parse: nothing is allocated for a packet.
Lengths are checked once, at the top; that is what makes unchecked indexing below it safe. A packet that is refused keeps the
reason in ``cause``, whose name in ``CAUSES`` is the counter that it belongs under.

IPv4 (RFC 791), IPv6 (RFC 8200), ICMP of both, and TCP (RFC 9293 section 3.1) with the options of RFC 9293, RFC 7323 and RFC 2018.
"""

import ipaddress

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastnet._buffer cimport ByteRing
from fastnet._bytes cimport load16, load32, swap16
from fastnet._checksum cimport checksum_add, checksum_fold
from fastnet._demux cimport Demux
from fastnet._flow cimport V4_PREFIX, FourTuple
from fastnet._path cimport IPV4_HEADER, IPV6_HEADER, TCP_HEADER
from fastnet._ring cimport OWN, PacketRing, length_at, packet_at


cdef enum:
    _UNREACHABLE = 3
    _SOURCE_QUENCH = 4
    _TIME_EXCEEDED = 11
    _PARAMETER_PROBLEM = 12
    _LOOSE_ROUTE = 131
    _STRICT_ROUTE = 137
    # Extension headers (RFC 8200 section 4): hop-by-hop options, routing, fragment, destination options.
    _HOP_BY_HOP = 0
    _ROUTING = 43
    _FRAGMENT = 44
    _DESTINATION = 60
    # Whoever sends more extension headers than this wants to cost time (Linux has a bound of 8 options in one, too).
    _MOST_EXTENSIONS = 8
    _MOST_OPTIONS = 8
    # A segment of a peer that sends more than 14 counts as 14 (RFC 7323 section 2.3).
    MAX_WSCALE = 14
    # The largest window that a header can say (RFC 7323 section 2.3).
    MAX_WINDOW = 0x40000000

# TCP flags as they stand in the header's 14th byte.
cdef enum:
    _FIN = 0x01
    _SYN = 0x02

FIN = 0x01
SYN = 0x02
RST = 0x04
PSH = 0x08
ACK = 0x10
URG = 0x20
ECE = 0x40
CWR = 0x80

# Which options a segment carried: bits of ``Segment.options``.
cdef enum:
    _MSS = 1
    _WSCALE = 2
    _SACK_PERMITTED = 4
    _TIMESTAMPS = 8
    _SACK = 16
    _FAST_OPEN = 32

OPTION_MSS = _MSS
OPTION_WSCALE = _WSCALE
OPTION_SACK_PERMITTED = _SACK_PERMITTED
OPTION_TIMESTAMPS = _TIMESTAMPS
OPTION_SACK = _SACK
OPTION_FAST_OPEN = _FAST_OPEN

MAX_SACK_BLOCKS = 4

# Why a packet was refused: an index into CAUSES, which are names of counters.
cdef enum:
    C_NONE
    C_IP_HEADER
    C_IP_TRUNCATED
    C_IP_CHECKSUM
    C_IP_ADDRESS
    C_IP_FRAGMENT
    C_IP_PROTOCOL
    C_IPV6_GROUP
    C_IPV6_HEADER
    C_IPV6_TRUNCATED
    C_IPV6_ADDRESS
    C_IPV6_FRAGMENT
    C_IPV6_PROTOCOL
    C_TCP_HEADER
    C_TCP_CHECKSUM
    C_ICMP_HEADER
    C_ICMP_CHECKSUM
    C_ICMPV6_HEADER
    C_ICMPV6_CHECKSUM

CAUSES = (
    "",
    "IpInHdrErrors",
    "InTruncatedPkts",
    "InCsumErrors",
    "IpInAddrErrors",
    "FragmentDrops",
    "IpInUnknownProtos",
    "Ip6InDiscards",
    "Ip6InHdrErrors",
    "Ip6InTruncatedPkts",
    "Ip6InAddrErrors",
    "Ip6FragmentDrops",
    "Ip6InUnknownProtos",
    "TcpInErrs",
    "TcpInCsumErrors",
    "IcmpInErrors",
    "IcmpInCsumErrors",
    "Icmp6InErrors",
    "Icmp6InCsumErrors",
)


cdef bint _good_options(const uint8_t *packet, uint32_t ihl) noexcept nogil:
    """Are IP options well-formed, and none of them a source route? Whoever sends one wants to choose where answers go; Linux drops them
    too (accept_source_route)."""
    cdef uint32_t i = IPV4_HEADER
    while i < ihl and packet[i] != 0:
        if packet[i] == 1:
            i += 1
            continue
        if i + 1 >= ihl or packet[i + 1] < 2 or i + packet[i + 1] > ihl or packet[i] in (_LOOSE_ROUTE, _STRICT_ROUTE):
            return False
        i += packet[i + 1]
    return True


cdef inline uint64_t _load64(const uint8_t *p) noexcept nogil:
    return <uint64_t>load32(p) << 32 | load32(p + 4)


cdef inline bint _is_no_host(uint64_t low, bint loops) noexcept nogil:
    """Of an address whose upper half is zero: unspecified (::), IPv4-mapped, or loopback (::1) where that cannot come from."""
    return low == 0 or low >> 32 == V4_PREFIX or low == 1 and not loops


cdef bint _good_options_v6(const uint8_t *header, uint32_t size) noexcept nogil:
    """Are hop-by-hop or destination options well-formed, few, and none of them one that whoever does not know it must refuse?

    RFC 8200 section 4.2; Linux: ip6_parse_tlv(), max_hbh_opts_number.
    """
    cdef uint32_t i = 2
    cdef int known = 0
    while i < size:
        if header[i] == 0:
            i += 1
            continue
        if i + 1 >= size or i + 2 + header[i + 1] > size:
            return False
        # Padding, and a router alert.
        if header[i] != 1 and header[i] != 5:
            known += 1
            if header[i] >> 6 or known > _MOST_OPTIONS:
                return False
        i += 2 + header[i + 1]
    return True


@cython.final
cdef class Segment:
    """One received packet, parsed. Filled again by the next batch: copy what you keep (``flow.copy()``, ``payload()``).

    :ivar flow: the 4-tuple, local side first
    :ivar number: what ``SegmentBatch.look_up`` found for it
    :ivar cause: 0, or why it was refused: an index into ``CAUSES``
    :ivar version: 4 or 6, 0 when it is neither; ``protocol``: 6 TCP, 1 ICMP, 58 ICMPv6
    :ivar seq: SEG.SEQ; ``ack``: SEG.ACK; ``length``: SEG.LEN with SYN and FIN counted; ``end``: seq + length, modulo 2**32
    :ivar window: SEG.WND as it stands in the header, not scaled
    :ivar options: bits ``OPTION_*`` of the options that were present and well-formed
    :ivar segment_size: bytes of data in each segment of a packet that the device has put together (GRO, TSO); 0: it is one segment
    :ivar quotes: an ICMP error about a TCP segment of ours: ``flow`` and ``seq`` are that segment's
    :ivar mss, wscale, ts_val, ts_ecr, sack_count: their values, meaningful where the bit is set
    """

    def __cinit__(self):
        self.flow = FourTuple.__new__(FourTuple)
        self.packet = NULL

    @property
    def icmp_type(self) -> int:
        """The type of an ICMP message, -1 for any other packet."""
        if self.cause or self.protocol != PROTOCOL_ICMP and self.protocol != PROTOCOL_ICMPV6:
            return -1
        return self.packet[self.header_length]

    @property
    def icmp_code(self) -> int:
        """The code of an ICMP message; meaningful where ``icmp_type`` is not -1."""
        return 0 if self.icmp_type < 0 else self.packet[self.header_length + 1]

    @property
    def icmp_mtu(self) -> int:
        """The next hop's MTU in a "fragmentation needed" (RFC 1191) or a "packet too big" (RFC 4443), bytes; 0 where it names none."""
        if self.icmp_type < 0:
            return 0
        if self.protocol == PROTOCOL_ICMPV6:
            return load32(self.packet + self.header_length + 4)
        return load16(self.packet + self.header_length + 6)

    @property
    def is_parsed(self) -> bool:
        """True when the packet is good, whatever its protocol."""
        return self.cause == 0

    def payload(self) -> bytes:
        """A copy of the bytes after the TCP (or ICMP) header."""
        if self.packet == NULL or self.cause:
            return b""
        return self.packet[self.header_length:self.header_length + self.payload_length]

    cpdef int deliver(self, ByteRing target, uint32_t skip, uint32_t size) except -1:
        """Append ``size`` bytes of the payload to a queue, leaving out the first ``skip``.

        :raises ValueError: the payload is shorter
        """
        if target is None:
            raise TypeError("target cannot be None")
        if <uint64_t>skip + size > self.payload_length:
            raise ValueError(f"{size} bytes at {skip} of a payload of {self.payload_length}")
        target.write(self.packet + self.header_length + skip, size)
        return 0

    cpdef int place(self, ByteRing target, Py_ssize_t offset, uint32_t size) except -1:
        """Put the first ``size`` bytes of the payload ahead of a queue's tail, at an offset from its head.

        :raises ValueError: the payload is shorter, or the offset lies before the tail
        """
        if target is None:
            raise TypeError("target cannot be None")
        if size > self.payload_length or offset < target.length or offset > MAX_WINDOW + target.length:
            raise ValueError(f"{size} bytes of a payload of {self.payload_length} at {offset} of a queue of {target.length}")
        target.place(offset, self.packet + self.header_length, size)
        return 0

    cpdef uint32_t sack_edge(self, int i) noexcept:
        """Edge i of the SACK blocks: left of the first, right of the first, left of the second, ...; 0 beyond the last."""
        return self.sack[i] if 0 <= i < 2 * self.sack_count else 0

    def sack_blocks(self) -> list:
        """The SACK blocks (RFC 2018) as (left, right) pairs, at most four."""
        return [(self.sack[2 * i], self.sack[2 * i + 1]) for i in range(self.sack_count)]

    def fast_open_cookie(self) -> bytes:
        """The Fast Open cookie of a SYN (RFC 7413 section 4.1.1), 4 to 16 bytes; b"" where it asks for one, or has no such option."""
        cdef uint32_t i, size
        if not self.options & _FAST_OPEN:
            return b""
        # ``_parse_tcp`` has walked here before, and found the options well-formed up to this one.
        i = self.ip_length + TCP_HEADER
        while i + 1 < self.header_length and self.packet[i] != 0:
            if self.packet[i] == 1:
                i += 1
                continue
            size = self.packet[i + 1]
            if self.packet[i] == 34 and (size == 2 or 6 <= size <= 18 and size % 2 == 0):
                return self.packet[i + 2:i + size]
            i += size
        return b""

    def read(self, const uint8_t[::1] packet not None) -> None:
        """Parse one packet given as bytes, which are kept until the next. For tests and tools.

        :raises TypeError: the segment belongs to a batch
        """
        if self.ring is not None:
            raise TypeError("the segments of a batch are filled from its ring")
        self.kept = packet
        self.parse(<uint8_t *>&packet[0] if packet.shape[0] else NULL, packet.shape[0], False, False)

    cdef void parse(self, uint8_t *packet, uint32_t n, bint checked, bint loops) noexcept nogil:
        cdef uint32_t ihl, total
        cdef uint64_t pseudo
        cdef uint32_t source, target
        self.packet = packet
        self.packet_length = n
        self.cause = C_NONE
        self.protocol = 0
        self.payload_length = 0
        self.header_length = 0
        self.flags = 0
        self.options = 0
        self.quotes = False
        self.version = 0 if n < 1 else packet[0] >> 4
        if self.version == 6:
            self._parse_ipv6(packet, n, checked, loops)
            return
        if self.version != 4:
            self.version = 0
        if n < IPV4_HEADER or self.version == 0:
            self.cause = C_IP_HEADER
            return
        ihl = (packet[0] & 0x0f) * 4
        total = load16(packet + 2)
        if ihl < IPV4_HEADER or total < ihl:
            self.cause = C_IP_HEADER
            return
        if total > n:
            self.cause = C_IP_TRUNCATED
            return
        if checksum_fold(checksum_add(packet, ihl, 0)) != 0xffff:
            self.cause = C_IP_CHECKSUM
            return
        if load16(packet + 6) & 0x3fff:
            self.cause = C_IP_FRAGMENT
            return
        if ihl > IPV4_HEADER and not _good_options(packet, ihl):
            self.cause = C_IP_HEADER
            return
        source = load32(packet + 12)
        target = load32(packet + 16)
        # No answer may go to a multicast, broadcast, loopback or zero source, nor a segment come to a group (RFC 1122 3.2.1.3,
        # RFC 9293 MUST-57 and MUST-63). From itself, and from 127.0.0.0/8, a stack hears on a device that loops back alone.
        if source >= 0xe0000000U or source >> 24 == 0 or target >= 0xe0000000U or target >> 24 == 0 \
                or (source >> 24 == 127 or target >> 24 == 127 or source == target) and not loops:
            self.cause = C_IP_ADDRESS
            return
        self.packet_length = total
        self.tos = packet[1]
        self.ttl = packet[8]
        self.protocol = packet[9]
        self.header_length = ihl
        self.ip_length = ihl
        if self.protocol == PROTOCOL_TCP:
            if total - ihl < TCP_HEADER:
                self.cause = C_TCP_HEADER
                return
            pseudo = checksum_add(packet + 12, 8, 0)
            pseudo += swap16(PROTOCOL_TCP) + <uint64_t>swap16(<uint16_t>(total - ihl))
            self._parse_tcp(packet + ihl, total - ihl, pseudo, checked)
            if self.cause == C_NONE:
                self.flow.set(
                    0, (<uint64_t>V4_PREFIX << 32) | target, 0, (<uint64_t>V4_PREFIX << 32) | source,
                    load16(packet + ihl + 2), load16(packet + ihl),
                )
        elif self.protocol == PROTOCOL_ICMP:
            if total - ihl < ICMP_HEADER:
                self.cause = C_ICMP_HEADER
                return
            if checksum_fold(checksum_add(packet + ihl, total - ihl, 0)) != 0xffff:
                self.cause = C_ICMP_CHECKSUM
                return
            self.payload_length = total - ihl
            self.flow.set(
                0, (<uint64_t>V4_PREFIX << 32) | target, 0, (<uint64_t>V4_PREFIX << 32) | source, 0, 0
            )
            self._parse_quoted(packet + ihl, total - ihl)
        else:
            self.cause = C_IP_PROTOCOL

    cdef void _parse_quoted(self, uint8_t *message, uint32_t n) noexcept nogil:
        """What an ICMP error quotes of a segment of ours (RFC 792, RFC 1122 section 3.2.2): the 4-tuple and the sequence number."""
        cdef uint8_t *quoted = message + ICMP_HEADER
        cdef uint32_t ihl
        if message[0] not in (_UNREACHABLE, _SOURCE_QUENCH, _TIME_EXCEEDED, _PARAMETER_PROBLEM):
            return
        if n < ICMP_HEADER + IPV4_HEADER + 8 or quoted[0] >> 4 != 4 or quoted[9] != PROTOCOL_TCP:
            return
        ihl = (quoted[0] & 0x0f) * 4
        if ihl < IPV4_HEADER or n < ICMP_HEADER + ihl + 8:
            return
        self.quotes = True
        self.seq = load32(quoted + ihl + 4)
        self.flow.set(
            0, (<uint64_t>V4_PREFIX << 32) | load32(quoted + 12), 0, (<uint64_t>V4_PREFIX << 32) | load32(quoted + 16),
            load16(quoted + ihl), load16(quoted + ihl + 2),
        )

    cdef void _parse_ipv6(self, uint8_t *packet, uint32_t n, bint checked, bint loops) noexcept nogil:
        """RFC 8200. What ``parse`` has set stands; the first half byte is 6."""
        cdef uint32_t total, at = IPV6_HEADER
        cdef uint64_t pseudo, source_hi, source_lo, target_hi, target_lo
        cdef uint8_t next_header
        cdef int extensions = 0
        if n < IPV6_HEADER:
            self.cause = C_IPV6_HEADER
            return
        total = IPV6_HEADER + load16(packet + 4)
        if total > n:
            self.cause = C_IPV6_TRUNCATED
            return
        source_hi, source_lo = _load64(packet + 8), _load64(packet + 16)
        target_hi, target_lo = _load64(packet + 24), _load64(packet + 32)
        if target_hi >> 56 == 0xff:
            self.cause = C_IPV6_GROUP
            return
        # RFC 4291 sections 2.5.2, 2.5.3 and 2.7. An IPv4-mapped address (2.5.5.2) on the wire would be taken for IPv4's.
        if source_hi >> 56 == 0xff or source_hi == 0 and _is_no_host(source_lo, loops) or target_hi == 0 and _is_no_host(target_lo, loops) \
                or source_hi == target_hi and source_lo == target_lo and not loops:
            self.cause = C_IPV6_ADDRESS
            return
        next_header = packet[6]
        while True:
            if next_header == _FRAGMENT:
                if at + 8 > total:
                    self.cause = C_IPV6_HEADER
                    return
                if load16(packet + at + 2) & 0xfff9:
                    self.cause = C_IPV6_FRAGMENT
                    return
                # It is whole: an "atomic fragment" (RFC 6946).
                next_header = packet[at]
                at += 8
            elif next_header == _HOP_BY_HOP or next_header == _DESTINATION or next_header == _ROUTING:
                if (next_header == _HOP_BY_HOP and extensions) or at + 8 > total or at + 8 * (packet[at + 1] + 1) > total:
                    self.cause = C_IPV6_HEADER
                    return
                # A route that goes on elsewhere is not ours to follow (RFC 5095, accept_source_route).
                if next_header == _ROUTING and packet[at + 3] != 0 \
                        or next_header != _ROUTING and not _good_options_v6(packet + at, 8 * (packet[at + 1] + 1)):
                    self.cause = C_IPV6_HEADER
                    return
                next_header = packet[at]
                at += 8 * (packet[at + 1] + 1)
            else:
                break
            extensions += 1
            if extensions > _MOST_EXTENSIONS:
                self.cause = C_IPV6_HEADER
                return
        self.packet_length = total
        self.tos = <uint8_t>(load16(packet) >> 4)
        self.ttl = packet[7]
        self.protocol = next_header
        self.header_length = at
        self.ip_length = at
        if next_header == PROTOCOL_TCP or next_header == PROTOCOL_ICMPV6:
            pseudo = checksum_add(packet + 8, 32, 0)
            # A payload has fewer than 65,536 bytes.
            pseudo += swap16(next_header) + <uint64_t>swap16(<uint16_t>(total - at))
            if next_header == PROTOCOL_TCP:
                if total - at < TCP_HEADER:
                    self.cause = C_TCP_HEADER
                    return
                self._parse_tcp(packet + at, total - at, pseudo, checked)
                if self.cause == C_NONE:
                    self.flow.set(target_hi, target_lo, source_hi, source_lo, load16(packet + at + 2), load16(packet + at))
                return
            if total - at < ICMP_HEADER:
                self.cause = C_ICMPV6_HEADER
                return
            if checksum_fold(checksum_add(packet + at, total - at, pseudo)) != 0xffff:
                self.cause = C_ICMPV6_CHECKSUM
                return
            self.payload_length = total - at
            self.flow.set(target_hi, target_lo, source_hi, source_lo, 0, 0)
            self._parse_quoted_v6(packet + at, total - at)
        else:
            self.cause = C_IPV6_PROTOCOL

    cdef void _parse_quoted_v6(self, uint8_t *message, uint32_t n) noexcept nogil:
        """As ``_parse_quoted``, of an ICMPv6 error (RFC 4443 section 2.1: below 128). Our own packets have no extension headers."""
        cdef uint8_t *quoted = message + ICMP_HEADER
        if message[0] >= 128 or n < ICMP_HEADER + IPV6_HEADER + 8 or quoted[0] >> 4 != 6 or quoted[6] != PROTOCOL_TCP:
            return
        self.quotes = True
        self.seq = load32(quoted + IPV6_HEADER + 4)
        self.flow.set(
            _load64(quoted + 8), _load64(quoted + 16), _load64(quoted + 24), _load64(quoted + 32),
            load16(quoted + IPV6_HEADER), load16(quoted + IPV6_HEADER + 2),
        )

    cdef void _parse_tcp(self, uint8_t *tcp, uint32_t n, uint64_t pseudo, bint checked) noexcept nogil:
        cdef uint32_t header = (tcp[12] >> 4) * 4
        cdef uint32_t i, j, size
        cdef uint8_t kind, flags
        if header < TCP_HEADER or header > n:
            self.cause = C_TCP_HEADER
            return
        if not checked and checksum_fold(checksum_add(tcp, n, pseudo)) != 0xffff:
            self.cause = C_TCP_CHECKSUM
            return
        flags = tcp[13]
        self.seq = load32(tcp + 4)
        self.ack = load32(tcp + 8)
        self.flags = flags
        self.window = load16(tcp + 14)
        self.urgent = load16(tcp + 18)
        self.header_length += header
        self.payload_length = n - header
        self.length = n - header + ((flags & _SYN) >> 1) + (flags & _FIN)
        self.end = self.seq + self.length
        i = TCP_HEADER
        # What nearly every segment carries: NOP, NOP, timestamps (RFC 7323 appendix A).
        if header == TCP_HEADER + 12 and load32(tcp + TCP_HEADER) == 0x0101080aU:
            self.ts_val = load32(tcp + 24)
            self.ts_ecr = load32(tcp + 28)
            self.options = _TIMESTAMPS
            return
        while i < header:
            kind = tcp[i]
            if kind == 0:
                return
            if kind == 1:
                i += 1
                continue
            if i + 1 >= header:
                return
            size = tcp[i + 1]
            # An option that is shorter than its own header or that runs past the end stops the walk; what came before it
            # counts (RFC 9293 MUST-7; Linux's tcp_parse_options does the same).
            if size < 2 or i + size > header:
                return
            if kind == 2 and size == 4:
                self.mss = load16(tcp + i + 2)
                self.options |= _MSS
            elif kind == 3 and size == 3:
                self.wscale = min(tcp[i + 2], MAX_WSCALE)
                self.options |= _WSCALE
            elif kind == 4 and size == 2:
                self.options |= _SACK_PERMITTED
            elif kind == 5 and size >= 10 and size <= 34 and (size - 2) % 8 == 0:
                self.sack_count = (size - 2) // 8
                for j in range((size - 2) // 4):
                    self.sack[j] = load32(tcp + i + 2 + 4 * j)
                self.options |= _SACK
            elif kind == 8 and size == 10 and not self.options & _TIMESTAMPS:
                self.ts_val = load32(tcp + i + 2)
                self.ts_ecr = load32(tcp + i + 6)
                self.options |= _TIMESTAMPS
            elif kind == 34 and flags & _SYN and (size == 2 or 6 <= size <= 18 and size % 2 == 0):
                # RFC 7413 section 4.1.1: a cookie has 4 to 16 bytes, an even number; a request for one has none.
                self.options |= _FAST_OPEN
            i += size


cdef enum:
    # What the loop over a batch counts: no good TCP segment; a good packet with an ECN codepoint; IPv6.
    OTHER = 1
    MARKED = 2
    IPV6 = 4

# Pointers to these are how the GIL-free loops reach a Segment: taking a new reference would need the GIL.
ctypedef int (*parse_function)(void *, void *, uint8_t *, uint32_t, uint8_t, uint16_t, uint64_t *) noexcept nogil
ctypedef void (*look_up_function)(void *, void *) noexcept nogil


cdef int _parse_one(
    Segment segment, SegmentBatch batch, uint8_t *packet, uint32_t n, uint8_t checked, uint16_t segment_size, uint64_t *hash
) noexcept nogil:
    """Parse one packet of a batch, refuse it if it is for somebody else, and note its hash; bits OTHER and MARKED."""
    cdef int seen = 0
    segment.parse(packet, n, checked, batch.loops or checked == OWN)
    segment.segment_size = segment_size
    hash[0] = segment.flow.hash
    if segment.version == 6:
        seen = IPV6
        if segment.cause == C_NONE and not batch.has_ipv6:
            segment.cause = C_IPV6_GROUP
        elif segment.cause == C_NONE and not batch.takes_all and not batch._is_local_v6(_load64(packet + 24), _load64(packet + 32)):
            segment.cause = C_IPV6_ADDRESS
    if segment.cause == C_NONE:
        if segment.tos & 3:
            seen |= MARKED
        if segment.version == 4 and not batch.takes_all and not batch._is_local(load32(packet + 16)):
            segment.cause = C_IP_ADDRESS
    if segment.cause != C_NONE or segment.protocol != PROTOCOL_TCP:
        seen |= OTHER
    return seen


cdef void _look_up(Segment segment, Demux demux) noexcept nogil:
    cdef Py_ssize_t number = -1
    if segment.cause == C_NONE and segment.protocol == PROTOCOL_TCP:
        number = demux._find(segment.flow)
        if number < 0:
            number = demux._find_listener(segment.flow)
    segment.number = <int32_t>number


cdef parse_function _parse_pointer = <parse_function>_parse_one
cdef look_up_function _look_up_pointer = <look_up_function>_look_up


@cython.final
cdef class SegmentBatch:
    """The parsed view of a receive ring: segment i is the packet in slot i.

    :param ring: the ring that devices fill
    :param addresses: what packets must be addressed to, addresses or networks ("198.18.0.2", "198.18.1.0/24", "2001:2::2");
        others are refused under IpInAddrErrors and Ip6InAddrErrors. Empty: nothing is refused
    :param loops: packets from an address to itself may come: the device loops back
    :param has_ipv6: IPv6 is spoken here; else its packets are refused under Ip6InDiscards
    :raises ValueError: not an address or network
    :ivar segments: a ``Segment`` for each slot, made once; each keeps the ring's memory alive
    :ivar count: how many of them the last ``parse()`` filled
    :ivar others: how many of those are no good TCP segments; ``codepoints``: how many have an ECN codepoint (RFC 3168); ``ipv6``: are IPv6
    """

    def __cinit__(self, PacketRing ring not None, addresses=(), bint loops=False, bint has_ipv6=True):
        cdef Py_ssize_t i
        cdef Segment segment
        # Sorted, none within another: a packet's is found by halves, however many there are.
        given = [ipaddress.ip_network(text) for text in addresses]
        parsed = list(ipaddress.collapse_addresses([network for network in given if network.version == 4]))
        parsed6 = list(ipaddress.collapse_addresses([network for network in given if network.version == 6]))
        self.takes_all = not given
        self.has_ipv6 = has_ipv6
        self.network_count = len(parsed)
        self.network6_count = len(parsed6)
        self.networks = <uint32_t *>PyMem_Malloc(2 * max(1, len(parsed)) * sizeof(uint32_t))
        self.networks6 = <uint64_t *>PyMem_Malloc(4 * max(1, len(parsed6)) * sizeof(uint64_t))
        if self.networks == NULL or self.networks6 == NULL:
            raise MemoryError()
        for i, network in enumerate(parsed6):
            first, last = int(network.network_address), int(network.broadcast_address)
            self.networks6[4 * i] = first >> 64
            self.networks6[4 * i + 1] = first & 0xffffffffffffffff
            self.networks6[4 * i + 2] = last >> 64
            self.networks6[4 * i + 3] = last & 0xffffffffffffffff
        for i, network in enumerate(parsed):
            self.networks[2 * i] = int(network.network_address)
            self.networks[2 * i + 1] = int(network.broadcast_address)
        self.ring = ring
        self.loops = loops
        # A tuple: below are pointers to what is in it.
        self.segments = tuple([Segment.__new__(Segment) for _ in range(ring.slots)])
        self.pointers = <void **>PyMem_Malloc(ring.slots * sizeof(void *))
        self.hashes = <uint64_t *>PyMem_Malloc(ring.slots * sizeof(uint64_t))
        if self.pointers == NULL or self.hashes == NULL:
            raise MemoryError()
        for i in range(ring.slots):
            segment = self.segments[i]
            segment.ring = ring
            self.pointers[i] = <void *><PyObject *>segment
        self.count = 0

    def __dealloc__(self):
        PyMem_Free(self.networks)
        PyMem_Free(self.networks6)
        PyMem_Free(self.pointers)
        PyMem_Free(self.hashes)

    cpdef Py_ssize_t parse(self) noexcept:
        """Parse every packet of the ring, without the GIL; returns how many."""
        cdef Py_ssize_t i, others = 0, codepoints = 0, ipv6 = 0, n = self.ring.count
        cdef PacketRing ring = self.ring
        cdef int seen
        with nogil:
            for i in range(n):
                seen = _parse_pointer(
                    self.pointers[i], <void *>self, packet_at(ring, i), length_at(ring, i), ring.is_checked[i], ring.segment_size[i],
                    &self.hashes[i]
                )
                others += seen & OTHER
                codepoints += (seen & MARKED) >> 1
                ipv6 += (seen & IPV6) >> 2
        self.count = n
        self.others = others
        self.codepoints = codepoints
        self.ipv6 = ipv6
        return n

    cpdef int look_up(self, Demux demux) except -1:
        """Find every packet's ``number``, without the GIL and with the cache misses of the batch overlapping.

        It is the number of the 4-tuple, else of the listener at its local side, else -1; true as of now. A packet that comes after
        another of the same 4-tuple may have to look again.
        """
        if demux is None:
            raise TypeError("demux cannot be None")
        cdef Py_ssize_t i
        with nogil:
            demux.prefetch(self.hashes, self.count)
            for i in range(self.count):
                _look_up_pointer(self.pointers[i], <void *>demux)
        return 0

    cdef bint _is_local(self, uint32_t address) noexcept nogil:
        cdef Py_ssize_t low = 0
        cdef Py_ssize_t high = self.network_count
        cdef Py_ssize_t middle
        while low < high:
            middle = (low + high) >> 1
            if self.networks[2 * middle + 1] < address:
                low = middle + 1
            else:
                high = middle
        return low < self.network_count and self.networks[2 * low] <= address

    cdef bint _is_local_v6(self, uint64_t high, uint64_t low) noexcept nogil:
        cdef Py_ssize_t first = 0
        cdef Py_ssize_t end = self.network6_count
        cdef Py_ssize_t middle
        while first < end:
            middle = (first + end) >> 1
            if _is_before(self.networks6[4 * middle + 2], self.networks6[4 * middle + 3], high, low):
                first = middle + 1
            else:
                end = middle
        return first < self.network6_count and not _is_before(high, low, self.networks6[4 * first], self.networks6[4 * first + 1])


cdef inline bint _is_before(uint64_t high, uint64_t low, uint64_t other_high, uint64_t other_low) noexcept nogil:
    return high < other_high or high == other_high and low < other_low
