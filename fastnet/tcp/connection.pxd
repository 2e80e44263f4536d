cimport cython

from fastnet._headers cimport Segment
from fastnet.tcp.context cimport Context
from fastnet.tcp.receiver cimport Receiver
from fastnet.tcp.request cimport Request
from fastnet.tcp.sender cimport Sender
from fastnet.tcp.tcb cimport Tcb
from fastnet.tcp.timewait cimport TimeWait

cdef int ACK, FIN, RST, SYN, OPTION_TIMESTAMPS
cdef int ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, TIME_WAIT, CLOSED, CLOSE_WAIT, LAST_ACK, CLOSING
cdef bytes TABLE
cdef int EVENTS
cdef int AFTER_HANDSHAKE, EVENT_CLOSE, RCV_FIN, RCV_ACK_OF_FIN, RCV_RST, EVENT_ABORT, EVENT_TIMEOUT
cdef long long MASK, HALF, SECOND


cdef class Connection(Tcb):
    cdef public Sender sender
    cdef public int state
    cdef public int error
    cdef public bint orphan

    cpdef establish(self, Context context, Request request, Segment seg)
    @cython.locals(context=Context, flags=cython.int, stamped=cython.bint, ahead=cython.uint)
    cpdef segment_arrives(self, Segment seg, long long now)
    @cython.locals(window=cython.uint)
    cpdef bint is_acceptable(self, Segment seg, unsigned int ahead) except -1
    cpdef reset_arrives(self)
    cpdef challenge(self)
    @cython.locals(
        acked=cython.uint, in_flight=cython.uint, sender=Sender, window=cython.uint, newer=cython.uint
    )
    cpdef bint ack_arrives(self, Segment seg, long long now) except -1
    cpdef fin_acknowledged(self, long long now)
    @cython.locals(window=cython.uint, receiver=Receiver, skip=cython.uint, size=cython.uint)
    cpdef text_arrives(self, Segment seg, unsigned int ahead, long long now)
    @cython.locals(where=cython.uint)
    cpdef fin_seen(self, Segment seg)
    cpdef Receiver need_receiver(self)
    cpdef fin_arrives(self, long long now)
    @cython.locals(sender=Sender, room=cython.longlong)
    cpdef Py_ssize_t send(self, object data) except -1
    @cython.locals(receiver=Receiver, gain=cython.longlong)
    cpdef bytes receive(self, long long size)
    cpdef Py_ssize_t readable(self) except -1
    cpdef Py_ssize_t writable(self) except -1
    cpdef shutdown(self)
    cpdef close(self, long long now)
    cpdef abort(self, long long now)
    cpdef timer_fires(self, long long now)
    cpdef send_pending(self, long long now)
    cpdef Sender need_sender(self)
    @cython.locals(before=cython.int)
    cpdef move(self, int event)
    cpdef finish(self, int event)
    @cython.locals(context=Context)
    cpdef enter_time_wait(self, int event, long long now)
