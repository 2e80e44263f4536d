cimport cython

from fastnet.tcp.congestion.base cimport Acknowledgment, CongestionControl, RateSample

cdef int STARTUP, DRAIN, DOWN, CRUISE, REFILL, UP, PROBE_RTT
cdef int STOPPING, REFILLING, STARTING, FEEDBACK, NO_PHASE
cdef double LOSS_THRESH, BETA, HEADROOM, STARTUP_PACING_GAIN, DRAIN_PACING_GAIN, DOWN_PACING_GAIN, UP_PACING_GAIN
cdef double CWND_GAIN, UP_CWND_GAIN, PROBE_RTT_CWND_GAIN, PACING_MARGIN, FULL_BW_GROWTH
cdef long long FULL_BW_ROUNDS, FULL_LOSS_COUNT, MIN_PIPE, EXTRA_ACKED_ROUNDS, RENO_ROUNDS
cdef long long MILLISECOND, SECOND, MIN_RTT_WINDOW, PROBE_RTT_INTERVAL, PROBE_RTT_DURATION, INFINITE, MOST_CWND


cdef class Bbr(CongestionControl):
    cdef public long long initial
    cdef public long long rate
    cdef public long long send_quantum
    cdef public long long max_inflight
    cdef public long long bdp
    cdef public long long bw
    cdef public long long max_bw_now
    cdef public long long max_bw_before
    cdef public long long min_rtt
    cdef public long long min_rtt_stamp
    cdef public long long probe_rtt_min_delay
    cdef public long long probe_rtt_min_stamp
    cdef public long long probe_rtt_done_stamp
    cdef public long long prior_cwnd
    cdef public long long prior_bw
    cdef public long long prior_inflight
    cdef public long long prior_longterm
    cdef public long long extra_acked
    cdef public long long extra_acked_before
    cdef public long long extra_acked_from
    cdef public long long extra_acked_delivered
    cdef public long long extra_acked_interval_start
    cdef public long long bw_latest
    cdef public long long inflight_latest
    cdef public long long loss_events
    cdef public long long loss_round_delivered
    cdef public long long bw_shortterm
    cdef public long long inflight_shortterm
    cdef public long long inflight_longterm
    cdef public long long next_round_delivered
    cdef public long long round_count
    cdef public long long rounds_since_bw_probe
    cdef public long long full_bw
    cdef public long long bw_probe_up_acks
    cdef public long long bw_probe_wait
    cdef public long long probe_up_cnt
    cdef public long long cycle_stamp
    cdef public double pacing_gain
    cdef public double cwnd_gain
    cdef public int state
    cdef public int ack_phase
    cdef public int full_bw_count
    cdef public int bw_probe_up_rounds
    cdef public unsigned char started
    cdef public unsigned char probe_rtt_round_done
    cdef public unsigned char probe_rtt_expired
    cdef public unsigned char idle_restart
    cdef public unsigned char full_bw_reached
    cdef public unsigned char full_bw_now
    cdef public unsigned char loss_in_round
    cdef public unsigned char loss_round_start
    cdef public unsigned char round_start
    cdef public unsigned char bw_probe_samples

    @cython.locals(rtt=cython.longlong)
    cpdef start(self, Acknowledgment ack)
    cpdef enter_startup(self)
    cpdef reset_full_bw(self)
    cpdef check_full_bw_reached(self, RateSample sample)
    cpdef check_startup_done(self, Acknowledgment ack, RateSample sample)
    cpdef bint is_probing_cycle(self) except -1
    cpdef update_probe_bw_cycle_phase(self, Acknowledgment ack, RateSample sample)
    @cython.locals(chance=cython.longlong)
    cpdef start_down(self, RateSample sample, long long now)
    cpdef start_refill(self, RateSample sample)
    cpdef start_up(self, RateSample sample, long long now)
    @cython.locals(rounds=cython.longlong)
    cpdef bint is_time_to_probe(self, long long now) except -1
    cpdef Py_ssize_t target_inflight(self) except? -1
    @cython.locals(headroom=cython.longlong)
    cpdef Py_ssize_t inflight_with_headroom(self) except? -1
    @cython.locals(growth=cython.longlong)
    cpdef raise_slope(self)
    @cython.locals(delta=cython.longlong)
    cpdef adapt_long_term_model(self, Acknowledgment ack, RateSample sample)
    @cython.locals(size=cython.longlong, before=cython.longlong, prefix=cython.double)
    cpdef lost(self, RateSample sample)
    cpdef inflight_too_high(self, long long in_flight, bint app_limited, RateSample sample, long long now)
    cpdef update_latest_delivery_signals(self, RateSample sample)
    cpdef update_congestion_signals(self, RateSample sample)
    cpdef Py_ssize_t max_bw(self) except? -1
    cpdef update_max_bw(self, RateSample sample)
    cpdef start_round(self, RateSample sample)
    @cython.locals(expected=cython.longlong, extra=cython.longlong)
    cpdef update_ack_aggregation(self, Acknowledgment ack)
    cpdef update_min_rtt(self, Acknowledgment ack)
    cpdef bound_bw_for_model(self)
    cpdef check_probe_rtt(self, Acknowledgment ack, RateSample sample)
    @cython.locals(following=RateSample)
    cpdef check_probe_rtt_done(self, long long now)
    cpdef Py_ssize_t probe_rtt_cwnd(self) except? -1
    @cython.locals(rate=cython.longlong)
    cpdef set_pacing_rate_with_gain(self, double gain)
    cpdef Py_ssize_t bdp_multiple(self, double gain) except? -1
    cpdef Py_ssize_t quantized(self, long long inflight) except? -1
    cpdef Py_ssize_t inflight(self, double gain) except? -1
    cpdef Py_ssize_t inflight_of(self, long long bw) except? -1
    cpdef save_cwnd(self, bint recovering)
    @cython.locals(cwnd=cython.longlong, least=cython.longlong, cap=cython.longlong)
    cpdef set_cwnd(self, Acknowledgment ack, RateSample sample)


cdef bint is_inflight_too_high(long long lost, long long in_flight) except -1
