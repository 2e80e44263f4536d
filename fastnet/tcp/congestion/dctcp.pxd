cimport cython

from fastnet.tcp.congestion.base cimport Acknowledgment
from fastnet.tcp.congestion.newreno cimport NewReno

cdef double G


cdef class Dctcp(NewReno):
    cdef public double alpha
    cdef public long long bytes_acked
    cdef public long long bytes_marked
    cdef public long long window

    cpdef echoed(self, Acknowledgment ack, bint marked)
    cpdef marked(self, long long in_flight, long long now)
