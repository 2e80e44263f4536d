cimport cython

cdef long long MILLISECOND, SECOND


@cython.final
cdef class Patience:
    cdef public bint keepalive
    cdef public long long idle
    cdef public long long interval
    cdef public int count
    cdef public int probes
    cdef public long long probed_at
    cdef public long long silent_since
    cdef public long long user_timeout
    cdef public long long fin_wait
    cdef public int syn_retries

    cpdef set_user_timeout(self, long long milliseconds)
    cpdef Py_ssize_t next_look(self, long long heard_at) except? -1
    cpdef probe(self, long long heard_at, long long now)
    cpdef bint is_over(self, long long heard_at, long long now) except -1
