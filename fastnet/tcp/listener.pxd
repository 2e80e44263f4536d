cimport cython

from fastnet._flow cimport FourTuple
from fastnet._headers cimport Segment
from fastnet._path cimport Path
from fastnet.tcp.connection cimport Connection
from fastnet.tcp.context cimport Context, Endpoint
from fastnet.tcp.cookies cimport CookieJar
from fastnet.tcp.fastaccept cimport EarlyConnection
from fastnet.tcp.fastopen cimport FastOpenQueue
from fastnet.tcp.refusals cimport Refusals
from fastnet.tcp.request cimport Request
from fastnet.tcp.sources cimport Source
from fastnet.tcp.tuning cimport Tuned

cdef int ACK, FIN, RST, SYN, OPTION_MSS, OPTION_SACK_PERMITTED, OPTION_TIMESTAMPS, OPTION_WSCALE
cdef int ADMIT, COOKIE, REFUSE, ECT_0
cdef int EVERY_LISTENER, OFFER, ORDINARY, SERVER, TAKE_AND_OFFER
cdef long long MASK, HALF, MILLISECOND, SECOND, MAX_TIMEOUT, VALID


cdef class Listener(Tuned):
    cdef readonly Context context
    cdef readonly CookieJar cookies
    cdef readonly str address
    cdef public int port
    cdef public bint closed
    cdef readonly dict syn_queue
    cdef readonly object accept_queue
    cdef object queue_connection
    cdef object next_connection
    cdef public long long young
    cdef readonly object gate
    cdef readonly FastOpenQueue fast_open
    cdef readonly Refusals refused
    cdef public long long syn_queue_high
    cdef public long long accept_queue_high
    cdef public long long requests
    cdef public long long completed
    cdef readonly Request completing
    cdef public long long cookies_sent
    cdef public long long cookies_redeemed
    cdef public int allowed
    cdef public unsigned int rcv_wnd
    cdef public int rcv_shift
    cdef public Path ipv4
    cdef public Path ipv6
    cdef public tuple places
    cdef public unsigned char needs_ecn
    cdef public unsigned short user_mss

    @cython.locals(context=Context, request=Request, number=cython.Py_ssize_t, endpoint=Endpoint, flags=cython.int)
    cpdef segment_arrives(self, Segment seg, long long now)
    @cython.locals(answer=cython.int, request=Request, judgement=cython.int, offer=FastOpenQueue)
    cpdef syn_arrives(self, Segment seg, object choice, long long now)
    @cython.locals(
        context=Context, request=Request, source=Source, connection=EarlyConnection, queued=cython.Py_ssize_t
    )
    cdef accept_early(self, FastOpenQueue queue, Segment seg, int judgement, long long now)
    @cython.locals(answer=cython.int)
    cpdef bint has_room_for(self, FourTuple flow) except -1
    @cython.locals(source=Source)
    cdef bint source_has_room(self, FourTuple flow, bint cookie) except -1
    cpdef enter(self, Request request, long long now)
    cpdef Path path_of(self, FourTuple flow)
    cpdef int mss_to_offer(self, Path path) except? -1
    cpdef send_cookie(self, Segment seg, long long now)
    @cython.locals(context=Context, flags=cython.int, seq=cython.uint, rcv_nxt=cython.uint, paws=cython.bint)
    cdef request_segment(self, Request request, Segment seg, long long now)
    @cython.locals(source=Source)
    cdef final_ack_arrives(self, Request request, Segment seg, long long now)
    @cython.locals(context=Context, request=Request, source=Source)
    cdef cookie_arrives(self, Segment seg, long long now)
    cdef count_overflow(self)
    @cython.locals(context=Context, connection=Connection, queued=cython.Py_ssize_t)
    cdef complete(self, Request request, Segment seg, long long now)
    cpdef accept(self)
    @cython.locals(
        context=Context, queued=cython.longlong, retries=cython.int, young=cython.longlong, wait=cython.longlong,
        waiting=cython.bint, remind=cython.bint,
    )
    cpdef request_timeout(self, Request request, long long now)
    @cython.locals(source=Source)
    cdef forget(self, Request request)
    cdef reset_request(self, Request request, Segment seg)
    @cython.locals(ts_val=cython.longlong, window=cython.uint)
    cdef send_request_ack(self, Request request, Segment seg, long long now)
    @cython.locals(context=Context)
    cdef bint may_answer(self, Request request, long long now) except -1


@cython.locals(start=cython.uint, stop=cython.uint)
cdef bint in_window(unsigned int seq, unsigned int end, unsigned int rcv_nxt, unsigned int rcv_wnd) noexcept


@cython.locals(context=Context, queued=cython.longlong, cookie=cython.bint)
cdef int admits(Listener listener, FourTuple flow) except -1


@cython.locals(source=Source)
cdef enter(Listener listener, Request request, long long now)


@cython.locals(path=Path, mss=cython.int)
cdef answer(Listener listener, Request request, long long now)
