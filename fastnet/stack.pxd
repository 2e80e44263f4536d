cimport cython

from fastnet._headers cimport Segment, SegmentBatch
from fastnet._ring cimport PacketRing
from fastnet._writer cimport SegmentWriter
from fastnet.counters cimport Counters
from fastnet.tcp.containment cimport contain, end_all
from fastnet.tcp.context cimport Context, Endpoint
from fastnet.tcp.failures cimport Failures
from fastnet.tcp.protocol cimport Tcp

cdef int TCP, CE, CODEPOINT, ECT_0


cdef class Stack:
    cdef object __weakref__
    cdef public object device
    cdef readonly tuple addresses
    cdef readonly object own
    cdef readonly object settings
    cdef readonly object clock
    cdef readonly Counters counters
    cdef readonly PacketRing received
    cdef public bint loops
    cdef readonly SegmentBatch batch
    cdef readonly PacketRing sending
    cdef readonly SegmentWriter writer
    cdef readonly Context context
    cdef readonly Tcp tcp
    cdef readonly object ports
    cdef readonly object single_addresses
    cdef public object hairpin
    cdef readonly object failure
    cdef readonly bint full
    cdef readonly unsigned long long ipv6_sent

    cpdef poll(self, long long now)
    @cython.locals(received=cython.Py_ssize_t)
    cpdef Py_ssize_t receive(self, long long now) except -1
    cpdef fire(self, long long now)
    @cython.locals(deadline=cython.longlong)
    cpdef long long next_deadline(self, long long now) except? -1
    cpdef bint has_news(self) except -1
    cpdef device_raised(self, error, long long now)
    cpdef fail(self, error)
    @cython.locals(failures=Failures)
    cpdef round_over(self, long long now)
    cpdef packets_arrive(self, long long now)
    @cython.locals(counters=Counters, batch=SegmentBatch, context=Context, count=cython.Py_ssize_t)
    cdef batch_arrives(self, long long now)
    @cython.locals(segments=tuple, i=cython.Py_ssize_t, seg=Segment)
    cdef packets_of_all_kinds(self, Py_ssize_t count, long long now)
    @cython.locals(counters=Counters, seg=Segment, codepoint=cython.int)
    cpdef count_codepoints(self, Py_ssize_t count)
    cpdef packet_arrives(self, Segment seg, long long now)
    cpdef flush(self, long long now)
    cpdef send(self, long long now)
    @cython.locals(sending=PacketRing, count=cython.Py_ssize_t, sent=cython.Py_ssize_t, built=cython.longlong)
    cpdef transmit(self)
    @cython.locals(ready=list, endpoint=Endpoint)
    cpdef list take_ready(self)
