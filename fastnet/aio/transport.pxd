cimport cython

from fastnet.aio.reactor cimport LoopDoor, Reactor
from fastnet.tcp.connection cimport Connection
from fastnet.tcp.context cimport Endpoint
from fastnet.tcp.receiver cimport Receiver

cdef int CLOSED, MANY_LOST_WRITES
cdef Py_ssize_t CHUNK, HIGH_WATER
cdef bint KNOWS_TRANSPORTS


cdef class Transport(LoopDoor):
    cdef object __weakref__
    cdef object _loop
    cdef Connection _connection
    cdef object _variables
    cdef object _options
    cdef object _socket
    cdef object _server
    cdef object _pending
    cdef Py_ssize_t _pending_size
    cdef Py_ssize_t _high
    cdef Py_ssize_t _low
    cdef object _protocol
    cdef object _data_received
    cdef object _error
    cdef int _lost
    cdef bint _buffered
    cdef bint _closing
    cdef bint _paused
    cdef bint _protocol_paused
    cdef bint _eof_seen
    cdef bint _eof_written

    cpdef news(self, long long now)

    cpdef start(self)
    @cython.locals(connection=Connection, receiver=Receiver)
    cpdef read(self, long long now)
    @cython.locals(connection=Connection, receiver=Receiver, count=cython.Py_ssize_t)
    cpdef fill_buffer(self)
    cpdef end_seen(self)
    @cython.locals(sent=cython.Py_ssize_t)
    cpdef write(self, data)
    @cython.locals(connection=Connection, sent=cython.Py_ssize_t)
    cpdef write_pending(self, long long now)
    cpdef maybe_pause_protocol(self)
    cpdef maybe_resume_protocol(self)
    cpdef fail(self, error)
    cpdef force_close(self, error)
    @cython.locals(connection=Connection)
    cpdef close_connection(self, long long now)
    cpdef call_connection_lost_soon(self, error)
    cpdef call_connection_lost(self)
    @cython.locals(connection=Connection)
    cpdef let_go(self)
