cimport cython

from fastnet._headers cimport Segment
from fastnet.tcp.calls cimport UserCalls
from fastnet.tcp.context cimport Context
from fastnet.tcp.ecn cimport Ecn
from fastnet.tcp.patience cimport Patience
from fastnet.tcp.rates cimport Rates
from fastnet.tcp.receiver cimport Receiver
from fastnet.tcp.request cimport Request
from fastnet.tcp.rtt cimport time_of_timeouts
from fastnet.tcp.sender cimport Sender
from fastnet.tcp.timewait cimport TimeWait

cdef int ACK, FIN, PSH, RST, SYN, URG, OPTION_SACK, OPTION_TIMESTAMPS, CE, CODEPOINT, ECT_0
cdef unsigned int EACH_BEHIND_A_GAP
cdef int ECONNRESET, EPIPE, ETIMEDOUT
cdef int ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSED, CLOSE_WAIT, LAST_ACK, CLOSING
cdef int AFTER_HANDSHAKE, RCV_FIN, RCV_ACK_OF_FIN, RCV_RST, EVENT_TIMEOUT
cdef long long MASK, HALF, MILLISECOND, SECOND, IDLE, SAME_AGAIN, MAX_REPEATS, TIMESTAMP_LIFE


cdef class Connection(UserCalls):
    @cython.locals(in_order=cython.bint)
    cpdef establish(self, Context context, Request request, Segment seg, long long now)
    @cython.locals(context=Context, flags=cython.int, stamped=cython.bint, ahead=cython.uint)
    cpdef segment_arrives(self, Segment seg, long long now)
    cpdef mark_arrives(self, Ecn ecn, Segment seg, long long now)
    cpdef unsigned int last_ack_sent(self) except? 0
    @cython.locals(window=cython.uint)
    cpdef bint is_acceptable(self, Segment seg, unsigned int ahead) except -1
    cpdef reset_arrives(self)
    cpdef refuse(self, Segment seg, bint paws, long long now)
    @cython.locals(numbers=cython.uint)
    cpdef bint asks_anew(self, Segment seg, long long now) except -1
    cpdef challenge_syn(self, long long now)
    @cython.locals(end=cython.uint, receiver=Receiver)
    cpdef note_duplicate(self, Segment seg, long long now)
    @cython.locals(receiver=Receiver)
    cpdef count_duplicate(self, tuple before)
    @cython.locals(context=Context)
    cpdef challenge(self, long long now)
    cpdef bint was_challenged(self, long long now) except -1
    @cython.locals(acked=cython.uint, sent=cython.uint)
    cpdef bint ack_is_possible(self, Segment seg) except -1
    @cython.locals(
        acked=cython.uint, in_flight=cython.uint, sender=Sender, window=cython.uint, newer=cython.uint, changed=cython.bint,
        before=cython.uint, duplicate=cython.bint, shut=cython.bint,
    )
    cpdef bint ack_arrives(self, Segment seg, long long now) except -1
    cpdef fin_acknowledged(self, long long now)
    @cython.locals(end=cython.uint, receiver=Receiver)
    cpdef urgent_arrives(self, Segment seg)
    @cython.locals(
        window=cython.uint, receiver=Receiver, skip=cython.uint, size=cython.uint, reported=tuple, wanted=cython.longlong
    )
    cpdef text_arrives(self, Segment seg, unsigned int ahead, long long now)
    @cython.locals(receiver=Receiver)
    cpdef report_before(self, Segment seg, long long now)
    @cython.locals(receiver=Receiver, clock=cython.longlong, known=cython.longlong, sample=cython.longlong, first=cython.uint)
    cpdef measure_round_trip(self, Segment seg, long long now)
    @cython.locals(receiver=Receiver, smallest=cython.longlong)
    cpdef bint may_receive(self, long long wanted) except -1
    @cython.locals(receiver=Receiver)
    cpdef bint make_room(self, long long wanted) except -1
    cpdef fin_of(self, Segment seg, long long now)
    @cython.locals(where=cython.uint)
    cpdef fin_seen(self, Segment seg)
    cpdef fin_arrives(self, long long now)
    cpdef unreachable(self, int number, bint hard, long long now)
    cpdef path_narrowed(self, long long mtu, long long now)
    @cython.locals(receiver=Receiver, sender=Sender, rates=Rates, deadline=cython.longlong)
    cpdef timer_fires(self, long long now)
    @cython.locals(receiver=Receiver, sender=Sender, held=cython.longlong)
    cpdef give_back(self, long long now)
    cpdef state_timeout(self, long long now)
    cpdef give_up(self)
    @cython.locals(most=cython.longlong)
    cpdef bint gave_up(self, int retries, long long since, long long now) except -1
    cpdef Py_ssize_t no_later(self, long long deadline, long long since) except? -1
    @cython.locals(patience=Patience)
    cpdef keep_alive(self, long long now)
    @cython.locals(receiver=Receiver)
    cpdef send_pending(self, long long now)
    @cython.locals(context=Context)
    cpdef enter_time_wait(self, int event, long long now)
