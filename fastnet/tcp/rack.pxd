cimport cython

cdef long long MASK, HALF
cdef int PERSIST


@cython.final
cdef class Rack:
    cdef public long long xmit_ts
    cdef public unsigned int end_seq
    cdef readonly unsigned int reord_seen
    cdef public long long rtt
    cdef public long long min_rtt
    cdef public unsigned int fack
    cdef public unsigned int dsack_round
    cdef readonly unsigned int dsack_dups
    cdef public unsigned char any
    cdef public unsigned char reordering_seen
    cdef public unsigned char dsack_seen
    cdef public int reo_wnd_mult
    cdef public int reo_wnd_persist

    @cython.locals(rtt=cython.longlong)
    cpdef delivered(self, long long sent_at, unsigned int end, bint retransmitted, long long now)
    cpdef bint is_later_than(self, long long sent_at, unsigned int end) except -1
    cpdef Py_ssize_t reordering_window(self, bint many, long long srtt) except? -1
    cpdef duplicate_reported(self, unsigned int una, unsigned int nxt)
    cpdef recovered(self)
