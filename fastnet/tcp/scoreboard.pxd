cimport cython

from fastnet.tcp.flights cimport Flight, LostFlights, SendOrder
from fastnet.tcp.rack cimport Rack

cdef long long MASK, HALF, MILLISECOND
cdef Py_ssize_t COMPACT


@cython.final
cdef class Scoreboard:
    cdef readonly list flights
    cdef readonly Rack rack
    cdef readonly SendOrder order
    cdef readonly LostFlights losses
    cdef public Py_ssize_t head
    cdef public Py_ssize_t most
    cdef public long long sacked
    cdef public long long lost
    cdef public long long delivered
    cdef public long long earliest
    cdef public long long latest
    cdef public long long resent_at
    cdef public long long timed_out_at
    cdef public unsigned int copied_at
    cdef public unsigned int lost_again
    cdef public unsigned int untaken
    cdef public unsigned char copies
    cdef public unsigned char original

    cpdef bint is_full(self) except -1
    @cython.locals(flight=Flight)
    cpdef sent(self, unsigned int seq, unsigned int end, long long now)
    @cython.locals(order=SendOrder, i=cython.Py_ssize_t, again=Flight)
    cpdef sent_again(self, Flight flight, unsigned int size, long long now)
    @cython.locals(order=SendOrder)
    cpdef SendOrder need_order(self)
    @cython.locals(order=SendOrder)
    cpdef sort(self)
    cpdef begin(self)
    @cython.locals(flights=list, i=cython.Py_ssize_t, flight=Flight, size=cython.uint, behind=cython.uint)
    cpdef cumulative(self, unsigned int una, long long now)
    cpdef settle(self, Flight flight, unsigned int size)
    @cython.locals(
        first=cython.Py_ssize_t, i=cython.Py_ssize_t, flight=Flight, ahead=cython.uint, over=cython.uint, size=cython.uint,
        covered=cython.longlong, missing=cython.longlong,
    )
    cpdef sack(self, unsigned int left, unsigned int right, long long mss, long long now)
    @cython.locals(flight=Flight)
    cpdef bint part(self, Py_ssize_t i, long long size) except -1
    @cython.locals(flights=list, joined=Flight, flight=Flight, i=cython.Py_ssize_t)
    cpdef join(self, Py_ssize_t first, Py_ssize_t last)
    @cython.locals(flights=list, flight=Flight, low=cython.Py_ssize_t, high=cython.Py_ssize_t, middle=cython.Py_ssize_t)
    cpdef Py_ssize_t find(self, unsigned int seq) except? -1
    @cython.locals(flight=Flight, tail=Flight)
    cpdef split(self, Py_ssize_t i, unsigned int at)
    @cython.locals(rack=Rack)
    cpdef deliver(self, Flight flight, long long now)
    @cython.locals(losses=LostFlights)
    cpdef lose(self, Flight flight, long long mss)
    @cython.locals(flight=Flight)
    cpdef Py_ssize_t lose_first(self, unsigned int size) except? -1
    @cython.locals(rack=Rack, order=SendOrder, due=cython.longlong, flight=Flight, last=Flight)
    cpdef Py_ssize_t lose_overdue(self, long long now, long long wait, long long mss) except? -1
    @cython.locals(order=SendOrder, head=Flight, due=cython.longlong, flight=Flight)
    cpdef lose_at_timeout(self, long long now, long long wait, long long mss)
    @cython.locals(i=cython.Py_ssize_t, flight=Flight)
    cpdef lose_larger(self, long long mss)
    @cython.locals(flight=Flight)
    cpdef bint is_reneged(self) except -1
    @cython.locals(i=cython.Py_ssize_t, flight=Flight)
    cpdef bint renege(self) except -1
    @cython.locals(i=cython.Py_ssize_t, flight=Flight)
    cpdef restore(self)
    @cython.locals(i=cython.Py_ssize_t, flight=Flight, total=cython.longlong)
    cpdef Py_ssize_t on_their_way_again(self) except? -1
    cpdef Flight next_lost(self)
    cpdef Flight oldest(self)


@cython.locals(flight=Flight)
cdef Flight make_flight(unsigned int seq, unsigned int end, long long sent_at)
cpdef time_of(Flight flight)
