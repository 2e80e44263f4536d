cimport cython

from fastnet.tcp.congestion.base cimport CongestionControl
from fastnet.tcp.context cimport Context
from fastnet.tcp.memory cimport Memory
from fastnet.tcp.patience cimport Patience
from fastnet.tcp.receiver cimport Receiver
from fastnet.tcp.request cimport Request
from fastnet.tcp.sender cimport Sender
from fastnet.tcp.tcb cimport Tcb

cdef int ACK, RST, ECT_0, DONT, WANT, IGNORING
cdef int ESTABLISHED, FIN_WAIT_2, TIME_WAIT, CLOSED, CLOSE_WAIT
cdef bytes TABLE
cdef int EVENTS
cdef int EVENT_CLOSE, EVENT_ABORT
cdef long long MASK, HALF, MILLISECOND, SECOND, RTO_FALLBACK
cdef tuple SENDING, UNSYNCHRONIZED
cdef long long FIRST_LIMIT
cdef bint UNCOMPILED


cdef class UserCalls(Tcb):
    cdef readonly Sender sender
    cdef public int error
    cdef public int soft_error
    cdef public unsigned int answered
    cdef public unsigned char state
    cdef public unsigned char orphan
    cdef public unsigned char repeats
    cdef public signed char pmtudisc
    cdef readonly Patience patience
    cdef readonly object congestion
    cdef public long long send_limit
    cdef public long long receive_limit
    cdef public long long heard_at
    cdef public long long state_deadline
    cdef public long long challenged_at

    cpdef clear(self)
    cpdef fill(self, Context context, Request handshake, int state, long long now)
    @cython.locals(limit=cython.longlong, memory=Memory, first=cython.longlong)
    cpdef Receiver need_receiver(self, long long now)
    @cython.locals(sender=Sender, room=cython.longlong)
    cpdef Py_ssize_t send(self, object data) except? -1
    @cython.locals(receiver=Receiver)
    cpdef bytes receive(self, long long size)
    @cython.locals(receiver=Receiver, gain=cython.longlong, window=cython.uint)
    cpdef was_read(self)
    cpdef Py_ssize_t round_trip(self) except? -1
    cpdef Py_ssize_t round_trip_known(self) except? -1
    cpdef Py_ssize_t readable(self) except? -1
    cpdef Py_ssize_t writable(self) except? -1
    @cython.locals(wmem=tuple)
    cpdef Py_ssize_t first_send_limit(self) except? -1
    cpdef shutdown(self)
    cpdef close(self, long long now)
    cpdef abort(self, long long now)
    cpdef become_orphan(self)
    @cython.locals(context=Context, queued=cython.Py_ssize_t)
    cpdef bint must_go(self) except -1
    cpdef abort_for_memory(self, long long now)
    @cython.locals(wait=cython.longlong)
    cpdef end_fin_wait_2(self, long long now)
    cpdef watch(self)
    @cython.locals(limit=cython.longlong, congestion=CongestionControl)
    cpdef Sender need_sender(self)
    @cython.locals(before=cython.int)
    cpdef move(self, int event)
    cpdef leave_source(self)
    cpdef finish(self, int event)
    cpdef set_cork(self, bint cork)
    cpdef Py_ssize_t urgent_left(self) except? -1
    cpdef int unanswered(self) except? -1
