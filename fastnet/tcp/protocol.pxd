cimport cython

from fastnet._headers cimport Segment
from fastnet._timer cimport TimerWheel
from fastnet.tcp.containment cimport contain
from fastnet.tcp.context cimport Context, Endpoint, Timed


@cython.final
cdef class Tcp:
    cdef readonly Context context

    @cython.locals(endpoints=list, i=cython.Py_ssize_t, seg=Segment, number=cython.Py_ssize_t, endpoint=Endpoint)
    cpdef segments_arrive(self, tuple segments, Py_ssize_t count, long long now)
    @cython.locals(context=Context, number=cython.Py_ssize_t)
    cpdef Endpoint look_again(self, Segment seg)
    @cython.locals(taken=list)
    cpdef listen(self, str address, int port, long long backlog, bint v6only=*)
    @cython.locals(timers=TimerWheel, timed=Timed)
    cpdef fire_timers(self, long long now)
    @cython.locals(context=Context, outbox=list, endpoint=Endpoint, i=cython.Py_ssize_t, count=cython.Py_ssize_t)
    cpdef send_pending(self, long long now)
