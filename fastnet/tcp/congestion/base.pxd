cimport cython

cdef long long MOST


cdef class Acknowledgment:
    cdef public long long acked
    cdef public long long rtt
    cdef public long long min_rtt
    cdef public long long in_flight
    cdef public long long round
    cdef public long long now
    cdef public unsigned char paced


cdef class RateSample:
    cdef public long long prior_delivered
    cdef public long long delivered
    cdef public long long delivery_rate
    cdef public long long in_flight
    cdef public long long lost
    cdef public long long newly_lost
    cdef public long long loss_in_flight
    cdef public long long loss_lost
    cdef public long long total
    cdef public unsigned char app_limited
    cdef public unsigned char loss_app_limited
    cdef public unsigned char recovering
    cdef public unsigned char cwnd_limited
    cdef public unsigned char hold


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
    cpdef marked(self, long long in_flight, long long now)
    cpdef echoed(self, Acknowledgment ack, bint marked)
    cpdef bint paces(self) except -1
    cpdef Py_ssize_t pacing_rate(self) except? -1
    cpdef bint samples(self) except -1
    cpdef sampled(self, Acknowledgment ack, RateSample sample)
    cpdef resumed(self, long long now)


cpdef check(CongestionControl congestion)
