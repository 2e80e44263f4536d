cimport cython

from fastnet._buffer cimport ByteRing, Pool
from fastnet._demux cimport Demux
from fastnet.counters cimport Counters

cdef int MIN_SNDBUF, PAGE


@cython.final
cdef class Memory:
    cdef readonly Pool pool
    cdef readonly Counters counters
    cdef readonly Demux demux
    cdef public long long low
    cdef public long long pressure
    cdef public long long high
    cdef public bint pressed

    cpdef look(self, long long total)
    cpdef bint is_pressed(self) except -1
    @cython.locals(block=cython.longlong, total=cython.longlong)
    cpdef bint allows(self, ByteRing buffer, Py_ssize_t wanted, Py_ssize_t guaranteed) except -1
    cpdef bint is_exhausted(self, Py_ssize_t queued) except -1
