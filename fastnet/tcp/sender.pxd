cimport cython

from fastnet._buffer cimport ByteRing
from fastnet._headers cimport Segment
from fastnet.tcp.rtt cimport RttEstimator
from fastnet.tcp.tcb cimport Tcb

cdef int ACK, FIN, OPTION_TIMESTAMPS, PSH
cdef long long MASK, HALF, MILLISECOND
cdef int MAX_BACKOFF, MAX_RTT


@cython.final
cdef class Sender:
    cdef public ByteRing buffer
    cdef public RttEstimator rtt
    cdef public long long limit
    cdef public long long deadline
    cdef public unsigned int recover
    cdef public int backoff
    cdef public int unanswered
    cdef public bint recovering
    cdef public bint full
    cdef public bint fin_queued
    cdef public bint fin_sent

    @cython.locals(elapsed=cython.longlong)
    cpdef acknowledge(self, Tcb tcb, Segment seg, unsigned int acked, long long now)
    @cython.locals(
        mss=cython.longlong, in_flight=cython.longlong, unsent=cython.longlong, usable=cython.longlong, size=cython.longlong,
        flags=cython.int, idle=cython.bint,
    )
    cpdef transmit(self, Tcb tcb, long long now)
    @cython.locals(in_flight=cython.longlong, data=cython.longlong, size=cython.longlong, flags=cython.int)
    cpdef retransmit(self, Tcb tcb, long long now)
    cpdef bint timeout(self, Tcb tcb, long long now) except -1
