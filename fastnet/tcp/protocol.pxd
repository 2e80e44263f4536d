cimport cython

from fastnet._headers cimport Segment
from fastnet._timer cimport TimerWheel
from fastnet.tcp.context cimport Context, Endpoint


@cython.final
cdef class Tcp:
    cdef public Context context

    @cython.locals(context=Context, number=cython.Py_ssize_t, endpoint=Endpoint)
    cpdef segment_arrives(self, Segment seg, long long now)
    cpdef listen(self, str address, int port, long long backlog)
    @cython.locals(timers=TimerWheel, endpoint=Endpoint)
    cpdef fire_timers(self, long long now)
    @cython.locals(context=Context, outbox=list, endpoint=Endpoint)
    cpdef send_pending(self, long long now)
