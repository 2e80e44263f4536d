cimport cython

from fastnet.tcp.congestion.base cimport Acknowledgment

cdef long long MILLISECOND, MIN_RTT_THRESH, MAX_RTT_THRESH, ACK_DELTA, INFINITE
cdef int MIN_RTT_DIVISOR, N_RTT_SAMPLE, CSS_GROWTH_DIVISOR, CSS_ROUNDS, LOW_WINDOW


@cython.final
cdef class HyStart:
    cdef public unsigned char done
    cdef public unsigned char css
    cdef public unsigned char train
    cdef public int css_rounds
    cdef public long long css_baseline_min_rtt
    cdef public long long current_round_min_rtt
    cdef public long long last_round_min_rtt
    cdef public int rtt_sample_count
    cdef public long long round
    cdef public long long round_start
    cdef public long long train_end

    cpdef Py_ssize_t growth(self, Acknowledgment ack, long long mss) except? -1
    @cython.locals(last=cython.longlong)
    cpdef bint is_slower(self) except -1
    @cython.locals(length=cython.longlong, least=cython.longlong)
    cpdef bint is_train(self, Acknowledgment ack, long long mss) except -1
    cpdef start_round(self, Acknowledgment ack)
