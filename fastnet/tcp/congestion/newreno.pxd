cimport cython

from fastnet.tcp.congestion.base cimport Acknowledgment, CongestionControl


cdef class NewReno(CongestionControl):
    cdef public long long counted

    @cython.locals(acked=cython.longlong)
    cpdef acknowledged(self, Acknowledgment ack)
    cpdef marked(self, long long in_flight, long long now)
