cimport cython

from fastnet._buffer cimport ByteRing

cdef long long MASK, HALF


@cython.final
cdef class Receiver:
    cdef public ByteRing buffer
    cdef public long long limit

    @cython.locals(gain=cython.longlong)
    cpdef Py_ssize_t growth(self, unsigned int rcv_nxt, unsigned int rcv_adv) except -1
