cimport cython

from fastnet._headers cimport Segment
from fastnet.tcp.congestion.base cimport Acknowledgment, CongestionControl, RateSample, check
from fastnet.tcp.discovery cimport Discovery
from fastnet.tcp.ecn cimport Ecn
from fastnet.tcp.flights cimport Flight
from fastnet.tcp.rates cimport Rates
from fastnet.tcp.rtt cimport RttEstimator
from fastnet.tcp.scoreboard cimport Scoreboard
from fastnet.tcp.tcb cimport Tcb

cdef int ECE, OPTION_SACK, OPTION_TIMESTAMPS
cdef int OPEN, RECOVERY, LOSS, DUP_THRESH, ECT_0
cdef long long MASK, HALF, MILLISECOND, MAX_RTT


@cython.final
cdef class Recovery:
    cdef readonly Scoreboard board
    cdef readonly CongestionControl congestion
    cdef readonly RttEstimator rtt
    cdef readonly Rates rates
    cdef readonly Discovery path
    cdef public int path_seen
    cdef public unsigned int round
    cdef public unsigned int recover
    cdef public unsigned int round_end
    cdef public unsigned int probe_end
    cdef public unsigned int undo_una
    cdef public unsigned int undo_end
    cdef public unsigned int undo_cwnd
    cdef public unsigned int undo_ssthresh
    cdef public unsigned int used
    cdef public int duplicates
    cdef public unsigned char state
    cdef public unsigned char limited
    cdef public unsigned char probing
    cdef public unsigned char probe_again
    cdef public unsigned char frto
    cdef public unsigned char hold
    cdef public unsigned char held
    cdef public unsigned char after_timeout
    cdef public unsigned char reduced
    cdef public unsigned char marked
    cdef public unsigned char needed
    cdef public long long reorder_deadline
    cdef public long long prr_delivered
    cdef public long long prr_out
    cdef public long long recover_fs
    cdef public long long first_stamp
    cdef public long long undo_bytes
    cdef public long long validated_at

    cpdef replace(self, CongestionControl congestion, long long in_flight)
    @cython.locals(rates=Rates)
    cpdef Rates need_rates(self, Tcb tcb)
    cpdef take_rates(self, Rates earlier)
    @cython.locals(congestion=CongestionControl, rate=cython.longlong, slow=cython.bint, ratio=cython.longlong)
    cpdef Py_ssize_t rate(self, Tcb tcb) except? -1
    @cython.locals(board=Scoreboard, outstanding=cython.longlong, arrived=cython.longlong)
    cpdef Py_ssize_t pipe(self, Tcb tcb) except? -1
    @cython.locals(
        board=Scoreboard, ack=Acknowledgment, una=cython.uint, advanced=cython.bint, delivered=cython.longlong,
        reported=cython.bint, fresh=cython.bint, lost=cython.longlong,
    )
    cpdef acknowledged(self, Tcb tcb, Segment seg, unsigned int before, bint duplicate, long long now)
    @cython.locals(board=Scoreboard, ack=Acknowledgment, sample=RateSample)
    cpdef sample(self, Tcb tcb, Rates rates, Segment seg, long long now)
    cpdef bint is_marked(self, Tcb tcb, Ecn ecn, Segment seg, long long now) except -1
    @cython.locals(
        board=Scoreboard, una=cython.uint, window=cython.uint, reported=cython.bint, i=cython.int, left=cython.uint,
        right=cython.uint, size=cython.uint, ahead=cython.uint,
    )
    cpdef bint take_blocks(self, Tcb tcb, Segment seg, unsigned int before, long long now) except -1
    @cython.locals(outer=cython.uint)
    cpdef bint is_duplicate(self, Segment seg, unsigned int left, unsigned int right) except -1
    @cython.locals(
        board=Scoreboard, ack=Acknowledgment, elapsed=cython.longlong, offset=cython.longlong, stamp=cython.longlong
    )
    cpdef measure(self, Tcb tcb, Segment seg, bint advanced, bint reported)
    @cython.locals(least=cython.longlong)
    cpdef bint is_like_others(self, long long sample) except -1
    @cython.locals(board=Scoreboard, lost=cython.longlong, again=cython.longlong, wait=cython.longlong)
    cpdef bint find_losses(self, Tcb tcb, bint advanced, long long now) except -1
    cpdef bint was_recovered(self, Tcb tcb) except -1
    @cython.locals(many=cython.bint)
    cpdef Py_ssize_t reordering_window(self) except? -1
    cpdef remember(self, Tcb tcb)
    @cython.locals(in_flight=cython.longlong)
    cpdef enter_recovery(self, Tcb tcb, long long delivered, long long now)
    @cython.locals(congestion=CongestionControl, pipe=cython.longlong, allowed=cython.longlong)
    cpdef reduce_in_proportion(self, Tcb tcb, long long delivered, bint safe)
    @cython.locals(stamped=cython.bint)
    cpdef end_or_undo(self, Tcb tcb, Segment seg, bint advanced, long long now)
    cpdef bint is_undone_by(self, Tcb tcb) except -1
    cpdef end(self, Tcb tcb)
    cpdef undo(self, Tcb tcb)
    @cython.locals(board=Scoreboard, again=cython.longlong, lost=cython.longlong, wait=cython.longlong)
    cpdef timed_out(self, Tcb tcb, long long now)
    @cython.locals(lost=cython.longlong, fresh=cython.bint)
    cpdef reorder_timed_out(self, Tcb tcb, long long now)
    @cython.locals(path=Discovery, before=cython.int, fresh=cython.bint, mss=cython.int)
    cpdef follow_path(self, Tcb tcb, long long now)
    @cython.locals(flight=Flight)
    cpdef Py_ssize_t suspect_path(self, Tcb tcb, int silence, long long now) except? -1
    cpdef bint is_calm(self) except -1
    cpdef bint is_probe_alone(self, Tcb tcb) except -1
    cpdef bint may_probe(self, Tcb tcb) except -1
    cpdef probe_sent(self, Tcb tcb, bint again)
    @cython.locals(ahead=cython.uint)
    cpdef answer_to_probe(self, Tcb tcb, Segment seg, bint advanced, bint reported, long long now)
    @cython.locals(congestion=CongestionControl, pipe=cython.longlong)
    cpdef validate(self, Tcb tcb, bint full, long long now)
    @cython.locals(end=cython.uint)
    cpdef sent_again(self, Tcb tcb, Flight flight, unsigned int size, unsigned int segs, long long now)
    cpdef sent(self, unsigned int seq, unsigned int end, long long now)


cdef bint ack_is_bare(Segment seg) except -1
