cimport cython

from fastnet._buffer cimport ByteRing
from fastnet._headers cimport Segment
from fastnet.tcp.congestion.base cimport CongestionControl, check
from fastnet.tcp.flights cimport Flight
from fastnet.tcp.rates cimport Rates
from fastnet.tcp.recovery cimport Recovery
from fastnet.tcp.rtt cimport RttEstimator
from fastnet.tcp.scoreboard cimport Scoreboard
from fastnet.tcp.tcb cimport Tcb

cdef int ACK, FIN, PSH
cdef int NOTHING, RETRANSMIT, TAIL_PROBE, REORDER, WINDOW_PROBE
cdef long long HALF, MASK, MILLISECOND, MAX_ACK_DELAY, PROBE_MIN, RENEGE_WAIT, CORK_MAX
cdef int LOSS, SPARE, NOBODY, THE_NETWORK, THE_WINDOW, THE_PROGRAM, MOST_COUNTED
cdef int BYTES_A_FLIGHT, MIN_FLIGHTS


@cython.final
cdef class Sender:
    cdef readonly ByteRing buffer
    cdef readonly RttEstimator rtt
    cdef readonly Recovery recovery
    cdef public long long limit
    cdef public long long lowat
    cdef public long long moderated
    cdef public long long urgent
    cdef public long long waiting_since
    cdef public long long retransmit_at
    cdef public long long deadline
    cdef public long long cork_deadline
    cdef public long long sent_at
    cdef public long long resent_bytes
    cdef public int probes
    cdef public int unanswered
    cdef public unsigned int resent
    cdef readonly unsigned int data_segs
    cdef readonly unsigned int held_since
    cdef readonly unsigned int network_time
    cdef readonly unsigned int window_time
    cdef readonly unsigned int program_time
    cdef readonly unsigned int timeout_time
    cdef readonly unsigned short timeouts
    cdef readonly unsigned short episodes
    cdef public unsigned char purpose
    cdef readonly unsigned char held_by
    cdef public unsigned char cork
    cdef public unsigned char full
    cdef public unsigned char fin_queued
    cdef public unsigned char fin_sent
    cdef public unsigned char locked

    cpdef set_limit(self, long long limit)
    cpdef adopt(self, Sender earlier)
    @cython.locals(acked=cython.uint)
    cpdef acknowledged(self, Tcb tcb, Segment seg, unsigned int before, bint duplicate, long long now)
    cpdef probe_answered(self)
    @cython.locals(board=Scoreboard)
    cpdef window_changed(self, Tcb tcb, long long now)
    @cython.locals(unsent=cython.longlong)
    cpdef Py_ssize_t room(self, Tcb tcb) except? -1
    cpdef tell_of_room(self, Tcb tcb)
    @cython.locals(wanted=cython.longlong)
    cpdef grow(self, Tcb tcb)
    @cython.locals(smallest=cython.longlong, held=cython.longlong)
    cpdef Py_ssize_t share(self, Tcb tcb, long long size) except? -1
    @cython.locals(recovery=Recovery, mss=cython.longlong, idle=cython.bint, room=cython.longlong)
    cpdef transmit(self, Tcb tcb, long long now)
    @cython.locals(in_flight=cython.longlong, unsent=cython.longlong, held=cython.int)
    cpdef keep_time(self, Tcb tcb, long long mss, long long now)
    @cython.locals(clock=cython.uint, elapsed=cython.uint)
    cpdef turn_to(self, int held, long long now)
    @cython.locals(recovery=Recovery)
    cpdef Py_ssize_t paced(self, Tcb tcb, Rates rates, long long room, bint idle, long long now) except? -1
    @cython.locals(recovery=Recovery)
    cpdef pace(self, Tcb tcb, Rates rates, long long mss, long long now)
    @cython.locals(
        recovery=Recovery, board=Scoreboard, sent=cython.longlong, flight=Flight, most=cython.longlong, size=cython.longlong
    )
    cpdef Py_ssize_t send_lost(self, Tcb tcb, long long mss, long long room, long long now) except? -1
    @cython.locals(
        offset=cython.longlong, size=cython.longlong, data=cython.longlong, sent=cython.longlong, flags=cython.int, segs=cython.uint,
        recovery=Recovery,
    )
    cpdef Py_ssize_t resend(self, Tcb tcb, Flight flight, long long most, long long now) except? -1
    @cython.locals(
        recovery=Recovery, burst=cython.longlong, total=cython.longlong, in_flight=cython.longlong, unsent=cython.longlong,
        usable=cython.longlong, size=cython.longlong, sent=cython.longlong, flags=cython.int, segs=cython.uint,
    )
    cpdef Py_ssize_t send_new(self, Tcb tcb, long long mss, long long room, long long now) except? -1
    @cython.locals(
        recovery=Recovery, size=cython.longlong, in_flight=cython.longlong, enough=cython.longlong, sent=cython.longlong
    )
    cpdef Py_ssize_t send_path_probe(self, Tcb tcb, long long mss, long long room, long long now) except? -1
    cpdef bint may_send_small(self, Tcb tcb, long long size, long long unsent, long long in_flight, long long now) except -1
    cpdef note_rates(self, Tcb tcb, Rates rates, long long size, long long now)
    @cython.locals(seq=cython.uint, recovery=Recovery)
    cpdef went_out(self, Tcb tcb, long long size, unsigned int segs, long long now)
    @cython.locals(recovery=Recovery)
    cpdef set_timer(self, Tcb tcb, long long now)
    @cython.locals(wait=cython.longlong)
    cpdef Py_ssize_t probe_due(self, Tcb tcb) except? -1
    @cython.locals(purpose=cython.int, rates=Rates)
    cpdef bint timeout(self, Tcb tcb, long long now) except -1
    cpdef bint is_stale(self, Tcb tcb, int purpose, long long now) except -1
    @cython.locals(board=Scoreboard, most=cython.longlong, over=cython.int)
    cpdef bint retransmission_timeout(self, Tcb tcb, long long now) except -1
    @cython.locals(size=cython.longlong)
    cpdef bint send_window_probe(self, Tcb tcb, long long now) except -1
    @cython.locals(
        recovery=Recovery, board=Scoreboard, mss=cython.longlong, timeout=cython.longlong, last=cython.Py_ssize_t, flight=Flight
    )
    cpdef send_tail_probe(self, Tcb tcb, long long now)
