cimport cython

from fastnet._flow cimport FourTuple
from fastnet._headers cimport Segment
from fastnet._path cimport Path
from fastnet.tcp.context cimport Context, Timed
from fastnet.tcp.sources cimport Source

cdef int ACK, ECE, SYN, OPTION_MSS, OPTION_SACK_PERMITTED, OPTION_TIMESTAMPS, OPTION_WSCALE
cdef int MIN_SEND_MSS
cdef long long HALF, MASK, MILLISECOND, REOPENED_GAP, SECOND


cdef class Request(Timed):
    cdef readonly FourTuple flow
    cdef readonly object listener
    cdef public unsigned int irs
    cdef public unsigned int iss
    cdef public unsigned int ts_recent
    cdef public unsigned int ts_offset
    cdef public unsigned int rcv_wnd
    cdef public unsigned short mss
    cdef public unsigned char snd_shift
    cdef public unsigned char rcv_shift
    cdef public unsigned char wscale
    cdef public unsigned char sack
    cdef public unsigned char timestamps
    cdef public unsigned char ecn
    cdef public unsigned char acked
    cdef public short retries
    cdef public short timeouts
    cdef public unsigned short user_mss
    cdef readonly Source source
    cdef public object choice
    cdef public long long born
    cdef public long long answered_at
    cdef public long long rtt

    @cython.locals(drawn=cython.ulonglong, mss=cython.int)
    cpdef open(
        self, Context context, object listener, Segment seg, int options, unsigned int rcv_wnd, int rcv_shift, long long now
    )
    @cython.locals(flags=cython.int)
    cpdef send_synack(self, Context context, Path path, int mss, long long now)
    @cython.locals(elapsed=cython.longlong)
    cpdef Py_ssize_t round_trip(self, Segment seg, long long now) except? -1
    cpdef timer_fires(self, long long now)
