cimport cython

cdef long long MILLISECOND, SECOND, RTO_INITIAL, RTO_MIN, RTO_MAX
cdef int MOST_DOUBLINGS, DOUBLINGS


@cython.final
cdef class RttEstimator:
    cdef public long long srtt
    cdef public long long rttvar
    cdef public long long rto
    cdef public int backoff
    cdef public int expected
    cdef public int samples

    @cython.locals(difference=cython.longlong)
    cpdef measure(self, long long sample)
    cpdef round_over(self)
    cpdef back_off(self)
    cpdef Py_ssize_t backed_off(self, int times) except? -1


@cython.locals(doubled=cython.longlong)
cpdef Py_ssize_t time_of_timeouts(long long count) except? -1
