cimport cython

from fastnet.tcp.congestion.base cimport Acknowledgment, CongestionControl
from fastnet.tcp.congestion.hystart cimport HyStart

cdef double C, BETA, BETA_ECN, ALPHA
cdef long long SECOND


cdef class Cubic(CongestionControl):
    cdef readonly HyStart hystart
    cdef readonly tuple before
    cdef public unsigned char known
    cdef public long long epoch
    cdef public long long grown_at
    cdef public double w_max
    cdef public double cwnd_prior
    cdef public double k
    cdef public double w_est
    cdef public double fraction

    @cython.locals(
        left=cython.longlong, pause=cython.longlong, cwnd=cython.double, acked=cython.double, t=cython.double, target=cython.double,
        grown=cython.double, whole=cython.longlong
    )
    cpdef acknowledged(self, Acknowledgment ack)
    @cython.locals(hystart=HyStart)
    cpdef search(self, Acknowledgment ack)
    cpdef know(self)
    cpdef start_epoch(self, double cwnd, long long now)
    @cython.locals(late=cython.double)
    cpdef double cubic_window(self, double t) except? -1
    cpdef reduce(self, long long in_flight, long long now)
    cpdef marked(self, long long in_flight, long long now)
    @cython.locals(cwnd=cython.double)
    cpdef decrease(self, double beta)
    cpdef remember(self)
    cpdef undo(self, long long cwnd, long long ssthresh)
    @cython.locals(ratio=cython.double)
    cpdef set_mss(self, long long mss)
    cpdef restarted(self, long long now)
    @cython.locals(cwnd=cython.longlong)
    cpdef unused(self, long long used, long long now)
