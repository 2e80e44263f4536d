cimport cython

from fastnet.aio.reactor cimport LoopDoor, Reactor
from fastnet.aio.transport cimport Transport
from fastnet.tcp.connection cimport Connection
from fastnet.tcp.containment cimport contain, end
from fastnet.tcp.context cimport Endpoint
from fastnet.tcp.listener cimport Listener

cdef int BATCH, CLOSED
cdef tuple OPENING


cdef class Acceptor(LoopDoor):
    cdef readonly object loop
    cdef readonly Listener listener
    cdef readonly object factory
    cdef readonly object options
    cdef readonly object server
    cdef readonly object wrap
    cdef readonly object variables

    @cython.locals(connection=Connection, transport=Transport)
    cpdef news(self, long long now)
    @cython.locals(transport=Transport)
    cpdef open(self, Connection connection, object variables, long long now)
    cpdef fail(self, error)


cdef class Opening(LoopDoor):
    cdef readonly Connection connection
    cdef readonly object done

    @cython.locals(connection=Connection)
    cpdef news(self, long long now)
    cpdef fail(self, error)
