cimport cython

from fastnet._headers cimport Segment, SegmentBatch
from fastnet._ring cimport PacketRing
from fastnet._writer cimport SegmentWriter
from fastnet.counters cimport Counters
from fastnet.tcp.context cimport Context, Endpoint
from fastnet.tcp.protocol cimport Tcp

cdef int TCP, CE, CODEPOINT, ECT_0


cdef class Stack:
    cdef object __weakref__
    cdef public object device
    cdef public tuple addresses
    cdef public object own
    cdef public object settings
    cdef public object clock
    cdef public Counters counters
    cdef public PacketRing received
    cdef public bint loops
    cdef public SegmentBatch batch
    cdef public PacketRing sending
    cdef public SegmentWriter writer
    cdef public Context context
    cdef public Tcp tcp
    cdef public object ports
    cdef public object single_addresses
    cdef public object hairpin

    @cython.locals(received=cython.Py_ssize_t)
    cpdef poll(self, long long now)
    @cython.locals(
        counters=Counters, batch=SegmentBatch, context=Context, count=cython.Py_ssize_t, seg=Segment
    )
    cpdef packets_arrive(self, long long now)
    @cython.locals(counters=Counters, seg=Segment, codepoint=cython.int)
    cpdef count_codepoints(self, Py_ssize_t count)
    cpdef packet_arrives(self, Segment seg, long long now)
    cpdef flush(self, long long now)
    cpdef send(self, long long now)
    @cython.locals(sending=PacketRing, count=cython.longlong, sent=cython.longlong)
    cpdef transmit(self)
    @cython.locals(ready=list, endpoint=Endpoint)
    cpdef list take_ready(self)
