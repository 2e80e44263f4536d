cimport cython

from fastnet._buffer cimport ByteRing
from fastnet._headers cimport Segment

cdef long long MASK, HALF
cdef int MAX_PIECES


@cython.final
cdef class Receiver:
    cdef public ByteRing buffer
    cdef public list pieces
    cdef public long long limit
    cdef public long long fin

    @cython.locals(gain=cython.longlong)
    cpdef Py_ssize_t growth(self, unsigned int rcv_nxt, unsigned int rcv_adv) except -1
    @cython.locals(
        left=cython.longlong, right=cython.longlong, start=cython.longlong, pieces=list, at=cython.Py_ssize_t,
        piece_left=cython.longlong, piece_right=cython.longlong,
    )
    cpdef bint keep(self, Segment seg, unsigned int rcv_nxt, long long size) except -1
    @cython.locals(left=cython.longlong, right=cython.longlong, ahead=cython.longlong, size=cython.longlong)
    cpdef Py_ssize_t close_gap(self, unsigned int rcv_nxt) except -1
