cimport cython

from fastnet._buffer cimport ByteRing
from fastnet.tcp.context cimport Context, Endpoint
from fastnet.tcp.receiver cimport Receiver
from fastnet.tcp.request cimport Request

cdef long long MASK, MILLISECOND


cdef class Tcb(Endpoint):
    cdef public Context context
    cdef public Request handshake
    cdef public Receiver receiver
    cdef public unsigned int snd_una
    cdef public unsigned int snd_nxt
    cdef public unsigned int snd_wnd
    cdef public unsigned int snd_wl1
    cdef public unsigned int snd_wl2
    cdef public unsigned int max_snd_wnd
    cdef public unsigned int rcv_nxt
    cdef public unsigned int rcv_adv
    cdef public unsigned int ts_recent
    cdef public bint fin_received
    cdef public bint nodelay
    cdef public bint ack_due
    cdef public bint queued

    cpdef acknowledge_soon(self)
    cpdef send_soon(self)
    @cython.locals(handshake=Request, window=cython.uint, ts_val=cython.longlong)
    cpdef put(self, unsigned int seq, int flags, long long now)
    @cython.locals(handshake=Request, window=cython.uint)
    cpdef put_data(
        self, unsigned int seq, int flags, ByteRing buffer, Py_ssize_t offset, Py_ssize_t size, long long now
    )
    @cython.locals(gain=cython.longlong, window=cython.uint)
    cpdef unsigned int window_to_offer(self) except? 0
    @cython.locals(mss=cython.int)
    cpdef int send_mss(self) except -1
