cimport cython

from fastnet._flow cimport FourTuple
from fastnet._headers cimport Segment
from fastnet.tcp.connection cimport Connection
from fastnet.tcp.context cimport Context
from fastnet.tcp.ecn cimport Ecn
from fastnet.tcp.request cimport Request
from fastnet.tcp.sender cimport Sender
from fastnet.tcp.timewait cimport TimeWait

cdef int ACK, CWR, ECE, RST, SYN, OPTION_MSS, OPTION_SACK_PERMITTED, OPTION_TIMESTAMPS, OPTION_WSCALE
cdef int MIN_SEND_MSS, ECT_0
cdef int SYN_SENT, SYN_RECEIVED, CLOSED, AFTER_ACTIVE_OPEN, RCV_SYN, RCV_SYN_ACK, RCV_ACK_OF_SYN, EVENT_CLOSE, REFUSED
cdef long long MASK, HALF, MILLISECOND, SECOND, MAX_WAIT, REOPENED_GAP


cdef class ActiveConnection(Connection):
    @cython.locals(offer=Request, drawn=cython.ulonglong)
    cpdef open(self, Context context, FourTuple flow, long long now)
    @cython.locals(offer=Request)
    cpdef succeed(self, TimeWait last)
    @cython.locals(offer=Request)
    cpdef start(self, long long now)
    cpdef segment_arrives(self, Segment seg, long long now)
    @cython.locals(context=Context, offer=Request, flags=cython.int, started=cython.uint, latest=cython.uint)
    cpdef syn_sent(self, Segment seg, long long now)
    cpdef bint covers_data(self, unsigned int ack) except -1
    cpdef bint is_from_before(self, Segment seg) except -1
    @cython.locals(offer=Request)
    cpdef agree(self, Segment seg)
    @cython.locals(flags=cython.int, ahead=cython.uint)
    cpdef syn_received(self, Segment seg, long long now)
    @cython.locals(sender=Sender)
    cpdef become_established(self, int event, Segment seg, long long now)
    cpdef rest_arrives(self, Segment seg, int syn, long long now)
    cpdef refuse_open(self, int error)
    @cython.locals(offer=Request, limit=cython.int, over=cython.bint)
    cpdef state_timeout(self, long long now)
    cpdef send_pending(self, long long now)
    cpdef shutdown(self)
    cpdef close(self, long long now)
    cpdef abort(self, long long now)
    cpdef unreachable(self, int number, bint hard, long long now)
