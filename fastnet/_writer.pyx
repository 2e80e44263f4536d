"""Packets to be sent: from numbers to bytes, straight into the slots of a transmit ring. ``_headers`` goes the other way.

IPv4 (RFC 791), not fragmented but where that is wanted, IPv6 (RFC 8200), and TCP (RFC 9293 section 3.1) with the options of RFC 9293,
RFC 7323 and RFC 2018.
"""

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastnet._buffer cimport ByteRing
from fastnet._bytes cimport load32, store16_raw, store32, swap16
from fastnet._checksum cimport checksum_add, checksum_fold
from fastnet._flow cimport FourTuple
from fastnet._headers cimport ICMP_HEADER, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, Segment
from fastnet._path cimport IPV4_HEADER, IPV6_HEADER, TCP_HEADER, Path
from fastnet._ring cimport PacketRing, packet_at


cdef enum:
    # Bytes of data that wait in a transmit ring before it is flushed: they should still be in the cache when the device reads them.
    FLUSH_AT = 0x20000
    # Bytes of the longest packet, and of TCP's header with all options: the rest is what a device may cut.
    LONGEST = 65535
    LONGEST_TCP_HEADER = 60
    # Links of IPv6 take as much (RFC 8200 section 5).
    IPV6_MIN_MTU = 1280


@cython.final
cdef class SegmentWriter:
    """Builds packets straight into the slots of a transmit ring.

    Each method takes a ``path``: None is the usual one of the flow's family.

    :param ring: the transmit ring
    :param flush: called when the ring is full; it must empty it (hand it to the device)
    :param ttl: the usual time to live, 1 to 255
    :param offload: the device computes checksums of data and cuts large packets into segments
    :param mtu: bytes of the largest packet that the device takes, more than 40
    :raises TypeError: flush cannot be called
    :raises ValueError: an MTU that leaves no room for data
    :ivar ipv4: the usual path of IPv4; ``ipv6``: of IPv6
    :ivar ipv6_packets: packets of IPv6 that were built since it was made
    """

    def __cinit__(self, PacketRing ring not None, flush, uint8_t ttl=64, bint offload=False, uint32_t mtu=1500):
        if not callable(flush):
            raise TypeError(f"flush is called when the ring is full: {flush!r} cannot be")
        # Any ring will do: its slots hold 128 bytes at least, and headers with all options 120.
        self.ring = ring
        self.flush = flush
        self.offload = offload
        self.waiting = 0
        # No field of IPv4 can say more, and none of IPv6 without a jumbo payload option (RFC 2675).
        mtu = min(mtu, <uint32_t>LONGEST)
        cut = LONGEST - LONGEST_TCP_HEADER if offload else 0
        self.ipv4 = Path(4, mtu, ttl, 0, False, cut - IPV4_HEADER if offload else 0)
        self.ipv6 = Path(6, max(mtu, <uint32_t>IPV6_MIN_MTU), ttl, 0, False, cut - IPV6_HEADER if offload else 0)
        self.identification = 0

    cpdef Path path_of(self, FourTuple flow):
        """The usual path of a flow's family."""
        if flow is None:
            raise TypeError("flow cannot be None")
        return self.ipv4 if flow.version == 4 else self.ipv6

    cdef uint8_t *reserve(self) except NULL:
        """The next free slot's packet; the caller fills it and finishes with ``_finish``."""
        if self.ring.count == self.ring.slots:
            self.flush()
            if self.ring.count == self.ring.slots:
                raise RuntimeError("the transmit ring is full and flush() did not empty it")
        return packet_at(self.ring, self.ring.count)

    cpdef int control(
        self, FourTuple flow, uint32_t seq, uint32_t ack, int flags, uint32_t window,
        bint timestamps=False, uint32_t ts_val=0, uint32_t ts_ecr=0, list blocks=None, uint32_t urgent=0, Path path=None,
    ) except -1:
        """A segment without data: ACK, FIN or RST.

        :param flags: bits of the flags byte; ``window``: already scaled, 16 bits
        :param blocks: SACK blocks (RFC 2018), (left, right) pairs; at most ``MAX_SACK_BLOCKS``, of which 3 fit beside timestamps
        :param urgent: the urgent pointer's field
        """
        if flow is None:
            raise TypeError("flow cannot be None")
        if path is None:
            path = self.path_of(flow)
        cdef uint32_t edges[8]
        cdef uint32_t count = 0 if blocks is None else _read_blocks(edges, blocks, 3 if timestamps else 4)
        cdef uint8_t *packet = self.reserve()
        cdef uint32_t header = TCP_HEADER
        cdef uint64_t options = 0
        if timestamps:
            options = _put_timestamps(packet + path.header + TCP_HEADER, ts_val, ts_ecr)
            header += 12
        if count:
            header += _put_blocks(packet + path.header + header, edges, count, &options)
        _finish(self, path, packet, flow, seq, ack, flags, window, urgent, header, options, 0)
        return 0

    cpdef int synack(
        self, FourTuple flow, uint32_t seq, uint32_t ack, int flags, uint32_t window,
        int mss, int wscale, bint sack_permitted, bint timestamps, uint32_t ts_val, uint32_t ts_ecr, Path path=None,
    ) except -1:
        """A SYN or SYN-ACK with its options, laid out as Linux does.

        :param wscale: shift count, or -1 for no window scale option
        """
        if flow is None:
            raise TypeError("flow cannot be None")
        if path is None:
            path = self.path_of(flow)
        cdef uint8_t *packet = self.reserve()
        cdef uint8_t *option = packet + path.header + TCP_HEADER
        cdef uint32_t word = 0x02040000U | <uint32_t>(mss & 0xffff)
        cdef uint64_t options = word
        store32(option, word)
        option += 4
        if timestamps:
            word = 0x0402080aU if sack_permitted else 0x0101080aU
            store32(option, word)
            store32(option + 4, ts_val)
            store32(option + 8, ts_ecr)
            options += <uint64_t>word + ts_val + ts_ecr
            option += 12
        elif sack_permitted:
            store32(option, 0x01010402U)
            options += 0x01010402U
            option += 4
        if wscale >= 0:
            word = 0x01030300U | <uint32_t>(wscale & 0xff)
            store32(option, word)
            options += word
            option += 4
        _finish(self, path, packet, flow, seq, ack, flags, window, 0, <uint32_t>(option - packet) - path.header, options, 0)
        return 0

    cpdef int verbatim(
        self, FourTuple flow, uint32_t seq, uint32_t ack, int flags, uint32_t window, bytes options, Path path=None,
    ) except -1:
        """A segment without data whose options are given byte by byte, and filled up with zeros to a whole word.

        :raises ValueError: more than 40 bytes of options
        """
        if flow is None or options is None:
            raise TypeError("flow and options cannot be None")
        if path is None:
            path = self.path_of(flow)
        cdef uint32_t i, size = <uint32_t>(len(options) + 3) & ~3U
        cdef uint8_t *packet
        cdef uint64_t total = 0
        if len(options) > 40:
            raise ValueError(f"{len(options)} bytes of options; a header has room for 40")
        packet = self.reserve()
        options = options + bytes(size - len(options))
        memcpy(packet + path.header + TCP_HEADER, <const char *>options, size)
        for i in range(0, size, 4):
            total += load32(<const uint8_t *><const char *>options + i)
        _finish(self, path, packet, flow, seq, ack, flags, window, 0, TCP_HEADER + size, total, 0)
        return 0

    def syn_data(
        self, FourTuple flow not None, uint32_t seq, uint32_t ack, int flags, uint32_t window, bytes options not None,
        ByteRing source not None, Py_ssize_t size, Path path=None,
    ) -> int:
        """A segment whose options are given byte by byte, as ``verbatim``'s, with the first ``size`` bytes of a queue: a SYN with data.

        :raises ValueError: more than 40 bytes of options, or the bytes are not there, or do not fit a slot
        """
        cdef uint32_t i, room = <uint32_t>(len(options) + 3) & ~3U
        cdef uint32_t header = TCP_HEADER + room
        cdef uint8_t *packet
        cdef uint64_t total = 0
        if path is None:
            path = self.path_of(flow)
        if len(options) > 40:
            raise ValueError(f"{len(options)} bytes of options; a header has room for 40")
        packet = self.reserve()
        if size < 0 or size > source.length:
            raise ValueError(f"{size} bytes of a queue of {source.length}")
        if path.header + header + size > self.ring.capacity or path.header + header + size > LONGEST:
            raise ValueError(f"{size} bytes of data do not fit a packet")
        options = options + bytes(room - len(options))
        memcpy(packet + path.header + TCP_HEADER, <const char *>options, room)
        for i in range(0, room, 4):
            total += load32(<const uint8_t *><const char *>options + i)
        source.load(0, packet + path.header + header, size)
        if self.offload:
            self.ring.segment_size[self.ring.count] = 0
        _finish(self, path, packet, flow, seq, ack, flags, window, 0, header, total, <uint32_t>size)
        return 0

    cpdef int data(
        self, FourTuple flow, uint32_t seq, uint32_t ack, int flags, uint32_t window,
        bint timestamps, uint32_t ts_val, uint32_t ts_ecr,
        ByteRing source, Py_ssize_t offset, Py_ssize_t size, list blocks=None, uint32_t urgent=0, uint16_t segment_size=0,
        Path path=None,
    ) except -1:
        """A segment with ``size`` bytes of a queue, from ``offset`` on. Other parameters as ``control``'s.

        :param segment_size: bytes of data that the device is to put into a segment, where it cuts large packets itself
        :raises ValueError: the bytes are not there, or do not fit a slot
        """
        if flow is None or source is None:
            raise TypeError("flow and source cannot be None")
        if path is None:
            path = self.path_of(flow)
        cdef uint32_t edges[8]
        cdef uint32_t count = 0 if blocks is None else _read_blocks(edges, blocks, 3 if timestamps else 4)
        cdef uint8_t *packet
        cdef uint32_t header = TCP_HEADER
        cdef uint64_t options = 0
        if self.ring.count == 0:
            self.waiting = 0
        elif self.waiting > FLUSH_AT:
            self.flush()
            self.waiting = 0
        packet = self.reserve()
        if timestamps:
            options = _put_timestamps(packet + path.header + TCP_HEADER, ts_val, ts_ecr)
            header += 12
        if count:
            header += _put_blocks(packet + path.header + header, edges, count, &options)
        if size < 0 or offset < 0 or size > source.length - offset:
            raise ValueError(f"{size} bytes at {offset} of a queue of {source.length}")
        if path.header + header + size > self.ring.capacity or path.header + header + size > LONGEST:
            raise ValueError(f"{size} bytes of data do not fit a packet")
        source.load(offset, packet + path.header + header, size)
        if self.offload:
            self.ring.segment_size[self.ring.count] = segment_size if size > segment_size else 0
            if path.fragment and segment_size:
                # The device numbers the segments that it cuts, from the packet's number on.
                self.identification += <uint16_t>(size // segment_size)
        self.waiting += size
        _finish(self, path, packet, flow, seq, ack, flags, window, urgent, header, options, <uint32_t>size)
        return 0

    cpdef int icmp(self, FourTuple flow, Segment request, int type_, int code) except -1:
        """An ICMP message of the flow's family with the rest of another one: the echo reply to an echo request (RFC 792, RFC 4443)."""
        if flow is None or request is None:
            raise TypeError("flow and request cannot be None")
        # The slot first: to make room for it may run a program, which may fill the request anew.
        cdef Path path = self.path_of(flow)
        cdef uint8_t *packet = self.reserve()
        cdef uint8_t *message
        cdef uint32_t n = request.payload_length
        cdef uint64_t total
        if request.packet == NULL or n < ICMP_HEADER:
            raise ValueError(f"an ICMP message has {ICMP_HEADER} bytes at least, not {n}")
        if path.header + n > self.ring.capacity:
            raise ValueError(f"an ICMP message of {n} bytes does not fit a packet")
        message = packet + path.header
        memcpy(message, request.packet + request.header_length, n)
        self.ring.is_checked[self.ring.count] = 0
        self.ring.segment_size[self.ring.count] = 0
        message[0] = <uint8_t>type_
        message[1] = <uint8_t>code
        store16_raw(message + 2, 0)
        if path.version == 4:
            total = checksum_add(message, n, 0)
        else:
            # The pseudo-header (RFC 8200 section 8.1), as the bytes lie in memory.
            total = checksum_add(message, n, swap16(<uint16_t>checksum_fold(_addresses(path, flow) + PROTOCOL_ICMPV6 + n)))
        store16_raw(message + 2, ~checksum_fold(total))
        _put_ip(self, path, packet, flow, PROTOCOL_ICMP if path.version == 4 else PROTOCOL_ICMPV6, path.header + n)
        return 0

    def repeat(self, FourTuple flow not None, Py_ssize_t times, ByteRing source=None, Py_ssize_t size=0):
        """For benchmarks: build so many segments with timestamps into the ring, over and over, without leaving C.

        :raises ValueError: more than a million
        """
        if times > 1_000_000:
            raise ValueError(f"{times} times")
        cdef Py_ssize_t i
        for i in range(times):
            if self.ring.count == self.ring.slots:
                self.ring.count = 0
            if source is None:
                self.control(flow, <uint32_t>i, 1, 0x10, 502, True, <uint32_t>i, 2)
            else:
                self.data(flow, <uint32_t>i, 1, 0x10, 502, True, <uint32_t>i, 2, source, 0, size)


cdef inline uint64_t _put_timestamps(uint8_t *option, uint32_t ts_val, uint32_t ts_ecr) noexcept nogil:
    store32(option, 0x0101080aU)
    store32(option + 4, ts_val)
    store32(option + 8, ts_ecr)
    return <uint64_t>0x0101080aU + ts_val + ts_ecr


@cython.boundscheck(True)
cdef uint32_t _read_blocks(uint32_t *edges, list blocks, Py_ssize_t room) except? 0:
    """The edges of the first SACK blocks; how many blocks. To read them may run a program, which must find no packet half done."""
    cdef Py_ssize_t i, count = min(room, len(blocks))
    for i in range(count):
        edges[2 * i], edges[2 * i + 1] = blocks[i]
    return <uint32_t>count


cdef uint32_t _put_blocks(uint8_t *option, const uint32_t *edges, uint32_t count, uint64_t *total) noexcept nogil:
    """A SACK option behind two NOPs (RFC 2018 section 3, laid out as Linux does); its bytes, and its sum added to ``total``."""
    cdef uint32_t i
    cdef uint32_t word = 0x01010500U | (2 + 8 * count)
    store32(option, word)
    total[0] += word
    for i in range(2 * count):
        store32(option + 4 + 4 * i, edges[i])
        total[0] += edges[i]
    return 4 + 8 * count


# Checksums of headers are summed from the numbers that go in, not from the memory just written: reading back what was stored in
# other sizes a moment ago would stall on the store buffer, for longer than the sum takes.


cdef inline uint16_t _complement(uint64_t total) noexcept nogil:
    """The checksum, as a number, of a sum of 32-bit and 16-bit numbers."""
    return <uint16_t>~checksum_fold(total)


# None of these can fail: numbers go in, and bytes into a slot that has room for every header.


cdef inline uint64_t _halves(uint64_t word) noexcept nogil:
    return (word >> 32) + (word & 0xffffffffU)


cdef inline uint64_t _addresses(Path path, FourTuple flow) noexcept:
    """The sum of both addresses."""
    if path.version == 4:
        return <uint64_t><uint32_t>flow.local_lo + <uint32_t>flow.remote_lo
    return _halves(flow.local_hi) + _halves(flow.local_lo) + _halves(flow.remote_hi) + _halves(flow.remote_lo)


cdef inline void _put_ip(SegmentWriter writer, Path path, uint8_t *packet, FourTuple flow, uint8_t protocol, uint32_t total) noexcept:
    """The IP header of a finished packet, which then belongs to the ring."""
    if path.version == 4:
        _put_ipv4(writer, path, packet, flow, protocol, total)
    else:
        _put_ipv6(writer, path, packet, flow, protocol, total)
    writer.ring.length[writer.ring.count] = total
    writer.ring.count += 1


cdef void _put_ipv6(SegmentWriter writer, Path path, uint8_t *packet, FourTuple flow, uint8_t protocol, uint32_t total) noexcept:
    """The IPv6 header. Its flow label is the upper end of the 4-tuple's keyed hash (RFC 6437): the lower end is the demux's secret."""
    store32(packet, path.first | <uint32_t>(flow.hash >> 44))
    store32(packet + 4, (total - IPV6_HEADER) << 16 | <uint32_t>protocol << 8 | path.third)
    store32(packet + 8, <uint32_t>(flow.local_hi >> 32))
    store32(packet + 12, <uint32_t>flow.local_hi)
    store32(packet + 16, <uint32_t>(flow.local_lo >> 32))
    store32(packet + 20, <uint32_t>flow.local_lo)
    store32(packet + 24, <uint32_t>(flow.remote_hi >> 32))
    store32(packet + 28, <uint32_t>flow.remote_hi)
    store32(packet + 32, <uint32_t>(flow.remote_lo >> 32))
    store32(packet + 36, <uint32_t>flow.remote_lo)
    writer.ipv6_packets += 1


cdef inline void _put_ipv4(
    SegmentWriter writer, Path path, uint8_t *packet, FourTuple flow, uint8_t protocol, uint32_t total
) noexcept:
    """The IPv4 header. With DF the identification stays zero (RFC 6864 section 4.1)."""
    cdef uint32_t first = path.first | total
    cdef uint32_t second = 0x00004000U
    cdef uint32_t third = path.third | (<uint32_t>protocol << 16)
    cdef uint32_t source = <uint32_t>flow.local_lo
    cdef uint32_t target = <uint32_t>flow.remote_lo
    if path.fragment:
        writer.identification += 1
        second = <uint32_t>writer.identification << 16
    third |= _complement(<uint64_t>first + second + third + source + target)
    store32(packet, first)
    store32(packet + 4, second)
    store32(packet + 8, third)
    store32(packet + 12, source)
    store32(packet + 16, target)


cdef inline void _finish(
    SegmentWriter writer, Path path, uint8_t *packet, FourTuple flow, uint32_t seq, uint32_t ack, int flags, uint32_t window,
    uint32_t urgent, uint32_t header, uint64_t options, uint32_t size,
) noexcept:
    """Fixed TCP header, checksum and IP header around options (whose sum is given) and data that are already in place."""
    cdef uint8_t *tcp = packet + path.header
    cdef uint32_t ports = (<uint32_t>flow.local_port << 16) | flow.remote_port
    cdef uint32_t fourth = (header << 26) | (<uint32_t>(flags & 0xff) << 16) | (window & 0xffffU)
    # The pseudo-header (RFC 9293 section 3.1), then the header.
    cdef uint64_t total = _addresses(path, flow) + PROTOCOL_TCP + header + size
    urgent &= 0xffffU
    if writer.offload:
        writer.ring.is_checked[writer.ring.count] = size > 0
        if not size:
            writer.ring.segment_size[writer.ring.count] = 0
    if size and writer.offload:
        # The device adds the rest to the sum of the pseudo-header.
        total = <uint16_t>~_complement(total)
    else:
        total += <uint64_t>ports + seq + ack + fourth + options + urgent
        if size:
            total += swap16(checksum_fold(checksum_add(tcp + header, size, 0)))
        total = _complement(total)
    store32(tcp, ports)
    store32(tcp + 4, seq)
    store32(tcp + 8, ack)
    store32(tcp + 12, fourth)
    store32(tcp + 16, <uint32_t>total << 16 | urgent)
    _put_ip(writer, path, packet, flow, PROTOCOL_TCP, path.header + header + size)
