from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastnet._buffer cimport ByteRing
from fastnet._flow cimport FourTuple
from fastnet._headers cimport Segment
from fastnet._path cimport Path
from fastnet._ring cimport PacketRing


cdef class SegmentWriter:
    cdef readonly PacketRing ring
    cdef object flush
    cdef readonly bint offload
    cdef Py_ssize_t waiting
    cdef readonly Path ipv4
    cdef readonly Path ipv6
    cdef readonly uint64_t ipv6_packets
    cdef uint16_t identification

    cpdef Path path_of(self, FourTuple flow)
    cdef uint8_t *reserve(self) except NULL
    cpdef int control(
        self, FourTuple flow, uint32_t seq, uint32_t ack, int flags, uint32_t window,
        bint timestamps=*, uint32_t ts_val=*, uint32_t ts_ecr=*, list blocks=*, uint32_t urgent=*, Path path=*,
    ) except -1
    cpdef int synack(
        self, FourTuple flow, uint32_t seq, uint32_t ack, int flags, uint32_t window,
        int mss, int wscale, bint sack_permitted, bint timestamps, uint32_t ts_val, uint32_t ts_ecr, Path path=*,
    ) except -1
    cpdef int verbatim(
        self, FourTuple flow, uint32_t seq, uint32_t ack, int flags, uint32_t window, bytes options, Path path=*,
    ) except -1
    cpdef int data(
        self, FourTuple flow, uint32_t seq, uint32_t ack, int flags, uint32_t window,
        bint timestamps, uint32_t ts_val, uint32_t ts_ecr,
        ByteRing source, Py_ssize_t offset, Py_ssize_t size, list blocks=*, uint32_t urgent=*,
        uint16_t segment_size=*, Path path=*,
    ) except -1
    cpdef int icmp(self, FourTuple flow, Segment request, int type_, int code) except -1
