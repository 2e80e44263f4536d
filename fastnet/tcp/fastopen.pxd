cimport cython

from fastnet._flow cimport FourTuple
from fastnet._headers cimport Segment
from fastnet._path cimport Path
from fastnet.counters cimport Counters
from fastnet.tcp.context cimport Context
from fastnet.tcp.request cimport Request

cdef int ACK, ECE, SYN, OPTION_FAST_OPEN, KIND, COOKIE_SIZE
cdef int CLIENT_WITHOUT_COOKIE, SERVER_WITHOUT_COOKIE, TAKE, MAX_LOSSES, MAX_PAUSES
cdef long long MASK, MILLISECOND, SECOND, KEY_LIFE, RESET_LIFE, LOSS_WAIT, MOST_SERVERS


@cython.final
cdef class FastOpen:
    cdef readonly object settings
    cdef readonly Counters counters
    cdef readonly object random
    cdef readonly tuple drawn
    cdef readonly long long drawn_at
    cdef readonly dict servers
    cdef readonly int pauses
    cdef readonly long long paused_at

    cpdef tuple keys(self, long long now)
    @cython.locals(server=Server)
    cpdef bytes cookie_for(self, FourTuple flow, bint cookieless, long long now)
    cpdef bint goes_without(self, bint cookieless) except -1
    cpdef bint may_send_data(self, FourTuple flow, bint cookieless, long long now) except -1
    @cython.locals(server=Server)
    cpdef int mss_of(self, FourTuple flow, int otherwise) except -1
    @cython.locals(server=Server)
    cpdef learn(self, FourTuple flow, bytes cookie, int mss)
    @cython.locals(server=Server)
    cpdef lost(self, FourTuple flow, long long now)
    cpdef black_hole(self, long long now)
    @cython.locals(seconds=cython.longlong)
    cpdef bint is_paused(self, long long now) except -1
    cpdef worked(self)


@cython.final
cdef class Server:
    cdef readonly bytes cookie
    cdef readonly int losses
    cdef readonly int mss
    cdef readonly long long lost_at


@cython.final
cdef class FastOpenQueue:
    cdef readonly FastOpen fast_open
    cdef public long long limit
    cdef public long long pending
    cdef readonly object resets
    cdef public tuple keys
    cdef public bint cookieless
    cdef readonly object kind

    @cython.locals(asked=cython.bint, fast_open=FastOpen, bits=cython.int, counters=Counters, cookie=bytes, keys=tuple)
    cpdef int judge(self, Segment seg, long long now) except -1
    cpdef bint has_room(self, long long now) except -1
    cpdef leave(self, bint reset, long long now)
    cpdef bytes cookie(self, FourTuple flow, long long now)
    @cython.locals(flags=cython.int, mss=cython.int, options=bytes)
    cpdef send_synack(self, Request request, Context context, Path path, int mss, long long now)


cpdef bytes cookie_of(FourTuple flow, tuple key)


@cython.locals(option=bytes)
cpdef bytes fast_open_option(bytes cookie)


@cython.locals(options=bytes)
cpdef bytes syn_options(Request handshake, int mss, long long ts_val, long long ts_ecr)
