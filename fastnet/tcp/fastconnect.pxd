cimport cython

from fastnet._flow cimport FourTuple
from fastnet._headers cimport Segment
from fastnet.counters cimport Counters
from fastnet.tcp.context cimport Context
from fastnet.tcp.fastopen cimport FastOpen, fast_open_option, syn_options
from fastnet.tcp.opening cimport ActiveConnection
from fastnet.tcp.request cimport Request
from fastnet.tcp.sender cimport Sender

cdef int SYN, OPTION_FAST_OPEN, OPTION_MSS, ECT_0
cdef int SYN_SENT, CLOSED, BLACK_HOLE, COOKIE_UNAVAILABLE, DATA_NOT_ACKED, SYN_RETRANSMITTED
cdef long long MASK, MILLISECOND


cdef class FastConnection(ActiveConnection):
    cdef public bint cookieless
    cdef readonly bint asked
    cdef readonly int failure
    cdef readonly unsigned int syn_data
    cdef readonly unsigned int taken

    cpdef open(self, Context context, FourTuple flow, long long now)
    @cython.locals(
        handshake=Request, context=Context, fast_open=FastOpen, cookie=bytes, with_data=cython.bint, mss=cython.int, options=bytes,
        sender=Sender, room=cython.longlong,
    )
    cpdef put_syn(self, int flags, long long now)
    cpdef bint covers_data(self, unsigned int ack) except -1
    @cython.locals(handshake=Request, fast_open=FastOpen, counters=Counters, cookie=bytes)
    cpdef become_established(self, int event, Segment seg, long long now)
    @cython.locals(before=cython.int, opening=cython.bint)
    cpdef state_timeout(self, long long now)
    cpdef bint gave_up(self, int retries, long long since, long long now) except -1
    cpdef suspect(self, long long now)
