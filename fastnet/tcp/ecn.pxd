cimport cython

from fastnet._headers cimport Segment

cdef int CWR, CE, CODEPOINT
cdef long long MASK, HALF


@cython.final
cdef class Ecn:
    cdef public unsigned int recover
    cdef public unsigned int delivered_ce
    cdef public unsigned char echo
    cdef public unsigned char cwr_due
    cdef public unsigned char reducing
    cdef public unsigned char seen

    @cython.locals(codepoint=cython.int, reduced=cython.bint)
    cpdef bint data_arrives(self, Segment seg) except -1
    @cython.locals(codepoint=cython.int, marked=cython.bint, news=cython.bint)
    cpdef bint data_arrives_under_dctcp(self, Segment seg) except -1
    cpdef reduced(self, unsigned int snd_nxt)
    cpdef undone(self)
    cpdef bint is_reducing(self, unsigned int snd_una) except -1
