cimport cython

cdef long long MILLISECOND, SECOND, RTO_INITIAL, RTO_MIN, RTO_MAX
cdef int MOST_DOUBLINGS


@cython.final
cdef class RttEstimator:
    cdef public long long srtt
    cdef public long long rttvar
    cdef public long long rto

    cpdef measure(self, long long sample)
    cpdef Py_ssize_t backed_off(self, int times) except? -1
