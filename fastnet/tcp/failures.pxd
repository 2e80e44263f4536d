from fastnet.counters cimport Counters

cdef long long SECOND, INTERVAL
cdef int BURST


cdef class Failures:
    cdef readonly Counters counters
    cdef public bint due
    cdef public bint held
    cdef readonly object interruption
    cdef readonly list waiting
    cdef public long long silenced
    cdef public long long left
    cdef public long long since

    cpdef note(self, str what, object error, long long now)
