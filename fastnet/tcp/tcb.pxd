cimport cython

from fastnet._buffer cimport ByteRing
from fastnet._path cimport Path
from fastnet._writer cimport SegmentWriter
from fastnet.tcp.context cimport Context, Endpoint
from fastnet.tcp.ecn cimport Ecn
from fastnet.tcp.receiver cimport Receiver
from fastnet.tcp.request cimport Request

cdef int ACK, CWR, ECE, FIN, RST, SYN, URG, MAX_SACK_BLOCKS, TIMESTAMPS_SIZE, BLOCKS_SIZE, BLOCK_SIZE
cdef int ECT_0
cdef long long MASK, HALF, MILLISECOND


cdef class Tcb(Endpoint):
    cdef readonly Context context
    cdef readonly Request handshake
    cdef public Path path
    cdef readonly Receiver receiver
    cdef readonly Ecn ecn
    cdef public long long armed
    cdef public unsigned int snd_una
    cdef public unsigned int snd_nxt
    cdef public unsigned int snd_wnd
    cdef public unsigned int snd_wl1
    cdef public unsigned int snd_wl2
    cdef public unsigned int max_snd_wnd
    cdef public unsigned int rcv_nxt
    cdef public unsigned int rcv_adv
    cdef public unsigned int ts_recent
    cdef readonly unsigned int segs_in
    cdef readonly unsigned int segs_out
    cdef public unsigned char fin_received
    cdef public unsigned char nodelay
    cdef public unsigned char ack_due
    cdef public unsigned char pushed

    cpdef acknowledge_soon(self)
    cpdef send_soon(self)
    cpdef wake_at(self, long long deadline)
    cpdef unreachable(self, int number, bint hard, long long now)
    cpdef path_narrowed(self, long long mtu, long long now)
    cpdef set_fragment(self, bint narrow)
    cpdef bint follows_path(self) except -1
    cpdef bint gave_up(self, int retries, long long since, long long now) except -1
    cpdef Py_ssize_t no_later(self, long long deadline, long long since) except? -1
    @cython.locals(handshake=Request, writer=SegmentWriter, window=cython.uint, ts_val=cython.longlong, blocks=list, path=Path)
    cpdef put(self, unsigned int seq, int flags, long long now)
    @cython.locals(
        handshake=Request, writer=SegmentWriter, window=cython.uint, blocks=list, pointer=cython.longlong, path=Path,
        room=cython.int, ack_due=cython.bint, most=cython.int,
    )
    cpdef Py_ssize_t put_data(
        self, unsigned int seq, int flags, ByteRing buffer, Py_ssize_t offset, Py_ssize_t size, long long urgent, long long now
    ) except -1
    @cython.locals(receiver=Receiver, count=cython.int)
    cpdef int room_for_blocks(self, int mss) except? -1
    cpdef int blocks_in(self, int room) except? -1
    @cython.locals(handshake=Request, path=Path)
    cpdef put_syn(self, int flags, long long now)
    @cython.locals(mss=cython.int)
    cpdef int mss_to_offer(self) except? -1
    @cython.locals(gain=cython.longlong, rest=cython.longlong, shut=cython.bint, window=cython.longlong, unit=cython.longlong)
    cpdef unsigned int window_to_offer(self) except? 0
    @cython.locals(up=cython.longlong, down=cython.longlong, receiver=Receiver)
    cpdef long long rounded(self, long long window, long long unit) except? -1
    @cython.locals(mss=cython.int)
    cpdef int receive_mss(self) except? -1
    @cython.locals(mss=cython.int)
    cpdef int send_mss(self) except? -1
