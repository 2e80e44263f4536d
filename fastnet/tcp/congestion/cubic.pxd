cimport cython

from fastnet.tcp.congestion.base cimport Acknowledgment, CongestionControl
from fastnet.tcp.congestion.hystart cimport HyStart

cdef double C, BETA, ALPHA
cdef long long SECOND


cdef class Cubic(CongestionControl):
    cdef readonly HyStart hystart
    cdef public long long epoch
    cdef public double w_max
    cdef public double cwnd_prior
    cdef public double k
    cdef public double w_est
    cdef public double fraction

    @cython.locals(
        cwnd=cython.double, acked=cython.double, t=cython.double, target=cython.double, grown=cython.double, whole=cython.longlong
    )
    cpdef acknowledged(self, Acknowledgment ack)
    cpdef start_epoch(self, double cwnd, long long now)
    @cython.locals(late=cython.double)
    cpdef double cubic_window(self, double t) except? -1
    @cython.locals(cwnd=cython.double)
    cpdef reduce(self, long long in_flight, long long now)
    cpdef restarted(self, long long now)
