cimport cython
from libc.stdint cimport uint64_t

from fastnet._flow cimport FourTuple
from fastnet._headers cimport Segment
from fastnet._path cimport Path
from fastnet.tcp.context cimport Context
from fastnet.tcp.request cimport Request

cdef int ACK, ECE, SYN, OPTION_MSS, OPTION_SACK_PERMITTED, OPTION_TIMESTAMPS, OPTION_WSCALE
cdef int DEFAULT_SEND_MSS, ECT_0, MSS_1, MSS_2, MSS_3
cdef int COOKIE_BITS, SPENT_BITS
cdef unsigned int COUNT_MASK, TS_MASK, TS_WSCALE, TS_SACK, TS_ECN
cdef long long MASK, MILLISECOND, STEP, COOKIE_MASK


@cython.final
cdef class CookieJar:
    cdef public object random
    cdef public long long count
    cdef public int drawn
    cdef uint64_t key0
    cdef uint64_t key1
    cdef uint64_t old0
    cdef uint64_t old1
    cdef uint64_t read
    cdef readonly object spent

    @cython.locals(count=cython.longlong)
    cpdef turn(self, long long now)
    @cython.locals(
        flow=FourTuple, base=uint64_t, mss=cython.int, index=cython.int, mac=uint64_t, iss=cython.uint, sack=cython.bint,
        wscale=cython.bint, ecn=cython.bint, agreed=cython.longlong, clock=cython.longlong, stamp=cython.longlong,
    )
    cpdef answer(
        self, Context context, object listener, Segment seg, int options, unsigned int rcv_wnd, int rcv_shift, Path path, int offer,
        long long now
    )
    @cython.locals(
        flow=FourTuple, irs=cython.uint, iss=cython.uint, base=uint64_t, rest=cython.uint, age=cython.int, mac=uint64_t,
        index=cython.uint, agreed=cython.uint, place=cython.Py_ssize_t, request=Request,
    )
    cpdef Request redeem(
        self, Context context, object listener, Segment seg, int allowed, unsigned int rcv_wnd, int rcv_shift, long long now
    )
    cpdef spend(self)
