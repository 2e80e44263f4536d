cimport cython

from fastnet._headers cimport Segment
from fastnet.tcp.context cimport Context, Endpoint
from fastnet.tcp.request cimport Request

cdef int ACK, FIN, RST, SYN, OPTION_TIMESTAMPS
cdef long long MASK, HALF, MILLISECOND, SECOND, SAME_AGAIN, TIME_WAIT_LENGTH


cdef class TimeWait(Endpoint):
    cdef public Context context
    cdef public Request handshake
    cdef public unsigned int snd_nxt
    cdef public unsigned int rcv_nxt
    cdef public unsigned int ts_recent
    cdef public unsigned int answered
    cdef public unsigned int entered
    cdef public long long answered_at

    @cython.locals(stamped=cython.bint, paws=cython.bint, newer=cython.uint)
    cpdef segment_arrives(self, Segment seg, long long now)
    @cython.locals(context=Context, number=cython.Py_ssize_t, listener=Endpoint)
    cpdef reopen(self, Segment seg, long long now)
    @cython.locals(numbers=cython.uint, probe=cython.bint)
    cpdef bint may_answer(self, Segment seg, long long now) except -1
    @cython.locals(ts_val=cython.longlong)
    cpdef acknowledge(self, Segment seg, long long now)
    cpdef timer_fires(self, long long now)
    cpdef end(self)
