cimport cython
from libc.stdint cimport uint64_t

from fastnet._flow cimport FourTuple


@cython.final
cdef class Source:
    cdef readonly SourceTable table
    cdef public uint64_t network
    cdef public long long requests
    cdef public long long connections

    cpdef request_over(self)
    cpdef connection_over(self)


@cython.final
cdef class SourceTable:
    cdef public int prefix
    cdef public long long largest
    cdef readonly dict sources
    cdef public long long uncounted

    cpdef Source find(self, FourTuple flow)
    @cython.locals(network=uint64_t, source=Source)
    cpdef Source take(self, FourTuple flow)
    cpdef forget(self, Source source)
