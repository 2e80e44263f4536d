from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastnet._buffer cimport ByteRing
from fastnet._demux cimport Demux
from fastnet._flow cimport FourTuple
from fastnet._ring cimport PacketRing

cdef enum:
    # Bytes.
    ICMP_HEADER = 8
    PROTOCOL_ICMP = 1
    PROTOCOL_TCP = 6
    PROTOCOL_ICMPV6 = 58


cdef class Segment:
    cdef readonly FourTuple flow
    cdef object kept
    cdef PacketRing ring
    cdef uint8_t *packet
    cdef readonly uint32_t packet_length
    cdef readonly uint32_t header_length
    cdef readonly uint32_t ip_length
    cdef readonly uint32_t payload_length
    cdef readonly uint32_t length
    cdef readonly uint32_t seq
    cdef readonly uint32_t ack
    cdef readonly uint32_t end
    cdef readonly uint32_t ts_val
    cdef readonly uint32_t ts_ecr
    cdef readonly uint32_t window
    cdef readonly uint16_t urgent
    cdef readonly uint16_t mss
    cdef readonly uint16_t segment_size
    cdef readonly uint8_t flags
    cdef readonly uint8_t options
    cdef readonly uint8_t wscale
    cdef readonly uint8_t sack_count
    cdef readonly int32_t number
    cdef readonly uint8_t cause
    cdef readonly uint8_t protocol
    cdef readonly uint8_t ttl
    cdef readonly uint8_t tos
    cdef readonly uint8_t version
    cdef readonly bint quotes
    cdef uint32_t sack[8]

    cpdef int deliver(self, ByteRing target, uint32_t skip, uint32_t size) except -1
    cpdef int place(self, ByteRing target, Py_ssize_t offset, uint32_t size) except -1
    cpdef uint32_t sack_edge(self, int i) noexcept
    cdef void parse(self, uint8_t *packet, uint32_t n, bint checked, bint loops) noexcept nogil
    cdef void _parse_ipv6(self, uint8_t *packet, uint32_t n, bint checked, bint loops) noexcept nogil
    cdef void _parse_quoted_v6(self, uint8_t *message, uint32_t n) noexcept nogil
    cdef void _parse_quoted(self, uint8_t *message, uint32_t n) noexcept nogil
    cdef void _parse_tcp(self, uint8_t *tcp, uint32_t n, uint64_t pseudo, bint checked) noexcept nogil


cdef class SegmentBatch:
    cdef readonly tuple segments
    cdef readonly PacketRing ring
    cdef void **pointers
    cdef uint64_t *hashes
    cdef uint32_t *networks  # IPv4: first and last address of each, sorted.
    cdef Py_ssize_t network_count
    cdef uint64_t *networks6  # IPv6: the same, in two words each.
    cdef Py_ssize_t network6_count
    cdef bint has_ipv6
    cdef bint takes_all
    cdef bint loops
    cdef readonly Py_ssize_t count
    cdef readonly Py_ssize_t others
    cdef readonly Py_ssize_t codepoints
    cdef readonly Py_ssize_t ipv6

    cpdef Py_ssize_t parse(self) noexcept
    cpdef int look_up(self, Demux demux) except -1
    cdef bint _is_local(self, uint32_t address) noexcept nogil
    cdef bint _is_local_v6(self, uint64_t high, uint64_t low) noexcept nogil
