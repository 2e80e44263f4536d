cimport cython

cdef long long MOST


cdef class Acknowledgment:
    cdef public long long acked
    cdef public long long rtt
    cdef public long long min_rtt
    cdef public long long in_flight
    cdef public long long round
    cdef public long long now


cdef class CongestionControl:
    cdef public long long mss
    cdef public long long cwnd
    cdef public long long ssthresh

    cpdef Py_ssize_t initial_window(self) except? -1
    cpdef set_mss(self, long long mss)
    cpdef acknowledged(self, Acknowledgment ack)
    @cython.locals(grown=cython.longlong)
    cpdef Py_ssize_t slow_start(self, long long acked) except? -1
    cpdef reduce(self, long long in_flight, long long now)
    cpdef timed_out(self, long long in_flight, long long now)
    cpdef timed_out_again(self)
    cpdef recovered(self, long long now)
    cpdef remember(self)
    cpdef undo(self, long long cwnd, long long ssthresh)
    cpdef restarted(self, long long now)
    cpdef unused(self, long long used, long long now)


cpdef check(CongestionControl congestion)
