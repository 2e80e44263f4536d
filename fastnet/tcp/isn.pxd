cimport cython
from libc.stdint cimport uint64_t

from fastnet._flow cimport FourTuple

cdef unsigned long long MASK
cdef long long MICROSECOND


@cython.final
cdef class IsnGenerator:
    cdef uint64_t key0
    cdef uint64_t key1

    @cython.locals(prf=cython.ulonglong, isn=cython.ulonglong)
    cpdef uint64_t draw(self, FourTuple flow, long long now) except? 0
