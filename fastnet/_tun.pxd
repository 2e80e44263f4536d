from libc.stdint cimport int64_t

from fastnet._ring cimport PacketRing


cdef class Tun:
    cdef readonly str name
    cdef readonly object capabilities
    cdef int fd
    cdef int event
    cdef bint begun
    cdef readonly long long tx_errors
    cdef readonly int last_errno
    cdef int header
    cdef object gone

    cpdef int receive(self, PacketRing ring) except -1
    cpdef int transmit(self, PacketRing ring) except -1
    cpdef bint wait(self, int64_t timeout) except -1
    cpdef int wake(self) except -1
    cpdef int due(self)
    cpdef int fileno(self) except -1
    cpdef int close(self) except -1
    cpdef int after_fork(self, error) except -1
    cdef int check(self) except -1
