cimport cython

from fastnet.aio.reactor cimport Door, Reactor
from fastnet.aio.transport cimport Transport
from fastnet.tcp.connection cimport Connection
from fastnet.tcp.context cimport Endpoint
from fastnet.tcp.listener cimport Listener

cdef int BATCH, CLOSED
cdef tuple OPENING


cdef class Acceptor(Door):
    cdef public object loop
    cdef public Listener listener
    cdef public object factory
    cdef public object options
    cdef public object server
    cdef public object wrap
    cdef public object variables

    @cython.locals(connection=Connection, transport=Transport)
    cpdef ready(self, long long now)
    @cython.locals(transport=Transport)
    cpdef open(self, Connection connection, object variables, long long now)
    cpdef fail(self, error)


cdef class Opening(Door):
    cdef public Connection connection
    cdef public object done

    @cython.locals(connection=Connection)
    cpdef ready(self, long long now)
    cpdef fail(self, error)
