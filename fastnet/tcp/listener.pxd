cimport cython

from fastnet._headers cimport Segment
from fastnet.tcp.connection cimport Connection
from fastnet.tcp.context cimport Context, Endpoint
from fastnet.tcp.cookies cimport CookieJar
from fastnet.tcp.request cimport Request

cdef int ACK, FIN, RST, SYN, OPTION_MSS, OPTION_SACK_PERMITTED, OPTION_TIMESTAMPS, OPTION_WSCALE
cdef long long MASK, HALF, MILLISECOND, SECOND, MAX_TIMEOUT, VALID


cdef class Listener(Endpoint):
    cdef public Context context
    cdef public str address
    cdef public int port
    cdef public bint closed
    cdef public dict syn_queue
    cdef public object accept_queue
    cdef public long long young
    cdef public int allowed
    cdef public long long backlog
    cdef public long long syn_queue_limit
    cdef public int synack_retries
    cdef public int syncookies
    cdef public long long cookie_at
    cdef public CookieJar cookies
    cdef public unsigned int rcv_wnd
    cdef public int rcv_shift
    cdef public unsigned char ttl
    cdef public unsigned char tos

    cpdef send_synack(self, Request request, long long now)
    cpdef set_backlog(self, long long backlog)
    @cython.locals(context=Context, request=Request, number=cython.Py_ssize_t, endpoint=Endpoint, flags=cython.int)
    cpdef segment_arrives(self, Segment seg, long long now)
    @cython.locals(context=Context, queued=cython.longlong, cookie=cython.bint, request=Request)
    cpdef syn_arrives(self, Segment seg, long long now)
    @cython.locals(context=Context, flags=cython.int, seq=cython.uint, rcv_nxt=cython.uint, paws=cython.bint)
    cpdef request_segment(self, Request request, Segment seg, long long now)
    @cython.locals(context=Context)
    cpdef final_ack_arrives(self, Request request, Segment seg, long long now)
    @cython.locals(context=Context, request=Request)
    cpdef cookie_arrives(self, Segment seg, long long now)
    @cython.locals(context=Context, connection=Connection)
    cpdef complete(self, Request request, Segment seg, long long now)
    cpdef accept(self)
    @cython.locals(
        context=Context, queued=cython.longlong, retries=cython.int, young=cython.longlong, wait=cython.longlong
    )
    cpdef request_timeout(self, Request request, long long now)
    cpdef forget(self, Request request)
    cpdef reset_request(self, Request request, Segment seg)
    @cython.locals(ts_val=cython.longlong, window=cython.uint)
    cpdef send_request_ack(self, Request request, Segment seg, long long now)


@cython.locals(start=cython.uint, stop=cython.uint)
cdef bint in_window(unsigned int seq, unsigned int end, unsigned int rcv_nxt, unsigned int rcv_wnd) noexcept
