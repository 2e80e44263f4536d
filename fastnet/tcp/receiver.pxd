cimport cython

from fastnet._buffer cimport ByteRing
from fastnet._headers cimport Segment

cdef long long MASK, HALF, MILLISECOND, ACK_DELAY
cdef int MOST_COUNTED, MAX_PIECES, BYTES_A_PIECE, QUICK_ACKS, MAX_SACK_BLOCKS


@cython.final
cdef class Receiver:
    cdef readonly ByteRing buffer
    cdef readonly list pieces
    cdef readonly list recent
    cdef readonly tuple duplicate
    cdef public long long limit
    cdef public long long largest
    cdef public long long fin
    cdef public long long urgent
    cdef public long long ack_at
    cdef public long long data_at
    cdef public long long edge_at
    cdef public unsigned int edge
    cdef public unsigned int acked
    cdef public unsigned int data_segs
    cdef public unsigned short largest_segment
    cdef readonly unsigned short ooo
    cdef public unsigned int rtt
    cdef public unsigned int rtt_edge
    cdef public unsigned int rtt_at
    cdef public unsigned char quick
    cdef public unsigned char wraps
    cdef public unsigned char pingpong
    cdef public unsigned char unreported

    @cython.locals(gain=cython.longlong)
    cpdef Py_ssize_t growth(self, unsigned int rcv_nxt, unsigned int rcv_adv) except? -1
    @cython.locals(
        left=cython.longlong, right=cython.longlong, start=cython.longlong, pieces=list, first=cython.Py_ssize_t,
        last=cython.Py_ssize_t, reported=tuple, piece_left=cython.longlong, piece_right=cython.longlong, most=cython.longlong, piece=tuple,
    )
    cpdef bint keep(self, Segment seg, unsigned int rcv_nxt, long long size) except -1
    @cython.locals(recent=list, others=list, other=cython.longlong)
    cpdef grown(self, unsigned int seq, long long left, long long size)
    @cython.locals(pieces=list, low=cython.Py_ssize_t, high=cython.Py_ssize_t, middle=cython.Py_ssize_t, behind=cython.longlong)
    cpdef Py_ssize_t find(self, unsigned int seq) except? -1
    @cython.locals(
        pieces=list, taken=cython.Py_ssize_t, left=cython.longlong, right=cython.longlong, ahead=cython.longlong, size=cython.longlong
    )
    cpdef Py_ssize_t close_gap(self, unsigned int rcv_nxt) except? -1
    cpdef bint has_blocks(self, bint sack) except -1
    @cython.locals(at=cython.Py_ssize_t, left=cython.longlong, right=cython.longlong, size=cython.longlong)
    cpdef bint crowds_out(self, unsigned int seq, long long most) except -1
    @cython.locals(blocks=list, pieces=list, reported=cython.Py_ssize_t, seq=cython.longlong, at=cython.Py_ssize_t, piece=tuple)
    cpdef list blocks_to_report(self, Py_ssize_t most)
    cpdef acknowledged(self, unsigned int rcv_nxt)
    cpdef bint may_delay(self, unsigned int rcv_nxt) except -1
    cpdef hurry(self)
    cpdef Py_ssize_t delay(self, long long now) except? -1
    cpdef data_came(self, unsigned int size, unsigned int mss, long long now)
    cpdef data_sent(self, long long now)
    @cython.locals(known=cython.longlong)
    cpdef round_trip_over(self, long long sample, bint echoed)
    cpdef measure(self, unsigned int rcv_nxt, unsigned int rcv_adv, long long rtt, long long now)
