cimport cython

from fastnet.tcp.congestion.base cimport Acknowledgment, RateSample
from fastnet.tcp.flights cimport Flight
from fastnet.tcp.scoreboard cimport Scoreboard

cdef long long MILLISECOND, SECOND, QUANTUM, LATE, MAX_RATE, NO_BOUND
cdef Py_ssize_t COMPACT


@cython.final
cdef class Departure:
    cdef public long long sent_at
    cdef public long long delivered
    cdef public long long delivered_at
    cdef public long long first_sent_at
    cdef public long long in_flight
    cdef public long long lost
    cdef public unsigned char app_limited


@cython.final
cdef class Rates:
    cdef readonly RateSample sample
    cdef readonly list departures
    cdef public Py_ssize_t head
    cdef public long long pacing_rate
    cdef public long long max_pacing_rate
    cdef public long long delivery_rate
    cdef public long long left
    cdef public long long next_at
    cdef public long long wake_at
    cdef public long long delivered_at
    cdef public long long first_sent_at
    cdef public long long lost
    cdef public long long newly_lost
    cdef public long long app_limited
    cdef public unsigned char paces
    cdef public unsigned char samples
    cdef public unsigned char cwnd_limited
    cdef public unsigned char delivery_rate_app_limited

    @cython.locals(late=cython.longlong)
    cpdef Py_ssize_t allowance(self, long long rate, long long mss, long long now) except? -1
    cpdef charge(self, long long size, long long now)
    cpdef begin(self)
    @cython.locals(departures=list, last=Departure)
    cpdef sent(self, Scoreboard board, long long in_flight, long long size, long long now)
    @cython.locals(departures=list, low=cython.Py_ssize_t, high=cython.Py_ssize_t, middle=cython.Py_ssize_t, departure=Departure)
    cpdef Departure find(self, long long sent_at)
    cpdef limit(self, long long delivered, long long in_flight)
    @cython.locals(
        sample=RateSample, newly_lost=cython.longlong, newest=cython.longlong, interval=cython.longlong, departure=Departure, flight=Flight,
    )
    cpdef acknowledged(self, Scoreboard board, Acknowledgment ack, long long min_rtt)
    @cython.locals(departures=list, flight=Flight, departure=Departure, head=cython.Py_ssize_t)
    cpdef forget(self, Scoreboard board)
