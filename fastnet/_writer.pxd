from libc.stdint cimport uint8_t, uint16_t, uint32_t

from fastnet._buffer cimport ByteRing
from fastnet._flow cimport FourTuple
from fastnet._headers cimport Segment
from fastnet._ring cimport PacketRing


cdef class SegmentWriter:
    cdef readonly PacketRing ring
    cdef object flush
    cdef uint8_t usual_ttl
    cdef readonly bint offload
    cdef Py_ssize_t waiting
    cdef public uint8_t ttl
    cdef public uint8_t tos
    cdef public uint16_t mss
    cdef public bint fragment
    cdef uint16_t identification

    cpdef int dress(self, int ttl, int tos, bint fragment=*, int mss=*) except -1
    cpdef int undress(self) except -1

    cdef uint8_t *reserve(self) except NULL
    cpdef int control(
        self, FourTuple flow, uint32_t seq, uint32_t ack, int flags, uint32_t window,
        bint timestamps=*, uint32_t ts_val=*, uint32_t ts_ecr=*, list blocks=*, uint32_t urgent=*,
    ) except -1
    cpdef int synack(
        self, FourTuple flow, uint32_t seq, uint32_t ack, int flags, uint32_t window,
        int mss, int wscale, bint sack_permitted, bint timestamps, uint32_t ts_val, uint32_t ts_ecr,
    ) except -1
    cpdef int verbatim(
        self, FourTuple flow, uint32_t seq, uint32_t ack, int flags, uint32_t window, bytes options
    ) except -1
    cpdef int data(
        self, FourTuple flow, uint32_t seq, uint32_t ack, int flags, uint32_t window,
        bint timestamps, uint32_t ts_val, uint32_t ts_ecr,
        ByteRing source, Py_ssize_t offset, Py_ssize_t size, list blocks=*, uint32_t urgent=*,
        uint16_t segment_size=*,
    ) except -1
    cpdef int icmp(self, FourTuple flow, Segment request, int type_, int code) except -1
