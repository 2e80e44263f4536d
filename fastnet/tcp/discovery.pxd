cimport cython

from fastnet._path cimport Path
from fastnet.tcp.flights cimport Flight
from fastnet.tcp.scoreboard cimport Scoreboard
from fastnet.tcp.tcb cimport Tcb

cdef int TCP_HEADER, MIN_CWND, TRUSTED, MORE, DOUBTS
cdef long long HALF, MASK, SECOND


@cython.final
cdef class Discovery:
    cdef readonly object known
    cdef public int low
    cdef public int high
    cdef public int probe
    cdef public int piece
    cdef public unsigned int probe_seq
    cdef public unsigned int probe_end
    cdef public long long searched_at
    cdef public long long until
    cdef public unsigned char probing
    cdef public unsigned char suspected
    cdef public unsigned char silences
    cdef public long long delivered

    cpdef begin(self, Tcb tcb, int low, long long now)
    @cython.locals(before=cython.int, most=cython.int, mss=cython.int, usual=Path)
    cpdef bint follow(self, Tcb tcb, bint fresh, long long now) except -1
    cpdef bint is_over(self, long long now) except -1
    cpdef bint is_idle(self) except -1
    @cython.locals(since=cython.longlong)
    cpdef bint is_doubtful(self, Tcb tcb, long long delivered) except -1
    cpdef int next_piece(self, Tcb tcb, int silence) except? -1
    @cython.locals(smaller=cython.int)
    cpdef bint suspect(self, Tcb tcb, long long size, long long now) except -1
    @cython.locals(mss=cython.int, gap=cython.int, limit=cython.int, whole=cython.bint, size=cython.int, data=cython.int)
    cpdef int wants(self, Tcb tcb, long long cwnd, long long now) except? -1
    cpdef sent(self, Tcb tcb, int size)
    cpdef bint arrived(self, Tcb tcb, long long now) except -1
    @cython.locals(probe=cython.int, flight=Flight)
    cpdef bint failed(self, Scoreboard board) except -1
    cpdef timed_out(self, Tcb tcb)


cdef int headers(Tcb tcb) except -1
cdef int options(Tcb tcb) except? -1
cdef int largest_mss(Tcb tcb) except -1
