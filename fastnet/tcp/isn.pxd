cimport cython
from libc.stdint cimport uint64_t

from fastnet._flow cimport FourTuple

cdef long long MICROSECOND, FOUR_MICROSECONDS
cdef unsigned long long MASK64


@cython.final
cdef class IsnGenerator:
    cdef uint64_t key0
    cdef uint64_t key1

    cpdef uint64_t base(self, FourTuple flow) except? 0
    cpdef uint64_t draw(self, FourTuple flow, long long now) except? 0
