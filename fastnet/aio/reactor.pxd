cimport cython

from fastnet.aio._wait cimport wait_for
from fastnet.stack cimport Stack
from fastnet.tcp.containment cimport contain_door
from fastnet.tcp.context cimport Context, Endpoint

cdef long long NEVER
cdef int STACK, OTHERS


cdef class LoopDoor:
    cdef readonly Reactor reactor

    cpdef news(self, long long now)
    cpdef lost(self)
    cpdef fail(self, error)
    cpdef ready(self, long long now)
    cpdef wake(self)
    cpdef Endpoint endpoint(self)


cdef class Reactor:
    cdef readonly Stack stack
    cdef readonly object loop
    cdef readonly object clock
    cdef public int device
    cdef public int others
    cdef readonly object queue
    cdef public long long busy_poll
    cdef public long long busy_until
    cdef readonly bint timed
    cdef public bint failed
    cdef public bint in_turn
    cdef readonly list last
    cdef readonly object later
    cdef readonly object lock

    @cython.locals(stack=Stack, now=cython.longlong, found=cython.int)
    cpdef bint turns(self) except -1
    @cython.locals(deadline=cython.longlong, when=cython.longlong)
    cpdef Py_ssize_t time_to_sleep(self, long long now) except? -1
    cpdef Py_ssize_t scheduled(self) except? -1
    cpdef int sleep(self, long long timeout) except -1
    @cython.locals(due=cython.longlong)
    cpdef int sleep_until_due(self, long long timeout) except -1
    @cython.locals(stack=Stack)
    cpdef turn(self, long long now)
    @cython.locals(ready=list, served=cython.Py_ssize_t, count=cython.Py_ssize_t, endpoint=Endpoint, door=LoopDoor)
    cpdef deliver(self, long long now)
    @cython.locals(last=list, served=cython.Py_ssize_t, door=LoopDoor)
    cpdef tell_lost(self)
    cpdef again(self, Endpoint endpoint)
    cpdef bint soon(self, LoopDoor door) except -1
