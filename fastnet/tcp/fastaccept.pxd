cimport cython

from fastnet._headers cimport Segment
from fastnet.tcp.connection cimport Connection
from fastnet.tcp.context cimport Context
from fastnet.tcp.ecn cimport Ecn
from fastnet.tcp.fastopen cimport FastOpenQueue, fast_open_option, syn_options
from fastnet.tcp.receiver cimport Receiver
from fastnet.tcp.request cimport Request
from fastnet.tcp.sender cimport Sender

cdef int ACK, ECE, FIN, RST, SYN, ECT_0
cdef int AFTER_SYN, CLOSED, SYN_RECEIVED, RCV_ACK_OF_SYN, EVENT_CLOSE, REFUSED
cdef long long MASK, MILLISECOND, SECOND, MAX_WAIT


cdef class EarlyConnection(Connection):
    cdef readonly FastOpenQueue queue
    cdef readonly unsigned int syn_data

    cpdef begin(self, Context context, Request request, FastOpenQueue queue, Segment seg, long long now)
    @cython.locals(receiver=Receiver, size=cython.uint)
    cpdef take_text(self, Segment seg, long long now)
    @cython.locals(request=Request, ts_val=cython.longlong, options=bytes, flags=cython.int)
    cpdef answer(self, bytes cookie, long long now)
    cpdef send_synack(self, long long now)
    @cython.locals(flags=cython.int)
    cpdef segment_arrives(self, Segment seg, long long now)
    cpdef bint ack_arrives(self, Segment seg, long long now) except -1
    @cython.locals(request=Request, sender=Sender)
    cpdef complete(self, Segment seg, long long now)
    cpdef reset_arrives(self)
    @cython.locals(queue=FastOpenQueue)
    cpdef leave(self, bint reset, long long now)
    cpdef timer_fires(self, long long now)
    @cython.locals(request=Request, context=Context)
    cpdef synack_timeout(self, long long now)
    cpdef was_read(self)
    cpdef shutdown(self)
    cpdef finish(self, int event)
