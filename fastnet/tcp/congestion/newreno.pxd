from fastnet.tcp.congestion.base cimport Acknowledgment, CongestionControl


cdef class NewReno(CongestionControl):
    cdef public long long counted

    cpdef acknowledged(self, Acknowledgment ack)
